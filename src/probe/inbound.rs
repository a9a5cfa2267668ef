//! *Inbound*: does a packet that nobody asked for reach the real service?
//!
//! A reflector sends POKEs from its other endpoint, a stranger to the PBX, to the PBX's port at our public
//! address, and tells when one is answered. A silence counts only where control probes to the reflector came
//! back meanwhile. Whether the port is not forwarded, or nobody is there to answer, this cannot tell.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        asker::{Asker, Said},
        done::Done,
        evidence::InboundEvidence,
        message::{Answer, Refused, Request},
        rounds::Rounds,
    },
    proto::contract::{Input, Machine, SocketKey, Transmit},
    types::{MappedAddr, PeerAddr},
    wire::iax2::PORT,
};

/// Which port is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundPlan {
    /// The UDP port of the PBX at our public address.
    pub port: u16,
    /// The PBX takes calls there from hosts that it does not register with.
    pub needed: bool,
}

impl Default for InboundPlan {
    fn default() -> Self {
        Self {
            port: PORT,
            needed: false,
        }
    }
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// Reflectors, or providers that may be one; the first that has a second address is the one.
    pub reflectors: Vec<PeerAddr>,
    /// The first of the keys that may be used, one a reflector.
    pub first_socket: SocketKey,
    /// What is to be reached.
    pub plan: InboundPlan,
    /// Seed of the session.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Inbound {
    config: InboundConfig,
    rng: StdRng,
    place: usize,
    asker: Option<Asker>,
    phase: Phase,
    rounds: Rounds,
    evidence: InboundEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { due: Instant, tries: u8 },
    Knocking { due: Instant },
    Over,
}

const INTERVAL: Duration = Duration::from_millis(400);
const TRIES: u8 = 8;

impl Inbound {
    /// Begins with the first reflector.
    #[must_use]
    pub fn new(config: InboundConfig, now: Instant) -> Self {
        let mut inbound = Self {
            rng: StdRng::from_seed(config.seed),
            place: 0,
            asker: None,
            phase: Phase::Greeting { due: now, tries: 0 },
            rounds: Rounds::default(),
            evidence: InboundEvidence {
                port: config.plan.port,
                needed: config.plan.needed,
                ..InboundEvidence::default()
            },
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        inbound.handle_timeout(now);
        inbound
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> InboundEvidence {
        self.evidence.clone()
    }

    /// Whether the experiment is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    fn socket(&self) -> SocketKey {
        let place = u32::try_from(self.place).unwrap_or(u32::MAX);
        SocketKey(self.config.first_socket.0.saturating_add(place))
    }

    fn send(&mut self, peer: PeerAddr, payload: Vec<u8>) {
        let socket = self.socket();
        self.outbox.push_back(Transmit {
            socket,
            peer,
            payload,
            ttl: None,
        });
    }

    fn greet(&mut self, tries: u8, now: Instant) {
        let Some(peer) = self.config.reflectors.get(self.place).copied() else {
            return self.finish();
        };
        if tries >= TRIES {
            return self.next_reflector(now);
        }
        self.phase = Phase::Greeting {
            due: now + INTERVAL,
            tries: tries + 1,
        };
        let rng = &mut self.rng;
        let asker = self
            .asker
            .get_or_insert_with(|| Asker::new(peer, rng.random()));
        let payload = asker.hello();
        self.send(peer, payload);
    }

    fn next_reflector(&mut self, now: Instant) {
        self.place += 1;
        self.asker = None;
        self.phase = Phase::Greeting { due: now, tries: 0 };
        self.greet(0, now);
    }

    fn knock(&mut self, now: Instant) {
        let Some(asker) = self.asker else { return };
        if self.rounds.is_enough() {
            self.evidence.answered = Some(false);
        }
        if self.rounds.is_enough() || !self.rounds.may_go_on() {
            return self.finish();
        }
        let round = self.rounds.begin(now);
        self.phase = Phase::Knocking {
            due: self.rounds.next(now),
        };
        let knock = Request::Knock {
            token: asker.token(),
            nonce: asker.nonce(round << 1 | 1),
            port: self.config.plan.port,
        };
        let knock = asker.poke(&knock, round << 1 | 1);
        self.send(asker.peer, knock);
        let control = asker.ask(round << 1);
        self.send(asker.peer, control);
    }

    fn handle_said(&mut self, said: &Said, now: Instant) {
        match (said, self.phase) {
            (Said::Nothing, Phase::Greeting { .. }) => self.next_reflector(now),
            (Said::Hello { mapped, other }, Phase::Greeting { .. }) => {
                if other.is_none() {
                    return self.next_reflector(now);
                }
                let mut address = mapped.get();
                address.set_port(self.config.plan.port);
                self.evidence.address = Some(MappedAddr::new(address));
                self.evidence.from = *other;
                self.knock(now);
            }
            (Said::Echo { index, .. }, Phase::Knocking { .. }) => {
                if index & 1 == 0 {
                    self.rounds.note_control(index >> 1, now);
                } else {
                    self.evidence.answered = Some(true);
                    self.finish();
                }
            }
            (
                Said::Other(Answer::Refused {
                    reason: Refused::NoSocket | Refused::Quota,
                    ..
                }),
                Phase::Knocking { .. },
            ) => self.finish(),
            _ => {}
        }
    }

    fn finish(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.done = Some(Done);
        }
    }
}

impl Machine for Inbound {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.socket() => {
                let asker = self.asker.as_mut().filter(|asker| asker.peer == source);
                let said = asker.and_then(|asker| asker.read(payload));
                if let Some(said) = said {
                    self.handle_said(&said, now);
                }
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Greeting { due, tries } if due <= now => self.greet(tries, now),
            Phase::Knocking { due } if due <= now => self.knock(now),
            Phase::Greeting { .. } | Phase::Knocking { .. } | Phase::Over => {}
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<Done> {
        self.done.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.phase {
            Phase::Greeting { due, .. } => Some((due, "greet a reflector that knocks again")),
            Phase::Knocking { due } => Some((due, "have the reflector knock again")),
            Phase::Over => None,
        }
    }
}
