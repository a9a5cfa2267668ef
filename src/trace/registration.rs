//! One attempt to register: everything under one source call number of a REGREQ or REGREL (RFC 5456 §6.1).

use std::{net::SocketAddr, time::Duration};

use super::{
    mark::{Mark, Seen},
    name::Name,
};
use crate::{
    proto::auth::Method,
    types::{CallNumber, MappedAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::FullFrame,
        ie_value::{Ie, Text, auth_method, read_sockaddr},
    },
};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The capture ends before it is decided, or shows too little of it.
    #[default]
    Open,
    /// REGACK.
    Registered,
    /// REGACK to a REGREL.
    Released,
    /// REGREJ with a cause.
    Rejected,
    /// REGREJ from call number 1 without a cause.
    TokenRefused,
    /// The client turned a challenge down.
    AuthUnsupported,
    /// No frame of the registrar came, and the client gave up.
    Unanswered,
    /// The registrar answered first and then no more.
    Stalled,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Who registers.
    pub client: SocketAddr,
    /// With whom.
    pub registrar: SocketAddr,
    /// The client's call number.
    pub number: CallNumber,
    /// The account.
    pub user: Option<Name>,
    /// It gives up a registration (REGREL).
    pub release: bool,
    /// The first request.
    pub first: Mark,
    /// The last request.
    pub last_request: Mark,
    /// The first frame of the registrar.
    pub heard: Option<Mark>,
    /// Requests, with retransmissions.
    pub requests: u16,
    /// Those that were sent again.
    pub retransmissions: u16,
    /// The longest time between two requests.
    pub longest_gap: Duration,
    /// The registrar asked for a call token.
    pub token: bool,
    /// Methods offered: [`auth_method`] bits.
    pub offered: Option<u16>,
    /// The method that was used.
    pub method: Option<Method>,
    /// How it ended.
    pub outcome: Outcome,
    /// The frame that decided it.
    pub decided: Option<Mark>,
    /// Seconds granted.
    pub refresh: Option<u16>,
    /// The client's address as the registrar saw it.
    pub apparent: Option<SocketAddr>,
    /// Why it was refused, in words.
    pub cause: Option<Name>,
    /// Why it was refused, as a number.
    pub cause_code: Option<u8>,
    /// The token was given to another address of the client.
    pub token_given_to: Option<(SocketAddr, Mark)>,
    /// INVALs that came for it.
    pub invals: u16,
    timestamp: Timestamp,
}

/// Who of the two sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Registrar,
}

/// A request that nobody answered for so long stays unanswered, as far as the capture tells.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long an attempt is kept for what follows its decision.
const LINGER: Duration = Duration::from_secs(5);

impl Attempt {
    /// An attempt that this request begins.
    pub(super) fn begin(seen: &Seen<'_>, frame: &FullFrame<'_>) -> Self {
        Self {
            client: seen.source,
            registrar: seen.destination,
            number: frame.source,
            user: None,
            release: frame.command() == Some(Command::RegRel),
            first: seen.mark,
            last_request: seen.mark,
            heard: None,
            requests: 0,
            retransmissions: 0,
            longest_gap: Duration::ZERO,
            token: false,
            offered: None,
            method: None,
            outcome: Outcome::Open,
            decided: None,
            refresh: None,
            apparent: None,
            cause: None,
            cause_code: None,
            token_given_to: None,
            invals: 0,
            timestamp: frame.timestamp,
        }
    }

    /// Whether a first request under the same number begins another attempt.
    pub(super) fn is_over(&self, at: Mark) -> bool {
        self.decided.is_some() || at.since(&self.last_request) > Duration::from_secs(40)
    }

    /// Whether nothing more is to come.
    pub(super) fn is_done(&self, now: Mark) -> bool {
        match &self.decided {
            Some(decided) => now.since(decided) > LINGER,
            None => now.since(&self.last_request) > Duration::from_secs(60),
        }
    }

    /// Takes a frame of the dialogue.
    pub(super) fn take(&mut self, sender: Sender, frame: &FullFrame<'_>, at: Mark) {
        match (sender, frame.command()) {
            (Sender::Client, Some(Command::RegReq | Command::RegRel)) => self.request(frame, at),
            (Sender::Client, Some(Command::Reject)) => {
                self.decide(Outcome::AuthUnsupported, at);
                self.causes(frame);
            }
            (Sender::Client, _) => {}
            (Sender::Registrar, command) => {
                self.heard.get_or_insert(at);
                match command {
                    Some(Command::CallToken) => self.token = true,
                    Some(Command::RegAuth) => {
                        for element in frame.ies().map(Ie::read) {
                            if let Ie::AuthMethods(methods) = element {
                                self.offered = Some(methods);
                            }
                        }
                    }
                    Some(Command::RegAck) => self.acknowledged(frame, at),
                    Some(Command::RegRej) => {
                        self.causes(frame);
                        let naked = frame.source == CallNumber::STATELESS
                            && self.cause.is_none()
                            && self.cause_code.is_none();
                        self.decide(
                            if naked {
                                Outcome::TokenRefused
                            } else {
                                Outcome::Rejected
                            },
                            at,
                        );
                    }
                    Some(Command::Inval) => self.invals = self.invals.saturating_add(1),
                    _ => {}
                }
            }
        }
    }

    fn request(&mut self, frame: &FullFrame<'_>, at: Mark) {
        self.requests = self.requests.saturating_add(1);
        let same = self.requests > 1 && frame.timestamp == self.timestamp;
        if frame.retransmission || same {
            self.retransmissions = self.retransmissions.saturating_add(1);
        }
        self.timestamp = frame.timestamp;
        self.longest_gap = self.longest_gap.max(at.since(&self.last_request));
        self.last_request = at;
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::Username(user) => self.user = Some(words(user)),
                Ie::Md5Result(_) => self.method = Some(Method::Md5),
                Ie::RsaResult(_) => self.method = Some(Method::Rsa),
                Ie::Password(_) => self.method = Some(Method::Plaintext),
                _ => {}
            }
        }
    }

    fn acknowledged(&mut self, frame: &FullFrame<'_>, at: Mark) {
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::Refresh(seconds) => self.refresh = Some(seconds),
                Ie::ApparentAddr(octets) => {
                    self.apparent = read_sockaddr(octets).map(MappedAddr::get);
                }
                _ => {}
            }
        }
        self.decide(
            if self.release {
                Outcome::Released
            } else {
                Outcome::Registered
            },
            at,
        );
    }

    fn causes(&mut self, frame: &FullFrame<'_>) {
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::Cause(cause) => self.cause = Some(words(cause)),
                Ie::CauseCode(code) => self.cause_code = Some(code),
                _ => {}
            }
        }
    }

    /// The first decision stands: what comes again later is a retransmission.
    fn decide(&mut self, outcome: Outcome, at: Mark) {
        if self.decided.is_none() {
            self.outcome = outcome;
            self.decided = Some(at);
        }
    }

    /// The dialogue is over at `now`: what was never answered is told apart from what the capture cut off.
    pub(super) fn close(&mut self, now: Mark) {
        if self.decided.is_none() && now.since(&self.last_request) >= PATIENCE {
            self.outcome = match self.heard {
                None => Outcome::Unanswered,
                Some(_) => Outcome::Stalled,
            };
        }
    }

    /// Whether the registrar wants a proof that the client cannot give in clear.
    #[must_use]
    pub fn wants_rsa_alone(&self) -> bool {
        self.offered == Some(auth_method::RSA)
    }
}

/// What a peer says, made harmless.
pub(super) fn words(text: Text<'_>) -> Name {
    Name::new(&text.to_string())
}
