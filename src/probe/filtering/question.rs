//! How a server is asked to answer from its other endpoints: our reflector by the flags of ASK, a STUN server
//! by CHANGE-REQUEST (RFC 5780 §7.2).

use std::net::SocketAddr;

use super::Others;
use crate::{
    probe::{
        asker::{Asker, Said},
        evidence::MappingSource,
        message::{AnswerFrom, Nonce},
    },
    types::{MappedAddr, PeerAddr},
    wire::stun::{self, BindingRequest},
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
    pub(super) mapped: MappedAddr,
    /// The other address with the other port.
    pub(super) other: Option<PeerAddr>,
}

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
    pub(super) fn greeting(self, asker: &Asker, index: u32) -> Vec<u8> {
        match self {
            Self::Reflector(_) => asker.hello(),
            Self::Stun(_) => binding(asker.nonce(index), Kind::Control),
        }
    }

    pub(super) fn ask(self, asker: &Asker, round: u32, kind: Kind) -> Vec<u8> {
        let index = round << 2 | kind.bits();
        let from = AnswerFrom {
            other_port: kind != Kind::Control,
            other_address: kind == Kind::OtherAddress,
        };
        match self {
            Self::Reflector(_) => asker.ask_for(index, from, 0),
            Self::Stun(_) => binding(asker.nonce(index), kind),
        }
    }

    /// Reads what this server says; `None` for anything else.
    pub(super) fn read(self, asker: &mut Asker, payload: &[u8]) -> Option<Heard> {
        match self {
            Self::Reflector(_) => match asker.read(payload)? {
                Said::Nothing => Some(Heard::Useless),
                Said::Hello { mapped, other } => Some(Heard::Greeting(Greeting { mapped, other })),
                Said::Echo { index, .. } => answer(index),
                Said::Other(_) => None,
            },
            Self::Stun(_) => {
                let message = stun::parse(payload).ok()?;
                let [s0, s1, s2, s3, i0, i1, i2, i3, ..] = message.transaction;
                let index = u32::from_be_bytes([i0, i1, i2, i3]);
                if u32::from_be_bytes([s0, s1, s2, s3]) != asker.nonce(index).session {
                    return None;
                }
                if index > 1 {
                    return answer(index).filter(|_| message.class == stun::Class::Success);
                }
                Some(match message.mapped() {
                    Some(mapped) => Heard::Greeting(Greeting {
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

fn binding(nonce: Nonce, kind: Kind) -> Vec<u8> {
    let mut transaction = [0; 12];
    transaction[..4].copy_from_slice(&nonce.session.to_be_bytes());
    transaction[4..8].copy_from_slice(&nonce.index.to_be_bytes());
    BindingRequest {
        transaction,
        change_ip: kind == Kind::OtherAddress,
        change_port: kind != Kind::Control,
        response_port: None,
    }
    .encode()
}
