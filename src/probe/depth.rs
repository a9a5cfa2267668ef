//! *Mapping in depth*: which ports and addresses do many sockets of one host get (RFC 4787 REQ-2 to 4, REQ-11)?
//!
//! Sixteen fresh sockets greet one reflector, one after the other, and tell where it sees them. That is few
//! enough for any quota of ports, and enough that chance does not look like a rule. Then the first is asked
//! again: the others must not have moved it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        asker::{Asker, Said},
        done::Done,
        evidence::DepthEvidence,
    },
    proto::contract::{Input, Machine, SocketKey, Transmit},
    types::{LocalAddr, MappedAddr, PeerAddr},
};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct DepthConfig {
    /// Reflectors, or providers that may be one; the first that is one is the one.
    pub reflectors: Vec<PeerAddr>,
    /// The first of [`SOCKETS`] keys that may be used.
    pub first_socket: SocketKey,
    /// Seed of the session.
    pub seed: [u8; 32],
}

/// Keys that may be used.
pub const SOCKETS: u32 = COUNT + 1;
/// Sockets that are compared; one more finds the reflector.
const COUNT: u32 = 16;
/// Time between two first packets: a NAT that counts ports up does so in their order.
const PACE: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(400);
const TRIES: u8 = 8;

/// The machine.
#[derive(Debug)]
pub struct Depth {
    config: DepthConfig,
    rng: StdRng,
    place: usize,
    asker: Option<Asker>,
    sockets: Vec<Socket>,
    phase: Phase,
    evidence: DepthEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    due: Option<Instant>,
    tries: u8,
    local: Option<LocalAddr>,
    mapped: Option<MappedAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { due: Instant, tries: u8 },
    Opening,
    Again { due: Instant, tries: u8 },
    Over,
}

impl Depth {
    /// Begins with the first reflector.
    #[must_use]
    pub fn new(config: DepthConfig, now: Instant) -> Self {
        let mut depth = Self {
            rng: StdRng::from_seed(config.seed),
            place: 0,
            asker: None,
            sockets: Vec::new(),
            phase: Phase::Greeting { due: now, tries: 0 },
            evidence: DepthEvidence::default(),
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        depth.handle_timeout(now);
        depth
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> DepthEvidence {
        let mapped = self
            .sockets
            .iter()
            .filter_map(|socket| socket.local.zip(socket.mapped));
        let is_over = |socket: &&Socket| socket.mapped.is_none() && socket.due.is_none();
        let unopened = self.sockets.iter().filter(is_over).count();
        DepthEvidence {
            sockets: mapped.collect(),
            unopened: u32::try_from(unopened).unwrap_or(u32::MAX),
            ..self.evidence.clone()
        }
    }

    /// Whether the experiment is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    fn hello(&mut self, offset: u32) {
        let Some(asker) = self.asker else { return };
        self.outbox.push_back(Transmit {
            socket: SocketKey(self.config.first_socket.0 + offset),
            peer: asker.peer,
            payload: asker.hello(),
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
        self.asker
            .get_or_insert_with(|| Asker::new(peer, rng.random()));
        self.hello(0);
    }

    fn next_reflector(&mut self, now: Instant) {
        self.place += 1;
        self.asker = None;
        self.greet(0, now);
    }

    /// Opens what is due, and asks the first again when all have answered or were given up on.
    fn open(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (offset, socket) in (1..).zip(&mut self.sockets) {
            if socket.due.is_none_or(|due| due > now) {
                continue;
            }
            socket.due = (socket.tries < TRIES).then_some(now + INTERVAL);
            if socket.due.is_some() {
                socket.tries += 1;
                due.push(offset);
            }
        }
        for offset in due {
            self.hello(offset);
        }
        if self.sockets.iter().all(|socket| socket.due.is_none()) {
            self.ask_again(0, now);
        }
    }

    fn ask_again(&mut self, tries: u8, now: Instant) {
        let is_known = self
            .sockets
            .first()
            .is_some_and(|socket| socket.mapped.is_some());
        if tries >= TRIES || !is_known {
            return self.finish();
        }
        self.phase = Phase::Again {
            due: now + INTERVAL,
            tries: tries + 1,
        };
        self.hello(1);
    }

    fn handle_said(&mut self, said: &Said, offset: u32, now: Instant) {
        match (said, self.phase) {
            (Said::Nothing, Phase::Greeting { .. }) => self.next_reflector(now),
            (Said::Hello { .. }, Phase::Greeting { .. }) => {
                self.evidence.server = self.asker.map(|asker| asker.peer);
                self.sockets = (0..COUNT)
                    .map(|place| Socket {
                        due: Some(now + PACE * place),
                        tries: 0,
                        local: None,
                        mapped: None,
                    })
                    .collect();
                self.phase = Phase::Opening;
                self.open(now);
            }
            (Said::Hello { mapped, .. }, Phase::Opening) => {
                let place = usize::try_from(offset).unwrap_or(0).checked_sub(1);
                if let Some(socket) = place.and_then(|place| self.sockets.get_mut(place)) {
                    socket.mapped.get_or_insert(*mapped);
                    socket.due = None;
                }
                self.open(now);
            }
            (Said::Hello { mapped, .. }, Phase::Again { .. }) if offset == 1 => {
                let first = self.sockets.first().and_then(|socket| socket.mapped);
                self.evidence.stays = first.map(|first| first == *mapped);
                self.finish();
            }
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

impl Machine for Depth {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        let offset = socket.0.wrapping_sub(self.config.first_socket.0);
        if offset >= SOCKETS {
            return;
        }
        match input {
            Input::Opened { local, .. } => {
                let place = usize::try_from(offset).unwrap_or(0).checked_sub(1);
                if let Some(socket) = place.and_then(|place| self.sockets.get_mut(place)) {
                    socket.local = Some(local);
                }
            }
            Input::Datagram {
                source, payload, ..
            } => {
                let asker = self.asker.as_mut().filter(|asker| asker.peer == source);
                if let Some(said) = asker.and_then(|asker| asker.read(payload)) {
                    self.handle_said(&said, offset, now);
                }
            }
            Input::Unreachable { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Greeting { due, tries } if due <= now => self.greet(tries, now),
            Phase::Opening => self.open(now),
            Phase::Again { due, tries } if due <= now => self.ask_again(tries, now),
            Phase::Greeting { .. } | Phase::Again { .. } | Phase::Over => {}
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
            Phase::Greeting { due, .. } => Some((due, "greet a reflector for many mappings again")),
            Phase::Opening => {
                let due = self.sockets.iter().filter_map(|socket| socket.due).min();
                due.map(|due| (due, "open another mapping"))
            }
            Phase::Again { due, .. } => Some((due, "see whether the first mapping has moved")),
            Phase::Over => None,
        }
    }
}
