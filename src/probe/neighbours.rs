//! *Two sources behind one address*: who keeps a port that two hosts send from (RFC 4787 REQ-1, REQ-3)? Two PBXs
//! in one LAN both have port 4569, and only one of them can have it outside.
//!
//! A socket greets a reflector, then one on a second address of this host with the same port does, then the first
//! one again: the newcomer must not have moved it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        asker::{Asker, Said},
        done::Done,
        lifetime::unaided::SIBLINGS,
    },
    proto::contract::{Input, Machine, SocketKey, Transmit},
    types::{LocalAddr, MappedAddr, PeerAddr},
};

/// Whom to ask, and from where.
#[derive(Clone, Debug)]
pub struct NeighboursConfig {
    /// Reflectors, or providers that may be one; the first that is one is the one.
    pub reflectors: Vec<PeerAddr>,
    /// The key of the first socket; the driver has the one [`SIBLINGS`] above at the second address.
    pub socket: SocketKey,
    /// Seed of the sessions.
    pub seed: [u8; 32],
}

/// What a reflector saw of two hosts with one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighboursEvidence {
    /// The reflector; `None` where none answered.
    pub server: Option<PeerAddr>,
    /// The first socket, and where it was seen.
    pub first: (Option<LocalAddr>, Option<MappedAddr>),
    /// The second.
    pub second: (Option<LocalAddr>, Option<MappedAddr>),
    /// The first was seen at the same place when both were open.
    pub stays: Option<bool>,
}

/// The machine.
#[derive(Debug)]
pub struct Neighbours {
    config: NeighboursConfig,
    rng: StdRng,
    place: usize,
    asker: Option<Asker>,
    turn: Turn,
    due: Instant,
    tries: u8,
    evidence: NeighboursEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

/// Whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Second,
    FirstAgain,
    Over,
}

const INTERVAL: Duration = Duration::from_millis(400);
const TRIES: u8 = 8;

impl Neighbours {
    /// Begins with the first reflector.
    #[must_use]
    pub fn new(config: NeighboursConfig, now: Instant) -> Self {
        let mut neighbours = Self {
            rng: StdRng::from_seed(config.seed),
            place: 0,
            asker: None,
            turn: Turn::First,
            due: now,
            tries: 0,
            evidence: NeighboursEvidence::default(),
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        neighbours.ask(now);
        neighbours
    }

    /// What was found so far.
    #[must_use]
    pub const fn evidence(&self) -> &NeighboursEvidence {
        &self.evidence
    }

    /// Whether the experiment is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.turn == Turn::Over
    }

    /// Whether the key is one of its two.
    #[must_use]
    pub const fn owns(&self, socket: SocketKey) -> bool {
        socket.0 == self.config.socket.0 || socket.0 == self.config.socket.0 + SIBLINGS
    }

    fn ask(&mut self, now: Instant) {
        let Some(peer) = self.config.reflectors.get(self.place).copied() else {
            return self.finish();
        };
        if self.tries >= TRIES {
            return match self.turn {
                Turn::First => self.next_reflector(now),
                Turn::Second | Turn::FirstAgain | Turn::Over => self.finish(),
            };
        }
        self.tries += 1;
        self.due = now + INTERVAL;
        let socket = match self.turn {
            Turn::First | Turn::FirstAgain => self.config.socket,
            Turn::Second => SocketKey(self.config.socket.0 + SIBLINGS),
            Turn::Over => return,
        };
        let rng = &mut self.rng;
        let asker = self
            .asker
            .get_or_insert_with(|| Asker::new(peer, rng.random()));
        self.outbox.push_back(Transmit {
            socket,
            peer,
            payload: asker.hello(),
            ttl: None,
        });
    }

    fn next_reflector(&mut self, now: Instant) {
        self.place += 1;
        self.asker = None;
        self.turn_to(Turn::First, now);
    }

    fn turn_to(&mut self, turn: Turn, now: Instant) {
        self.turn = turn;
        self.tries = 0;
        self.ask(now);
    }

    fn handle_said(&mut self, said: &Said, is_first: bool, now: Instant) {
        match (said, self.turn) {
            (Said::Nothing, Turn::First) => self.next_reflector(now),
            (Said::Hello { mapped, .. }, Turn::First) if is_first => {
                self.evidence.server = self.asker.map(|asker| asker.peer);
                self.evidence.first.1 = Some(*mapped);
                self.turn_to(Turn::Second, now);
            }
            (Said::Hello { mapped, .. }, Turn::Second) if !is_first => {
                self.evidence.second.1 = Some(*mapped);
                self.turn_to(Turn::FirstAgain, now);
            }
            (Said::Hello { mapped, .. }, Turn::FirstAgain) if is_first => {
                self.evidence.stays = self.evidence.first.1.map(|first| first == *mapped);
                self.finish();
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        if self.turn != Turn::Over {
            self.turn = Turn::Over;
            self.done = Some(Done);
        }
    }
}

impl Machine for Neighbours {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        if !self.owns(socket) {
            return;
        }
        let is_first = socket == self.config.socket;
        match input {
            Input::Opened { local, .. } if is_first => self.evidence.first.0 = Some(local),
            Input::Opened { local, .. } => self.evidence.second.0 = Some(local),
            Input::Datagram {
                source, payload, ..
            } => {
                let asker = self.asker.as_mut().filter(|asker| asker.peer == source);
                if let Some(said) = asker.and_then(|asker| asker.read(payload)) {
                    self.handle_said(&said, is_first, now);
                }
            }
            Input::Unreachable { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.turn != Turn::Over && self.due <= now {
            self.ask(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<Done> {
        self.done.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        (self.turn != Turn::Over).then_some((self.due, "ask for one of two neighbours again"))
    }
}
