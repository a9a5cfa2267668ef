//! The greeting: is the answerer there, and which token does it give? And of a STUN server: does it answer
//! where it is told to?

use std::time::{Duration, Instant};

use super::{
    Lifetime, LifetimeEvent, Phase,
    question::{Answerer, Later},
};
use crate::{probe::message::Nonce, proto::contract::SocketKey, types::MappedAddr};

/// Greetings before the answerer is given up on.
const GREETINGS: u8 = 8;
/// Time between them.
const GREETING_INTERVAL: Duration = Duration::from_millis(500);
/// Fresh mappings that RESPONSE-PORT is tried on before the server is taken not to know it.
const PROOFS: u8 = 8;
/// A token that was to be renewed and was not is asked for again after this time.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// A mapping that is not left idle at all: if its answer does not come, none ever will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) due: Instant,
    pub(super) tries: u8,
    pub(super) socket: SocketKey,
    pub(super) index: u32,
}

impl Lifetime {
    pub(super) fn greet(&mut self, transmissions: u8, now: Instant) {
        if transmissions >= GREETINGS {
            self.phase = Phase::Over;
            self.events.push_back(LifetimeEvent::NoAnswerer);
            return;
        }
        self.phase = Phase::Greeting {
            due: now + GREETING_INTERVAL,
            transmissions: transmissions + 1,
        };
        self.send_greeting(now);
    }

    /// A sweep may outlast its token. It is renewed before its end, so that a token that is refused all the
    /// same belongs to an answerer that has begun anew, and forgotten what it was to answer.
    pub(super) fn renew_later(&mut self, lifetime: Duration, now: Instant) {
        self.renew = Some(now + (lifetime / 2).max(RENEW_AGAIN));
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.renew = Some(now + RENEW_AGAIN);
        self.send_greeting(now);
    }

    fn send_greeting(&mut self, now: Instant) {
        const REMEMBERED: usize = 16;
        let nonce = self.take_nonce();
        self.greetings.push_back((nonce.index, now));
        if self.greetings.len() > REMEMBERED {
            self.greetings.pop_front();
        }
        let greeting = self.config.answerer.greeting(nonce);
        self.transmit(self.config.control, greeting, now);
    }

    /// When the greeting with this index left, where there was one that is not answered.
    pub(super) fn take_greeting(&mut self, index: u32) -> Option<Instant> {
        let place = self.greetings.iter().position(|(sent, _)| *sent == index)?;
        self.greetings.remove(place).map(|(_, sent_at)| sent_at)
    }

    /// Opens a fresh mapping and has it answered through another socket, as every idle time will be: a
    /// server that ignores or refuses RESPONSE-PORT would look like a NAT that forgets at once.
    pub(super) fn prove(&mut self, tries: u8, now: Instant) {
        if tries >= PROOFS {
            self.phase = Phase::Over;
            self.events.push_back(LifetimeEvent::NoAnswerer);
            return;
        }
        let (socket, nonce) = (self.take_socket(), self.take_nonce());
        self.phase = Phase::Proving(Proof {
            due: now + GREETING_INTERVAL.max(self.retry_after()),
            tries: tries + 1,
            socket,
            index: nonce.index,
        });
        let later = Later::default();
        let payload = self.config.answerer.ask(self.token, nonce, true, &later);
        self.transmit(socket, payload, now);
    }

    /// An answer came to the mapping that proves: the one at once, or the one that was asked for elsewhere.
    pub(super) fn handle_proof(&mut self, which: u8, mapped: MappedAddr, now: Instant) {
        let Phase::Proving(proof) = self.phase else {
            return;
        };
        if which == 0 {
            let nonce = Nonce {
                session: self.session,
                index: proof.index,
            };
            let payload = Answerer::ask_for(nonce, 1, mapped);
            self.transmit(self.config.control, payload, now);
        } else {
            self.is_proven = true;
            self.begin_pass(now);
        }
    }
}
