//! Whether the host slept, and whether somebody has set its clock.

use std::time::{Duration, Instant, SystemTime};

use crate::{guard::observation::Seen, net::clock};

/// A smaller difference is the work of whoever keeps the clock right.
const LEAST: Duration = Duration::from_secs(2);

/// The three clocks, as they were read last.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// Goes on while the host sleeps.
    boot: Instant,
    /// Stands still meanwhile.
    awake: Instant,
    wall: SystemTime,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            boot: clock::now(),
            awake: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// What has happened to the clocks since.
    pub(crate) fn look(&mut self) -> Vec<Seen> {
        let now = Self::new();
        let passed = now.boot.saturating_duration_since(self.boot);
        let awake = now.awake.saturating_duration_since(self.awake);
        let said = now
            .wall
            .duration_since(self.wall)
            .map_or_else(|back| -back.duration().as_secs_f64(), |on| on.as_secs_f64());
        *self = now;
        judge(passed, awake, said)
    }
}

fn judge(passed: Duration, awake: Duration, said: f64) -> Vec<Seen> {
    let mut seen = vec![];
    let lasted = passed.saturating_sub(awake);
    if lasted >= LEAST {
        seen.push(Seen::Slept { lasted });
    }
    let by = said - passed.as_secs_f64();
    if by.abs() >= LEAST.as_secs_f64() {
        #[allow(clippy::cast_possible_truncation)] // a cast of floats saturates
        let by_s = by.round() as i64;
        seen.push(Seen::ClockSet { by_s });
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_a_clock_that_was_set_are_told_apart() {
        let seconds = Duration::from_secs;
        assert_eq!(judge(seconds(60), seconds(60), 60.4), []);
        let slept = judge(seconds(3600), seconds(30), 3600.0);
        let lasted = seconds(3570);
        assert_eq!(slept, [Seen::Slept { lasted }]);
        let set = judge(seconds(10), seconds(10), -3590.0);
        assert_eq!(set, [Seen::ClockSet { by_s: -3600 }]);
    }
}
