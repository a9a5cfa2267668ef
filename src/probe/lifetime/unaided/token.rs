//! One idle time of ten seconds at most, tried without a registration: a call token is good for one
//! address and port only, so the registrar refuses it where the NAT has drawn another port meanwhile.
//!
//! The registrar begins a registration for a token that it takes. It is told at once, with INVAL, that
//! there is none, so that it neither sends on nor notes a wrong password.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{LATE, MARGIN, Result, SAME_EXCHANGE};
use crate::{
    probe::evidence::Inapplicable,
    proto::{
        contract::{Input, SocketKey, Transmit},
        stateless,
    },
    types::{CallNumber, PeerAddr, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};

/// The longest idle time that a token survives: Asterisk takes it for ten seconds.
pub(super) const LONGEST: Duration = Duration::from_secs(9);
/// Time between transmissions of one request, and how many there are.
const INTERVAL: Duration = Duration::from_secs(1);
const TRANSMISSIONS: u8 = 4;

/// One token and the question whether it is still good.
#[derive(Debug)]
pub(super) struct TokenTrial {
    idle: Duration,
    registrar: PeerAddr,
    user: String,
    socket: SocketKey,
    number: CallNumber,
    stage: Stage,
    token: Vec<u8>,
    began: Instant,
    result: Option<Result>,
    pub(super) outbox: VecDeque<Transmit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Begins then.
    Planned(Instant),
    /// The token was asked for so often, and is asked for again then.
    Fetching(u8, Instant),
    Idle(Instant),
    /// The same for the request that carries the token; whether the first one left late.
    Asking(u8, Instant, bool),
    Over,
}

impl TokenTrial {
    pub(super) fn new(
        idle: Duration,
        registrar: PeerAddr,
        user: &str,
        socket: SocketKey,
        number: CallNumber,
        begins: Instant,
    ) -> Self {
        Self {
            idle,
            registrar,
            user: user.to_owned(),
            socket,
            number,
            stage: Stage::Planned(begins),
            token: Vec::new(),
            began: begins,
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

    pub(super) fn owns(&self, socket: SocketKey) -> bool {
        socket == self.socket
    }

    pub(super) const fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Asking(..))
    }

    pub(super) fn wind_down(&mut self) {
        if !self.is_busy() {
            self.stage = Stage::Over;
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Planned(at)
            | Stage::Fetching(_, at)
            | Stage::Idle(at)
            | Stage::Asking(_, at, _) => Some(at),
            Stage::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Planned(at) if at <= now => {
                self.began = now;
                self.request(now);
                self.stage = Stage::Fetching(1, now + INTERVAL);
            }
            Stage::Fetching(count, at) | Stage::Asking(count, at, _)
                if at <= now && count >= TRANSMISSIONS =>
            {
                self.conclude(Result::Unknown(Inapplicable::NotRegistered));
            }
            Stage::Fetching(count, at) if at <= now => {
                self.request(now);
                self.stage = Stage::Fetching(count + 1, now + INTERVAL);
            }
            Stage::Idle(at) if at <= now => {
                let late = now.saturating_duration_since(at) > LATE;
                self.request(now);
                self.stage = Stage::Asking(1, now + INTERVAL, late);
            }
            Stage::Asking(count, at, late) if at <= now => {
                self.request(now);
                self.stage = Stage::Asking(count + 1, now + INTERVAL, late);
            }
            Stage::Planned(_)
            | Stage::Fetching(..)
            | Stage::Idle(_)
            | Stage::Asking(..)
            | Stage::Over => {}
        }
    }

    pub(super) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let Input::Datagram {
            source, payload, ..
        } = input
        else {
            return;
        };
        let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
            return;
        };
        if source != self.registrar || frame.destination != self.number {
            return;
        }
        match (self.stage, frame.command()) {
            (Stage::Fetching(..) | Stage::Idle(_), Some(Command::CallToken))
                if now.saturating_duration_since(self.began) > SAME_EXCHANGE =>
            {
                self.conclude(Result::Unknown(Inapplicable::Disturbed));
            }
            (Stage::Fetching(..), Some(Command::CallToken)) => {
                match frame.ies().find(IeId::CallToken) {
                    Some(token) if !token.is_empty() => {
                        self.token = token.to_vec();
                        self.stage = Stage::Idle(now + self.idle + MARGIN);
                    }
                    _ => self.conclude(Result::Unknown(Inapplicable::NoToken)),
                }
            }
            // Somebody who takes the request as it is asks for no token.
            (Stage::Fetching(..), Some(_)) => {
                self.end_dialogue(&frame);
                self.conclude(Result::Unknown(Inapplicable::NoToken));
            }
            (Stage::Idle(_), Some(Command::CallToken)) => {
                // A copy, on a mapping that was to be left alone.
                self.stage = Stage::Idle(now + self.idle + MARGIN);
            }
            (Stage::Asking(_, _, late), Some(command)) => self.answered(&frame, command, late),
            _ => {}
        }
    }

    /// What the answer to the request with the token says.
    fn answered(&mut self, frame: &FullFrame<'_>, command: Command, late: bool) {
        let is_naked = frame.source == CallNumber::STATELESS && frame.payload.is_empty();
        match command {
            Command::RegRej | Command::Reject if is_naked => self.conclude(if late {
                Result::Unknown(Inapplicable::Disturbed)
            } else {
                Result::Gone
            }),
            Command::RegAuth | Command::RegAck | Command::RegRej | Command::Reject => {
                self.end_dialogue(frame);
                self.conclude(Result::Alive);
            }
            _ => {}
        }
    }

    /// Leaves the registrar no registration to finish.
    fn end_dialogue(&mut self, frame: &FullFrame<'_>) {
        let payload = match frame.command() {
            Some(Command::RegAuth) => stateless::invalid(frame),
            _ => Some(stateless::acknowledgement(frame, self.number)),
        };
        self.outbox.extend(payload.map(|payload| Transmit {
            socket: self.socket,
            peer: self.registrar,
            payload,
            ttl: None,
        }));
    }

    fn request(&mut self, now: Instant) {
        let elements = IeWriter::new()
            .ie(Ie::Username(Text(self.user.as_bytes())))
            .ie(Ie::Refresh(60))
            .ie(Ie::CallToken(&self.token))
            .finish();
        // Only a name above 255 octets cannot be written, and no registrar knows one.
        let Ok(elements) = elements else {
            self.conclude(Result::Unknown(Inapplicable::NotRegistered));
            return;
        };
        let elapsed = now.saturating_duration_since(self.began);
        let frame = Frame::Full(FullFrame {
            source: self.number,
            destination: CallNumber::NONE,
            retransmission: false,
            timestamp: Timestamp::from_elapsed(elapsed),
            oseqno: SeqNo::ZERO,
            iseqno: SeqNo::ZERO,
            frame_type: FrameType::Iax,
            subclass: Command::RegReq.into(),
            payload: &elements,
        });
        self.outbox.push_back(Transmit {
            socket: self.socket,
            peer: self.registrar,
            payload: frame.to_vec(),
            ttl: None,
        });
    }

    fn conclude(&mut self, result: Result) {
        self.stage = Stage::Over;
        self.result.get_or_insert(result);
    }
}
