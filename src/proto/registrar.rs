//! The far end of registration: challenges, grants, refuses, remembers who is where, and qualifies
//! (RFC 5456 §6.1, and deployed registrars where they differ).
//!
//! A source address that no call token has proven gets one answer a datagram, no larger than its
//! request, and no state. Unknown users walk the same path as known ones.

mod binding;
mod dialogue;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use secrecy::ExposeSecret as _;

pub use self::binding::Binding;
use self::{
    binding::Poke,
    dialogue::{Dialogue, Stage},
};
use crate::{
    proto::{
        account::{Account, CallTokenRule},
        admission::{Rate, RateLimit},
        auth::{Method, md5_verify, plaintext_verify},
        contract::{SocketKey, Transmit, earlier},
        reliable::{Receipt, Reliable, RetryPolicy},
        stateless,
        token::{Tokens, WallClock},
    },
    types::{CallNumber, MappedAddr, PeerAddr},
    wire::iax2::{
        cause::Cause,
        command::Command,
        frame::FullFrame,
        ie::{IeId, IeWriter, Ies},
        ie_value::{DateTime, Ie, Text, write_sockaddr},
    },
};

/// How a registrar behaves.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Makes and checks call tokens.
    pub tokens: Tokens,
    /// Ties the machine's clock to the calendar, for DATETIME.
    pub clock: WallClock,
    /// When frames are sent again.
    pub retry: RetryPolicy,
    /// Seed of call numbers, challenges and hash keys.
    pub seed: [u8; 32],
}

/// What happened at a registrar.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrarEvent {
    /// An account registered.
    Registered {
        /// The account's name.
        user: String,
        /// Where it is, as seen from here.
        peer: PeerAddr,
        /// Whether it was elsewhere, or nowhere, before.
        moved: bool,
    },
    /// An account gave its registration up.
    Released {
        /// The account's name.
        user: String,
    },
    /// A registration was not renewed in time.
    Expired {
        /// The account's name.
        user: String,
    },
    /// A request was refused.
    Refused {
        /// The name it gave.
        user: String,
        /// Where it came from.
        peer: PeerAddr,
        /// Why.
        why: Refusal,
    },
    /// A qualify POKE was answered.
    Reachable {
        /// The account's name.
        user: String,
        /// The round trip.
        round_trip: Duration,
    },
    /// A qualify POKE was not answered.
    Unreachable {
        /// The account's name.
        user: String,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It needs a call token.
    TokenMissing,
    /// Its token is not one of ours for this address, port and time.
    TokenInvalid,
    /// Wrong secret, or no such user: the peer is not told which.
    Credentials,
    /// Too many dialogues with this address, or in all.
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenMissing => "it needs a call token",
            Self::TokenInvalid => "its call token is not good for this address, port and time",
            Self::Credentials => "wrong secret, or no such account",
            Self::TooMany => "too many registrations at once",
        })
    }
}

/// A datagram about to be answered: where it came in, and from whom.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The socket it came in on.
    pub socket: SocketKey,
    /// Who sent it.
    pub peer: PeerAddr,
    /// Its length in octets.
    pub length: usize,
}

/// Names a dialogue: call numbers of ours are unique for each remote address.
type Key = (PeerAddr, CallNumber);

/// The registrar.
#[derive(Debug)]
pub struct Registrar {
    config: RegistrarConfig,
    by_name: BTreeMap<String, usize>,
    rng: StdRng,
    dialogues: BTreeMap<Key, Dialogue>,
    /// Our call number by theirs, to know a repeated first request.
    by_remote: BTreeMap<Key, CallNumber>,
    deadlines: BTreeSet<(Instant, Key)>,
    per_address: BTreeMap<IpAddr, usize>,
    resting: VecDeque<(Instant, Key)>,
    rested: BTreeSet<Key>,
    bindings: BTreeMap<usize, Binding>,
    token_answers: RateLimit,
    outbox: VecDeque<Transmit>,
    events: VecDeque<RegistrarEvent>,
}

/// Dialogues with one address.
const MAX_PER_ADDRESS: usize = 1024;
/// Dialogues in all.
const MAX_DIALOGUES: usize = 65_536;
/// Dialogues that no token proved (accounts that need none), in all.
const MAX_UNPROVEN: usize = 64;
/// Numbers at rest in all; the oldest is let go early beyond that.
const MAX_RESTING: usize = 262_144;
/// A call number that was used with a remote address is not used with it again for so long
/// (as Asterisk; RFC 5456 §8.1.1 asks for a reasonable time).
const REST: Duration = Duration::from_secs(60);
/// A dialogue that a peer keeps alive without finishing ends by then.
const DIALOGUE_LIMIT: Duration = Duration::from_secs(40);
/// A binding is kept for so long after its refresh has passed (as Asterisk).
const GRACE: Duration = Duration::from_secs(10);
/// Octets of a CALLTOKEN frame with one of our tokens: shorter requests get no answer.
const CALLTOKEN_LENGTH: usize = 22;

impl Registrar {
    /// A registrar without bindings.
    #[must_use]
    pub fn new(config: RegistrarConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let by_name = config
            .accounts
            .iter()
            .enumerate()
            .map(|(index, account)| (account.name.clone(), index))
            .collect();
        let token_answers = RateLimit::new(Rate(5_000), Rate(100_000), rng.random(), now);
        Self {
            config,
            by_name,
            rng,
            dialogues: BTreeMap::new(),
            by_remote: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            per_address: BTreeMap::new(),
            resting: VecDeque::new(),
            rested: BTreeSet::new(),
            bindings: BTreeMap::new(),
            token_answers,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where an account is registered.
    #[must_use]
    pub fn binding(&self, user: &str) -> Option<&Binding> {
        self.bindings.get(self.by_name.get(user)?)
    }

    /// Dialogues under way.
    #[must_use]
    pub fn dialogues(&self) -> usize {
        self.dialogues.len()
    }

    /// Takes REGREQ, REGREL, or any frame of a dialogue of ours; false where it belongs to none.
    pub fn handle_frame(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) -> bool {
        if !frame.destination.is_none() {
            return self.handle_dialogue(frame, (arrival.peer, frame.destination), now)
                || self.handle_pong(frame, arrival, now);
        }
        if !matches!(frame.command(), Some(Command::RegReq | Command::RegRel)) {
            return false;
        }
        match self.by_remote.get(&(arrival.peer, frame.source)) {
            Some(&local) => {
                self.handle_dialogue(frame, (arrival.peer, local), now);
            }
            None => self.handle_first(frame, arrival, now),
        }
        true
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(due, key)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            let Some(dialogue) = self.dialogues.get_mut(&key) else {
                continue;
            };
            dialogue.armed = None;
            if dialogue.reliable.handle_timeout(now).is_err() || now >= dialogue.ends {
                self.free(key, now);
            } else {
                self.after_dialogue(key, now);
            }
        }
        while let Some(&(until, key)) = self.resting.front()
            && (until <= now || self.resting.len() > MAX_RESTING)
        {
            self.resting.pop_front();
            self.rested.remove(&key);
        }
        self.expire_and_qualify(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<RegistrarEvent> {
        self.events.pop_front()
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let dialogue = self
            .deadlines
            .first()
            .map(|&(due, _)| (due, "continue a registration"));
        self.bindings
            .values()
            .filter_map(Binding::poll_timeout)
            .fold(dialogue, |soonest, due| earlier(soonest, Some(due)))
    }

    /// A first request: from somebody that nothing is known of.
    fn handle_first(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
        let user = frame.ies().find(IeId::Username).unwrap_or_default();
        let account = std::str::from_utf8(user)
            .ok()
            .and_then(|name| self.by_name.get(name))
            .copied();
        let proven = match frame.ies().find(IeId::CallToken) {
            Some([]) => return self.answer_token(frame, arrival, now),
            Some(token) if self.config.tokens.verify(token, arrival.peer, now) => true,
            Some(_) => return self.refuse(frame, arrival, Refusal::TokenInvalid, now),
            None => false,
        };
        let rule = account
            .and_then(|index| self.config.accounts.get(index))
            .map_or(CallTokenRule::Required, |account| account.call_token);
        if !proven && rule == CallTokenRule::Required {
            return self.refuse(frame, arrival, Refusal::TokenMissing, now);
        }
        let unproven = self.dialogues.values().filter(|dialogue| !dialogue.proven);
        let here = self
            .per_address
            .get(&arrival.peer.get().ip())
            .copied()
            .unwrap_or(0);
        if here >= MAX_PER_ADDRESS
            || self.dialogues.len() >= MAX_DIALOGUES
            || (!proven && unproven.count() >= MAX_UNPROVEN)
        {
            return self.refuse(frame, arrival, Refusal::TooMany, now);
        }
        let Some(local) = self.free_number(arrival.peer) else {
            return self.refuse(frame, arrival, Refusal::TooMany, now);
        };
        self.open(frame, arrival, (local, account, proven), now);
    }

    fn open(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        (local, account, proven): (CallNumber, Option<usize>, bool),
        now: Instant,
    ) {
        let key = (arrival.peer, local);
        let retry = if proven {
            self.config.retry
        } else {
            RetryPolicy {
                transmissions: 1,
                ..self.config.retry
            }
        };
        let user = frame
            .ies()
            .find(IeId::Username)
            .unwrap_or_default()
            .to_vec();
        self.dialogues.insert(
            key,
            Dialogue {
                reliable: Reliable::new(local, retry, now),
                socket: arrival.socket,
                account,
                user,
                proven,
                release: frame.command() == Some(Command::RegRel),
                challenge: self
                    .rng
                    .random_range(100_000_000..1_000_000_000u32)
                    .to_string(),
                stage: Stage::Opened,
                ends: now + DIALOGUE_LIMIT,
                armed: None,
            },
        );
        self.by_remote.insert((arrival.peer, frame.source), local);
        *self.per_address.entry(arrival.peer.get().ip()).or_default() += 1;
        self.handle_dialogue(frame, key, now);
    }

    /// A frame of a dialogue; false where there is none, or the call numbers do not fit.
    fn handle_dialogue(&mut self, frame: &FullFrame<'_>, key: Key, now: Instant) -> bool {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return false;
        };
        let remote = dialogue.reliable.remote();
        if !remote.is_none() && remote != frame.source {
            return false;
        }
        match dialogue.reliable.receive(frame, now) {
            Receipt::Deliver => self.handle_delivered(frame, key, now),
            // A first answer that no token allows us to repeat by itself is repeated when asked.
            Receipt::Duplicate if !dialogue.proven => dialogue.reliable.repeat(),
            Receipt::Duplicate | Receipt::Gap | Receipt::Bookkeeping => {}
            Receipt::Invalid => {
                self.free(key, now);
                return true;
            }
        }
        self.after_dialogue(key, now);
        true
    }

    fn handle_delivered(&mut self, frame: &FullFrame<'_>, key: Key, now: Instant) {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return;
        };
        let request = matches!(frame.command(), Some(Command::RegReq | Command::RegRel));
        match (frame.command(), dialogue.stage) {
            (Some(Command::Ping), _) => {
                dialogue
                    .reliable
                    .send_echo(Command::Pong, Vec::new(), frame.timestamp, now);
            }
            (Some(Command::LagRq), _) => {
                dialogue
                    .reliable
                    .send_echo(Command::LagRp, Vec::new(), frame.timestamp, now);
            }
            (_, Stage::Opened) if request => {
                let account = dialogue
                    .account
                    .and_then(|index| self.config.accounts.get(index));
                if account.is_some_and(|account| account.methods.is_empty()) {
                    self.grant(key, now);
                } else {
                    dialogue.challenge(account, now);
                }
            }
            (_, Stage::Challenged) if request => {
                if self.is_answered(frame.ies(), key) {
                    self.grant(key, now);
                } else {
                    self.deny(key, now);
                }
            }
            (Some(Command::RegRej | Command::Hangup), _) => {
                dialogue.reliable.settle(frame);
                dialogue.stage = Stage::Closing;
                return;
            }
            _ => {}
        }
        if let Some(dialogue) = self.dialogues.get_mut(&key) {
            dialogue.reliable.settle(frame);
        }
    }

    /// Whether the elements answer the dialogue's challenge. Every secret and an unknown user take the
    /// same path.
    fn is_answered(&self, elements: Ies<'_>, key: Key) -> bool {
        let Some(dialogue) = self.dialogues.get(&key) else {
            return false;
        };
        let challenge = dialogue.challenge.as_bytes();
        let account = dialogue
            .account
            .and_then(|index| self.config.accounts.get(index));
        let secret = account
            .and_then(|account| account.secret.as_ref())
            .map(|secret| secret.expose_secret().as_bytes());
        let key = account.and_then(|account| account.rsa_public_key.as_ref());
        let offered = |method| account.is_some_and(|account| account.methods.contains(&method));
        let mut answered = false;
        for ie in elements.map(Ie::read) {
            match ie {
                Ie::Md5Result(result) => {
                    let fits = md5_verify(challenge, secret.unwrap_or_default(), result.0);
                    answered = fits && secret.is_some() && offered(Method::Md5);
                }
                Ie::RsaResult(result) => {
                    answered = key.is_some_and(|key| key.verify(challenge, result.0))
                        && offered(Method::Rsa);
                }
                Ie::Password(password) => {
                    let fits = plaintext_verify(secret.unwrap_or_default(), password.0);
                    answered = fits && secret.is_some() && offered(Method::Plaintext);
                }
                _ => {}
            }
        }
        answered
    }

    fn grant(&mut self, key: Key, now: Instant) {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return;
        };
        let Some(index) = dialogue.account else {
            return;
        };
        let Some(account) = self.config.accounts.get(index) else {
            return;
        };
        let user = account.name.clone();
        let moment = DateTime::from_unix(self.config.clock.unix_seconds(now)).pack();
        let mut elements = IeWriter::new()
            .ie(Ie::Username(Text(user.as_bytes())))
            .ie(Ie::DateTime(moment));
        let peer = key.0;
        if dialogue.release {
            self.bindings.remove(&index);
            self.events
                .push_back(RegistrarEvent::Released { user: user.clone() });
        } else {
            let seconds = u16::try_from(account.refresh.as_secs()).unwrap_or(u16::MAX);
            elements = elements
                .ie(Ie::Refresh(seconds))
                .ie(Ie::ApparentAddr(&write_sockaddr(MappedAddr::new(
                    peer.get(),
                ))));
            let expires = now + account.refresh + GRACE;
            let moved = self
                .bindings
                .get(&index)
                .is_none_or(|binding| binding.peer != peer || binding.socket != dialogue.socket);
            if moved {
                let mut binding = Binding::new(peer, dialogue.socket, expires, account.qualify);
                // A client sees the first POKE before its REGACK, as from Asterisk.
                if account.qualify.is_some() {
                    let number = self.rng.random_range(2..0x4000);
                    let poke = Poke::new(CallNumber::from_bits(number), now);
                    self.outbox.push_back(binding.begin(poke));
                }
                self.bindings.insert(index, binding);
            } else if let Some(binding) = self.bindings.get_mut(&index) {
                binding.expires = expires;
            }
            self.events.push_back(RegistrarEvent::Registered {
                user: user.clone(),
                peer,
                moved,
            });
        }
        dialogue.finish(Command::RegAck, elements, now);
    }

    fn deny(&mut self, key: Key, now: Instant) {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return;
        };
        self.events.push_back(RegistrarEvent::Refused {
            user: Text(&dialogue.user).to_string(),
            peer: key.0,
            why: Refusal::Credentials,
        });
        let elements = IeWriter::new()
            .ie(Ie::Cause(Text(b"Registration Refused")))
            .ie(Ie::CauseCode(Cause::FacilityRejected.get()));
        dialogue.finish(Command::RegRej, elements, now);
    }

    /// Sends what the dialogue has to send, ends it when it is done, arms its next deadline.
    fn after_dialogue(&mut self, key: Key, now: Instant) {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return;
        };
        while let Some(payload) = dialogue.reliable.poll_transmit() {
            self.outbox.push_back(Transmit {
                socket: dialogue.socket,
                peer: key.0,
                payload,
                ttl: None,
            });
        }
        if dialogue.stage == Stage::Closing && dialogue.reliable.is_acknowledged() {
            self.free(key, now);
            return;
        }
        let due = dialogue
            .reliable
            .poll_timeout()
            .map_or(dialogue.ends, |(due, _)| due.min(dialogue.ends));
        if dialogue.armed != Some(due) {
            if let Some(armed) = dialogue.armed.replace(due) {
                self.deadlines.remove(&(armed, key));
            }
            self.deadlines.insert((due, key));
        }
    }

    fn free(&mut self, key: Key, now: Instant) {
        let Some(dialogue) = self.dialogues.remove(&key) else {
            return;
        };
        if let Some(armed) = dialogue.armed {
            self.deadlines.remove(&(armed, key));
        }
        self.by_remote.remove(&(key.0, dialogue.reliable.remote()));
        let address = key.0.get().ip();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        self.rested.insert(key);
        self.resting.push_back((now + REST, key));
    }

    fn free_number(&mut self, peer: PeerAddr) -> Option<CallNumber> {
        // Random, so that late frames of strangers miss; after so many failures the space is full.
        const TRIES: usize = 64;
        (0..TRIES)
            .map(|_| CallNumber::from_bits(self.rng.random_range(2..0x4000)))
            .find(|&number| {
                let key = (peer, number);
                !self.dialogues.contains_key(&key) && !self.rested.contains(&key)
            })
    }

    fn answer_token(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
        if arrival.length < CALLTOKEN_LENGTH
            || !self.token_answers.admit(arrival.peer.get().ip(), now)
        {
            return;
        }
        let token = self.config.tokens.issue(arrival.peer, now);
        // A token of 8 octets always fits.
        let elements = IeWriter::new()
            .ie(Ie::CallToken(&token))
            .finish()
            .unwrap_or_default();
        self.answer(
            arrival,
            stateless::reply(frame, Command::CallToken, &elements),
        );
    }

    fn refuse(&mut self, frame: &FullFrame<'_>, arrival: Arrival, why: Refusal, now: Instant) {
        if !self.token_answers.admit(arrival.peer.get().ip(), now) {
            return;
        }
        let user = Text(frame.ies().find(IeId::Username).unwrap_or_default()).to_string();
        self.events.push_back(RegistrarEvent::Refused {
            user,
            peer: arrival.peer,
            why,
        });
        self.answer(arrival, stateless::reply(frame, Command::RegRej, &[]));
    }

    fn answer(&mut self, arrival: Arrival, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: arrival.socket,
            peer: arrival.peer,
            payload,
            ttl: None,
        });
    }
}
