//! *Mapping*: one socket, several destinations. What address does the NAT give it towards each
//! (RFC 4787 §4.1, RFC 5780 §4.3)?
//!
//! Reflectors are asked by HELLO, STUN servers by Binding. A server that has a second address or port
//! is asked there too. The first server that answered is asked again from time to time, so that a
//! mapping that changes under traffic shows.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        evidence::{MappingEvidence, MappingObservation, MappingSource},
        message::{Answer, Request},
    },
    proto::{
        contract::{Input, Machine, SocketKey, Transmit},
        registration::random_call_number,
        stateless,
    },
    types::{CallNumber, LocalAddr, MappedAddr, PeerAddr, Timestamp},
    wire::{
        iax2::{
            command::Command,
            frame::{Frame, FullFrame},
        },
        stun::{self, BindingRequest},
    },
};

/// Who is asked, and from where.
#[derive(Clone, Debug)]
pub struct MappingConfig {
    /// The socket that is looked at.
    pub socket: SocketKey,
    /// Reflectors, or providers that may be one; the first that answers is preferred.
    pub reflectors: Vec<PeerAddr>,
    /// STUN servers.
    pub stun: Vec<PeerAddr>,
    /// Leave the servers' other addresses alone until [`Mapping::release`]: another experiment needs them to
    /// be strangers to this host.
    pub hold: bool,
    /// How often the first server that answered is asked again.
    pub again: Duration,
    /// The instant that observations are counted from.
    pub epoch: Instant,
    /// Seed of call numbers and transactions.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Mapping {
    config: MappingConfig,
    rng: StdRng,
    local: Option<LocalAddr>,
    questions: Vec<Question>,
    /// Peers to be asked once they are no longer held back.
    held: Vec<(PeerAddr, bool)>,
    next_again: Option<Instant>,
    settled: bool,
    reflector: Option<ReflectorFound>,
    stun_alternate: Option<(PeerAddr, PeerAddr)>,
    evidence: MappingEvidence,
    outbox: VecDeque<Transmit>,
    events: VecDeque<MappingEvent>,
}

/// What the mapping experiment reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// Everybody was asked, and answered or was given up on.
    Settled,
}

/// A reflector that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReflectorFound {
    /// The address that answered.
    pub peer: PeerAddr,
}

#[derive(Debug)]
struct Question {
    peer: PeerAddr,
    kind: Kind,
    due: Instant,
    transmissions: u8,
    state: QuestionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reflector { number: CallNumber },
    Stun { transaction: stun::Transaction },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionState {
    Open,
    Answered,
    /// Answered, but with nothing that tells a mapping: no reflector.
    Useless,
    GivenUp,
}

/// Time between transmissions of one question.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a question is sent.
const TRANSMISSIONS: u8 = 5;

impl Mapping {
    /// Begins: all servers are asked at once.
    #[must_use]
    pub fn new(config: MappingConfig, now: Instant) -> Self {
        let mut mapping = Self {
            rng: StdRng::from_seed(config.seed),
            local: None,
            questions: Vec::new(),
            held: Vec::new(),
            next_again: None,
            settled: false,
            reflector: None,
            stun_alternate: None,
            evidence: MappingEvidence::default(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        for peer in mapping.config.reflectors.clone() {
            mapping.ask(peer, true, now);
        }
        for peer in mapping.config.stun.clone() {
            mapping.ask(peer, false, now);
        }
        mapping.settle(now);
        mapping
    }

    /// What was found so far.
    #[must_use]
    pub const fn evidence(&self) -> &MappingEvidence {
        &self.evidence
    }

    /// A reflector that answered.
    #[must_use]
    pub const fn reflector(&self) -> Option<ReflectorFound> {
        self.reflector
    }

    /// Whether this peer was asked and answered as no reflector; `None` while that is open.
    #[must_use]
    pub fn is_reflector(&self, peer: PeerAddr) -> Option<bool> {
        self.questions
            .iter()
            .filter(|question| {
                question.peer == peer && matches!(question.kind, Kind::Reflector { .. })
            })
            .find_map(|question| match question.state {
                QuestionState::Answered => Some(true),
                QuestionState::Useless => Some(false),
                QuestionState::Open | QuestionState::GivenUp => None,
            })
    }

    /// A STUN server with a second address that follows RFC 5780, and that address. Only such a one can be
    /// told where to answer to; CHANGED-ADDRESS of older servers promises nothing of the kind.
    #[must_use]
    pub const fn stun_alternate(&self) -> Option<(PeerAddr, PeerAddr)> {
        self.stun_alternate
    }

    /// Whether everybody was asked, and answered or was given up on.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether everybody who was named was asked, and answered or was given up on.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        let is_open = |question: &Question| question.state == QuestionState::Open;
        !self.questions.iter().any(is_open)
    }

    /// Asks the servers' other addresses, which were held back.
    pub fn release(&mut self, now: Instant) {
        if std::mem::take(&mut self.config.hold) {
            for (peer, reflector) in std::mem::take(&mut self.held) {
                self.ask_once(peer, reflector, now);
            }
            self.settle(now);
        }
    }

    fn ask(&mut self, peer: PeerAddr, reflector: bool, now: Instant) {
        let kind = if reflector {
            Kind::Reflector {
                number: random_call_number(&mut self.rng),
            }
        } else {
            Kind::Stun {
                transaction: self.rng.random(),
            }
        };
        let question = Question {
            peer,
            kind,
            due: now + INTERVAL,
            transmissions: 1,
            state: QuestionState::Open,
        };
        self.transmit(&question);
        self.questions.push(question);
    }

    fn transmit(&mut self, question: &Question) {
        let payload = match question.kind {
            Kind::Reflector { number } => Request::Hello.to_poke(number, Timestamp::ZERO),
            Kind::Stun { transaction } => BindingRequest {
                transaction,
                ..BindingRequest::default()
            }
            .encode(),
        };
        self.outbox.push_back(Transmit {
            socket: self.config.socket,
            peer: question.peer,
            payload,
            ttl: None,
        });
    }

    fn handle_pong(&mut self, frame: &FullFrame<'_>, source: PeerAddr, now: Instant) {
        let found = self.questions.iter_mut().find(|question| {
            question.peer == source
                && question.kind
                    == (Kind::Reflector {
                        number: frame.destination,
                    })
        });
        let Some(question) = found else { return };
        let was_open = question.state == QuestionState::Open;
        let peer = question.peer;
        let Some(Answer::Hello {
            mapped,
            other_port,
            other_address,
            ..
        }) = Answer::read(frame)
        else {
            // Acknowledged for peers that would send their PONG again.
            question.state = QuestionState::Useless;
            let payload = stateless::acknowledgement(frame, frame.destination);
            let socket = self.config.socket;
            self.outbox.push_back(Transmit {
                socket,
                peer: source,
                payload,
                ttl: None,
            });
            self.settle(now);
            return;
        };
        question.state = QuestionState::Answered;
        if was_open {
            self.observe(peer, mapped, MappingSource::Reflector, now);
            let alternates_known = self.reflector.is_some();
            self.prefer(peer);
            if !self.settled && !alternates_known && self.config.reflectors.contains(&peer) {
                let (ip, port) = (peer.get().ip(), peer.get().port());
                let alternates = [
                    other_port.map(|port| SocketAddr::new(ip, port)),
                    other_address.map(|ip| SocketAddr::new(ip, port)),
                    other_address
                        .zip(other_port)
                        .map(|(ip, port)| SocketAddr::new(ip, port)),
                ];
                self.evidence.one_address |= other_address.is_none();
                for address in alternates.into_iter().flatten() {
                    self.ask_once(PeerAddr::new(address), true, now);
                }
            }
        }
        self.settle(now);
    }

    /// Takes note of a reflector that answered; what was named first goes before what answered first.
    fn prefer(&mut self, peer: PeerAddr) {
        let place = |wanted: PeerAddr| {
            let mut named = self.config.reflectors.iter();
            named.position(|named| *named == wanted)
        };
        let Some(new) = place(peer) else { return };
        let known = self.reflector.and_then(|found| place(found.peer));
        if known.is_none_or(|known| new < known) {
            self.reflector = Some(ReflectorFound { peer });
        }
    }

    fn handle_stun(&mut self, message: &stun::Message, source: PeerAddr, now: Instant) {
        let found = self.questions.iter_mut().find(|question| {
            question.peer == source
                && question.kind
                    == (Kind::Stun {
                        transaction: message.transaction,
                    })
        });
        let Some(question) = found else { return };
        if question.state != QuestionState::Open {
            return;
        }
        let (peer, mapped) = (question.peer, message.mapped());
        question.state = if mapped.is_some() {
            QuestionState::Answered
        } else {
            QuestionState::Useless
        };
        if let Some(mapped) = mapped {
            self.observe(peer, mapped, MappingSource::Stun, now);
        }
        if let (Some(hidden), Some(plain)) = (message.xor_mapped, message.plain_mapped)
            && hidden != plain
        {
            self.evidence.rewritten.push((peer, hidden, plain));
        }
        if !self.settled && self.config.stun.contains(&peer) {
            // OTHER-ADDRESS has both the other address and the other port (RFC 5780 §7.4).
            match message
                .other_address
                .filter(|other| other.get().ip() != peer.get().ip())
            {
                Some(other) => {
                    if message.knows_rfc5780 {
                        self.stun_alternate.get_or_insert((peer, other));
                    }
                    let (ip, port) = (peer.get().ip(), peer.get().port());
                    for address in [
                        SocketAddr::new(other.get().ip(), port),
                        SocketAddr::new(ip, other.get().port()),
                        other.get(),
                    ] {
                        self.ask_once(PeerAddr::new(address), false, now);
                    }
                }
                None => self.evidence.one_address = true,
            }
        }
        self.settle(now);
    }

    fn ask_once(&mut self, peer: PeerAddr, reflector: bool, now: Instant) {
        if self.config.hold {
            self.held.push((peer, reflector));
            return;
        }
        let asked = self.questions.iter().any(|question| {
            question.peer == peer && matches!(question.kind, Kind::Reflector { .. }) == reflector
        });
        if !asked {
            self.ask(peer, reflector, now);
        }
    }

    fn observe(&mut self, peer: PeerAddr, mapped: MappedAddr, via: MappingSource, now: Instant) {
        let Some(local) = self.local else { return };
        let at = now.saturating_duration_since(self.config.epoch);
        self.evidence.observations.push(MappingObservation {
            local,
            peer,
            mapped,
            at,
            via,
        });
        self.next_again.get_or_insert(now + self.config.again);
    }

    fn settle(&mut self, now: Instant) {
        if self.has_heard() && !self.config.hold && !self.settled {
            self.settled = true;
            self.events.push_back(MappingEvent::Settled);
            if let Some(next) = &mut self.next_again {
                *next = now + self.config.again;
            }
        }
    }

    /// Asks the first server that answered once more.
    fn ask_again(&mut self, now: Instant) {
        let first = self.evidence.observations.first().map(|observation| {
            (
                observation.peer,
                observation.via == MappingSource::Reflector,
            )
        });
        let Some((peer, reflector)) = first else {
            return;
        };
        // Answered questions have said all they can; an unanswered one stays as evidence.
        self.questions
            .retain(|question| question.state != QuestionState::Answered);
        self.ask(peer, reflector, now);
        self.next_again = Some(now + self.config.again);
    }
}

impl Machine for Mapping {
    type Event = MappingEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Opened { socket, local } if socket == self.config.socket => {
                self.local = Some(local);
            }
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.config.socket => {
                if stun::is_stun(payload) {
                    if let Ok(message) = stun::parse(payload) {
                        self.handle_stun(&message, source, now);
                    }
                } else if let Ok(Frame::Full(frame)) = Frame::decode(payload)
                    && frame.command() == Some(Command::Pong)
                {
                    self.handle_pong(&frame, source, now);
                }
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut again = Vec::new();
        for (index, question) in self.questions.iter_mut().enumerate() {
            if question.state != QuestionState::Open || question.due > now {
                continue;
            }
            if question.transmissions >= TRANSMISSIONS {
                question.state = QuestionState::GivenUp;
                if !self.settled {
                    self.evidence.unanswered.push(question.peer);
                }
                continue;
            }
            question.transmissions += 1;
            question.due = now + INTERVAL;
            again.push(index);
        }
        for index in again {
            if let Some(question) = self.questions.get(index) {
                let question = Question { ..*question };
                self.transmit(&question);
            }
        }
        self.settle(now);
        if self.settled && self.next_again.is_some_and(|due| due <= now) {
            self.ask_again(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<MappingEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let questions = self
            .questions
            .iter()
            .filter(|question| question.state == QuestionState::Open)
            .map(|question| (question.due, "ask for the mapping again"));
        let again = self
            .next_again
            .filter(|_| self.settled)
            .map(|due| (due, "see whether the mapping is stable"));
        questions.chain(again).min_by_key(|(due, _)| *due)
    }
}
