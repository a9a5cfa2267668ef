//! *Filtering*: whom does the NAT let in (RFC 4787 §5, RFC 5780 §4.4)?
//!
//! A socket of its own greets one address of a server with two addresses and two ports, and nobody else.
//! Round by round it then asks for answers from the other address and from the other port, and beside them
//! for one from the address that it greeted, the control: a round counts only where its control came back.
//! What stayed silent is asked directly in the end. Where it answers then, from the very endpoint that was
//! silent before, the filter alone stood between; where it does not, nothing is proven.

mod question;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::question::FilteringServer;
use self::question::{Heard, Kind};
use crate::{
    probe::{asker::Asker, done::Done, evidence::FilteringEvidence, rounds::Rounds},
    proto::contract::{Input, Machine, SocketKey, Transmit},
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
    asker: Option<Asker>,
    other: Option<Others>,
    rounds: Rounds,
    other_address: Silence,
    other_port: Silence,
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

/// What is known of another endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    /// Nothing came yet.
    #[default]
    Silent,
    /// Nothing came, and the endpoint answers when it is asked directly.
    Proven,
    /// An answer came.
    Broken,
}

impl Silence {
    /// Whether the endpoint was let in; `None` while a silence is not proven to be the filter's.
    const fn let_in(self) -> Option<bool> {
        match self {
            Self::Silent => None,
            Self::Proven => Some(false),
            Self::Broken => Some(true),
        }
    }
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

impl Filtering {
    /// Begins with the first server.
    #[must_use]
    pub fn new(config: FilteringConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let mut filtering = Self {
            session: rng.random(),
            phase: Phase::Greeting { due: now, tries: 0 },
            place: 0,
            asker: None,
            other: None,
            rounds: Rounds::default(),
            other_address: Silence::default(),
            other_port: Silence::default(),
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
        let asker = self
            .asker
            .get_or_insert_with(|| Asker::new(server.peer(), self.session));
        let payload = server.greeting(asker, 0);
        self.send(server.peer(), payload);
    }

    /// Goes on to the next server: this one is silent, or has no second address.
    fn next_server(&mut self, now: Instant) {
        self.place += 1;
        self.asker = None;
        self.local = None;
        self.phase = Phase::Greeting { due: now, tries: 0 };
        self.greet(0, now);
    }

    fn begin_round(&mut self, now: Instant) {
        let (Some(server), Some(asker)) = (self.server(), self.asker) else {
            return;
        };
        if !self.rounds.may_go_on() {
            return self.begin_proof(now);
        }
        let round = self.rounds.begin(now);
        for kind in Kind::ALL {
            // What was let in once needs no asking again.
            if self.silence(kind) != Some(Silence::Broken) {
                let payload = server.ask(&asker, round, kind);
                self.send(server.peer(), payload);
            }
        }
        let due = self.rounds.next(now);
        self.phase = Phase::Rounds { due };
    }

    /// What is known of the endpoint that such an answer comes from.
    const fn silence(&self, kind: Kind) -> Option<Silence> {
        match kind {
            Kind::Control => None,
            Kind::OtherAddress => Some(self.other_address),
            Kind::OtherPort => Some(self.other_port),
        }
    }

    /// Rounds enough: asks directly what stayed silent, once the copies of the last answers are through. They
    /// would come in behind the direct question.
    fn begin_proof(&mut self, now: Instant) {
        let due = self.rounds.next(now);
        self.phase = Phase::Proving { due, tries: 0 };
    }

    fn prove(&mut self, tries: u8, now: Instant) {
        let (Some(server), Some(asker), Some(other)) = (self.server(), self.asker, self.other)
        else {
            return self.finish();
        };
        let silent = [
            (self.other_address, other.address),
            (self.other_port, other.port),
        ]
        .into_iter()
        .filter(|(silence, _)| *silence == Silence::Silent && self.rounds.is_enough());
        let wanting: Vec<PeerAddr> = silent.map(|(_, peer)| peer).collect();
        if wanting.is_empty() || tries >= TRIES {
            return self.finish();
        }
        self.phase = Phase::Proving {
            due: now + INTERVAL.max(self.rounds.round_trip() * 2),
            tries: tries + 1,
        };
        for peer in wanting {
            let payload = server.greeting(&asker, 1);
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
                match kind {
                    Kind::Control => self.rounds.note_control(round, now),
                    Kind::OtherAddress => self.other_address = Silence::Broken,
                    Kind::OtherPort => self.other_port = Silence::Broken,
                }
                self.conclude();
                if self.other_address == Silence::Broken {
                    self.finish();
                } else if self.rounds.is_enough() && matches!(self.phase, Phase::Rounds { .. }) {
                    self.begin_proof(now);
                }
            }
            (Heard::Greeting(_), Phase::Proving { .. }) => {
                let silence = match self.other {
                    Some(other) if other.address == source => &mut self.other_address,
                    Some(other) if other.port == source => &mut self.other_port,
                    _ => return,
                };
                if *silence == Silence::Silent {
                    *silence = Silence::Proven;
                }
                self.conclude();
                self.prove(0, now);
            }
            _ => {}
        }
    }

    fn conclude(&mut self) {
        self.evidence.from_other_address = self.other_address.let_in();
        self.evidence.from_other_port = self.other_port.let_in();
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
                    .zip(self.asker.as_mut())
                    .and_then(|(server, asker)| server.read(asker, payload));
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
