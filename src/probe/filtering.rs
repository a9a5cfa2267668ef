//! *Filtering*: whom does the NAT let in (RFC 4787 §5, RFC 5780 §4.4)?
//!
//! A socket of its own greets one address of a server with two addresses and two ports, and nobody else.
//! Round by round it then asks for answers from the other address and from the other port, and beside them
//! for one from the address that it greeted, the control: a round counts only where its control came back.
//! What stayed silent is asked directly in the end. Where it answers then, from the very endpoint that was
//! silent before, the filter alone stood between; where it does not, nothing is proven.

mod question;
mod rounds;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::question::FilteringServer;
use self::{
    question::{Heard, Kind},
    rounds::Rounds,
};
use crate::{
    probe::{done::Done, evidence::FilteringEvidence},
    proto::{
        contract::{Input, Machine, SocketKey, Transmit},
        token::TOKEN_LENGTH,
    },
    types::{LocalAddr, PeerAddr},
};

/// Who may help, and from where.
#[derive(Clone, Debug)]
pub struct FilteringConfig {
    /// Who is asked; the first that has a second address and port is the one. Each is greeted from a socket
    /// of its own, so that no greeting opens the filter for another.
    pub servers: Vec<FilteringServer>,
    /// The first of the keys that may be used, one a server.
    pub first_socket: SocketKey,
    /// Seed of session and call numbers.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Filtering {
    config: FilteringConfig,
    session: u32,
    phase: Phase,
    /// Which of the servers.
    place: usize,
    token: [u8; TOKEN_LENGTH],
    other: Option<Others>,
    rounds: Rounds,
    local: Option<LocalAddr>,
    evidence: FilteringEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

/// The other endpoints of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Others {
    /// The other address and the other port.
    address: PeerAddr,
    /// The same address, the other port.
    port: PeerAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { due: Instant, tries: u8 },
    Rounds { due: Instant },
    Proving { due: Instant, tries: u8 },
    Over,
}

/// Time between greetings, and between direct questions.
const INTERVAL: Duration = Duration::from_millis(400);
/// How often a server is greeted, and how often what was silent is asked directly.
const TRIES: u8 = 8;
/// Time between rounds, at least: a lost packet of one says little about the next.
const ROUND: Duration = Duration::from_millis(200);

impl Filtering {
    /// Begins with the first server.
    #[must_use]
    pub fn new(config: FilteringConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let mut filtering = Self {
            session: rng.random(),
            phase: Phase::Greeting { due: now, tries: 0 },
            place: 0,
            token: [0; TOKEN_LENGTH],
            other: None,
            rounds: Rounds::default(),
            local: None,
            evidence: FilteringEvidence::default(),
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        filtering.handle_timeout(now);
        filtering
    }

    /// What was found so far; `None` where nobody could be asked.
    #[must_use]
    pub fn evidence(&self) -> Option<FilteringEvidence> {
        if self.config.servers.is_empty() {
            return None;
        }
        Some(self.evidence.clone())
    }

    /// Whether the experiment is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether nothing hangs any more on the servers' other addresses being strangers: others may talk to
    /// them now.
    #[must_use]
    pub fn is_past_silence(&self) -> bool {
        match self.phase {
            Phase::Proving { tries, .. } => tries > 0,
            Phase::Over => true,
            Phase::Greeting { .. } | Phase::Rounds { .. } => false,
        }
    }

    fn server(&self) -> Option<FilteringServer> {
        self.config.servers.get(self.place).copied()
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
        let Some(server) = self.server() else {
            return self.finish();
        };
        if tries >= TRIES {
            return self.next_server(now);
        }
        self.phase = Phase::Greeting {
            due: now + INTERVAL,
            tries: tries + 1,
        };
        let payload = server.greeting(self.session, 0);
        self.send(server.peer(), payload);
    }

    /// Goes on to the next server: this one is silent, or has no second address.
    fn next_server(&mut self, now: Instant) {
        self.place += 1;
        self.local = None;
        self.phase = Phase::Greeting { due: now, tries: 0 };
        self.greet(0, now);
    }

    fn begin_round(&mut self, now: Instant) {
        let Some(server) = self.server() else { return };
        if !self.rounds.may_go_on() {
            return self.begin_proof(now);
        }
        let round = self.rounds.begin(now);
        for kind in Kind::ALL {
            // What was let in once needs no asking again.
            if kind == Kind::Control || self.rounds.let_in(kind).is_none() {
                let payload = server.ask(self.token, self.session, round, kind);
                self.send(server.peer(), payload);
            }
        }
        let due = now + ROUND.max(self.rounds.round_trip() * 3 / 2);
        self.phase = Phase::Rounds { due };
    }

    /// Rounds enough: asks directly what stayed silent, once the copies of the last answers are through. They
    /// would come in behind the direct question.
    fn begin_proof(&mut self, now: Instant) {
        let due = now + ROUND.max(self.rounds.round_trip() * 3 / 2);
        self.phase = Phase::Proving { due, tries: 0 };
    }

    fn prove(&mut self, tries: u8, now: Instant) {
        let (Some(server), Some(other)) = (self.server(), self.other) else {
            return self.finish();
        };
        let wanting: Vec<PeerAddr> = [
            (Kind::OtherAddress, other.address),
            (Kind::OtherPort, other.port),
        ]
        .into_iter()
        .filter(|(kind, _)| self.rounds.is_silent(*kind) && !self.rounds.is_proven(*kind))
        .map(|(_, peer)| peer)
        .collect();
        if wanting.is_empty() || tries >= TRIES {
            return self.finish();
        }
        self.phase = Phase::Proving {
            due: now + INTERVAL.max(self.rounds.round_trip() * 2),
            tries: tries + 1,
        };
        for peer in wanting {
            let payload = server.greeting(self.session, 1);
            self.send(peer, payload);
        }
    }

    fn handle_heard(&mut self, heard: Heard, source: PeerAddr, now: Instant) {
        let Some(server) = self.server() else { return };
        match (heard, self.phase) {
            (Heard::Useless, Phase::Greeting { .. }) if source == server.peer() => {
                self.next_server(now);
            }
            (Heard::Greeting(greeting), Phase::Greeting { .. }) if source == server.peer() => {
                self.evidence.server = Some(source);
                self.evidence.via = Some(server.via());
                self.evidence.mapped = Some(greeting.mapped);
                self.evidence.local = self.local;
                let Some(other) = greeting.others(source) else {
                    self.evidence.one_address = true;
                    return self.next_server(now);
                };
                self.evidence.one_address = false;
                self.other = Some(other);
                self.token = greeting.token;
                self.begin_round(now);
            }
            (
                Heard::Answer { round, kind },
                Phase::Rounds { .. } | Phase::Proving { tries: 0, .. },
            ) => {
                let expected = self.other.map(|other| match kind {
                    Kind::Control => server.peer(),
                    Kind::OtherAddress => other.address,
                    Kind::OtherPort => other.port,
                });
                if expected != Some(source) {
                    return;
                }
                self.rounds.note(round, kind, now);
                self.conclude();
                if self.rounds.let_in(Kind::OtherAddress).is_some() {
                    self.finish();
                } else if self.rounds.is_enough() && matches!(self.phase, Phase::Rounds { .. }) {
                    self.begin_proof(now);
                }
            }
            (Heard::Greeting(_), Phase::Proving { .. }) => {
                let kind = match self.other {
                    Some(other) if other.address == source => Kind::OtherAddress,
                    Some(other) if other.port == source => Kind::OtherPort,
                    _ => return,
                };
                self.rounds.prove(kind);
                self.conclude();
                self.prove(0, now);
            }
            _ => {}
        }
    }

    fn conclude(&mut self) {
        self.evidence.from_other_address = self.rounds.let_in(Kind::OtherAddress);
        self.evidence.from_other_port = self.rounds.let_in(Kind::OtherPort);
    }

    fn finish(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.evidence.rounds = self.rounds.counts();
            self.done = Some(Done);
        }
    }
}

impl Machine for Filtering {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Opened { socket, local } if socket == self.socket() => self.local = Some(local),
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.socket() => {
                let heard = self
                    .server()
                    .and_then(|server| server.read(self.session, payload));
                if let Some(heard) = heard {
                    self.handle_heard(heard, source, now);
                }
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Greeting { due, tries } if due <= now => self.greet(tries, now),
            Phase::Rounds { due } if due <= now => self.begin_round(now),
            Phase::Proving { due, tries } if due <= now => self.prove(tries, now),
            Phase::Greeting { .. } | Phase::Rounds { .. } | Phase::Proving { .. } | Phase::Over => {
            }
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
            Phase::Greeting { due, .. } => Some((due, "greet a server with two addresses again")),
            Phase::Rounds { due } => Some((due, "ask for answers from other addresses")),
            Phase::Proving { due, .. } => Some((due, "ask what was silent directly")),
            Phase::Over => None,
        }
    }
}
