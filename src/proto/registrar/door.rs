//! The door: first requests, from somebody that nothing is known of. They are answered without state, or
//! opened a dialogue for.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::{
    Arrival, Refusal, Registrar, RegistrarEvent,
    dialogue::{Dialogue, Stage},
};
use crate::{
    proto::{
        account::CallTokenRule,
        admission::source_prefix,
        contract::Transmit,
        registration::random_call_number,
        reliable::Reliable,
        stateless,
        token::{SHORTEST_TOKEN, TOKEN_LENGTH},
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::Command,
        frame::FullFrame,
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};

/// Dialogues with one source: an IPv4 address or an IPv6 /64.
const MAX_PER_ADDRESS: usize = 1024;
/// Dialogues in all.
const MAX_DIALOGUES: usize = 65_536;
/// Dialogues that no token proved (accounts that need none), in all.
const MAX_UNPROVEN: usize = 64;
/// A dialogue that a peer keeps alive without finishing ends by then.
const DIALOGUE_LIMIT: Duration = Duration::from_secs(40);
/// Octets of a CALLTOKEN frame without the token.
const CALLTOKEN_LENGTH: usize = 14;
/// A dialogue that no token proved waits for its next frame no longer than this, silently.
const UNPROVEN_PATIENCE: Duration = Duration::from_secs(8);

impl Registrar {
    /// A first request: from somebody that nothing is known of.
    pub(super) fn handle_first(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
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
        // Where nothing is asked either, the token is all that proves the address.
        let may_lack_token = account
            .and_then(|index| self.config.accounts.get(index))
            .is_some_and(|account| {
                account.call_token == CallTokenRule::Optional && !account.methods.is_empty()
            });
        if !proven && !may_lack_token {
            return self.refuse(frame, arrival, Refusal::TokenMissing, now);
        }
        let here = self
            .per_address
            .get(&source_prefix(arrival.peer.get().ip()))
            .copied()
            .unwrap_or(0);
        if here >= MAX_PER_ADDRESS || self.dialogues.len() >= MAX_DIALOGUES {
            return self.refuse(frame, arrival, Refusal::TooMany, now);
        }
        if !proven && !self.admit_unproven(arrival, now) {
            return;
        }
        // The oldest gives way: what a flood holds for long is nobody's.
        if !proven
            && self.unproven.len() >= MAX_UNPROVEN
            && let Some(oldest) = self.unproven.front().copied()
        {
            self.free(oldest, now);
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
        let reliable = if proven {
            Reliable::new(local, self.config.retry, now)
        } else {
            Reliable::unproven(local, UNPROVEN_PATIENCE, now)
        };
        let user = frame
            .ies()
            .find(IeId::Username)
            .unwrap_or_default()
            .to_vec();
        self.dialogues.insert(
            key,
            Dialogue {
                reliable,
                socket: arrival.socket,
                remote: frame.source,
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
        if !proven {
            self.unproven.push_back(key);
        }
        self.by_remote.insert((arrival.peer, frame.source), local);
        *self
            .per_address
            .entry(source_prefix(arrival.peer.get().ip()))
            .or_default() += 1;
        self.handle_dialogue(frame, key, now);
    }

    /// Whether one more challenge may go to an address that no token has proven.
    pub(super) fn admit_unproven(&mut self, arrival: Arrival, now: Instant) -> bool {
        let admitted = self.unproven_answers.admit(arrival.peer.get().ip(), now);
        if admitted {
            self.counts.unproven += 1;
        } else {
            self.counts.limited += 1;
        }
        admitted
    }

    fn answer_token(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
        // The answer is no longer than the request, or there is none.
        let room = arrival
            .length
            .saturating_sub(CALLTOKEN_LENGTH)
            .min(TOKEN_LENGTH);
        if room < SHORTEST_TOKEN || !self.admit(arrival, now) {
            return;
        }
        let token = self.config.tokens.issue(arrival.peer, now);
        // A token of 8 octets always fits.
        let elements = IeWriter::new()
            .ie(Ie::CallToken(token.get(..room).unwrap_or(&token)))
            .finish()
            .unwrap_or_default();
        self.answer(
            arrival,
            stateless::reply(frame, Command::CallToken, &elements),
        );
    }

    fn refuse(&mut self, frame: &FullFrame<'_>, arrival: Arrival, why: Refusal, now: Instant) {
        if !self.admit(arrival, now) {
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

    fn admit(&mut self, arrival: Arrival, now: Instant) -> bool {
        let admitted = self.token_answers.admit(arrival.peer.get().ip(), now);
        self.counts.limited += u64::from(!admitted);
        admitted
    }

    fn answer(&mut self, arrival: Arrival, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: arrival.socket,
            peer: arrival.peer,
            payload,
            ttl: None,
        });
    }

    fn free_number(&mut self, peer: PeerAddr) -> Option<CallNumber> {
        // Random, so that late frames of strangers miss; after so many failures the space is full.
        const TRIES: usize = 64;
        (0..TRIES)
            .map(|_| random_call_number(&mut self.rng))
            .find(|&number| {
                let key = (peer, number);
                !self.dialogues.contains_key(&key) && !self.resting.contains(&key)
            })
    }
}
