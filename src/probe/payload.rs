//! *Payload*: does what arrives equal what left (RFC 4787 REQ-10: NATs that rewrite addresses in the content)?
//!
//! A POKE with bait in it, addresses of ours in the forms that rewriters look for, goes to a reflector, which
//! repeats it with every bit turned. What differs was changed on the way out. The answer names our public
//! address twice, once turned: if the plain one differs, it was changed on the way in. A change counts only
//! where it shows in every answer.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        asker::{Asker, Said},
        done::Done,
        evidence::{ChangedOctet, PayloadEvidence},
        message::{Answer, Mirror, Mirrored, Request},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit},
    types::{LocalAddr, MappedAddr, PeerAddr},
};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct PayloadConfig {
    /// Reflectors, or providers that may be one; the first that is one is the one.
    pub reflectors: Vec<PeerAddr>,
    /// The first of the keys that may be used, one a reflector.
    pub first_socket: SocketKey,
    /// Seed of the session.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Payload {
    config: PayloadConfig,
    rng: StdRng,
    place: usize,
    asker: Option<Asker>,
    local: Option<LocalAddr>,
    mapped: Option<MappedAddr>,
    phase: Phase,
    /// What was sent, by the request.
    sent: BTreeMap<u32, Vec<u8>>,
    answers: Vec<Compared>,
    evidence: PayloadEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

/// What one answer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Compared {
    length: (usize, usize),
    octets: usize,
    changed: Vec<ChangedOctet>,
    plain: Option<(MappedAddr, MappedAddr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { due: Instant, tries: u8 },
    Asking { due: Instant, tries: u8 },
    Over,
}

const INTERVAL: Duration = Duration::from_millis(400);
const TRIES: u8 = 8;
/// Answers that are compared.
const ANSWERS: usize = 3;

impl Payload {
    /// Begins with the first reflector.
    #[must_use]
    pub fn new(config: PayloadConfig, now: Instant) -> Self {
        let mut payload = Self {
            rng: StdRng::from_seed(config.seed),
            place: 0,
            asker: None,
            local: None,
            mapped: None,
            phase: Phase::Greeting { due: now, tries: 0 },
            sent: BTreeMap::new(),
            answers: Vec::new(),
            evidence: PayloadEvidence::default(),
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        payload.handle_timeout(now);
        payload
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> PayloadEvidence {
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
        self.local = None;
        self.phase = Phase::Greeting { due: now, tries: 0 };
        self.greet(0, now);
    }

    fn ask(&mut self, tries: u8, now: Instant) {
        let (Some(asker), true) = (self.asker, tries < TRIES) else {
            return self.finish();
        };
        self.phase = Phase::Asking {
            due: now + INTERVAL,
            tries: tries + 1,
        };
        for _ in self.answers.len()..ANSWERS {
            let index = u32::try_from(self.sent.len() + 1).unwrap_or(u32::MAX);
            let mirror = Mirror {
                token: asker.token(),
                nonce: asker.nonce(index),
                bait: self.bait(),
            };
            let payload = asker.poke(&Request::Mirror(mirror), index);
            self.sent.insert(index, payload.clone());
            self.send(asker.peer, payload);
        }
    }

    /// Our own addresses as text and in binary, in the order of the network and as IAX2 writes APPARENT ADDR
    /// (RFC 5456 §8.6.17).
    fn bait(&self) -> Vec<u8> {
        let mut bait = Vec::new();
        let local = self.local.map(LocalAddr::get);
        for address in [local, self.mapped.map(MappedAddr::get)]
            .into_iter()
            .flatten()
        {
            put_bait(&mut bait, address);
        }
        bait
    }

    fn handle_mirrored(&mut self, mirrored: &Mirrored) {
        let Some(sent) = self.sent.remove(&mirrored.nonce.index) else {
            return;
        };
        let pairs = (0..).zip(sent.iter().zip(&mirrored.octets));
        let changed = pairs.filter(|(_, (sent, received))| sent != received);
        let plain =
            (mirrored.plain != mirrored.hidden).then_some((mirrored.hidden, mirrored.plain));
        self.answers.push(Compared {
            length: (sent.len(), usize::from(mirrored.length)),
            octets: mirrored.octets.len().min(sent.len()),
            changed: changed
                .map(|(offset, (sent, received))| ChangedOctet {
                    offset,
                    sent: *sent,
                    received: *received,
                })
                .collect(),
            plain,
        });
        self.conclude();
        if self.answers.len() >= ANSWERS {
            self.finish();
        }
    }

    /// What all answers agree on.
    fn conclude(&mut self) {
        let Some((first, others)) = self.answers.split_first() else {
            return;
        };
        let evidence = &mut self.evidence;
        evidence.answers = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        evidence.octets = first.octets;
        evidence.length = first.length;
        evidence.changed.clone_from(&first.changed);
        evidence.changed.retain(|octet| {
            others
                .iter()
                .all(|other| other.changed.iter().any(|it| it.offset == octet.offset))
        });
        evidence.mapped = first
            .plain
            .filter(|_| others.iter().all(|other| other.plain.is_some()));
    }

    fn finish(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.done = Some(Done);
        }
    }
}

fn put_bait(bait: &mut Vec<u8>, address: SocketAddr) {
    /// `AF_INET`, in the order of a little-endian host.
    const INET: [u8; 2] = [2, 0];
    bait.extend_from_slice(address.to_string().as_bytes());
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => {
            bait.extend_from_slice(&INET);
            bait.extend_from_slice(&port);
            bait.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bait.extend_from_slice(&ip.octets());
            bait.extend_from_slice(&port);
        }
    }
}

impl Machine for Payload {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Opened { socket, local } if socket == self.socket() => self.local = Some(local),
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.socket() => {
                let Some(asker) = self.asker.as_mut().filter(|asker| asker.peer == source) else {
                    return;
                };
                match (asker.read(payload), self.phase) {
                    (Some(Said::Nothing), Phase::Greeting { .. }) => self.next_reflector(now),
                    (Some(Said::Hello { mapped, .. }), Phase::Greeting { .. }) => {
                        self.evidence.server = Some(source);
                        self.mapped = Some(mapped);
                        self.ask(0, now);
                    }
                    (Some(Said::Other(Answer::Mirrored(mirrored))), Phase::Asking { .. }) => {
                        self.handle_mirrored(&mirrored);
                    }
                    _ => {}
                }
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Greeting { due, tries } if due <= now => self.greet(tries, now),
            Phase::Asking { due, tries } if due <= now => self.ask(tries, now),
            Phase::Greeting { .. } | Phase::Asking { .. } | Phase::Over => {}
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
            Phase::Greeting { due, .. } => Some((due, "greet a reflector for its mirror again")),
            Phase::Asking { due, .. } => Some((due, "ask again what arrived")),
            Phase::Over => None,
        }
    }
}
