//! What answers say: to the greeting, to a candidate's packet, about arrivals.

use std::time::Instant;

use super::{Lifetime, Phase, WARM_UP, candidate::Stage, edge::Sample, question::Reply};
use crate::{probe::behaviour::Shape, proto::contract::SocketKey, types::MappedAddr};

impl Lifetime {
    pub(super) fn handle_reply(&mut self, reply: Reply, socket: SocketKey, now: Instant) {
        self.last_packet = now;
        match (reply, self.phase) {
            (Reply::Greeting { token }, Phase::Greeting { sent_at, .. }) => {
                self.token = token;
                self.round_trip = now.saturating_duration_since(sent_at);
                self.begin_pass(now);
            }
            (Reply::Echo { nonce, .. }, Phase::Greeting { sent_at, .. })
                if nonce.session == self.session && nonce.index == 0 =>
            {
                self.round_trip = now.saturating_duration_since(sent_at);
                self.begin_pass(now);
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
                    self.controls.handle_answer(nonce.index);
                } else if let Some(&place) = self.by_index.get(&nonce.index) {
                    self.handle_echo(place, nonce.index, socket, which, mapped, now);
                }
            }
            (Reply::Arrived(indices), Phase::Sweeping) => self.handle_arrived(&indices),
            (Reply::Refused(index), Phase::Sweeping) => {
                if let Some(&place) = self.by_index.get(&index) {
                    self.conclude(place, Sample::Unknown, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn handle_echo(
        &mut self,
        place: usize,
        index: u32,
        socket: SocketKey,
        which: u8,
        mapped: MappedAddr,
        now: Instant,
    ) {
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        if candidate.index != index || candidate.socket != socket {
            return;
        }
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
}
