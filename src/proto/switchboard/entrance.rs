//! How a caller gets in: NEW, the challenge, its answer, ACCEPT (RFC 5456 §6.2.2 to §6.2.7).

use std::time::Instant;

use rand::RngExt as _;
use secrecy::ExposeSecret as _;

use super::{
    LONGEST, Switchboard, SwitchboardEvent,
    choice::format_for,
    extension::Extension,
    fault::Fault,
    leg,
    line::{Caller, Line, Part, Standing},
    lines::LineId,
};
use crate::{
    proto::{
        account::{Account, CallTokenRule, EncryptionRule},
        auth::Method,
        call::{Call, Challenge, Reason, Stage, offers_aes},
        door::{Arrival, Entry, Refusal, UNPROVEN_PATIENCE},
        proof::{Claim, challenge},
        stateless,
    },
    types::{CallNumber, SeqNo},
    wire::iax2::{
        cause::Cause,
        command::Command,
        format::Formats,
        frame::{FULL_HEADER, FullFrame},
        ie::{IeId, Ies},
        ie_value::Text,
    },
};

/// What the tone comes in.
const PLAYED: Formats = Formats::ULAW.or(Formats::ALAW);

impl Switchboard {
    /// Takes a frame that names no call of ours: a NEW, or whatever else the peer of a call sends so; false where
    /// it is neither. `datagram` is the frame as it came.
    pub fn handle_first(
        &mut self,
        frame: &FullFrame<'_>,
        datagram: &[u8],
        arrival: Arrival,
        now: Instant,
    ) -> bool {
        if !frame.destination.is_none() {
            return false;
        }
        let known = self.lines.of_remote(arrival.peer, frame.source);
        let line = known.and_then(|id| self.lines.get(id).map(|line| (id, line)));
        if frame.command() != Some(Command::New) {
            // Who does not name our number may not have received it.
            let proven = line.filter(|(_, line)| line.is_proven()).map(|(id, _)| id);
            if let Some(id) = proven {
                self.deliver(id, datagram, now);
            }
            return proven.is_some();
        }
        match line {
            // The number begins a new call before the old one was forgotten.
            Some((id, line)) if line.call.stage() == Stage::Over => self.free(id, now),
            // Once more: its answer may be lost, or under way.
            Some((id, line)) => {
                if line.is_proven() || self.door.admit_unproven(arrival, now) {
                    self.deliver(id, datagram, now);
                }
                return true;
            }
            None => {}
        }
        let is_first = frame.oseqno == SeqNo::ZERO && frame.iseqno == SeqNo::ZERO;
        if frame.source.get() < 2 || !is_first {
            self.counts.odd += 1;
        } else {
            self.handle_new(frame, arrival, now);
        }
        true
    }

    fn handle_new(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
        let user = frame.ies().find(IeId::Username).unwrap_or_default();
        let index = std::str::from_utf8(user)
            .ok()
            .and_then(|name| self.by_name.get(name))
            .copied();
        let account = index.and_then(|index| self.config.accounts.get(index));
        // The answer to a challenge must prove the address, where no token does.
        let may_lack_token = account.is_some_and(|account| {
            account.call_token == CallTokenRule::Optional && proving(account).next().is_some()
        });
        let lines = &self.lines;
        let in_use = |&(peer, local): &_| lines.of_local(peer, local).is_some();
        let entry = self.door.knock(frame, arrival, may_lack_token, in_use, now);
        match entry {
            Entry::Dropped => {}
            Entry::Answered { with, why } => {
                self.outbox.push_back(with);
                if let Some(why) = why {
                    self.events.push_back(SwitchboardEvent::Refused {
                        user: Text(user).to_string(),
                        peer: arrival.peer,
                        why,
                    });
                }
            }
            Entry::Open { .. } if self.config.faults.has(Fault::Silence) => {}
            Entry::Open { .. } if self.config.faults.has(Fault::NakedReject) => {
                let reject = stateless::reply(frame, Command::Reject, &[]);
                self.outbox.push_back(arrival.answer(reject));
            }
            Entry::Open { local, proven } => {
                if !proven
                    && let Some((peer, oldest)) = self.door.gives_way()
                    && let Some(oldest) = self.lines.of_local(peer, oldest)
                {
                    self.free(oldest, now);
                }
                self.open(frame, arrival, (local, index, proven), now);
            }
        }
    }

    fn open(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        (local, index, proven): (CallNumber, Option<usize>, bool),
        now: Instant,
    ) {
        let (manners, seed) = (self.config.manners, self.rng.random());
        let call = if proven {
            Call::incoming(frame, local, manners, seed, now)
        } else {
            Call::unproven(frame, local, manners, UNPROVEN_PATIENCE, seed, now)
        };
        let element = |id| frame.ies().find(id).unwrap_or_default();
        let user = element(IeId::Username);
        let number = element(IeId::CalledNumber);
        let account = index.and_then(|index| self.config.accounts.get(index));
        let requires_encryption =
            account.is_some_and(|account| account.encryption == EncryptionRule::Required);
        let or_user = |value: &[u8]| match value {
            [] => Text(user).to_string(),
            value => Text(value).to_string(),
        };
        let caller = Caller {
            challenge: challenge(&mut self.rng),
            requires_encryption,
            format: format_for(frame, call.capability()),
            identity: (
                or_user(element(IeId::CallingNumber)),
                or_user(element(IeId::CallingName)),
            ),
            extension: Extension::of(number),
            playing: None,
            step: 0,
            echoes: false,
        };
        let line = Line {
            call,
            socket: arrival.socket,
            peer: arrival.peer,
            remote: frame.source,
            account: index,
            user: user.to_vec(),
            number: number.to_vec(),
            standing: if proven {
                Standing::Present
            } else {
                Standing::Unproven
            },
            part: Part::Caller(Box::new(caller)),
            partner: None,
            trunked: false,
            began: None,
            limit: now + LONGEST,
            armed: None,
            sent: 0,
            answered: false,
            heard: None,
        };
        self.door.enter(line.key(), proven);
        let id = self.lines.insert(line);
        let unchallenged = index
            .and_then(|index| self.config.accounts.get(index))
            .is_some_and(|account| account.methods.is_empty());
        if unchallenged {
            self.admit(id, now);
        } else {
            self.challenge(id, offers_aes(frame), now);
        }
        self.attend(id, now);
        self.finish(now);
    }

    fn challenge(&mut self, id: LineId, offers_aes: bool, now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        let Part::Caller(caller) = &line.part else {
            return;
        };
        let account = line
            .account
            .and_then(|index| self.config.accounts.get(index));
        // As for most accounts where there is none.
        let methods = match account {
            None => vec![Method::Md5],
            Some(account) if line.is_proven() => account.methods.clone(),
            Some(account) => proving(account).collect(),
        };
        let secret = account
            .filter(|account| offers_aes && account.encryption != EncryptionRule::Off)
            .and_then(|account| account.secret.as_ref());
        let challenge = Challenge {
            methods: &methods,
            text: &caller.challenge,
            user: &line.user,
            encrypt_with: secret.map(|secret| secret.expose_secret().as_bytes()),
        };
        line.call.challenge(&challenge, now);
    }

    /// AUTHREP.
    pub(super) fn handle_proof(&mut self, id: LineId, elements: &[u8], now: Instant) {
        let (Some(line), Ok(elements)) =
            (self.lines.get_mut(id), Ies::parse(elements, FULL_HEADER))
        else {
            return;
        };
        let Part::Caller(caller) = &line.part else {
            return;
        };
        let claim = Claim {
            peer: line.peer,
            user: &line.user,
            account: line
                .account
                .and_then(|index| self.config.accounts.get(index)),
            challenge: &caller.challenge,
        };
        let examined = self.examiner.examine(claim, elements, now);
        let lacks_encryption = caller.requires_encryption && !line.call.is_encrypted();
        let proof = match examined {
            // Refused like bad credentials: nobody learns that the rest was right.
            Ok(_) if lacks_encryption => Err(Refusal::Credentials),
            Ok(Method::Plaintext) if !line.is_proven() => Err(Refusal::Credentials),
            Ok(_) => Ok(()),
            Err(why) => Err(why),
        };
        match proof {
            Ok(()) => {
                // Who answers a challenge has received it.
                if !line.is_proven() {
                    line.call.trust();
                    self.door.prove(line.key());
                }
                self.admit(id, now);
            }
            Err(why) => {
                self.events.push_back(SwitchboardEvent::Refused {
                    user: Text(&line.user).to_string(),
                    peer: line.peer,
                    why,
                });
                line.call.reject(
                    reason("No authority found", Cause::FacilityNotSubscribed),
                    now,
                );
            }
        }
    }

    /// The caller is who it says: accepts the call, or says why not.
    fn admit(&mut self, id: LineId, now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        line.standing = Standing::Known;
        let Part::Caller(caller) = &line.part else {
            return;
        };
        let verdict = match (caller.extension, caller.format) {
            _ if self.config.faults.cause().is_some() => {
                Err(Reason::code(self.config.faults.cause().unwrap_or_default()))
            }
            (None, _) => Err(reason(
                "No such context/extension",
                Cause::NoRouteDestination,
            )),
            (Some(Extension::Reject), _) => Err(reason("Call rejected", Cause::Rejected)),
            (Some(Extension::Tone), Some(format)) if !PLAYED.contains(format) => Err(reason(
                "Unable to negotiate codec",
                Cause::BearerUnavailable,
            )),
            (Some(_), None) => Err(reason(
                "Unable to negotiate codec",
                Cause::BearerUnavailable,
            )),
            (Some(_), Some(format)) => Ok(format),
        };
        match verdict {
            Ok(format) => {
                line.call.accept(format, now);
                line.began = Some(now);
                self.counts.accepted += 1;
                self.events.push_back(SwitchboardEvent::Accepted {
                    leg: leg(line),
                    format,
                    encrypted: line.call.is_encrypted(),
                });
            }
            Err(cause) => line.call.reject(cause, now),
        }
    }
}

/// The methods of an account whose answer proves that the challenge was received.
fn proving(account: &Account) -> impl Iterator<Item = Method> + '_ {
    let methods = account.methods.iter().copied();
    methods.filter(|method| *method != Method::Plaintext)
}

pub(super) fn reason(text: &str, cause: Cause) -> Reason {
    Reason {
        text: Some(text.to_owned()),
        code: Some(cause.get()),
    }
}
