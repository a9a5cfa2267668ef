//! One try at the outermost filter: a packet that dies after so many hops opens the filters up to there.

use crate::probe::rounds::Rounds;

/// What opens: nothing that anybody answers, should it arrive.
pub(super) const OPENER: [u8; 4] = [0; 4];

/// A socket that sends its opener with one time to live; 0: it sends none.
#[derive(Clone, Debug)]
pub(super) struct Pinhole {
    ttl: u8,
    pub(super) rounds: Rounds,
    answered: bool,
}

impl Pinhole {
    pub(super) fn new(ttl: u8) -> Self {
        Self {
            ttl,
            rounds: Rounds::default(),
            answered: false,
        }
    }

    pub(super) const fn ttl(&self) -> u8 {
        self.ttl
    }

    /// An answer of the endpoint that the opener went towards came in.
    pub(super) const fn note_answer(&mut self) {
        self.answered = true;
    }

    /// Whether answers come in; `None` where that is not certain.
    pub(super) fn is_open(&self) -> Option<bool> {
        if self.answered {
            Some(true)
        } else {
            self.rounds.is_enough().then_some(false)
        }
    }

    /// Whether nothing more is to be learned.
    pub(super) fn is_closed_question(&self) -> bool {
        self.is_open().is_some() || !self.rounds.may_go_on()
    }
}

/// The hop of the outermost box that filters, from pinholes in the order of their time to live. Without an
/// opener nothing may come in, and up to one time to live all must stay shut: the box drops the packet that
/// dies at it before it notes anything, so that it stands one hop before the first that opens.
pub(super) fn outermost(pinholes: &[Pinhole]) -> Option<u8> {
    let first = pinholes
        .iter()
        .position(|pinhole| pinhole.is_open() == Some(true))?;
    let shut = pinholes.get(..first)?;
    let all_shut = shut.iter().all(|pinhole| pinhole.is_open() == Some(false));
    let ttl = pinholes.get(first)?.ttl;
    (all_shut && ttl > 0).then_some(ttl.saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// `1` is open, `0` shut, `?` not known.
    fn pinholes(states: &str) -> Vec<Pinhole> {
        (0..)
            .zip(states.chars())
            .map(|(ttl, state)| {
                let mut pinhole = Pinhole::new(ttl);
                if state == '0' {
                    let now = Instant::now();
                    for _ in 0..8 {
                        let round = pinhole.rounds.begin(now);
                        pinhole.rounds.note_control(round, now);
                    }
                }
                pinhole.answered = state == '1';
                pinhole
            })
            .collect()
    }

    #[test]
    fn the_first_that_opens_tells_the_hop_where_all_before_are_shut() {
        for (states, hop) in [
            ("0011", Some(1)),
            ("00011", Some(2)),
            ("0001", Some(2)),
            ("011", Some(1)),
            ("111", None),
            ("0000", None),
            ("0?11", None),
            ("?011", None),
            ("00?1", None),
            ("0010", Some(1)),
        ] {
            assert_eq!(outermost(&pinholes(states)), hop, "{states}");
        }
    }
}
