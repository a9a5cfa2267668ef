//! The rounds: what came of each question, and whether there were enough of them.

use std::time::{Duration, Instant};

use super::question::Kind;

/// Rounds with an answered control that make a silence certain on a path that loses nothing.
const ENOUGH: u32 = 6;
/// The same on a path that loses packets: at 10 % loss each way one silence in ten thousand millions would be
/// an accident, since each question is answered thrice.
const ENOUGH_LOSSY: u32 = 10;
/// Rounds after which the experiment ends all the same.
const MOST: u32 = 24;

/// The state of all rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When each round began, and whether its control was answered.
    all: Vec<(Instant, bool)>,
    other_address: Silence,
    other_port: Silence,
    round_trip: Duration,
}

/// What is known of one kind of question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    /// Nothing came yet.
    #[default]
    Silent,
    /// Nothing came, and the endpoint answers when it is asked directly.
    Proven,
    /// An answer came.
    Broken,
}

impl Rounds {
    /// Begins a round; its number.
    pub(super) fn begin(&mut self, now: Instant) -> u32 {
        self.all.push((now, false));
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.begun() < MOST
    }

    /// Takes an answer to a question of a round.
    pub(super) fn note(&mut self, round: u32, kind: Kind, now: Instant) {
        match kind {
            Kind::OtherAddress => self.other_address = Silence::Broken,
            Kind::OtherPort => self.other_port = Silence::Broken,
            Kind::Control => {
                let place = usize::try_from(round).unwrap_or(usize::MAX).wrapping_sub(1);
                if let Some((began, answered)) = self.all.get_mut(place) {
                    if !*answered {
                        self.round_trip =
                            self.round_trip.max(now.saturating_duration_since(*began));
                    }
                    *answered = true;
                }
            }
        }
    }

    /// Takes note that an endpoint answers when it is asked directly.
    pub(super) fn prove(&mut self, kind: Kind) {
        let silence = match kind {
            Kind::OtherAddress => &mut self.other_address,
            Kind::OtherPort => &mut self.other_port,
            Kind::Control => return,
        };
        if *silence == Silence::Silent {
            *silence = Silence::Proven;
        }
    }

    /// Whether rounds enough had their control answered; the last one counts when it has had its time.
    pub(super) fn is_enough(&self) -> bool {
        let answered = self.answered();
        let pending = u32::from(self.all.last().is_some_and(|(_, answered)| !answered));
        let lossy = answered + pending < self.begun();
        answered > if lossy { ENOUGH_LOSSY } else { ENOUGH }
    }

    /// Whether an endpoint was let in; `None` while a silence is not proven to be the filter's.
    pub(super) fn let_in(&self, kind: Kind) -> Option<bool> {
        match self.silence(kind) {
            Silence::Silent => None,
            Silence::Proven => Some(false),
            Silence::Broken => Some(true),
        }
    }

    pub(super) fn is_silent(&self, kind: Kind) -> bool {
        self.is_enough() && self.silence(kind) != Silence::Broken
    }

    pub(super) fn is_proven(&self, kind: Kind) -> bool {
        self.silence(kind) == Silence::Proven
    }

    /// The longest round trip of a control.
    pub(super) const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Rounds begun, and those whose control was answered.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.begun(), self.answered())
    }

    fn silence(&self, kind: Kind) -> Silence {
        match kind {
            Kind::OtherAddress => self.other_address,
            Kind::OtherPort => self.other_port,
            Kind::Control => Silence::Broken,
        }
    }

    fn begun(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    fn answered(&self) -> u32 {
        u32::try_from(self.all.iter().filter(|(_, answered)| *answered).count()).unwrap_or(u32::MAX)
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
                rounds.note(round, Kind::Control, now);
            }
        }
        assert_eq!(rounds.counts(), (8, 7));
        assert!(!rounds.is_enough(), "a control was lost: more are needed");
        for _ in 0..4 {
            let round = rounds.begin(now);
            rounds.note(round, Kind::Control, now);
        }
        assert!(rounds.is_enough());
    }

    #[test]
    fn a_silence_is_the_filters_where_the_endpoint_answers_directly() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.let_in(Kind::OtherAddress), None);
        rounds.prove(Kind::OtherAddress);
        assert_eq!(rounds.let_in(Kind::OtherAddress), Some(false));
        rounds.note(1, Kind::OtherPort, Instant::now());
        rounds.prove(Kind::OtherPort);
        assert_eq!(rounds.let_in(Kind::OtherPort), Some(true));
    }
}
