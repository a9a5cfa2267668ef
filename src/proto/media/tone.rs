//! The milliwatt tone: 1004 Hz at 0 dBm0, what a tone extension plays for as long as the call lasts.

use std::{f64::consts::TAU, sync::LazyLock};

use super::{BLOCK, SAMPLE_RATE, ZERO_DBM0};

/// Its frequency in Hz: 1000 Hz would hit only eight different samples of the 8 kHz.
pub const FREQUENCY: u32 = 1004;
/// Samples after which the tone repeats exactly, here 251 periods: no phase is ever accumulated.
const REPEAT: usize = 2000;

static TONE: LazyLock<[i16; REPEAT]> = LazyLock::new(|| std::array::from_fn(sample));

/// The tone, block by block without end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Milliwatt {
    next: usize,
}

impl Milliwatt {
    /// The tone from its first zero crossing.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0 }
    }

    /// The next 20 ms.
    pub fn next_block(&mut self) -> [i16; BLOCK] {
        let sample = |offset| TONE.get((self.next + offset) % REPEAT).copied();
        let block = std::array::from_fn(|offset| sample(offset).unwrap_or_default());
        self.next = (self.next + BLOCK) % REPEAT;
        block
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // below 2^15
fn sample(at: usize) -> i16 {
    let phase = TAU * f64::from(FREQUENCY) * at as f64 / f64::from(SAMPLE_RATE);
    (ZERO_DBM0 * 2_f64.sqrt() * phase.sin()).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::media::{g711::Law, level_dbm0};

    #[test]
    fn the_level_is_one_milliwatt_in_either_law() {
        let mut tone = Milliwatt::new();
        let samples: Vec<_> = (0..50).flat_map(|_| tone.next_block()).collect();
        assert!(level_dbm0(&samples).unwrap().abs() < 0.001);
        for law in [Law::Mu, Law::A] {
            let coded: Vec<_> = samples.iter().map(|s| law.decode(law.encode(*s))).collect();
            let level = level_dbm0(&coded).unwrap();
            assert!(level.abs() < 0.05, "{law:?} {level}");
        }
    }

    #[test]
    fn an_hour_later_the_phase_is_that_of_the_sine() {
        let mut tone = Milliwatt::new();
        let hour = 180_000;
        for _ in 0..hour {
            tone.next_block();
        }
        let block = tone.next_block();
        for (offset, value) in block.iter().enumerate() {
            // The whole turns since the beginning are taken off before the sine.
            let turns = (hour * BLOCK + offset) * FREQUENCY as usize % SAMPLE_RATE as usize;
            let phase = TAU * f64::from(u32::try_from(turns).unwrap()) / f64::from(SAMPLE_RATE);
            let expected = ZERO_DBM0 * 2_f64.sqrt() * phase.sin();
            assert!((f64::from(*value) - expected).abs() < 1.0, "{offset}");
        }
    }
}
