//! Media formats: the bit mask of CAPABILITY and FORMAT, the compressed subclass of a media frame,
//! and the letters of CODEC PREFS (RFC 5456 §8.7; deployed peers where they differ).

use std::fmt;

/// A set of media formats, one bit each (RFC 5456 §8.7). Bits above 31 exist only in CAPABILITY2 and
/// FORMAT2, which the RFC does not have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Formats(u64);

impl Formats {
    /// No format.
    pub const NONE: Self = Self(0);
    /// G.723.1.
    pub const G723: Self = Self(1 << 0);
    /// GSM full rate.
    pub const GSM: Self = Self(1 << 1);
    /// G.711 µ-law.
    pub const ULAW: Self = Self(1 << 2);
    /// G.711 A-law.
    pub const ALAW: Self = Self(1 << 3);
    /// G.729A.
    pub const G729: Self = Self(1 << 8);
    /// Speex, 8 kHz.
    pub const SPEEX: Self = Self(1 << 9);
    /// iLBC.
    pub const ILBC: Self = Self(1 << 10);
    /// G.722.
    pub const G722: Self = Self(1 << 12);
    /// Opus.
    pub const OPUS: Self = Self(1 << 34);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The bits that CAPABILITY and FORMAT can carry.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the low half is what the older element holds
    pub const fn low_bits(self) -> u32 {
        self.0 as u32
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every format of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The formats in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The formats in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each format of the set by itself, from bit 0 up.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS)
            .map(|bit| Self(1 << bit))
            .filter(move |single| self.contains(*single))
    }

    /// Milliseconds of audio in so many octets of exactly one format; `None` for formats whose octets do not
    /// tell (ITU-T G.711, G.722, G.729; ETSI GSM 06.10).
    #[must_use]
    pub fn duration(self, octets: usize) -> Option<u32> {
        let millis = match self {
            Self::ULAW | Self::ALAW | Self::G722 => octets / 8,
            Self::GSM => octets / 33 * 20,
            Self::G729 => octets / 10 * 10,
            _ => return None,
        };
        u32::try_from(millis).ok().filter(|millis| *millis > 0)
    }

    /// The name of a set of exactly one known format.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        if !self.0.is_power_of_two() {
            return None;
        }
        Some(match self.0.trailing_zeros() {
            0 => "g723",
            1 => "gsm",
            2 => "ulaw",
            3 => "alaw",
            4 => "g726aal2",
            5 => "adpcm",
            6 => "slin",
            7 => "lpc10",
            8 => "g729",
            9 => "speex",
            10 => "ilbc",
            11 => "g726",
            12 => "g722",
            13 => "siren7",
            14 => "siren14",
            15 => "slin16",
            16 => "jpeg",
            17 => "png",
            18 => "h261",
            19 => "h263",
            20 => "h263p",
            21 => "h264",
            22 => "mpeg4",
            23 => "vp8",
            26 => "red",
            27 => "t140",
            32 => "g719",
            33 => "speex16",
            34 => "opus",
            47 => "testlaw",
            _ => return None,
        })
    }
}

impl fmt::Debug for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (position, single) in self.iter().enumerate() {
            if position > 0 {
                f.write_str("|")?;
            }
            match single.name() {
                Some(name) => f.write_str(name)?,
                None => write!(f, "bit{}", single.0.trailing_zeros())?,
            }
        }
        Ok(())
    }
}

/// The letter of CODEC PREFS for one format: `A` plus its position in Asterisk's historic list, where
/// `A` itself means none (RFC 5456 §8.6.37).
#[must_use]
pub fn preference_letter(format: Formats) -> Option<u8> {
    PREFERENCES
        .iter()
        .find(|(_, bit)| format.bits() == 1 << bit)
        .map(|(letter, _)| *letter)
}

/// The format that a letter of CODEC PREFS stands for, if any.
#[must_use]
pub fn preferred_format(letter: u8) -> Option<Formats> {
    PREFERENCES
        .iter()
        .find(|(known, _)| *known == letter)
        .map(|(_, bit)| Formats::from_bits(1 << bit))
}

/// Each letter and its bit. The letters `^` to `e` are kept free for formats that have no bit.
const PREFERENCES: [(u8, u8); 30] = [
    (b'B', 0),
    (b'C', 1),
    (b'D', 2),
    (b'E', 3),
    (b'F', 11),
    (b'G', 5),
    (b'H', 6),
    (b'I', 7),
    (b'J', 8),
    (b'K', 9),
    (b'L', 33),
    (b'M', 10),
    (b'N', 4),
    (b'O', 12),
    (b'P', 15),
    (b'Q', 16),
    (b'R', 17),
    (b'S', 18),
    (b'T', 19),
    (b'U', 20),
    (b'V', 21),
    (b'W', 22),
    (b'X', 26),
    (b'Y', 27),
    (b'Z', 13),
    (b'[', 14),
    (b'\\', 47),
    (b']', 32),
    (b'f', 34),
    (b'g', 23),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_follow_the_historic_list() {
        assert_eq!(preference_letter(Formats::G723), Some(b'B'));
        assert_eq!(preference_letter(Formats::GSM), Some(b'C'));
        assert_eq!(preference_letter(Formats::ULAW), Some(b'D'));
        assert_eq!(preference_letter(Formats::G722), Some(b'O'));
        assert_eq!(preferred_format(b'J'), Some(Formats::G729));
        assert_eq!(preferred_format(b'A'), None);
        assert_eq!(preferred_format(0), None);
    }

    #[test]
    fn octets_tell_how_long_they_last() {
        for (format, octets, millis) in [
            (Formats::ULAW, 160, Some(20)),
            (Formats::GSM, 66, Some(40)),
            (Formats::G729, 20, Some(20)),
            (Formats::G722, 240, Some(30)),
            (Formats::ULAW, 3, None),
            (Formats::SPEEX, 38, None),
            (Formats::ULAW.or(Formats::ALAW), 160, None),
        ] {
            assert_eq!(format.duration(octets), millis, "{format}");
        }
    }

    #[test]
    fn sets_print_their_members() {
        assert_eq!(Formats::ULAW.or(Formats::ALAW).to_string(), "ulaw|alaw");
        assert_eq!(Formats::from_bits(1 << 60).to_string(), "bit60");
        assert_eq!(Formats::NONE.to_string(), "none");
    }
}
