//! What answers say: to the greeting, to a candidate's packet, about arrivals.

use std::time::Instant;

use super::{Lifetime, Phase, WARM_UP, candidate::Stage, edge::Sample, question::Reply};
use crate::{
    probe::{behaviour::Shape, message::Refused},
    proto::contract::SocketKey,
    types::MappedAddr,
};

/// Fresh sockets for one candidate that may have an address which the token is not good for: with two addresses one
/// in thousands needs more.
const MAX_FOREIGN: u8 = 12;

impl Lifetime {
    pub(super) fn handle_reply(&mut self, reply: Reply, socket: SocketKey, now: Instant) {
        self.last_packet = now;
        match (reply, self.phase) {
            (
                Reply::Greeting {
                    index,
                    token,
                    lifetime,
                },
                phase,
            ) if phase != Phase::Over => {
                let Some(sent_at) = self.take_greeting(index) else {
                    return;
                };
                self.token = token;
                self.renew_later(lifetime, now);
                if matches!(phase, Phase::Greeting { .. }) {
                    self.round_trip = now.saturating_duration_since(sent_at);
                    self.begin_pass(now);
                }
            }
            (Reply::Echo { nonce, .. }, Phase::Greeting { .. })
                if nonce.session == self.session =>
            {
                let Some(sent_at) = self.take_greeting(nonce.index) else {
                    return;
                };
                self.round_trip = now.saturating_duration_since(sent_at);
                if self.is_proven {
                    self.begin_pass(now);
                } else {
                    self.prove(0, now);
                }
            }
            (
                Reply::Echo {
                    nonce,
                    which,
                    mapped,
                },
                Phase::Proving(proof),
            ) if nonce.session == self.session
                && nonce.index == proof.index
                && socket == proof.socket =>
            {
                self.handle_proof(which, mapped, now);
            }
            (
                Reply::Echo {
                    nonce,
                    which,
                    mapped,
                },
                Phase::Sweeping,
            ) if nonce.session == self.session => {
                if socket == self.config.control {
                    self.handle_control_answer(nonce.index, now);
                } else if let Some(&place) = self.by_index.get(&nonce.index) {
                    self.handle_echo(place, nonce.index, socket, which, mapped, now);
                }
            }
            (Reply::Arrived { session, indices }, Phase::Sweeping) if session == self.session => {
                self.handle_arrived(&indices);
            }
            (Reply::Refused { index, reason }, Phase::Sweeping) => {
                self.handle_refused(index, reason, socket, now);
            }
            _ => {}
        }
    }

    fn handle_echo(
        &mut self,
        place: usize,
        index: u32,
        socket: SocketKey,
        which: u8,
        mapped: MappedAddr,
        now: Instant,
    ) {
        let patience = self.retry_after();
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        if candidate.index != index || candidate.socket != socket {
            return;
        }
        self.is_accepted = true;
        match (which, candidate.stage) {
            (0, Stage::Opening) => {
                candidate.mapped = Some(mapped);
                if candidate.shape == Shape::Stream {
                    candidate.stage = Stage::Warming;
                    let opened = candidate.idle_since;
                    self.arm(place, Some(opened.max(now) + WARM_UP));
                } else {
                    self.ask(place, Stage::Asking, now);
                }
            }
            // An answer that was read late does not tell when the idle time began.
            (0, Stage::Asking) if now > candidate.idle_since + patience => {
                self.begin_again(place, now);
            }
            (0, Stage::Asking) => self.leave_idle(place, now),
            // A delayed answer proves the mapping alive whatever we believed before.
            (1, Stage::Unconfirmed | Stage::Idle | Stage::Over | Stage::Asking)
                if candidate.sample != Sample::Alive =>
            {
                self.conclude(place, Sample::Alive, now);
            }
            (2, Stage::IdleAgain) => self.conclude_second(place, Sample::Alive),
            _ => {}
        }
    }

    /// A request that is refused will not be answered later. A token is good for one public address alone: behind a
    /// NAT with several, another socket may have the right one.
    fn handle_refused(&mut self, index: u32, reason: Refused, socket: SocketKey, now: Instant) {
        let Some(&place) = self.by_index.get(&index) else {
            return;
        };
        let concerns = self.candidates.get(place).is_some_and(|candidate| {
            candidate.index == index
                && candidate.socket == socket
                && candidate.sample == Sample::Open
        });
        let is_fresh = self.candidates.get(place).is_some_and(|candidate| {
            matches!(candidate.stage, Stage::Opening | Stage::Unconfirmed)
        });
        if concerns && is_fresh && reason == Refused::Token && self.is_accepted {
            if let Some(candidate) = self.candidates.get_mut(place)
                && candidate.foreign < MAX_FOREIGN
            {
                candidate.foreign += 1;
                candidate.attempts = candidate.attempts.saturating_sub(1);
            }
            self.begin_again(place, now);
        } else if concerns {
            match reason {
                Refused::Quota => self.refused.quota += 1,
                Refused::Token => self.refused.token += 1,
                Refused::NoSocket => {}
            }
            self.conclude(place, Sample::Unknown, now);
        }
    }
}
