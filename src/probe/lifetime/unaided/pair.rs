//! One idle time, tried with two registrations: the first opens the mapping, the second tells afterwards
//! by the port it is given whether that is still there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{LATE, MARGIN, Result, SAME_EXCHANGE};
use crate::{
    probe::evidence::Inapplicable,
    proto::{
        contract::{Input, Machine as _, SocketKey, Transmit},
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
    },
    types::{LocalAddr, MappedAddr},
};

/// What the second registration tells by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It leaves from the same socket: a NAT that draws ports gives it another one if the mapping is gone.
    Drift,
    /// It leaves from the same port of another address: a NAT that keeps ports gives it that port if the
    /// mapping is gone, and cannot while it lives.
    Sibling,
    /// The other address alone: whether the NAT keeps its port where nothing is in the way.
    Lone,
}

/// A pair of registrations.
#[derive(Debug)]
pub(super) struct Pair {
    kind: Kind,
    idle: Duration,
    /// The registration to make, on whatever socket.
    account: RegistrationConfig,
    /// The socket of the mapping under test, and the one that asks about it.
    own: SocketKey,
    asking: SocketKey,
    second_seed: [u8; 32],
    stage: Stage,
    dialogue: Option<Registration>,
    local: Option<LocalAddr>,
    mapped: Option<MappedAddr>,
    /// Where the second registration was seen.
    seen: Option<MappedAddr>,
    opened: Instant,
    last_packet: Instant,
    result: Option<Result>,
    pub(super) outbox: VecDeque<Transmit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Begins then.
    Planned(Instant),
    Opening,
    /// The mapping is left alone until then.
    Idle(Instant),
    /// The second registration is out; whether it left too late to prove that a mapping was gone.
    Asking {
        late: bool,
    },
    Over,
}

impl Pair {
    /// A pair that begins at `begins`. `account` names the socket of the mapping under test.
    pub(super) fn new(
        kind: Kind,
        idle: Duration,
        account: RegistrationConfig,
        asking: SocketKey,
        second_seed: [u8; 32],
        begins: Instant,
    ) -> Self {
        Self {
            kind,
            idle,
            own: account.socket,
            account,
            asking,
            second_seed,
            stage: Stage::Planned(begins),
            dialogue: None,
            local: None,
            mapped: None,
            seen: None,
            opened: begins,
            last_packet: begins,
            result: None,
            outbox: VecDeque::new(),
        }
    }

    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }

    pub(super) const fn result(&self) -> Option<Result> {
        self.result
    }

    /// Where the first and the second registration were seen, if they are two mappings.
    pub(super) fn mappings(&self) -> Option<(MappedAddr, MappedAddr)> {
        let pair = self.mapped.zip(self.seen);
        pair.filter(|_| self.kind == Kind::Sibling)
    }

    pub(super) fn owns(&self, socket: SocketKey) -> bool {
        socket == self.own || socket == self.asking
    }

    /// Whether a registration is under way that should come to its end.
    pub(super) const fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Asking { .. })
    }

    /// Nothing more is begun.
    pub(super) fn wind_down(&mut self) {
        if matches!(self.stage, Stage::Planned(_) | Stage::Idle(_)) {
            self.stage = Stage::Over;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Planned(at) | Stage::Idle(at) => Some(at),
            Stage::Opening | Stage::Asking { .. } => {
                self.dialogue.as_ref()?.poll_timeout().map(|(at, _)| at)
            }
            Stage::Over => None,
        }
    }

    pub(super) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Opened { socket, local } => {
                if socket == self.own || self.kind == Kind::Lone {
                    self.local = Some(local);
                }
            }
            Input::Datagram { socket, .. } => {
                if socket == self.own {
                    self.last_packet = now;
                }
                // A registration that has ended still answers what comes late.
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.handle_input(input, now);
                }
                if matches!(self.stage, Stage::Idle(_)) {
                    self.disturbed(now);
                }
            }
            Input::Unreachable { .. } => {
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.handle_input(input, now);
                }
            }
        }
        self.drain(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Planned(at) if at <= now => {
                self.opened = now;
                self.last_packet = now;
                if self.kind == Kind::Lone {
                    self.ask(false, now);
                } else {
                    self.dialogue = Some(Registration::new(self.account.clone(), now));
                    self.stage = Stage::Opening;
                }
            }
            Stage::Idle(at) if at <= now => {
                let late = now.saturating_duration_since(at) > LATE;
                self.ask(late, now);
            }
            Stage::Opening | Stage::Asking { .. } => {
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.handle_timeout(now);
                }
            }
            Stage::Planned(_) | Stage::Idle(_) | Stage::Over => {}
        }
        self.drain(now);
    }

    fn ask(&mut self, late: bool, now: Instant) {
        let config = RegistrationConfig {
            socket: self.asking,
            seed: self.second_seed,
            ..self.account.clone()
        };
        self.dialogue = Some(Registration::new(config, now));
        self.stage = Stage::Asking { late };
    }

    /// A packet came on a mapping that was to be left alone.
    fn disturbed(&mut self, now: Instant) {
        if now.saturating_duration_since(self.opened) < SAME_EXCHANGE {
            self.stage = Stage::Idle(now + self.idle + MARGIN);
        } else {
            self.conclude(Result::Unknown(Inapplicable::Disturbed));
        }
    }

    fn drain(&mut self, now: Instant) {
        let Some(mut dialogue) = self.dialogue.take() else {
            return;
        };
        while let Some(transmit) = dialogue.poll_transmit() {
            if transmit.socket == self.own {
                self.last_packet = now;
            }
            self.outbox.push_back(transmit);
        }
        while let Some(event) = dialogue.poll_event() {
            if let RegistrationEvent::Ended(outcome) = event {
                self.registered(&outcome);
            }
        }
        self.dialogue.get_or_insert(dialogue);
    }

    /// A registration has ended.
    fn registered(&mut self, outcome: &Outcome) {
        let mapped = match outcome {
            Outcome::Acknowledged { apparent, .. } => *apparent,
            Outcome::Rejected { .. }
            | Outcome::TokenRefused { .. }
            | Outcome::AuthUnsupported { .. }
            | Outcome::Unsupported
            | Outcome::TimedOut { .. } => {
                self.conclude(Result::Unknown(Inapplicable::NotRegistered));
                return;
            }
        };
        let (Some(mapped), Some(local)) = (mapped, self.local) else {
            self.conclude(Result::Unknown(Inapplicable::NoApparentAddress));
            return;
        };
        match self.stage {
            Stage::Opening => self.opened_at(mapped, local),
            Stage::Asking { late } => {
                self.seen = Some(mapped);
                let result = self.compare(mapped, local);
                let proves = !(late && result == Result::Gone);
                self.conclude(if proves {
                    result
                } else {
                    Result::Unknown(Inapplicable::Disturbed)
                });
            }
            Stage::Planned(_) | Stage::Idle(_) | Stage::Over => {}
        }
    }

    /// The first registration is through, seen at `mapped`.
    fn opened_at(&mut self, mapped: MappedAddr, local: LocalAddr) {
        if mapped.get() == local.get() {
            self.conclude(Result::Unknown(Inapplicable::NotTranslated));
            return;
        }
        let kept = mapped.get().port() == local.get().port();
        match (self.kind, kept) {
            (Kind::Drift, true) => self.conclude(Result::Unknown(Inapplicable::PortKept)),
            (Kind::Sibling, false) => self.conclude(Result::Unknown(Inapplicable::PortChanged)),
            _ if self.last_packet.saturating_duration_since(self.opened) > SAME_EXCHANGE => {
                self.conclude(Result::Unknown(Inapplicable::Disturbed));
            }
            _ => {
                self.mapped = Some(mapped);
                self.stage = Stage::Idle(self.last_packet + self.idle + MARGIN);
            }
        }
    }

    /// What it says that the second registration is seen at `seen`.
    fn compare(&self, seen: MappedAddr, local: LocalAddr) -> Result {
        let kept = seen.get().port() == local.get().port();
        match (self.kind, self.mapped) {
            (Kind::Lone, _) if kept => Result::Alive,
            (Kind::Drift, Some(mapped)) if seen == mapped => Result::Alive,
            (Kind::Lone | Kind::Drift, _) => Result::Gone,
            // One of several public addresses: its ports say nothing of those of another.
            (Kind::Sibling, Some(mapped)) if seen.get().ip() != mapped.get().ip() => {
                Result::Unknown(Inapplicable::SiblingMoved)
            }
            (Kind::Sibling, _) if kept => Result::Gone,
            (Kind::Sibling, _) => Result::Alive,
        }
    }

    fn conclude(&mut self, result: Result) {
        self.stage = Stage::Over;
        self.result.get_or_insert(result);
    }
}
