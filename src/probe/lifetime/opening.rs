//! How candidates begin: planned a little apart, opened from fresh ports, confirmed, left idle.

use std::time::{Duration, Instant};

use super::{
    Lifetime, Phase, SPACING,
    candidate::{Candidate, Stage},
    edge::Sample,
    question::Later,
};
use crate::{
    probe::{behaviour::Shape, message::Nonce},
    proto::contract::SocketKey,
};

/// Fresh sockets for one candidate whose opening packets get lost.
const MAX_ATTEMPTS: u8 = 8;
/// Streams open this far apart: they take longest, and the longest of them begin first.
const PACE_STREAM: Duration = Duration::from_micros(1800);
/// The other shapes open this far apart: the last of a full budget within three seconds.
const PACE: Duration = Duration::from_micros(7500);

impl Lifetime {
    /// Plans the candidates of a pass.
    pub(super) fn begin_pass(&mut self, now: Instant) {
        self.phase = Phase::Sweeping;
        self.controls.next = Some(now);
        for (shape, mut grid) in std::mem::take(&mut self.plan) {
            let pace = if shape == Shape::Stream {
                grid.reverse();
                PACE_STREAM
            } else {
                PACE * 2
            };
            // One-way and exchange take turns.
            let offset = if shape == Shape::Exchange {
                PACE
            } else {
                Duration::ZERO
            };
            for (place, idle) in (0u32..).zip(grid) {
                let at = now + offset + pace * place;
                let socket = self.take_socket();
                self.deadlines.insert((at, self.candidates.len()));
                self.candidates
                    .push(Candidate::new(shape, idle, socket, at));
            }
        }
    }

    pub(super) fn take_socket(&mut self) -> SocketKey {
        let socket = SocketKey(self.next_socket);
        self.next_socket += 1;
        socket
    }

    pub(super) fn take_nonce(&mut self) -> Nonce {
        let index = self.next_index;
        self.next_index += 1;
        Nonce {
            session: self.session,
            index,
        }
    }

    /// Sends the packet that the candidate is at, and waits for its answer.
    pub(super) fn ask(&mut self, place: usize, stage: Stage, now: Instant) {
        let nonce = self.take_nonce();
        let (copies, patience) = (self.copies(), self.retry_after());
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.stage = stage;
        candidate.index = nonce.index;
        candidate.idle_since = now;
        candidate.copies = 0;
        if stage == Stage::Opening || stage == Stage::Unconfirmed {
            candidate.attempts += 1;
            self.mappings += 1;
        }
        let (socket, idle) = (candidate.socket, candidate.first_idle());
        let isolation = self.config.isolation;
        let later = match (stage, isolation) {
            (Stage::Opening, None) => Later::default(),
            (Stage::Opening, Some(isolation)) => isolation.far_packets(idle),
            (_, Some(_)) => Later::once(idle, (copies, SPACING)),
            (_, None) => Later {
                delays: candidate.delays(),
                ..Later::once(idle, (copies, SPACING))
            },
        };
        let at_once = stage != Stage::Unconfirmed;
        let payload = self.config.answerer.ask(self.token, nonce, at_once, &later);
        self.by_index.insert(nonce.index, place);
        self.transmit(socket, payload, now);
        self.arm(
            place,
            (stage != Stage::Unconfirmed).then_some(now + patience),
        );
    }

    /// Begins the candidate again on a fresh port: whatever was sent from the old one may have opened or
    /// refreshed its mapping.
    pub(super) fn begin_again(&mut self, place: usize, now: Instant) {
        let socket = self.take_socket();
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        if candidate.attempts >= MAX_ATTEMPTS {
            self.conclude(place, Sample::Unknown, now);
            return;
        }
        candidate.socket = socket;
        self.open(place, now);
    }

    pub(super) fn open(&mut self, place: usize, now: Instant) {
        let Some(candidate) = self.candidates.get(place) else {
            return;
        };
        let stage = match candidate.shape {
            Shape::OneWay => Stage::Unconfirmed,
            Shape::Exchange | Shape::Stream => Stage::Opening,
        };
        self.ask(place, stage, now);
        if stage == Stage::Unconfirmed && self.status.is_none() {
            self.status = Some(now + self.retry_after());
        }
    }

    /// The mapping is left idle from now on.
    pub(super) fn leave_idle(&mut self, place: usize, since: Instant) {
        let (keeps_no_delay, wait) = (self.config.answerer.keeps_no_delay(), self.wait());
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.stage = Stage::Idle;
        candidate.idle_since = since;
        candidate.copies = 0;
        candidate.late = false;
        let due = since + candidate.first_idle();
        self.keep_later(place, since);
        self.arm(place, Some(if keeps_no_delay { due } else { due + wait }));
    }
}
