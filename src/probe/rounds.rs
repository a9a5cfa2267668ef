//! Rounds of questions, each beside a control: how many there must be before a silence is believed.
//!
//! A lost packet looks like a filter. A round counts only where its control came back, and so many must count
//! that an accident is out of the question; each question is answered in [`COPIES`] copies.

use std::time::{Duration, Instant};

/// Copies of each answer, and the time between them.
pub(super) const COPIES: u8 = 3;
/// See [`COPIES`].
pub(super) const SPACING: Duration = Duration::from_millis(30);
/// Time between rounds, at least: a lost packet of one says little about the next.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds with an answered control that make a silence certain on a path that loses nothing.
const ENOUGH: u32 = 6;
/// The same on a path that loses packets: at 10 % loss each way a silence is an accident once in ten thousand
/// millions.
const ENOUGH_LOSSY: u32 = 10;
/// Rounds after which the experiment ends all the same.
const MOST: u32 = 24;

/// The state of all rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    /// When each round began, and whether its control was answered.
    all: Vec<(Instant, bool)>,
    round_trip: Duration,
}

impl Rounds {
    /// Begins a round; its number, from 1 on.
    pub(super) fn begin(&mut self, now: Instant) -> u32 {
        self.all.push((now, false));
        self.begun()
    }

    /// When the round that begins now is over.
    pub(super) fn next(&self, now: Instant) -> Instant {
        now + ROUND.max(self.round_trip * 3 / 2)
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.begun() < MOST
    }

    /// Takes the answer to the control of a round.
    pub(super) fn note_control(&mut self, round: u32, now: Instant) {
        let place = usize::try_from(round).unwrap_or(usize::MAX).wrapping_sub(1);
        if let Some((began, answered)) = self.all.get_mut(place)
            && !*answered
        {
            *answered = true;
            let took = now.saturating_duration_since(*began);
            self.round_trip = self.round_trip.max(took);
        }
    }

    /// Whether rounds enough had their control answered; the last one does not count, it has not had its time.
    pub(super) fn is_enough(&self) -> bool {
        let answered = self.answered();
        let pending = u32::from(self.all.last().is_some_and(|(_, answered)| !answered));
        let lossy = answered + pending < self.begun();
        answered > if lossy { ENOUGH_LOSSY } else { ENOUGH }
    }

    /// The longest round trip of a control.
    pub(super) const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Rounds begun, and those whose control was answered.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.begun(), self.answered())
    }

    fn begun(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    fn answered(&self) -> u32 {
        let answered = self.all.iter().filter(|(_, answered)| *answered);
        u32::try_from(answered.count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_where_its_control_came() {
        let now = Instant::now();
        let mut rounds = Rounds::default();
        for answered in [true, false, true, true, true, true, true, true] {
            assert!(!rounds.is_enough());
            let round = rounds.begin(now);
            if answered {
                rounds.note_control(round, now);
            }
        }
        assert_eq!(rounds.counts(), (8, 7));
        assert!(!rounds.is_enough(), "a control was lost: more are needed");
        for _ in 0..4 {
            let round = rounds.begin(now);
            rounds.note_control(round, now);
        }
        assert!(rounds.is_enough());
    }
}
