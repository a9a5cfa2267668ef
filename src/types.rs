//! The numbers and addresses that every floor speaks of: IAX2 call numbers, sequence numbers and
//! timestamps with their wrapping arithmetic, and one address type for each side of a NAT.

use std::{borrow::Cow, fmt, net::SocketAddr, time::Duration};

/// Whether a character of a stranger may reach a terminal or a page as it is: no control character, no separator of
/// lines or paragraphs, and no mark that turns the direction of what follows (UAX #9), for these make a text look
/// like another one.
#[must_use]
pub const fn is_printable(character: char) -> bool {
    !matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The text with each character that is not printable written out, as `\u{1b}`; lines stay lines.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let stays = |character: char| character == '\n' || is_printable(character);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if stays(character) {
            clean.push(character);
        } else {
            clean.extend(character.escape_default());
        }
    }
    Cow::Owned(clean)
}

/// A 15-bit IAX2 call number, chosen by the side that sends it (RFC 5456 §8.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallNumber(u16);

impl CallNumber {
    /// "Not known yet": legal only as the destination of the first frames of a dialogue.
    pub const NONE: Self = Self(0);
    /// Reserved by deployed peers for state-less replies; never allocated.
    pub const STATELESS: Self = Self(1);
    /// The largest number the field holds.
    pub const MAX: Self = Self(0x7fff);

    /// Takes the low 15 bits of `raw`; the top bit is a flag of the header that carries the number.
    #[must_use]
    pub const fn from_bits(raw: u16) -> Self {
        Self(raw & 0x7fff)
    }

    /// The number, 0 to 32767.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether this is [`CallNumber::NONE`].
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.0)
    }
}

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An 8-bit stream sequence number that wraps at 256 (RFC 5456 §8.1.1, §7.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNo(u8);

impl SeqNo {
    /// The first number of every stream.
    pub const ZERO: Self = Self(0);

    /// The number with this value.
    #[must_use]
    pub const fn new(raw: u8) -> Self {
        Self(raw)
    }

    /// The value on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many numbers lie from `earlier` up to, not including, this one, modulo 256.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u8 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this number lies behind `other`: less than half the circle before it.
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        let distance = other.since(self);
        distance != 0 && distance < 128
    }
}

impl fmt::Debug for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A 32-bit count of milliseconds since the sender began the dialogue; it wraps after 49.7 days
/// (RFC 5456 §8.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The beginning of a dialogue.
    pub const ZERO: Self = Self(0);

    /// The timestamp with this value, in milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// The timestamp that lies `elapsed` after the beginning, wrapped to 32 bits.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // wrapping at 2^32 ms is the field's definition
    pub const fn from_elapsed(elapsed: Duration) -> Self {
        Self(elapsed.as_millis() as u32)
    }

    /// Milliseconds since the sender began the dialogue.
    #[must_use]
    pub const fn millis(self) -> u32 {
        self.0
    }

    /// This timestamp plus `millis`, wrapped.
    #[must_use]
    pub const fn plus(self, millis: u32) -> Self {
        Self(self.0.wrapping_add(millis))
    }

    /// Whether this timestamp lies behind `other`: less than half the circle before it.
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        let distance = other.0.wrapping_sub(self.0);
        distance != 0 && distance < 1 << 31
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SocketAddr);

        impl $name {
            /// Wraps a socket address; an IPv4-mapped IPv6 address becomes the IPv4 address it stands for.
            #[must_use]
            pub fn new(address: SocketAddr) -> Self {
                Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }

            /// The socket address.
            #[must_use]
            pub const fn get(self) -> SocketAddr {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// The address a socket of this host is bound to: the internal side of the NAT (RFC 4787 §2,
    /// "internal IP address and port").
    LocalAddr
}
address! {
    /// The address the NAT gave a flow of ours, as somebody outside saw it (RFC 4787 §2, "external
    /// IP address and port"; the APPARENT ADDR of RFC 5456 §8.6.17).
    MappedAddr
}
address! {
    /// The address of the far host, or, seen from a server, where a datagram came from.
    PeerAddr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(SeqNo::new(255).next(), SeqNo::ZERO);
        assert!(SeqNo::new(250).is_before(SeqNo::new(3)));
        assert!(!SeqNo::new(3).is_before(SeqNo::new(250)));
        assert!(!SeqNo::new(3).is_before(SeqNo::new(3)));
        assert_eq!(SeqNo::new(3).since(SeqNo::new(250)), 9);
    }

    #[test]
    fn timestamps_wrap() {
        let late = Timestamp::from_millis(u32::MAX - 9);
        assert!(late.is_before(late.plus(20)));
        assert_eq!(late.plus(20).millis(), 10);
        assert_eq!(
            Timestamp::from_elapsed(Duration::from_millis((1 << 32) + 7)).millis(),
            7
        );
    }

    #[test]
    fn call_numbers_drop_the_flag_bit() {
        assert_eq!(CallNumber::from_bits(0x8001), CallNumber::STATELESS);
        assert!(CallNumber::from_bits(0x8000).is_none());
    }

    #[test]
    fn mapped_ipv6_addresses_are_ipv4() {
        let peer = PeerAddr::new("[::ffff:192.0.2.1]:4569".parse().unwrap());
        assert_eq!(peer.to_string(), "192.0.2.1:4569");
    }
}
