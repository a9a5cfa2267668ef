//! Walks the headers of a packet, and says where one ends too early.

use super::LinkError;

/// The octets not read yet, and how many were.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
    pub(super) offset: usize,
}

impl<'a> Cursor<'a> {
    /// Takes `length` octets and views them as a header.
    pub(super) fn header<T>(
        &mut self,
        what: &'static str,
        length: usize,
        view: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, LinkError> {
        let split = self.rest.split_at_checked(length);
        let (octets, rest) = split.ok_or_else(|| self.truncated(what, length))?;
        let header = view(octets).ok_or_else(|| self.truncated(what, length))?;
        self.rest = rest;
        self.offset += length;
        Ok(header)
    }

    /// Leaves out what follows the first `length` octets: padding of the link.
    pub(super) fn limit(&mut self, length: usize) {
        self.rest = self.rest.get(..length).unwrap_or(self.rest);
    }

    pub(super) fn truncated(self, what: &'static str, needed: usize) -> LinkError {
        LinkError::Truncated {
            what,
            offset: self.offset,
            needed,
            have: self.rest.len(),
        }
    }

    pub(super) fn field(self, what: &'static str, value: usize) -> LinkError {
        LinkError::Field {
            what,
            offset: self.offset,
            value,
        }
    }
}
