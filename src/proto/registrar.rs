//! The far end of registration: challenges, grants, refuses, remembers who is where, and qualifies
//! (RFC 5456 §6.1, and deployed registrars where they differ).
//!
//! A source address that no call token has proven gets one answer a datagram, no larger than its
//! request, and no state. The exception are accounts that need no token, for clients from before 2009: one
//! REGAUTH for each such request, never sent again unasked, within a rate, and a place among few. Method,
//! challenge and name cannot fit the request that they answer: REGAUTH is up to 15 octets longer than the
//! shortest one, 11 than one that names a refresh. Whatever such an address may have registered, no POKE
//! goes there before it has answered a challenge. Unknown users walk the same path as known ones.

mod binding;
mod dialogue;
mod event;
mod first;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::{
    binding::Binding,
    event::{RegistrarCounts, RegistrarEvent},
};
use self::{
    binding::{Bindings, Poke},
    dialogue::{Dialogue, Stage},
};
use crate::{
    proto::{
        account::Account,
        auth::Method,
        contract::{Transmit, earlier},
        door::{Arrival, Capacity, Door, Refusal},
        numbers::Key,
        proof::{Claim, Examiner},
        registration::random_call_number,
        reliable::{Receipt, RetryPolicy},
        token::{Tokens, WallClock},
    },
    types::{CallNumber, MappedAddr, SeqNo},
    wire::iax2::{
        cause::Cause,
        command::{Command, FrameType},
        frame::FullFrame,
        ie::{IeWriter, Ies},
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
    door: Door,
    examiner: Examiner,
    bindings: Bindings,
    /// First requests with numbers that none has.
    odd: u64,
    outbox: VecDeque<Transmit>,
    events: VecDeque<RegistrarEvent>,
}

/// A binding is kept for so long after its refresh has passed (as Asterisk).
const GRACE: Duration = Duration::from_secs(10);
/// Dialogues at once.
const CAPACITY: Capacity = Capacity {
    each: 1024,
    all: 65_536,
    unproven: 64,
};

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
        let examiner = Examiner::new(&mut rng, now);
        let door = Door::new(
            config.tokens.clone(),
            Command::RegRej,
            CAPACITY,
            StdRng::from_seed(rng.random()),
            now,
        );
        Self {
            config,
            by_name,
            rng,
            dialogues: BTreeMap::new(),
            by_remote: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            door,
            examiner,
            bindings: Bindings::default(),
            odd: 0,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where an account is registered.
    #[must_use]
    pub fn binding(&self, user: &str) -> Option<&Binding> {
        self.bindings.get(*self.by_name.get(user)?)
    }

    /// Dialogues under way.
    #[must_use]
    pub fn dialogues(&self) -> usize {
        self.dialogues.len()
    }

    /// What was done so far, beyond the events.
    #[must_use]
    pub const fn counts(&self) -> RegistrarCounts {
        let door = self.door.counts();
        RegistrarCounts {
            odd: self.odd,
            unproven: door.unproven,
            limited: door.limited,
        }
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
        // Numbers below 2 are no dialogue's, and the first frame of a dialogue is number 0.
        if frame.source.get() < 2 || frame.oseqno != SeqNo::ZERO {
            self.odd += 1;
            return true;
        }
        match self.by_remote.get(&(arrival.peer, frame.source)) {
            Some(&local) => self.handle_repeated(frame, (arrival.peer, local), arrival, now),
            None if frame.iseqno != SeqNo::ZERO => self.odd += 1,
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
        self.door.handle_timeout(now);
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
        earlier(dialogue, self.bindings.poll_timeout())
    }

    /// A first request once more: its answer may be lost, or under way.
    fn handle_repeated(&mut self, frame: &FullFrame<'_>, key: Key, arrival: Arrival, now: Instant) {
        let proven = self
            .dialogues
            .get(&key)
            .is_some_and(|dialogue| dialogue.proven);
        if proven || self.door.admit_unproven(arrival, now) {
            self.handle_dialogue(frame, key, now);
        }
    }

    /// A frame of a dialogue; false where there is none, or the call numbers do not fit.
    fn handle_dialogue(&mut self, frame: &FullFrame<'_>, key: Key, now: Instant) -> bool {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return false;
        };
        if dialogue.remote != frame.source {
            return false;
        }
        match dialogue.reliable.receive(frame, now) {
            Receipt::Deliver => self.handle_delivered(frame, key, now),
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
            (_, Stage::Challenged) if request => match self.examine(frame.ies(), key, now) {
                Ok(()) => self.grant(key, now),
                Err(why) => self.deny(key, why, now),
            },
            (Some(Command::RegRej | Command::Hangup), _) => {
                dialogue.reliable.settle(frame);
                dialogue.stage = Stage::Closing;
                return;
            }
            (Some(Command::Unknown(command)), _)
                if dialogue.proven && frame.frame_type == FrameType::Iax =>
            {
                dialogue.unsupported(command, now);
            }
            _ => {}
        }
        if let Some(dialogue) = self.dialogues.get_mut(&key) {
            dialogue.reliable.settle(frame);
        }
    }

    /// Whether the elements answer the dialogue's challenge.
    fn examine(&mut self, elements: Ies<'_>, key: Key, now: Instant) -> Result<(), Refusal> {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return Err(Refusal::Credentials);
        };
        let claim = Claim {
            peer: key.0,
            user: &dialogue.user,
            account: dialogue
                .account
                .and_then(|index| self.config.accounts.get(index)),
            challenge: &dialogue.challenge,
        };
        let method = self.examiner.examine(claim, elements, now)?;
        // Who answers a challenge has received it.
        if method != Method::Plaintext && !dialogue.proven {
            dialogue.proven = true;
            self.door.prove(key);
        }
        Ok(())
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
            self.bindings.take(index);
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
            let known = self
                .bindings
                .take(index)
                .filter(|binding| binding.peer == peer && binding.socket == dialogue.socket);
            let moved = known.is_none();
            let binding = known.map_or_else(
                || {
                    let socket = dialogue.socket;
                    let (proven, qualify) = (dialogue.proven, account.qualify);
                    let mut binding = Binding::new(peer, socket, expires, proven, qualify);
                    // A client sees the first POKE before its REGACK, as from Asterisk.
                    if binding.qualify.is_some() {
                        let poke = Poke::new(random_call_number(&mut self.rng), now);
                        self.outbox.push_back(binding.begin(poke));
                    }
                    binding
                },
                |binding| Binding {
                    expires,
                    proven: binding.proven || dialogue.proven,
                    ..binding
                },
            );
            self.bindings.put(index, binding);
            self.events.push_back(RegistrarEvent::Registered {
                user: user.clone(),
                peer,
                moved,
            });
        }
        dialogue.finish(Command::RegAck, elements, now);
    }

    fn deny(&mut self, key: Key, why: Refusal, now: Instant) {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return;
        };
        self.events.push_back(RegistrarEvent::Refused {
            user: Text(&dialogue.user).to_string(),
            peer: key.0,
            why,
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
        self.by_remote.remove(&(key.0, dialogue.remote));
        self.door.leave(key, dialogue.proven, now);
    }
}
