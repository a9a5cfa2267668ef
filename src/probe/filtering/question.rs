//! How a server is asked to answer from its other endpoints: our reflector by the flags of ASK, a STUN server
//! by CHANGE-REQUEST (RFC 5780 §7.2).

use std::{net::SocketAddr, time::Duration};

use super::Others;
use crate::{
    probe::{
        evidence::MappingSource,
        message::{Answer, AnswerFrom, Ask, Nonce, Request},
    },
    proto::token::TOKEN_LENGTH,
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::{
        iax2::{command::Command, frame::Frame},
        stun::{self, BindingRequest},
    },
};

/// A server that may have a second address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilteringServer {
    /// Our reflector, or a provider that may be one.
    Reflector(PeerAddr),
    /// A STUN server.
    Stun(PeerAddr),
}

/// Where an answer is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The endpoint that was asked.
    Control,
    /// The other address and the other port.
    OtherAddress,
    /// The same address, the other port.
    OtherPort,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// To a greeting.
    Greeting(Greeting),
    /// To a question of a round.
    Answer { round: u32, kind: Kind },
    /// An answer of somebody who is no server of this kind.
    Useless,
}

/// What a server tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) token: [u8; TOKEN_LENGTH],
    pub(super) mapped: MappedAddr,
    /// The other address with the other port.
    pub(super) other: Option<PeerAddr>,
}

/// Copies of each answer of a reflector, and the time between them.
const COPIES: u8 = 3;
const SPACING: Duration = Duration::from_millis(30);

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::OtherAddress, Self::OtherPort];

    const fn bits(self) -> u32 {
        match self {
            Self::Control => 0,
            Self::OtherAddress => 1,
            Self::OtherPort => 2,
        }
    }
}

impl Greeting {
    /// The endpoints that a server at `asked` can answer from; both its address and its port must differ.
    pub(super) fn others(&self, asked: PeerAddr) -> Option<Others> {
        let (asked, other) = (asked.get(), self.other?.get());
        (asked.ip() != other.ip() && asked.port() != other.port()).then(|| Others {
            address: PeerAddr::new(other),
            port: PeerAddr::new(SocketAddr::new(asked.ip(), other.port())),
        })
    }
}

impl FilteringServer {
    pub(super) const fn peer(self) -> PeerAddr {
        match self {
            Self::Reflector(peer) | Self::Stun(peer) => peer,
        }
    }

    pub(super) const fn via(self) -> MappingSource {
        match self {
            Self::Reflector(_) => MappingSource::Reflector,
            Self::Stun(_) => MappingSource::Stun,
        }
    }

    /// A question that any endpoint of the server answers for itself.
    pub(super) fn greeting(self, session: u32, index: u32) -> Vec<u8> {
        match self {
            Self::Reflector(_) => {
                Request::Hello.to_poke(number(session), Timestamp::from_millis(index))
            }
            Self::Stun(_) => binding(session, index, Kind::Control).encode(),
        }
    }

    pub(super) fn ask(
        self,
        token: [u8; TOKEN_LENGTH],
        session: u32,
        round: u32,
        kind: Kind,
    ) -> Vec<u8> {
        let index = round << 2 | kind.bits();
        match self {
            Self::Reflector(_) => Request::Ask(Ask {
                token,
                nonce: Nonce { session, index },
                at_once: false,
                from: AnswerFrom {
                    other_port: kind != Kind::Control,
                    other_address: kind == Kind::OtherAddress,
                },
                delays: vec![Duration::ZERO],
                repeats: COPIES,
                spacing: SPACING,
                ttl: 0,
            })
            .to_poke(number(session), Timestamp::from_millis(index)),
            Self::Stun(_) => binding(session, index, kind).encode(),
        }
    }

    /// Reads what this server says; `None` for anything else.
    pub(super) fn read(self, session: u32, payload: &[u8]) -> Option<Heard> {
        match self {
            Self::Reflector(_) => {
                let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
                    return None;
                };
                if frame.command() != Some(Command::Pong) || frame.destination != number(session) {
                    return None;
                }
                match Answer::read(&frame) {
                    None => Some(Heard::Useless),
                    Some(Answer::Hello {
                        token,
                        mapped,
                        other_port,
                        other_address,
                        ..
                    }) => Some(Heard::Greeting(Greeting {
                        token,
                        mapped,
                        other: other_address
                            .zip(other_port)
                            .map(|(ip, port)| PeerAddr::new(SocketAddr::new(ip, port))),
                    })),
                    Some(Answer::Echo { nonce, .. }) if nonce.session == session => {
                        answer(nonce.index)
                    }
                    Some(Answer::Echo { .. } | Answer::Status { .. } | Answer::Refused { .. }) => {
                        None
                    }
                }
            }
            Self::Stun(_) => {
                let message = stun::parse(payload).ok()?;
                let [s0, s1, s2, s3, i0, i1, i2, i3, ..] = message.transaction;
                if u32::from_be_bytes([s0, s1, s2, s3]) != session {
                    return None;
                }
                let index = u32::from_be_bytes([i0, i1, i2, i3]);
                if index > 1 {
                    return answer(index).filter(|_| message.class == stun::Class::Success);
                }
                Some(match message.mapped() {
                    Some(mapped) => Heard::Greeting(Greeting {
                        token: [0; TOKEN_LENGTH],
                        mapped,
                        other: message.other_address.filter(|_| message.knows_rfc5780),
                    }),
                    None => Heard::Useless,
                })
            }
        }
    }
}

fn answer(index: u32) -> Option<Heard> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.bits() == index & 3)?;
    Some(Heard::Answer {
        round: index >> 2,
        kind,
    })
}

/// A call number that is neither 0 nor 1, the same for the whole session.
fn number(session: u32) -> CallNumber {
    let [.., high, low] = session.to_be_bytes();
    CallNumber::from_bits(u16::from_be_bytes([high, low]) & 0x3fff | 2)
}

fn binding(session: u32, index: u32, kind: Kind) -> BindingRequest {
    let mut transaction = [0; 12];
    transaction[..4].copy_from_slice(&session.to_be_bytes());
    transaction[4..8].copy_from_slice(&index.to_be_bytes());
    BindingRequest {
        transaction,
        change_ip: kind == Kind::OtherAddress,
        change_port: kind != Kind::Control,
        response_port: None,
    }
}
