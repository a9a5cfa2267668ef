//! What the manager interface says: lines of `Key: value`, ended by an empty one. Everything in it is
//! hostile until it is read.

use std::collections::VecDeque;

/// The longest line that is taken.
const LONGEST_LINE: usize = 16 * 1024;
/// The most lines of one message; the output of a command has one each.
const MOST_LINES: usize = 4096;

/// One answer or event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    fields: Vec<(String, String)>,
}

impl Message {
    /// The first value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a key, in their order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }
}

/// Why the other end is no manager interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(
    /// What is wrong.
    pub &'static str,
);

/// What has arrived and is not read yet. Its size is bounded whatever the other end sends.
#[derive(Debug, Default)]
pub struct Inbox {
    line: Vec<u8>,
    message: Message,
    whole: VecDeque<Message>,
}

impl Inbox {
    /// Takes what has arrived.
    ///
    /// # Errors
    ///
    /// [`Broken`] where a line or a message has no end.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), Broken> {
        for octet in octets {
            if *octet != b'\n' {
                if self.line.len() == LONGEST_LINE {
                    return Err(Broken(
                        "a line of it is longer than any that Asterisk sends",
                    ));
                }
                self.line.push(*octet);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                if !message.fields.is_empty() {
                    self.whole.push_back(message);
                }
            } else if let Some((key, value)) = line.split_once(':') {
                if self.message.fields.len() == MOST_LINES {
                    return Err(Broken("a message of it has no end"));
                }
                let field = (key.trim().to_owned(), value.trim().to_owned());
                self.message.fields.push(field);
            }
            self.line.clear();
        }
        Ok(())
    }

    /// The next whole message.
    pub fn take(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart_however_they_arrive() {
        let text = "Response: Success\r\nActionID: 7\r\nOutput: a: b\r\nOutput: c\r\n\r\n\r\n\
                    Event: Registry\r\nno colon\r\nDomain: 192.0.2.1:4569\r\n\r\nhalf";
        for size in [1, 3, text.len()] {
            let mut inbox = Inbox::default();
            for piece in text.as_bytes().chunks(size) {
                inbox.push(piece).unwrap();
            }
            let first = inbox.take().unwrap();
            assert_eq!(first.get("actionid"), Some("7"));
            assert_eq!(first.all("Output").collect::<Vec<_>>(), ["a: b", "c"]);
            let second = inbox.take().unwrap();
            assert_eq!(second.get("Domain"), Some("192.0.2.1:4569"));
            assert_eq!(inbox.take(), None);
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        let mut inbox = Inbox::default();
        assert!(inbox.push(&vec![b'x'; LONGEST_LINE]).is_ok());
        assert!(inbox.push(b"x").is_err());
        let mut inbox = Inbox::default();
        let lines = "a: b\n".repeat(MOST_LINES);
        assert!(inbox.push(lines.as_bytes()).is_ok());
        assert!(inbox.push(b"a: b\n").is_err());
    }
}
