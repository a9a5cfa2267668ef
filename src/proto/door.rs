//! The door of a server: first requests, from somebody that nothing is known of. They are answered without
//! state, or let in.
//!
//! A source address that no call token has proven gets one answer a datagram, no larger than its request.
//! The exception are accounts that need no token, for clients from before 2009: each such request is let in
//! within a rate, and to a place among few.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::StdRng};

use crate::{
    proto::{
        admission::{Rate, RateLimit, source_prefix},
        contract::{SocketKey, Transmit},
        numbers::{Key, Resting},
        stateless,
        token::{SHORTEST_TOKEN, TOKEN_LENGTH, Tokens},
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::Command,
        frame::FullFrame,
        ie::{IeId, IeWriter},
        ie_value::Ie,
    },
};

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

impl Arrival {
    /// The datagram that answers.
    pub(crate) const fn answer(self, payload: Vec<u8>) -> Transmit {
        Transmit {
            socket: self.socket,
            peer: self.peer,
            payload,
            ttl: None,
        }
    }
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
    /// Too many wrong secrets for this account from there: this one was not looked at.
    Guessing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenMissing => "it needs a call token",
            Self::TokenInvalid => "its call token is not good for this address, port and time",
            Self::Credentials => "wrong secret, or no such account",
            Self::TooMany => "too many at once",
            Self::Guessing => "too many wrong secrets from there",
        })
    }
}

/// What a door lets in at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// With one source: an IPv4 address or an IPv6 /64.
    pub(crate) each: usize,
    /// In all.
    pub(crate) all: usize,
    /// Without a token, in all.
    pub(crate) unproven: usize,
}

/// A dialogue that no token proved waits for its next frame no longer than this, silently.
pub(crate) const UNPROVEN_PATIENCE: Duration = Duration::from_secs(8);
/// Octets of a CALLTOKEN frame without the token.
const CALLTOKEN_LENGTH: usize = 14;

/// What becomes of a first request.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Too many come: it is dropped.
    Dropped,
    /// It is answered without state.
    Answered {
        /// The answer.
        with: Transmit,
        /// Why it is refused; `None`: the answer is a token.
        why: Option<Refusal>,
    },
    /// It is let in under this number of ours.
    Open {
        /// The number.
        local: CallNumber,
        /// Whether a token proved the source.
        proven: bool,
    },
}

/// The door of one kind of dialogue.
#[derive(Debug)]
pub(crate) struct Door {
    tokens: Tokens,
    /// What refuses a request, naked.
    refusal: Command,
    capacity: Capacity,
    rng: StdRng,
    token_answers: RateLimit,
    unproven_answers: RateLimit,
    /// How many dialogues a source has.
    per_address: BTreeMap<IpAddr, usize>,
    /// How many there are.
    inside: usize,
    /// Dialogues that no token proved, the oldest first.
    unproven: VecDeque<Key>,
    resting: Resting,
    counts: DoorCounts,
}

/// Counts of one door.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DoorCounts {
    /// Answers to addresses that no call token had proven.
    pub(crate) unproven: u64,
    /// Requests beyond a rate, not answered.
    pub(crate) limited: u64,
}

impl Door {
    pub(crate) fn new(
        tokens: Tokens,
        refusal: Command,
        capacity: Capacity,
        mut rng: StdRng,
        now: Instant,
    ) -> Self {
        let mut limit = |each, total| {
            let (each, total) = (Rate::per_second(each), Rate::per_second(total));
            RateLimit::new(each, total, rng.random(), now)
        };
        Self {
            tokens,
            refusal,
            capacity,
            unproven_answers: limit(10, 1_000),
            token_answers: limit(5_000, 100_000),
            rng,
            per_address: BTreeMap::new(),
            inside: 0,
            unproven: VecDeque::new(),
            resting: Resting::default(),
            counts: DoorCounts::default(),
        }
    }

    pub(crate) const fn counts(&self) -> DoorCounts {
        self.counts
    }

    /// Looks at a first request. Who is let in without a token may be the one too many: see
    /// [`Door::gives_way`].
    pub(crate) fn knock(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        may_lack_token: bool,
        in_use: impl Fn(&Key) -> bool,
        now: Instant,
    ) -> Entry {
        let proven = match frame.ies().find(IeId::CallToken) {
            Some([]) => return self.answer_token(frame, arrival, now),
            Some(token) if self.tokens.verify(token, arrival.peer, now) => true,
            Some(_) => return self.refuse(frame, arrival, Refusal::TokenInvalid, now),
            None => false,
        };
        if !proven && !may_lack_token {
            return self.refuse(frame, arrival, Refusal::TokenMissing, now);
        }
        let here = self
            .per_address
            .get(&source_prefix(arrival.peer.get().ip()))
            .copied()
            .unwrap_or(0);
        if here >= self.capacity.each || self.inside >= self.capacity.all {
            return self.refuse(frame, arrival, Refusal::TooMany, now);
        }
        if !proven && !self.admit_unproven(arrival, now) {
            return Entry::Dropped;
        }
        match self.choose(arrival.peer, in_use) {
            Some(local) => Entry::Open { local, proven },
            None => self.refuse(frame, arrival, Refusal::TooMany, now),
        }
    }

    /// Who goes before one more that no token proved comes in. The oldest gives way: what a flood holds for
    /// long is nobody's.
    pub(crate) fn gives_way(&self) -> Option<Key> {
        self.unproven
            .front()
            .copied()
            .filter(|_| self.unproven.len() >= self.capacity.unproven)
    }

    /// A number for a dialogue of ours with a peer; `None` where the space is full.
    pub(crate) fn choose(
        &mut self,
        peer: PeerAddr,
        in_use: impl Fn(&Key) -> bool,
    ) -> Option<CallNumber> {
        self.resting.choose(peer, &mut self.rng, in_use)
    }

    /// A dialogue begins.
    pub(crate) fn enter(&mut self, key: Key, proven: bool) {
        if !proven {
            self.unproven.push_back(key);
        }
        self.inside += 1;
        let address = source_prefix(key.0.get().ip());
        *self.per_address.entry(address).or_default() += 1;
    }

    /// The source of a dialogue is proven after all.
    pub(crate) fn prove(&mut self, key: Key) {
        self.unproven.retain(|unproven| *unproven != key);
    }

    /// A dialogue is over; its number rests.
    pub(crate) fn leave(&mut self, key: Key, proven: bool, now: Instant) {
        if !proven {
            self.prove(key);
        }
        self.inside -= 1;
        let address = source_prefix(key.0.get().ip());
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        self.resting.lay_down(key, now);
    }

    /// Lets go the numbers that have rested for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.resting.wake(now);
    }

    /// Whether one more answer may go to an address that no token has proven.
    pub(crate) fn admit_unproven(&mut self, arrival: Arrival, now: Instant) -> bool {
        let admitted = self.unproven_answers.admit(arrival.peer.get().ip(), now);
        if admitted {
            self.counts.unproven += 1;
        } else {
            self.counts.limited += 1;
        }
        admitted
    }

    fn answer_token(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) -> Entry {
        // The answer is no longer than the request, or there is none.
        let room = arrival
            .length
            .saturating_sub(CALLTOKEN_LENGTH)
            .min(TOKEN_LENGTH);
        if room < SHORTEST_TOKEN || !self.admit(arrival, now) {
            return Entry::Dropped;
        }
        let token = self.tokens.issue(arrival.peer, now);
        // A token of 8 octets always fits.
        let elements = IeWriter::new()
            .ie(Ie::CallToken(token.get(..room).unwrap_or(&token)))
            .finish()
            .unwrap_or_default();
        Entry::Answered {
            with: arrival.answer(stateless::reply(frame, Command::CallToken, &elements)),
            why: None,
        }
    }

    fn refuse(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        why: Refusal,
        now: Instant,
    ) -> Entry {
        if !self.admit(arrival, now) {
            return Entry::Dropped;
        }
        Entry::Answered {
            with: arrival.answer(stateless::reply(frame, self.refusal, &[])),
            why: Some(why),
        }
    }

    fn admit(&mut self, arrival: Arrival, now: Instant) -> bool {
        let admitted = self.token_answers.admit(arrival.peer.get().ip(), now);
        self.counts.limited += u64::from(!admitted);
        admitted
    }
}
