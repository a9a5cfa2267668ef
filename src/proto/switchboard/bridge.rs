//! Two legs that are one call: the caller's, and one to its own registered account. What one end says the
//! other hears.

use std::time::Instant;

use rand::RngExt as _;

use super::{
    LONGEST, Switchboard, SwitchboardEvent,
    entrance::reason,
    leg,
    line::{Line, Part, Standing},
    lines::LineId,
};
use crate::{
    proto::{
        account::EncryptionRule,
        auth::Credentials,
        call::{Call, DialConfig, EncryptionOffer, Ending, Reason, Stage},
        contract::SocketKey,
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{cause::Cause, command::Control, format::Formats},
};

/// The number that is dialled at a registered account, which has registered none: as Asterisk.
const START: &str = "s";

impl Switchboard {
    /// The next line that wants its account's place, and the account's name; answer with
    /// [`Switchboard::ring`].
    pub fn poll_lookup(&mut self) -> Option<(LineId, &str)> {
        while let Some(id) = self.lookups.pop_front() {
            let index = self.lines.get(id).and_then(|line| line.account);
            if let Some(account) = index.and_then(|index| self.config.accounts.get(index)) {
                return Some((id, &account.name));
            }
        }
        None
    }

    /// Rings the account of a line where it is registered, proven to be there; `None`: it is not.
    pub fn ring(&mut self, id: LineId, place: Option<(SocketKey, PeerAddr)>, now: Instant) {
        match place {
            Some((socket, peer)) => self.dial(id, socket, peer, now),
            None => {
                if let Some(line) = self.lines.get_mut(id) {
                    line.call
                        .hang_up(reason("Not registered", Cause::Absent), now);
                }
            }
        }
        self.attend(id, now);
        self.finish(now);
    }

    fn dial(&mut self, id: LineId, socket: SocketKey, peer: PeerAddr, now: Instant) {
        let lines = &self.lines;
        let in_use = |&(peer, local): &_| lines.of_local(peer, local).is_some();
        let local = self.door.choose(peer, in_use);
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        let Some(local) = local else {
            return line.call.hang_up(Reason::code(Cause::NoCircuit.get()), now);
        };
        let Part::Caller(caller) = &line.part else {
            return;
        };
        let account = line
            .account
            .and_then(|index| self.config.accounts.get(index));
        let Some((account, format)) = account.zip(line.call.format()) else {
            return;
        };
        let config = DialConfig {
            number: START.to_owned(),
            context: None,
            // Nobody in particular calls, but a challenge can be answered.
            credentials: Some(Credentials {
                secret: account.secret.clone(),
                ..Credentials::named("")
            }),
            caller: Some(caller.identity.clone()),
            formats: vec![format],
            encryption: match account.encryption {
                EncryptionRule::Required => EncryptionOffer::Required,
                EncryptionRule::Off | EncryptionRule::Optional => EncryptionOffer::None,
            },
            offer_token: true,
            renumbers: false,
            manners: self.config.manners,
            seed: self.rng.random(),
        };
        let rung = Line {
            call: Call::dial(config, local, now),
            socket,
            peer,
            remote: CallNumber::NONE,
            account: line.account,
            user: line.user.clone(),
            number: START.as_bytes().to_vec(),
            standing: Standing::Known,
            part: Part::Rung,
            partner: Some(id),
            trunked: false,
            began: None,
            limit: now + LONGEST,
            armed: None,
            sent: 0,
            answered: false,
            heard: None,
        };
        self.door.enter(rung.key(), true);
        self.events.push_back(SwitchboardEvent::Ringing(leg(&rung)));
        let other = self.lines.insert(rung);
        if let Some(line) = self.lines.get_mut(id) {
            line.partner = Some(other);
        }
        self.touched.push(other);
    }

    /// Does something at the other leg.
    pub(super) fn pass(&mut self, partner: LineId, act: impl FnOnce(&mut Line)) {
        if let Some(other) = self.lines.get_mut(partner) {
            act(other);
            self.touched.push(partner);
        }
    }

    /// The account took the call.
    pub(super) fn handle_accepted(&mut self, id: LineId, format: Formats, now: Instant) {
        self.lines.learn_remote(id);
        if let Some(line) = self.lines.get_mut(id) {
            line.began = Some(now);
            self.events.push_back(SwitchboardEvent::Accepted {
                leg: leg(line),
                format,
                encrypted: line.call.is_encrypted(),
            });
        }
    }

    /// How the other end fares.
    pub(super) fn handle_progress(&mut self, id: LineId, control: Control, now: Instant) {
        let Some(line) = self.lines.get(id) else {
            return;
        };
        let (Some(partner), rung) = (line.partner, matches!(line.part, Part::Rung)) else {
            return;
        };
        match control {
            Control::Answer if rung => self.pass(partner, |other| other.call.answer(now)),
            Control::Ringing
            | Control::Progress
            | Control::Proceeding
            | Control::Busy
            | Control::Congestion
                if rung =>
            {
                self.pass(partner, |other| other.call.control(control, now));
            }
            Control::Hold | Control::Unhold | Control::Flash => {
                self.pass(partner, |other| other.call.control(control, now));
            }
            _ => {}
        }
    }

    /// A leg ended: so does the other, for the same reason.
    pub(super) fn part_from_partner(&mut self, id: LineId, ending: &Ending, now: Instant) {
        let Some(partner) = self.lines.get_mut(id).and_then(|line| line.partner.take()) else {
            return;
        };
        let cause = cause_of(ending);
        self.pass(partner, |other| {
            other.partner = None;
            if cause.code == Some(Cause::Busy.get()) && other.call.stage() == Stage::Linked {
                other.call.control(Control::Busy, now);
            }
            other.call.hang_up(cause, now);
        });
    }
}

/// What the other end is told of an ending.
fn cause_of(ending: &Ending) -> Reason {
    let code = match ending {
        Ending::HungUp { cause, .. } if cause.is_empty() => Cause::Normal,
        Ending::HungUp { cause, .. } => return cause.clone(),
        Ending::Rejected { cause, .. } if !cause.is_empty() => return cause.clone(),
        Ending::Rejected { .. } | Ending::TokenRefused { .. } => Cause::Rejected,
        Ending::Unanswered { heard: false, .. } => Cause::NoUserResponse,
        Ending::Unanswered { heard: true, .. } | Ending::Stalled => Cause::OutOfOrder,
        Ending::AuthUnsupported { .. } => Cause::NotAuthorised,
        Ending::NotEncrypted | Ending::NoFormat(_) => Cause::BearerUnavailable,
        Ending::Invalidated { .. } => Cause::TemporaryFailure,
    };
    Reason::code(code.get())
}
