//! How a mapping is asked to be answered: by our reflector, which keeps the delay itself, or by an RFC
//! 5780 STUN server, which answers to another port of ours when told to (RESPONSE-PORT).

use std::time::Duration;

use crate::{
    probe::message::{Answer, AnswerFrom, Ask, Nonce, Refused, Request},
    proto::token::TOKEN_LENGTH,
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::{
        iax2::{command::Command, frame::Frame},
        stun::{self, BindingRequest},
    },
};

/// Who answers, as the sweep was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// Our reflector.
    Reflector(PeerAddr),
    /// An RFC 5780 STUN server.
    Stun(PeerAddr),
}

impl Answerer {
    /// Where the probes go.
    #[must_use]
    pub const fn peer(self) -> PeerAddr {
        match self {
            Self::Reflector(peer) | Self::Stun(peer) => peer,
        }
    }
}

/// The answers that a request asks for besides the one at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Later {
    /// After these times.
    pub(super) delays: Vec<Duration>,
    /// Each so often, so far apart.
    pub(super) copies: (u8, Duration),
    /// With this time to live; 0: the host's default.
    pub(super) ttl: u8,
}

impl Later {
    /// One answer, in copies.
    pub(super) fn once(delay: Duration, copies: (u8, Duration)) -> Self {
        Self {
            delays: vec![delay],
            copies,
            ttl: 0,
        }
    }
}

/// An answer, whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// To a greeting; the index is the greeting's.
    Greeting {
        index: u32,
        token: [u8; TOKEN_LENGTH],
        lifetime: Duration,
    },
    /// To a request: `which` is 0 for the answer at once, else the delay's place.
    Echo {
        nonce: Nonce,
        which: u8,
        mapped: MappedAddr,
    },
    /// Which requests of a session arrived.
    Arrived { session: u32, indices: Vec<u32> },
    /// The request was refused.
    Refused { index: u32, reason: Refused },
}

impl Answerer {
    /// The first datagram of the control socket.
    pub(super) fn greeting(self, nonce: Nonce) -> Vec<u8> {
        match self {
            Self::Reflector(_) => Request::Hello.to_poke(number(nonce), timestamp(nonce)),
            Self::Stun(_) => binding(nonce, 0, None),
        }
    }

    /// A datagram that asks for an answer at once, later (reflector only), or both.
    pub(super) fn ask(
        self,
        token: [u8; TOKEN_LENGTH],
        nonce: Nonce,
        at_once: bool,
        later: &Later,
    ) -> Vec<u8> {
        match self {
            Self::Reflector(_) => Request::Ask(Ask {
                token,
                nonce,
                at_once,
                from: AnswerFrom::default(),
                delays: later.delays.clone(),
                repeats: later.copies.0,
                spacing: later.copies.1,
                ttl: later.ttl,
            })
            .to_poke(number(nonce), timestamp(nonce)),
            Self::Stun(_) => binding(nonce, 0, None),
        }
    }

    /// Whether the delay must be kept here, by asking from the control socket when it is over.
    pub(super) const fn keeps_no_delay(self) -> bool {
        matches!(self, Self::Stun(_))
    }

    /// Asks, from the control socket, for an answer to the mapping of another socket.
    pub(super) fn ask_for(nonce: Nonce, which: u8, mapped: MappedAddr) -> Vec<u8> {
        binding(nonce, which, Some(mapped.get().port()))
    }

    /// Asks which requests arrived.
    pub(super) fn status(token: [u8; TOKEN_LENGTH], session: u32, indices: Vec<u32>) -> Vec<u8> {
        Request::Status {
            token,
            session,
            indices,
        }
        .to_poke(number(Nonce { session, index: 0 }), Timestamp::ZERO)
    }

    /// Tells that delayed answers are no longer wanted; nothing for a server that keeps none.
    pub(super) fn cancel(self, token: [u8; TOKEN_LENGTH], session: u32) -> Option<Vec<u8>> {
        match self {
            Self::Reflector(_) => Some(
                Request::Cancel { token, session }
                    .to_poke(number(Nonce { session, index: 0 }), Timestamp::ZERO),
            ),
            Self::Stun(_) => None,
        }
    }

    /// Reads an answer; `None` for anything else.
    pub(super) fn read(self, payload: &[u8]) -> Option<Reply> {
        match self {
            Self::Reflector(_) => {
                let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
                    return None;
                };
                if frame.command() != Some(Command::Pong) {
                    return None;
                }
                // Our timestamps carry the index, and a PONG repeats them.
                let index = frame.timestamp.millis();
                Some(match Answer::read(&frame)? {
                    Answer::Hello {
                        token, lifetime, ..
                    } => Reply::Greeting {
                        index,
                        token,
                        lifetime,
                    },
                    Answer::Echo {
                        nonce,
                        which,
                        mapped,
                        ..
                    } => Reply::Echo {
                        nonce,
                        which,
                        mapped,
                    },
                    Answer::Status { session, arrived } => Reply::Arrived {
                        session,
                        indices: arrived,
                    },
                    Answer::Refused { reason, .. } => Reply::Refused { index, reason },
                    Answer::Mirrored(_) => return None,
                })
            }
            Self::Stun(_) => {
                let message = stun::parse(payload).ok()?;
                if message.class != stun::Class::Success {
                    return None;
                }
                let [s0, s1, s2, s3, i0, i1, i2, i3, which, ..] = message.transaction;
                let nonce = Nonce {
                    session: u32::from_be_bytes([s0, s1, s2, s3]),
                    index: u32::from_be_bytes([i0, i1, i2, i3]),
                };
                Some(Reply::Echo {
                    nonce,
                    which,
                    mapped: message.mapped()?,
                })
            }
        }
    }
}

/// A call number that is neither 0 nor 1; the nonce is what tells answers apart.
fn number(nonce: Nonce) -> CallNumber {
    let [.., high, low] = (nonce.session ^ nonce.index).to_be_bytes();
    CallNumber::from_bits(u16::from_be_bytes([high, low]) & 0x3fff | 2)
}

fn timestamp(nonce: Nonce) -> Timestamp {
    Timestamp::from_millis(nonce.index)
}

/// A Binding request whose transaction carries the nonce, so that answers need no table. The session is
/// random, which is what guards against forged answers here.
fn binding(nonce: Nonce, which: u8, response_port: Option<u16>) -> Vec<u8> {
    let mut transaction = [0; 12];
    transaction[..4].copy_from_slice(&nonce.session.to_be_bytes());
    transaction[4..8].copy_from_slice(&nonce.index.to_be_bytes());
    transaction[8] = which;
    BindingRequest {
        transaction,
        response_port,
        ..BindingRequest::default()
    }
    .encode()
}
