//! NAT-PMP (RFC 6886): the requests that we make, and their answers.

use std::net::Ipv4Addr;

/// The version in every packet (RFC 6886 §3.1).
pub const VERSION: u8 = 0;
/// The bit that makes an answer of an opcode (RFC 6886 §3.5).
const ANSWER: u8 = 0x80;
/// Opcodes (RFC 6886 §3.2, §3.3).
const EXTERNAL_ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// What is the public address?
    ExternalAddress,
    /// Map a UDP port, or with a lifetime of 0 s unmap it.
    MapUdp {
        /// The port of the host.
        internal: u16,
        /// The port to have outside, if it is free; 0 where it is to be unmapped.
        external: u16,
        /// For how long, in seconds.
        lifetime_s: u32,
    },
}

impl Request {
    /// The octets: 2, or 12 for a mapping.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::ExternalAddress => vec![VERSION, EXTERNAL_ADDRESS],
            Self::MapUdp {
                internal,
                external,
                lifetime_s,
            } => {
                let mut octets = vec![VERSION, MAP_UDP, 0, 0];
                octets.extend(internal.to_be_bytes());
                octets.extend(external.to_be_bytes());
                octets.extend(lifetime_s.to_be_bytes());
                octets
            }
        }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The public address.
    ExternalAddress(Ipv4Addr),
    /// A port is mapped, or unmapped where the lifetime is 0 s.
    MappedUdp {
        /// The port of the host.
        internal: u16,
        /// The port outside.
        external: u16,
        /// For how long, in seconds.
        lifetime_s: u32,
    },
    /// The request was refused, with this result code (RFC 6886 §3.5).
    Refused {
        /// The opcode that was refused.
        opcode: u8,
        /// The code, not 0.
        code: u16,
    },
}

impl Answer {
    /// Reads an answer; `None` where it is none, or not to a request of ours.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let ([VERSION, opcode, code @ ..], rest) = octets.split_first_chunk::<4>()? else {
            return None;
        };
        let opcode = opcode.checked_sub(ANSWER)?;
        let code = u16::from_be_bytes(*code);
        if code != 0 {
            return Some(Self::Refused { opcode, code });
        }
        // Seconds since the router's table began stand first.
        let (_, rest) = rest.split_first_chunk::<4>()?;
        match opcode {
            EXTERNAL_ADDRESS => {
                let (address, _) = rest.split_first_chunk::<4>()?;
                Some(Self::ExternalAddress(Ipv4Addr::from(*address)))
            }
            MAP_UDP => {
                let (internal, rest) = rest.split_first_chunk::<2>()?;
                let (external, rest) = rest.split_first_chunk::<2>()?;
                let (lifetime, _) = rest.split_first_chunk::<4>()?;
                Some(Self::MappedUdp {
                    internal: u16::from_be_bytes(*internal),
                    external: u16::from_be_bytes(*external),
                    lifetime_s: u32::from_be_bytes(*lifetime),
                })
            }
            _ => None,
        }
    }
}

/// A result code in words (RFC 6886 §3.5).
#[must_use]
pub const fn refusal(code: u16) -> &'static str {
    match code {
        1 => "unsupported version",
        2 => "not authorized",
        3 => "network failure",
        4 => "out of resources",
        5 => "unsupported opcode",
        _ => "unknown result code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_rfc_draws_them() {
        assert_eq!(Request::ExternalAddress.encode(), [0, 0]);
        let map = Request::MapUdp {
            internal: 4569,
            external: 4570,
            lifetime_s: 60,
        };
        assert_eq!(
            map.encode(),
            [0, 1, 0, 0, 0x11, 0xd9, 0x11, 0xda, 0, 0, 0, 60]
        );
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let address = [0, 128, 0, 0, 0, 0, 1, 2, 11, 0, 0, 7];
        let mapped = [
            0, 129, 0, 0, 0, 0, 1, 2, 0x11, 0xd9, 0x11, 0xda, 0, 0, 0, 60,
        ];
        assert_eq!(
            Answer::decode(&address),
            Some(Answer::ExternalAddress(Ipv4Addr::new(11, 0, 0, 7)))
        );
        let expected = Answer::MappedUdp {
            internal: 4569,
            external: 4570,
            lifetime_s: 60,
        };
        assert_eq!(Answer::decode(&mapped), Some(expected));
        assert_eq!(
            Answer::decode(&[0, 129, 0, 2, 0, 0, 0, 0]),
            Some(Answer::Refused { opcode: 1, code: 2 })
        );
        for whole in [&address[..], &mapped] {
            for length in 0..whole.len() {
                assert_eq!(Answer::decode(&whole[..length]), None, "{length}");
            }
        }
        // A request is no answer, and another version none of ours.
        for octets in [[0, 0, 0, 0, 0, 0, 0, 0], [2, 128, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Answer::decode(&octets), None);
        }
    }
}
