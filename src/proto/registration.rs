//! One registration from the client's side: REGREQ or REGREL, with call token and challenge, to its end
//! (RFC 5456 §6.1). A series of them over time is the parent's matter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    proto::{
        auth::{Answer, AuthError, Credentials, Method},
        contract::{Input, Machine, SocketKey, Transmit, Unreachable},
        reliable::{Receipt, Reliable, RetryPolicy},
        stateless,
    },
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter, Ies, RawIe},
        ie_value::{Ie, Text, read_sockaddr},
    },
};

/// What to register, and how.
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// The registrar.
    pub registrar: PeerAddr,
    /// The socket to register from.
    pub socket: SocketKey,
    /// The account.
    pub credentials: Credentials,
    /// The refresh to ask for, in whole seconds.
    pub refresh: Duration,
    /// Give the registration up (REGREL) instead of asking for one.
    pub release: bool,
    /// Whether to offer a call token. Clients from before 2009 do not.
    pub offer_token: bool,
    /// When to send again.
    pub retry: RetryPolicy,
    /// Seed of the call numbers and of the signature's blinding.
    pub seed: [u8; 32],
}

/// How far a registration is, and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrationEvent {
    /// A CALLTOKEN came; the request was repeated with it.
    TokenReceived,
    /// A challenge came and was answered.
    Challenged {
        /// The methods offered, as bits of AUTHMETHODS.
        offered: u16,
        /// The method of the answer.
        method: Method,
    },
    /// INVAL came; the registration began again with a new call number.
    Restarted,
    /// A frame that would fit came from another address than the registrar's, and was ignored.
    AnsweredFrom(PeerAddr),
    /// An ICMP error about one of the frames came; the registration goes on.
    Unreachable(Unreachable),
    /// The last event: how it ended.
    Ended(Outcome),
}

/// How a registration ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// REGACK came.
    Acknowledged {
        /// The refresh granted; the RFC's 60 s where the REGACK names none.
        refresh: Duration,
        /// The address that the registrar saw.
        apparent: Option<MappedAddr>,
    },
    /// REGREJ with a cause came.
    Rejected {
        /// CAUSE.
        cause: Option<String>,
        /// CAUSECODE.
        code: Option<u8>,
    },
    /// A naked REGREJ from call number 1 came. With a token that was given: expired, or the external port
    /// changed on the way, or the address has too many calls.
    TokenRefused {
        /// Whether the refused request carried a token.
        had_token: bool,
    },
    /// A challenge came that we would not answer.
    AuthUnsupported {
        /// The methods offered, as bits of AUTHMETHODS.
        offered: u16,
        /// Why not.
        reason: AuthError,
    },
    /// The registrar does not know the command.
    Unsupported,
    /// Nothing came, or the answers stopped.
    TimedOut {
        /// Whether any frame of the registrar had come.
        heard: bool,
    },
}

/// A registration under way.
#[derive(Debug)]
pub struct Registration {
    config: RegistrationConfig,
    rng: StdRng,
    dialogue: Reliable,
    state: State,
    token: Option<Vec<u8>>,
    /// The timestamps of the requests sent in this dialogue; state-less answers echo that of theirs.
    requests: Vec<Timestamp>,
    tokens_received: u8,
    challenges_answered: u8,
    restarts: u8,
    heard: bool,
    strange_source: Option<PeerAddr>,
    deadline: Instant,
    outbox: VecDeque<Transmit>,
    events: VecDeque<RegistrationEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The request is out.
    Sent,
    /// The answer to a challenge is out.
    AuthSent,
    /// It ended; late frames are still acknowledged.
    Ended,
}

/// A second CALLTOKEN in a row is answered, a fourth is not: the peer refuses its own tokens.
const MAX_TOKENS: u8 = 3;
/// A registrar may challenge again (a new nonce); more than this is refusal.
const MAX_CHALLENGES: u8 = 3;
/// Fresh starts after INVAL.
const MAX_RESTARTS: u8 = 2;
/// Whatever the peer keeps sending, a registration ends by then: longer than any retry policy lasts.
const LIMIT: Duration = Duration::from_secs(60);
/// A REGACK or REGREQ without REFRESH means this many seconds (RFC 5456 §8.6.18).
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(60);

impl Registration {
    /// Begins: the request is the first transmit.
    #[must_use]
    pub fn new(config: RegistrationConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let dialogue = Reliable::new(random_call_number(&mut rng), config.retry, now);
        let mut registration = Self {
            config,
            rng,
            dialogue,
            state: State::Sent,
            token: None,
            requests: Vec::new(),
            tokens_received: 0,
            challenges_answered: 0,
            restarts: 0,
            heard: false,
            strange_source: None,
            deadline: now + LIMIT,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        };
        registration.send_request(None, now);
        registration
    }

    /// Our call number.
    #[must_use]
    pub fn call_number(&self) -> CallNumber {
        self.dialogue.local()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether `frame` belongs to this registration: its destination is our call number.
    #[must_use]
    pub fn owns(&self, frame: &FullFrame<'_>) -> bool {
        frame.destination == self.dialogue.local()
    }

    fn send_request(&mut self, answer: Option<&Answer>, now: Instant) {
        let command = if self.config.release {
            Command::RegRel
        } else {
            Command::RegReq
        };
        let mut elements =
            IeWriter::new().ie(Ie::Username(Text(self.config.credentials.user.as_bytes())));
        elements = if self.config.release {
            // A server answers a request with a token only if that makes the answer no longer, and the
            // name alone may be short.
            elements.ie(Ie::Cause(Text(b"Released")))
        } else {
            let seconds = u16::try_from(self.config.refresh.as_secs()).unwrap_or(u16::MAX);
            elements.ie(Ie::Refresh(seconds))
        };
        if let Some(answer) = answer {
            elements = answer.write(elements);
        }
        // Asterisk repeats the empty element in the request that answers the challenge, and so do we.
        if self.config.offer_token {
            let token = if answer.is_some() {
                None
            } else {
                self.token.as_deref()
            };
            elements = elements.ie(Ie::CallToken(token.unwrap_or_default()));
        }
        match elements.finish() {
            Ok(payload) => {
                let timestamp = self.dialogue.send(FrameType::Iax, command, payload, now);
                self.requests.push(timestamp);
            }
            // Only a name, secret or token above 255 octets: nothing that a registrar would know.
            Err(_) => self.end(Outcome::Rejected {
                cause: Some("user name or secret longer than 255 octets".to_owned()),
                code: None,
            }),
        }
    }

    fn handle_frame(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let command = frame.command();
        if command == Some(Command::Poke) {
            self.push(stateless::reply(frame, Command::Pong, &[]));
            return;
        }
        if !self.owns(frame) {
            return;
        }
        // Once the registrar has a call number, only state-less answers come from another.
        let remote = self.dialogue.remote();
        if !remote.is_none() && frame.source != remote && frame.source != CallNumber::STATELESS {
            return;
        }
        self.heard = true;
        if self.state != State::Ended && self.handle_stateless(frame, command, now) {
            return;
        }
        match self.dialogue.receive(frame, now) {
            Receipt::Deliver => {
                self.handle_delivered(frame, command, now);
                self.dialogue.settle(frame);
            }
            Receipt::Invalid if self.state != State::Ended => self.begin_again(now),
            Receipt::Duplicate | Receipt::Gap | Receipt::Bookkeeping | Receipt::Invalid => {}
        }
    }

    /// Answers that carry no dialogue of the peer: CALLTOKEN, and REGREJ from call number 1.
    fn handle_stateless(
        &mut self,
        frame: &FullFrame<'_>,
        command: Option<Command>,
        now: Instant,
    ) -> bool {
        // Such an answer repeats the timestamp of its request. What answers a repetition of a request that was
        // answered before comes late and says nothing of the one that followed; what has another is forged.
        let is_late = self.requests.last() != Some(&frame.timestamp);
        match command {
            Some(Command::CallToken) if is_late => true,
            Some(Command::CallToken) => {
                let token = frame.ies().find(IeId::CallToken);
                self.tokens_received += 1;
                if let Some(token) = token
                    && self.tokens_received <= MAX_TOKENS
                    && self.state == State::Sent
                {
                    self.token = Some(token.to_vec());
                    self.dialogue.restart();
                    self.events.push_back(RegistrationEvent::TokenReceived);
                    self.send_request(None, now);
                } else if self.tokens_received > MAX_TOKENS {
                    self.end(Outcome::TokenRefused { had_token: true });
                }
                true
            }
            Some(Command::RegRej | Command::Reject)
                if frame.source == CallNumber::STATELESS && frame.payload.is_empty() =>
            {
                if !is_late {
                    self.end(Outcome::TokenRefused {
                        had_token: self.token.is_some(),
                    });
                }
                true
            }
            _ => false,
        }
    }

    fn handle_delivered(&mut self, frame: &FullFrame<'_>, command: Option<Command>, now: Instant) {
        // A half-open registration is measured like a call by Asterisk.
        match command {
            Some(Command::Ping) => {
                self.dialogue
                    .send_echo(Command::Pong, Vec::new(), frame.timestamp, now);
                return;
            }
            Some(Command::LagRq) => {
                self.dialogue
                    .send_echo(Command::LagRp, Vec::new(), frame.timestamp, now);
                return;
            }
            _ if self.state == State::Ended => return,
            _ => {}
        }
        match command {
            Some(Command::RegAuth) => self.handle_challenge(&frame.ies(), now),
            Some(Command::RegAck) => {
                let (mut refresh, mut apparent) = (DEFAULT_REFRESH, None);
                for ie in frame.ies().map(Ie::read) {
                    match ie {
                        Ie::Refresh(seconds) => refresh = Duration::from_secs(seconds.into()),
                        Ie::ApparentAddr(octets) => apparent = read_sockaddr(octets),
                        _ => {}
                    }
                }
                self.end(Outcome::Acknowledged { refresh, apparent });
            }
            Some(Command::RegRej | Command::Reject) => {
                let (cause, code) = cause_of(frame.ies());
                self.end(Outcome::Rejected { cause, code });
            }
            Some(Command::Unsupport) => self.end(Outcome::Unsupported),
            _ => {}
        }
    }

    fn handle_challenge(&mut self, elements: &Ies<'_>, now: Instant) {
        let (mut offered, mut challenge) = (0, &[][..]);
        for ie in elements.clone().map(Ie::read) {
            match ie {
                Ie::AuthMethods(bits) => offered = bits,
                Ie::Challenge(octets) => challenge = octets,
                _ => {}
            }
        }
        self.challenges_answered += 1;
        if self.challenges_answered > MAX_CHALLENGES {
            self.end(Outcome::Rejected {
                cause: Some("the registrar kept asking for another answer".to_owned()),
                code: None,
            });
            return;
        }
        match self
            .config
            .credentials
            .answer(offered, challenge, &mut self.rng)
        {
            Ok(answer) => {
                self.state = State::AuthSent;
                self.events.push_back(RegistrationEvent::Challenged {
                    offered,
                    method: answer.method,
                });
                self.send_request(Some(&answer), now);
            }
            Err(reason) => self.end(Outcome::AuthUnsupported { offered, reason }),
        }
    }

    fn begin_again(&mut self, now: Instant) {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            self.end(Outcome::Rejected {
                cause: Some("the registrar answers INVAL: it forgets the registration".to_owned()),
                code: None,
            });
            return;
        }
        let local = random_call_number(&mut self.rng);
        self.dialogue = Reliable::new(local, self.config.retry, now);
        self.token = None;
        self.requests.clear();
        self.state = State::Sent;
        self.events.push_back(RegistrationEvent::Restarted);
        self.send_request(None, now);
    }

    fn end(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.dialogue.abandon();
        self.events.push_back(RegistrationEvent::Ended(outcome));
    }

    fn push(&mut self, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: self.config.socket,
            peer: self.config.registrar,
            payload,
            ttl: None,
        });
    }
}

impl Machine for Registration {
    type Event = RegistrationEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.config.socket => {
                let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
                    return;
                };
                if source == self.config.registrar {
                    self.handle_frame(&frame, now);
                } else if self.owns(&frame) && self.strange_source != Some(source) {
                    self.strange_source = Some(source);
                    self.events
                        .push_back(RegistrationEvent::AnsweredFrom(source));
                }
            }
            Input::Unreachable {
                socket,
                peer,
                cause,
                ..
            } if socket == self.config.socket
                && peer == self.config.registrar
                && self.state != State::Ended =>
            {
                self.events.push_back(RegistrationEvent::Unreachable(cause));
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Ended {
            return;
        }
        if self.dialogue.handle_timeout(now).is_err() || now >= self.deadline {
            self.end(Outcome::TimedOut { heard: self.heard });
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(payload) = self.dialogue.poll_transmit() {
            self.push(payload);
        }
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<RegistrationEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.state == State::Ended {
            return None;
        }
        let limit = (self.deadline, "give the registration up");
        Some(match self.dialogue.poll_timeout() {
            Some(due) if due.0 < limit.0 => due,
            _ => limit,
        })
    }
}

/// From one registration to the next: as Asterisk, five sixths of the refresh in whole seconds; at least one.
#[must_use]
pub const fn reregister_after(refresh: Duration) -> Duration {
    let seconds = refresh.as_secs().saturating_mul(5) / 6;
    Duration::from_secs(if seconds == 0 { 1 } else { seconds })
}

/// A call number for a dialogue of ours: random, never 0 or 1, below the range that Asterisk keeps for
/// trunked calls.
pub fn random_call_number(rng: &mut StdRng) -> CallNumber {
    CallNumber::from_bits(rng.random_range(2..0x4000))
}

/// CAUSE and CAUSECODE of a refusal.
pub fn cause_of<'a>(elements: impl Iterator<Item = RawIe<'a>>) -> (Option<String>, Option<u8>) {
    elements
        .map(Ie::read)
        .fold((None, None), |(cause, code), ie| match ie {
            Ie::Cause(text) => (Some(text.to_string()), code),
            Ie::CauseCode(value) => (cause, Some(value)),
            _ => (cause, code),
        })
}
