//! The one place where the time is read for the machines.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// Where both clocks stood when they were first read.
static START: OnceLock<(Instant, Duration)> = OnceLock::new();

/// The time since the host was started, as an [`Instant`]: no setting of the wall clock moves it, and it
/// goes on while the host sleeps (`CLOCK_BOOTTIME`), as the timers of NATs and servers do. It may lie
/// ahead of [`Instant::now`], which stands still then.
#[must_use]
pub fn now() -> Instant {
    let Some(since_boot) = since_boot() else {
        return Instant::now();
    };
    let (instant, then) = *START.get_or_init(|| (Instant::now(), since_boot));
    instant + since_boot.saturating_sub(then)
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .ok()
        .map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_pace_with_the_monotonic_clock() {
        let (ours, theirs) = (now(), Instant::now());
        std::thread::sleep(Duration::from_millis(300));
        let (ours, theirs) = (now() - ours, theirs.elapsed());
        assert!(ours >= Duration::from_millis(300));
        assert!(
            ours.abs_diff(theirs) < Duration::from_millis(200),
            "{ours:?} {theirs:?}"
        );
    }
}
