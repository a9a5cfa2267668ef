//! Our own probe protocol: what stands in the PROBE element of a POKE and of its PONG.
//!
//! The frames are valid IAX2 on the same port as everything else, so that a NAT or firewall treats the
//! probes as it treats the telephone; a peer that is no reflector answers a bare PONG. Numbers are
//! big-endian. An address is a family octet (4 or 6), the port, and 4 or 16 octets.

mod mirror;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use self::mirror::{Mirror, Mirrored};
use crate::{
    proto::token::TOKEN_LENGTH,
    types::{CallNumber, MappedAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::Ie,
    },
};

/// The version that stands first in every element.
const VERSION: u8 = 1;
/// Octets that a HELLO fills its element up to: no answer to it is longer.
const HELLO_LENGTH: usize = 72;
/// Delays that one request may ask for.
pub const MAX_DELAYS: usize = 4;
/// The most nonces that one STATUS may name.
pub const MAX_STATUS: usize = 56;

/// Names one request of a client: a session of its own choosing, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce {
    /// The same for all requests of one survey.
    pub session: u32,
    /// Which request.
    pub index: u32,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who are you, and a token please.
    Hello,
    /// Answer me.
    Ask(Ask),
    /// Which of these requests reached you?
    Status {
        /// The client's token.
        token: [u8; TOKEN_LENGTH],
        /// The session.
        session: u32,
        /// The indices asked for, at most [`MAX_STATUS`].
        indices: Vec<u32>,
    },
    /// Tell me what arrived.
    Mirror(Mirror),
    /// Send a POKE from your other address to this port of mine, and tell me when it is answered.
    Knock {
        /// The client's token, which proves the address.
        token: [u8; TOKEN_LENGTH],
        /// Names the request.
        nonce: Nonce,
        /// The port of the address that asks.
        port: u16,
    },
    /// Forget the delayed answers of this session.
    Cancel {
        /// The client's token.
        token: [u8; TOKEN_LENGTH],
        /// The session.
        session: u32,
    },
}

/// A request for answers: at once, later, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The client's token.
    pub token: [u8; TOKEN_LENGTH],
    /// Names the request.
    pub nonce: Nonce,
    /// Answer at once.
    pub at_once: bool,
    /// Answer from another socket.
    pub from: AnswerFrom,
    /// Answer after each of these times, in milliseconds from the request's arrival.
    pub delays: Vec<Duration>,
    /// How often each delayed answer is sent.
    pub repeats: u8,
    /// Time between these.
    pub spacing: Duration,
    /// Time to live of the delayed answers; 0: the host's default, which the answer at once always has.
    pub ttl: u8,
}

/// Which of its sockets the reflector answers from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerFrom {
    /// The other port.
    pub other_port: bool,
    /// The other address.
    pub other_address: bool,
}

/// What a reflector answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To HELLO.
    Hello {
        /// Good for requests from this address.
        token: [u8; TOKEN_LENGTH],
        /// For so long at least.
        lifetime: Duration,
        /// The client's address as it was seen.
        mapped: MappedAddr,
        /// The other port that this address listens on.
        other_port: Option<u16>,
        /// The other address.
        other_address: Option<IpAddr>,
    },
    /// To ASK.
    Echo {
        /// The request.
        nonce: Nonce,
        /// 0: the answer at once; from 1 on: which delay.
        which: u8,
        /// Which of the repeats.
        repeat: u8,
        /// Time since the request arrived, in milliseconds.
        elapsed: Duration,
        /// Where the request came from.
        mapped: MappedAddr,
    },
    /// To STATUS.
    Status {
        /// The session.
        session: u32,
        /// Of the indices asked for, those that arrived.
        arrived: Vec<u32>,
    },
    /// To MIRROR.
    Mirrored(Mirrored),
    /// The request cannot be served.
    Refused {
        /// Why.
        reason: Refused,
        /// Where the request came from.
        mapped: MappedAddr,
    },
}

/// Why a reflector does not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// The token is not good for this address, or no longer.
    Token,
    /// Too many answers are pending for this address.
    Quota,
    /// It has no such socket.
    NoSocket,
}

impl Request {
    /// Writes the POKE that carries the request.
    #[must_use]
    pub fn to_poke(&self, source: CallNumber, timestamp: Timestamp) -> Vec<u8> {
        let mut octets = vec![VERSION];
        match self {
            Self::Hello => {
                octets.push(1);
                octets.resize(HELLO_LENGTH, 0);
            }
            Self::Ask(ask) => {
                octets.push(2);
                octets.extend_from_slice(&ask.token);
                put_nonce(&mut octets, ask.nonce);
                octets.push(
                    u8::from(ask.at_once)
                        | u8::from(ask.from.other_port) << 1
                        | u8::from(ask.from.other_address) << 2,
                );
                octets.push(ask.repeats);
                octets.extend_from_slice(&millis16(ask.spacing).to_be_bytes());
                octets.push(ask.ttl);
                for delay in ask.delays.iter().take(MAX_DELAYS) {
                    octets.extend_from_slice(&millis32(*delay).to_be_bytes());
                }
                // As long as the longest answer, that of an IPv6 client.
                octets.resize(octets.len().max(40), 0xff);
            }
            Self::Status {
                token,
                session,
                indices,
            } => {
                octets.push(3);
                octets.extend_from_slice(token);
                octets.extend_from_slice(&session.to_be_bytes());
                for index in indices.iter().take(MAX_STATUS) {
                    octets.extend_from_slice(&index.to_be_bytes());
                }
            }
            Self::Cancel { token, session } => {
                octets.push(4);
                octets.extend_from_slice(token);
                octets.extend_from_slice(&session.to_be_bytes());
            }
            Self::Mirror(mirror) => mirror.put(&mut octets),
            Self::Knock { token, nonce, port } => {
                octets.push(6);
                octets.extend_from_slice(token);
                put_nonce(&mut octets, *nonce);
                octets.extend_from_slice(&port.to_be_bytes());
                // As long as the answer to an IPv6 client, and longer than a POKE.
                octets.resize(40, 0);
            }
        }
        poke(source, timestamp, &octets)
    }

    /// Reads the request out of the data of a PROBE element; `None` where it is none.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let mut reader = Reader(data);
        if reader.u8()? != VERSION {
            return None;
        }
        match reader.u8()? {
            1 => (data.len() >= HELLO_LENGTH).then_some(Self::Hello),
            2 => {
                let token = reader.array()?;
                let nonce = reader.nonce()?;
                let flags = reader.u8()?;
                let repeats = reader.u8()?;
                let spacing = Duration::from_millis(u16::from_be_bytes(reader.array()?).into());
                let ttl = reader.u8()?;
                let mut delays = Vec::new();
                while let Some(octets) = reader.array()
                    && delays.len() < MAX_DELAYS
                {
                    let millis = u32::from_be_bytes(octets);
                    if millis != u32::MAX {
                        delays.push(Duration::from_millis(millis.into()));
                    }
                }
                Some(Self::Ask(Ask {
                    token,
                    nonce,
                    at_once: flags & 1 != 0,
                    from: AnswerFrom {
                        other_port: flags & 2 != 0,
                        other_address: flags & 4 != 0,
                    },
                    delays,
                    repeats,
                    spacing,
                    ttl,
                }))
            }
            3 => {
                let token = reader.array()?;
                let session = u32::from_be_bytes(reader.array()?);
                let mut indices = Vec::new();
                while let Some(octets) = reader.array()
                    && indices.len() < MAX_STATUS
                {
                    indices.push(u32::from_be_bytes(octets));
                }
                Some(Self::Status {
                    token,
                    session,
                    indices,
                })
            }
            4 => Some(Self::Cancel {
                token: reader.array()?,
                session: u32::from_be_bytes(reader.array()?),
            }),
            5 => Mirror::read(&mut reader).map(Self::Mirror),
            6 if data.len() >= 40 => Some(Self::Knock {
                token: reader.array()?,
                nonce: reader.nonce()?,
                port: u16::from_be_bytes(reader.array()?),
            }),
            _ => None,
        }
    }
}

impl Answer {
    /// Writes the data of the PROBE element.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        match self {
            Self::Hello {
                token,
                lifetime,
                mapped,
                other_port,
                other_address,
            } => {
                octets.push(0x81);
                octets.extend_from_slice(token);
                let seconds = u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX);
                octets.extend_from_slice(&seconds.to_be_bytes());
                put_address(&mut octets, mapped.get());
                octets.extend_from_slice(&other_port.unwrap_or(0).to_be_bytes());
                if let Some(ip) = other_address {
                    put_address(&mut octets, SocketAddr::new(*ip, 0));
                }
            }
            Self::Echo {
                nonce,
                which,
                repeat,
                elapsed,
                mapped,
            } => {
                octets.push(0x82);
                put_nonce(&mut octets, *nonce);
                octets.extend_from_slice(&[*which, *repeat]);
                octets.extend_from_slice(&millis32(*elapsed).to_be_bytes());
                put_address(&mut octets, mapped.get());
            }
            Self::Status { session, arrived } => {
                octets.push(0x83);
                octets.extend_from_slice(&session.to_be_bytes());
                for index in arrived.iter().take(MAX_STATUS) {
                    octets.extend_from_slice(&index.to_be_bytes());
                }
            }
            Self::Mirrored(mirrored) => mirrored.put(&mut octets),
            Self::Refused { reason, mapped } => {
                octets.push(0xc0);
                octets.push(match reason {
                    Refused::Token => 1,
                    Refused::Quota => 2,
                    Refused::NoSocket => 3,
                });
                put_address(&mut octets, mapped.get());
            }
        }
        octets
    }

    /// Reads the answer out of a PONG; `None` where it carries none.
    #[must_use]
    pub fn read(frame: &FullFrame<'_>) -> Option<Self> {
        if frame.command() != Some(Command::Pong) {
            return None;
        }
        let mut reader = Reader(frame.ies().find(IeId::Probe)?);
        if reader.u8()? != VERSION {
            return None;
        }
        match reader.u8()? {
            0x81 => Some(Self::Hello {
                token: reader.array()?,
                lifetime: Duration::from_secs(u16::from_be_bytes(reader.array()?).into()),
                mapped: MappedAddr::new(reader.address()?),
                other_port: Some(u16::from_be_bytes(reader.array()?)).filter(|port| *port != 0),
                other_address: reader.address().map(|address| address.ip()),
            }),
            0x82 => Some(Self::Echo {
                nonce: reader.nonce()?,
                which: reader.u8()?,
                repeat: reader.u8()?,
                elapsed: Duration::from_millis(u32::from_be_bytes(reader.array()?).into()),
                mapped: MappedAddr::new(reader.address()?),
            }),
            0x83 => {
                let session = u32::from_be_bytes(reader.array()?);
                let mut arrived = Vec::new();
                while let Some(octets) = reader.array() {
                    arrived.push(u32::from_be_bytes(octets));
                }
                Some(Self::Status { session, arrived })
            }
            0x85 => Mirrored::read(&mut reader).map(Self::Mirrored),
            0xc0 => Some(Self::Refused {
                reason: match reader.u8()? {
                    1 => Refused::Token,
                    2 => Refused::Quota,
                    3 => Refused::NoSocket,
                    _ => return None,
                },
                mapped: MappedAddr::new(reader.address()?),
            }),
            _ => None,
        }
    }
}

/// A POKE: bare, or with a PROBE element.
#[must_use]
pub fn poke(source: CallNumber, timestamp: Timestamp, probe: &[u8]) -> Vec<u8> {
    let elements = if probe.is_empty() {
        Vec::new()
    } else {
        // Requests are shorter than 255 octets by construction.
        IeWriter::new()
            .ie(Ie::Probe(probe))
            .finish()
            .unwrap_or_default()
    };
    let frame = FullFrame {
        payload: &elements,
        ..FullFrame::poke_from(source, timestamp)
    };
    Frame::Full(frame).to_vec()
}

fn put_nonce(octets: &mut Vec<u8>, nonce: Nonce) {
    octets.extend_from_slice(&nonce.session.to_be_bytes());
    octets.extend_from_slice(&nonce.index.to_be_bytes());
}

fn put_address(octets: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            octets.push(4);
            octets.extend_from_slice(&address.port().to_be_bytes());
            octets.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            octets.push(6);
            octets.extend_from_slice(&address.port().to_be_bytes());
            octets.extend_from_slice(&ip.octets());
        }
    }
}

fn millis16(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(u16::MAX)
}

/// The largest value is kept for "none".
fn millis32(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis())
        .unwrap_or(u32::MAX)
        .min(u32::MAX - 1)
}

/// Reads fields one after the other; `None` at the end of the octets.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn nonce(&mut self) -> Option<Nonce> {
        Some(Nonce {
            session: u32::from_be_bytes(self.array()?),
            index: u32::from_be_bytes(self.array()?),
        })
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let family = self.u8()?;
        let port = u16::from_be_bytes(self.array()?);
        let ip = match family {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests;
