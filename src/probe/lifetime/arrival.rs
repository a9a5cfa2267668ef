//! Packets that have no answer at once: whether they arrived is asked for from another socket.

use std::time::Instant;

use super::{
    Lifetime,
    candidate::{Candidate, Stage},
    question::Answerer,
};
use crate::probe::{behaviour::Shape, message::MAX_STATUS};

/// How often the arrival of a packet without an answer is asked for before it is taken for lost.
const STATUSES: u8 = 4;

impl Lifetime {
    /// One-way packets that arrived are left idle, the others are sent again from fresh ports.
    pub(super) fn handle_arrived(&mut self, indices: &[u32]) {
        let unconfirmed: Vec<(usize, Candidate)> = self
            .candidates
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, candidate)| candidate.stage == Stage::Unconfirmed)
            .collect();
        for (place, candidate) in unconfirmed {
            if indices.contains(&candidate.index) {
                self.leave_idle(place, candidate.idle_since + self.round_trip);
            }
        }
    }

    /// Asks for the arrival of one-way packets; those that were asked for before and did not arrive
    /// begin again.
    pub(super) fn ask_status(&mut self, now: Instant) {
        let patience = self.retry_after();
        let mut waiting = Vec::new();
        let mut lost = Vec::new();
        for (place, candidate) in self.candidates.iter_mut().enumerate() {
            if candidate.stage != Stage::Unconfirmed || now < candidate.idle_since + patience {
                continue;
            }
            if candidate.copies >= STATUSES {
                lost.push(place);
            } else {
                candidate.copies += 1;
                waiting.push(candidate.index);
            }
        }
        for place in lost {
            self.begin_again(place, now);
        }
        let expected = self.candidates.iter().any(|candidate| {
            candidate.stage == Stage::Unconfirmed
                || (candidate.shape == Shape::OneWay && candidate.stage == Stage::Planned)
        });
        self.status = expected.then_some(now + patience);
        for indices in waiting.chunks(MAX_STATUS) {
            let payload = Answerer::status(self.token, self.session, indices.to_vec());
            self.transmit(self.config.control, payload, now);
        }
    }
}
