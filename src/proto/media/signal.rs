//! The test signal: noise of the telephone band that a seed and a block number determine, so that
//! whoever has the seed can tell any 20 ms of it from any other.

use super::BLOCK;

/// An endless sequence of blocks, -20 dBm0 loud: about as loud as speech, so that nothing on the way
/// takes it for a pause or clips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestSignal {
    seed: u64,
}

/// A linear-phase band-pass, 350 to 3300 Hz with nulls at 0 and 4000 Hz: one half of the symmetric taps,
/// scaled so that full-scale white noise comes out at -20 dBm0 after [`SHIFT`].
const HALF: [i16; 12] = [
    -11, 2, -22, -32, -29, -159, -24, -318, -151, -208, -790, 1742,
];
const TAPS: usize = 2 * HALF.len();
const FILTER: [i16; TAPS] = mirrored();
const SHIFT: u32 = 15;
/// White samples made of one 64-bit number.
const LANES: usize = 4;

impl TestSignal {
    /// The signal of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The 20 ms with this number; the filter runs on across the borders of blocks.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the filter's gain is below one
    pub fn block(self, number: u64) -> [i16; BLOCK] {
        const CHUNKS: usize = (BLOCK + TAPS) / LANES;
        let mut white = [0_i16; CHUNKS * LANES];
        let first = number.wrapping_mul((BLOCK / LANES) as u64);
        for (index, lanes) in (0_u64..).zip(white.chunks_exact_mut(LANES)) {
            let mut bits = mix(self.seed ^ mix(first.wrapping_add(index)));
            for lane in lanes {
                *lane = bits as i16;
                bits >>= 16;
            }
        }
        let mut block = [0; BLOCK];
        for (out, window) in block.iter_mut().zip(white.windows(TAPS)) {
            let sum: i32 = window
                .iter()
                .zip(&FILTER)
                .map(|(sample, tap)| i32::from(*sample) * i32::from(*tap))
                .sum();
            *out = (sum >> SHIFT) as i16;
        }
        block
    }
}

/// The finaliser of the generator `SplitMix64` (Steele, Lea and Flood, 2014): every bit of the result depends on every
/// bit of `value`.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

const fn mirrored() -> [i16; TAPS] {
    let mut filter = [0; TAPS];
    let mut tap = 0;
    while tap < HALF.len() {
        filter[tap] = HALF[tap];
        filter[TAPS - 1 - tap] = HALF[tap];
        tap += 1;
    }
    filter
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, f64::consts::TAU};

    use super::*;
    use crate::proto::media::{g711::Law, level_dbm0};

    fn samples(signal: TestSignal, blocks: u64) -> Vec<i16> {
        (0..blocks)
            .flat_map(|number| signal.block(number))
            .collect()
    }

    #[test]
    fn the_level_is_that_of_speech() {
        for seed in [0, 1, u64::MAX] {
            let level = level_dbm0(&samples(TestSignal::new(seed), 500)).unwrap();
            assert!((level + 20.0).abs() < 0.2, "{level}");
            // No block is so quiet that somebody might take it for a pause.
            for number in 0..500 {
                let level = level_dbm0(&TestSignal::new(seed).block(number)).unwrap();
                assert!((-23.5..-17.0).contains(&level), "{number}: {level}");
            }
        }
    }

    #[test]
    fn every_block_has_octets_of_its_own() {
        let mut seen = BTreeSet::new();
        for number in 0..20_000 {
            let mut octets = Vec::new();
            Law::Mu.encode_block(&TestSignal::new(7).block(number), &mut octets);
            assert!(seen.insert(octets), "{number}");
        }
    }

    #[test]
    fn a_block_depends_on_seed_and_number_alone() {
        let signal = TestSignal::new(7);
        assert_eq!(signal.block(u64::MAX), TestSignal::new(7).block(u64::MAX));
        assert_ne!(signal.block(3), TestSignal::new(8).block(3));
    }

    #[test]
    fn the_power_lies_in_the_telephone_band() {
        let samples = samples(TestSignal::new(7), 400);
        // Goertzel's sum over windows, averaged.
        let power = |frequency: f64| -> f64 {
            samples
                .chunks(400)
                .map(|window| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (at, sample) in (0_u32..).zip(window) {
                        let phase = TAU * frequency * f64::from(at) / 8000.0;
                        re += f64::from(*sample) * phase.cos();
                        im += f64::from(*sample) * phase.sin();
                    }
                    re * re + im * im
                })
                .sum()
        };
        let inside = power(1000.0);
        for frequency in [500.0, 2000.0, 3000.0] {
            let ratio = power(frequency) / inside;
            assert!((0.3..3.0).contains(&ratio), "{frequency}: {ratio}");
        }
        for frequency in [40.0, 3900.0] {
            let ratio = power(frequency) / inside;
            assert!(ratio < 0.02, "{frequency}: {ratio}");
        }
    }

    #[test]
    fn borders_of_blocks_cannot_be_heard() {
        // A jump at a border would make the step there larger than steps are within blocks.
        let samples = samples(TestSignal::new(7), 2000);
        let step = |pair: (usize, &[i16])| f64::from(pair.1[1]) - f64::from(pair.1[0]);
        let (mut border, mut within) = (0.0, 0.0);
        for pair in samples.windows(2).enumerate() {
            let square = step(pair).powi(2);
            if (pair.0 + 1) % BLOCK == 0 {
                border += square * f64::from(u8::try_from(BLOCK - 1).unwrap());
            } else {
                within += square;
            }
        }
        assert!(
            (0.85..1.15).contains(&(border / within)),
            "{}",
            border / within
        );
    }
}
