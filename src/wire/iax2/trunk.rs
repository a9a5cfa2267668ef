//! The meta trunk frame: audio of many calls in one datagram (RFC 5456 §8.1.3.2).

use super::{
    DecodeError, EncodeError,
    frame::{TRUNK_HEADER, truncated},
};
use crate::types::{CallNumber, Timestamp};

/// A trunk frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaTrunk<'a> {
    /// The octet after the command; bit 0: entries carry timestamps.
    pub command_data: u8,
    /// The trunk's own clock, in milliseconds; no call's.
    pub timestamp: Timestamp,
    /// The entries as they stand; [`MetaTrunk::entries`] reads them.
    pub body: &'a [u8],
}

impl<'a> MetaTrunk<'a> {
    /// The meta command of a trunk frame.
    pub const COMMAND: u8 = 1;

    pub(super) fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let &[_, _, _, command_data, t0, t1, t2, t3, ref body @ ..] = datagram else {
            return Err(truncated("a meta trunk frame", TRUNK_HEADER, datagram));
        };
        Ok(Self {
            command_data,
            timestamp: Timestamp::from_millis(u32::from_be_bytes([t0, t1, t2, t3])),
            body,
        })
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0, 0, Self::COMMAND, self.command_data]);
        out.extend_from_slice(&self.timestamp.millis().to_be_bytes());
        out.extend_from_slice(self.body);
    }

    /// Whether each entry carries the timestamp of its call.
    #[must_use]
    pub const fn has_entry_timestamps(&self) -> bool {
        self.command_data & 1 != 0
    }

    /// The entries, up to the first that exceeds the frame: deployed peers stop there too.
    #[must_use]
    pub const fn entries(&self) -> TrunkEntries<'a> {
        TrunkEntries {
            rest: self.body,
            timestamps: self.has_entry_timestamps(),
        }
    }
}

/// The audio of one call in a trunk frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkEntry<'a> {
    /// The sender's call number.
    pub source: CallNumber,
    /// The low 16 bits of the call's clock, where the frame carries them.
    pub timestamp: Option<u16>,
    /// The audio.
    pub payload: &'a [u8],
}

impl TrunkEntry<'_> {
    /// Appends the entry to the body of a trunk frame; with a timestamp it takes the form of entries
    /// that carry one (length before call number), else the other (call number before length).
    ///
    /// # Errors
    ///
    /// [`EncodeError::EntryTooLong`] above 65535 octets; `body` is then unchanged.
    pub fn encode(&self, body: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = u16::try_from(self.payload.len()).map_err(|_| EncodeError::EntryTooLong {
            length: self.payload.len(),
        })?;
        let source = self.source.get().to_be_bytes();
        if let Some(timestamp) = self.timestamp {
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(&source);
            body.extend_from_slice(&timestamp.to_be_bytes());
        } else {
            body.extend_from_slice(&source);
            body.extend_from_slice(&length.to_be_bytes());
        }
        body.extend_from_slice(self.payload);
        Ok(())
    }
}

/// Walks the entries of a trunk frame.
#[derive(Clone, Debug)]
pub struct TrunkEntries<'a> {
    rest: &'a [u8],
    timestamps: bool,
}

impl<'a> TrunkEntries<'a> {
    /// Octets behind the last whole entry; not empty where the frame is damaged.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for TrunkEntries<'a> {
    type Item = TrunkEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let &[a0, a1, b0, b1, ref rest @ ..] = self.rest else {
            return None;
        };
        let first = u16::from_be_bytes([a0, a1]);
        let second = u16::from_be_bytes([b0, b1]);
        // With timestamps the two fields swap places (deployed peers).
        let (length, source, timestamp, rest) = if self.timestamps {
            let &[t0, t1, ref rest @ ..] = rest else {
                return None;
            };
            (first, second, Some(u16::from_be_bytes([t0, t1])), rest)
        } else {
            (second, first, None, rest)
        };
        let (payload, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(TrunkEntry {
            source: CallNumber::from_bits(source),
            timestamp,
            payload,
        })
    }
}
