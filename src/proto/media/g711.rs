//! G.711: µ-law and A-law, between 16-bit samples and octets.
//!
//! The values are those of tables 1 and 2 of ITU-T G.711, its 14-bit (µ) and 13-bit (A) numbers
//! shifted to the top of 16 bits. Where a sample lies on a decision value, which the tables leave
//! open, it falls as in the ITU's own software tools (G.191): negative samples are taken by their
//! ones' complement.

use crate::wire::iax2::format::Formats;

/// One of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// µ-law: North America and Japan, and the default of most IAX2 peers.
    Mu,
    /// A-law: elsewhere.
    A,
}

/// What the octets of µ-law stand for.
const MU: [i16; 256] = table(Law::Mu);
/// What the octets of A-law stand for.
const A: [i16; 256] = table(Law::A);
/// Added to a 14-bit magnitude so that the segments of µ-law begin at powers of two.
const MU_BIAS: u16 = 33;
/// The largest biased magnitude: 13 bits.
const MU_CLIP: u16 = 0x1fff;
/// A-law sends every second bit inverted (G.711 table 1a, note 2).
const A_INVERT: u8 = 0x55;
/// The sign bit of either law: set for positive values.
pub const SIGN: u8 = 0x80;

impl Law {
    /// The law of a set of exactly one format; `None` for every other format.
    #[must_use]
    pub const fn of(format: Formats) -> Option<Self> {
        match format.bits() {
            bits if bits == Formats::ULAW.bits() => Some(Self::Mu),
            bits if bits == Formats::ALAW.bits() => Some(Self::A),
            _ => None,
        }
    }

    /// The format that carries this law.
    #[must_use]
    pub const fn format(self) -> Formats {
        match self {
            Self::Mu => Formats::ULAW,
            Self::A => Formats::ALAW,
        }
    }

    /// The octet of silence: the smallest positive value.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// The octet nearest to a sample.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        let sign = if sample < 0 { 0 } else { SIGN };
        let magnitude = if sample < 0 { !sample } else { sample }.unsigned_abs();
        match self {
            Self::Mu => {
                let biased = (magnitude >> 2) + MU_BIAS;
                let biased = if biased > MU_CLIP { MU_CLIP } else { biased };
                let segment = biased.ilog2() - MU_BIAS.ilog2();
                !code(segment, biased >> (segment + 1)) & !SIGN | sign
            }
            Self::A => {
                let magnitude = magnitude >> 4;
                // The two lowest segments have steps of the same size.
                let (segment, step) = match magnitude {
                    0..16 => (0, magnitude),
                    _ => (magnitude.ilog2() - 3, magnitude >> (magnitude.ilog2() - 4)),
                };
                (code(segment, step) | sign) ^ A_INVERT
            }
        }
    }

    /// The sample that an octet stands for.
    #[must_use]
    #[inline]
    pub const fn decode(self, octet: u8) -> i16 {
        match self {
            Self::Mu => MU[octet as usize],
            Self::A => A[octet as usize],
        }
    }

    /// Appends the octets of `samples`.
    pub fn encode_block(self, samples: &[i16], octets: &mut Vec<u8>) {
        octets.extend(samples.iter().map(|sample| self.encode(*sample)));
    }

    /// Appends the samples of `octets`.
    pub fn decode_block(self, octets: &[u8], samples: &mut Vec<i16>) {
        samples.extend(octets.iter().map(|octet| self.decode(*octet)));
    }

    /// Whether all of `octets` are the values next to zero: silence that was made, not recorded.
    #[must_use]
    pub fn is_silence(self, octets: &[u8]) -> bool {
        octets
            .iter()
            .all(|octet| self.decode(*octet).unsigned_abs() <= SILENT)
    }
}

/// The magnitude of A-law's smallest value, and of the µ-law value it becomes when transcoded.
const SILENT: u16 = 8;

/// Three bits of segment and the low four of a step.
#[allow(clippy::cast_possible_truncation)] // three and four bits
const fn code(segment: u32, step: u16) -> u8 {
    (segment as u8) << 4 | (step & 0x0f) as u8
}

const fn table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0_u8;
    loop {
        table[octet as usize] = expand(law, octet);
        if octet == u8::MAX {
            return table;
        }
        octet += 1;
    }
}

#[allow(clippy::cast_possible_wrap)] // at most 32256 (A) and 32124 (µ)
const fn expand(law: Law, octet: u8) -> i16 {
    let code = match law {
        Law::Mu => !octet & !SIGN,
        Law::A => (octet ^ A_INVERT) & !SIGN,
    };
    let segment = code >> 4;
    let step = (code & 0x0f) as u16;
    let magnitude = match law {
        Law::Mu => ((((step << 1) + MU_BIAS) << segment) - MU_BIAS) << 2,
        Law::A if segment == 0 => (step << 4) + 8,
        Law::A => ((step << 4) + 0x108) << (segment - 1),
    } as i16;
    if octet & SIGN == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::media::{ZERO_DBM0, level_dbm0};

    const LAWS: [Law; 2] = [Law::Mu, Law::A];

    #[test]
    fn values_are_those_of_the_tables() {
        // Table 2a/G.711: quantized values at the ends of the segments; 13 bits and a sign.
        for (octet, value) in [
            (0x80, 8031),
            (0x81, 7775),
            (0x8f, 4191),
            (0x90, 3999),
            (0xfe, 2),
            (0xff, 0),
        ] {
            assert_eq!(Law::Mu.decode(octet), value * 4, "{octet:#x}");
            assert_eq!(Law::Mu.decode(octet & !SIGN), -value * 4, "{octet:#x}");
        }
        // Table 1a/G.711: the same in 12 bits and a sign, the even bits inverted afterwards.
        for (octet, value) in [
            (0xff, 4032),
            (0xf0, 2112),
            (0xef, 2016),
            (0xa0, 66),
            (0x9f, 63),
            (0x80, 1),
        ] {
            let sent = octet ^ A_INVERT;
            assert_eq!(Law::A.decode(sent), value * 8, "{octet:#x}");
            assert_eq!(Law::A.decode(sent ^ SIGN), -value * 8, "{octet:#x}");
        }
    }

    #[test]
    fn decision_values_are_those_of_the_tables() {
        // Table 2a: 1, 3, 31 and 4063, each times 4.
        for (decision, below, above) in [
            (4, 0xff, 0xfe),
            (12, 0xfe, 0xfd),
            (124, 0xf0, 0xef),
            (4063 * 4, 0x90, 0x8f),
        ] {
            assert_eq!(Law::Mu.encode(decision - 1), below);
            assert_eq!(Law::Mu.encode(decision), above);
            assert_eq!(Law::Mu.encode(-decision), below & !SIGN);
            assert_eq!(Law::Mu.encode(-decision - 1), above & !SIGN);
        }
        // Table 1a: 2, 64 and 2048, each times 8.
        for (decision, below, above) in [
            (16, 0x80_u8, 0x81),
            (512, 0x9f, 0xa0),
            (2048 * 8, 0xef, 0xf0),
        ] {
            assert_eq!(Law::A.encode(decision - 1), below ^ A_INVERT);
            assert_eq!(Law::A.encode(decision), above ^ A_INVERT);
            assert_eq!(Law::A.encode(-decision), below & !SIGN ^ A_INVERT);
            assert_eq!(Law::A.encode(-decision - 1), above & !SIGN ^ A_INVERT);
        }
        assert_eq!(Law::Mu.encode(i16::MAX), 0x80);
        assert_eq!(Law::Mu.encode(i16::MIN), 0x00);
        assert_eq!(Law::A.encode(i16::MAX), 0xaa);
        assert_eq!(Law::A.encode(i16::MIN), 0x2a);
    }

    #[test]
    fn every_octet_comes_back() {
        for law in LAWS {
            for octet in 0..=u8::MAX {
                // µ-law has two zeros, and samples have one.
                let expected = match (law, octet) {
                    (Law::Mu, 0x7f) => 0xff,
                    _ => octet,
                };
                assert_eq!(
                    law.encode(law.decode(octet)),
                    expected,
                    "{law:?} {octet:#x}"
                );
            }
        }
    }

    #[test]
    fn louder_samples_never_get_a_quieter_code() {
        for law in LAWS {
            let mut last = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let value = law.decode(law.encode(sample));
                assert!(value >= last, "{law:?} {sample}");
                // Half a step: 1/32 of the value, and half of the smallest step.
                let error = (i32::from(value) - i32::from(sample)).abs();
                let clipped = sample.unsigned_abs() > 32_256;
                assert!(
                    clipped || error <= 8 + i32::from(sample).abs() / 32,
                    "{law:?} {sample}"
                );
                last = value;
            }
        }
    }

    #[test]
    fn the_reference_sequences_are_at_zero_dbm0() {
        let mut samples = Vec::new();
        Law::Mu.decode_block(
            &[0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e],
            &mut samples,
        );
        let level = level_dbm0(&samples).unwrap();
        assert!(level.abs() < 0.001, "{level} at {ZERO_DBM0}");

        samples.clear();
        Law::A.decode_block(
            &[0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4],
            &mut samples,
        );
        let level = level_dbm0(&samples).unwrap();
        assert!((0.0..0.07).contains(&level), "{level}");
    }

    #[test]
    fn silence_is_known_in_either_law() {
        for law in LAWS {
            assert_eq!(law.encode(0), law.silence());
            assert!(law.is_silence(&[law.silence(), law.silence() & !SIGN]));
            assert!(!law.is_silence(&[law.silence(), law.encode(40)]));
        }
        let transcoded = Law::Mu.encode(Law::A.decode(Law::A.silence()));
        assert!(Law::Mu.is_silence(&[transcoded; 160]));
    }

    #[test]
    fn only_the_two_formats_have_a_law() {
        assert_eq!(Law::of(Formats::ULAW), Some(Law::Mu));
        assert_eq!(Law::of(Formats::ALAW), Some(Law::A));
        assert_eq!(Law::of(Formats::GSM), None);
        assert_eq!(Law::of(Formats::ULAW.or(Formats::ALAW)), None);
        for law in LAWS {
            assert_eq!(Law::of(law.format()), Some(law));
        }
    }
}
