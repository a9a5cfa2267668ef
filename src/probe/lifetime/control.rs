//! Control probes: is the path up, now? A missed answer counts only while they come back, and come back
//! as fast as they should: an answerer or a path that stalls proves nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Lifetime, question::Later};

/// Time between control probes.
pub(super) const CONTROL: Duration = Duration::from_millis(150);
/// A miss is believed where control probes sent this close to it, before and after, were answered: an
/// outage in between is shorter than the finest step of the grid.
const WINDOW: Duration = Duration::from_millis(450);
/// How long a miss waits for such control probes.
pub(super) const CONTROL_PATIENCE: Duration = Duration::from_secs(3);
/// An answer this late still proves a path, however short its round trip.
const SANE: Duration = Duration::from_millis(300);

/// Control probes: is the path up, now?
#[derive(Debug, Default)]
pub(super) struct Controls {
    pub(super) next: Option<Instant>,
    /// Sent not long ago and not answered, by index.
    open: BTreeMap<u32, Instant>,
    lost: u32,
    /// When those were sent that were answered in time; the oldest go.
    answered: VecDeque<Instant>,
    pub(super) sent: u32,
    pub(super) received: u32,
}

impl Controls {
    /// Takes note of a probe that leaves now.
    pub(super) fn handle_sent(&mut self, index: u32, now: Instant) {
        while let Some(oldest) = self.open.first_entry()
            && *oldest.get() + CONTROL_PATIENCE < now
        {
            oldest.remove();
            self.lost += 1;
        }
        self.open.insert(index, now);
        self.sent += 1;
        self.next = Some(now + CONTROL);
    }

    /// Whether more probes were lost than a clean path loses.
    pub(super) const fn show_loss(&self) -> bool {
        const STRAGGLERS: u32 = 4;
        self.lost > STRAGGLERS
    }

    /// Takes the answer to a probe on a path with this round trip; returns the probe's own where it is
    /// sane, and only then it proves anything.
    pub(super) fn handle_answer(
        &mut self,
        index: u32,
        round_trip: Duration,
        now: Instant,
    ) -> Option<Duration> {
        const REMEMBERED: usize = 64;
        let sent = self.open.remove(&index)?;
        self.received += 1;
        let took = now.saturating_duration_since(sent);
        if took > (round_trip * 4).max(SANE) {
            return None;
        }
        self.answered.push_back(sent);
        if self.answered.len() > REMEMBERED {
            self.answered.pop_front();
        }
        Some(took)
    }

    /// Whether control probes were answered that left shortly before `at` and shortly after.
    pub(super) fn frame(&self, at: Instant) -> bool {
        let before = |sent: &&Instant| **sent <= at && **sent + WINDOW >= at;
        let after = |sent: &&Instant| **sent >= at && **sent <= at + WINDOW;
        self.answered.iter().any(|sent| before(&sent))
            && self.answered.iter().any(|sent| after(&sent))
    }
}

impl Lifetime {
    pub(super) fn send_control(&mut self, now: Instant) {
        let nonce = self.take_nonce();
        self.controls.handle_sent(nonce.index, now);
        let later = Later::default();
        let payload = self.config.answerer.ask(self.token, nonce, true, &later);
        self.transmit(self.config.control, payload, now);
    }

    pub(super) fn handle_control_answer(&mut self, index: u32, now: Instant) {
        self.is_accepted = true;
        if let Some(took) = self.controls.handle_answer(index, self.round_trip, now) {
            self.round_trip = (self.round_trip * 7 + took) / 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Probes that leave at these times, in milliseconds, with these round trips.
    fn answered(start: Instant, probes: &[(u64, u64)]) -> Controls {
        let mut controls = Controls::default();
        for (index, (sent, took)) in (0..).zip(probes) {
            controls.handle_sent(index, start + ms(*sent));
            controls.handle_answer(index, ms(10), start + ms(sent + took));
        }
        controls
    }

    #[test]
    fn a_miss_needs_proof_before_and_after() {
        let start = Instant::now();
        for (probes, expected) in [
            (&[(550, 10), (1450, 10)][..], true),
            (&[(1000, 10)], true),
            (&[(600, 10)], false),
            (&[(1400, 10)], false),
            (&[(549, 10), (1400, 10)], false),
            (&[(600, 10), (1451, 10)], false),
            (&[(600, 10), (1400, 301)], false),
            (&[(600, 301), (1400, 10)], false),
        ] {
            let controls = answered(start, probes);
            assert_eq!(controls.frame(start + ms(1000)), expected, "{probes:?}");
        }
    }

    #[test]
    fn a_long_path_may_take_four_times_its_round_trip() {
        let start = Instant::now();
        let mut controls = Controls::default();
        for (took, expected) in [(799, Some(ms(799))), (801, None)] {
            controls.handle_sent(7, start);
            let sane = controls.handle_answer(7, ms(200), start + ms(took));
            assert_eq!(sane, expected);
        }
        assert_eq!(
            controls.handle_answer(7, ms(200), start),
            None,
            "answered before"
        );
        assert_eq!((controls.sent, controls.received), (2, 2));
    }
}
