//! Durations counted in classes, so that the quantiles of a call of hours need no more memory than
//! those of a second.

use std::time::Duration;

/// Counts by length: exact to the microsecond below 32 µs, to 1/32 of the value up to 8.3 s.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Box<[u32; CLASSES]>,
    total: u64,
    min: Duration,
    max: Duration,
}

/// Classes an octave.
const FINE: u64 = 32;
/// Octaves above the first [`FINE`] microseconds.
const OCTAVES: u64 = 18;
#[allow(clippy::cast_possible_truncation)] // 608
const CLASSES: usize = LAST as usize + 1;
const LAST: u64 = FINE * (OCTAVES + 1) - 1;

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: Box::new([0; CLASSES]),
            total: 0,
            min: Duration::MAX,
            max: Duration::ZERO,
        }
    }

    pub(super) fn record(&mut self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(class(micros)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn min(&self) -> Option<Duration> {
        (self.total > 0).then_some(self.min)
    }

    pub(super) fn max(&self) -> Option<Duration> {
        (self.total > 0).then_some(self.max)
    }

    /// The shortest duration, rounded up to the end of its class, that at least `thousandths` of all
    /// do not exceed.
    pub(super) fn quantile(&self, thousandths: u16) -> Option<Duration> {
        let wanted = (self.total * u64::from(thousandths)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (class, count) in (0_u64..).zip(self.counts.iter()) {
            seen += u64::from(*count);
            if seen >= wanted {
                // The last class has no end.
                let end = match class {
                    LAST => self.max,
                    _ => Duration::from_micros(last_of(class)),
                };
                return Some(end.clamp(self.min, self.max));
            }
        }
        None
    }
}

/// The class of a number of microseconds.
fn class(micros: u64) -> usize {
    let octave = u64::from(micros.checked_ilog2().unwrap_or(0)).saturating_sub(5);
    let class = octave * FINE + (micros >> octave);
    usize::try_from(class).map_or(CLASSES - 1, |class| class.min(CLASSES - 1))
}

/// The largest number of microseconds of a class.
const fn last_of(class: u64) -> u64 {
    let octave = (class / FINE).saturating_sub(1);
    ((class - octave * FINE + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_without_a_hole() {
        let mut last = None;
        for micros in (0..5000).chain((5000..9_000_000).step_by(37)) {
            let class = class(micros);
            let end = last_of(class as u64);
            if class < CLASSES - 1 {
                assert!(
                    end >= micros && end - micros <= micros / 32,
                    "{micros} {end}"
                );
            }
            assert!(last.is_none_or(|last| class >= last), "{micros}");
            last = Some(class);
        }
        assert_eq!(last, Some(CLASSES - 1));
    }

    #[test]
    fn quantiles_are_right_within_a_class() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(500), None);
        assert_eq!((histogram.min(), histogram.max()), (None, None));
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        for (thousandths, exact) in [(1, 1), (500, 500), (950, 950), (990, 990), (1000, 1000)] {
            let found = histogram.quantile(thousandths).unwrap().as_micros();
            assert!((exact * 1000..=exact * 1032).contains(&found), "{found}");
        }
        assert_eq!(histogram.min(), Some(Duration::from_millis(1)));
        assert_eq!(histogram.max(), Some(Duration::from_secs(1)));

        histogram.record(Duration::from_secs(3600));
        assert_eq!(histogram.quantile(1000), Some(Duration::from_secs(3600)));
    }
}
