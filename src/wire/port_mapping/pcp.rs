//! PCP (RFC 6887): the one request that we make, and its answer.

use std::net::{IpAddr, Ipv6Addr};

/// The version in every packet (RFC 6887 §9).
pub const VERSION: u8 = 2;
/// The opcode MAP (RFC 6887 §19.2), and the bit that makes an answer of it.
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// The octets of a request and of an answer that maps (RFC 6887 §7, §11.1).
const LENGTH: usize = 60;

/// A request to map a UDP port, or with a lifetime of 0 s to unmap it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// The address that the request leaves from.
    pub client: IpAddr,
    /// Names the mapping; who unmaps must repeat it.
    pub nonce: [u8; 12],
    /// The port of the host.
    pub internal: u16,
    /// The port to have outside, if it is free.
    pub external: u16,
    /// For how long, in seconds.
    pub lifetime_s: u32,
}

impl MapRequest {
    /// The 60 octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(LENGTH);
        octets.extend([VERSION, MAP, 0, 0]);
        octets.extend(self.lifetime_s.to_be_bytes());
        octets.extend(wide(self.client).octets());
        octets.extend(self.nonce);
        octets.extend([UDP, 0, 0, 0]);
        octets.extend(self.internal.to_be_bytes());
        octets.extend(self.external.to_be_bytes());
        // Whatever address there is: all zeroes, in the form of its family (RFC 6887 §11.1).
        let any = match self.client {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED,
        };
        octets.extend(any.octets());
        octets
    }
}

/// What came in answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The port is mapped, or unmapped where the lifetime is 0 s.
    Mapped {
        /// The nonce of the request.
        nonce: [u8; 12],
        /// The port of the host.
        internal: u16,
        /// The address and port outside.
        external: (IpAddr, u16),
        /// For how long, in seconds.
        lifetime_s: u32,
    },
    /// The request was refused, with this result code (RFC 6887 §7.4).
    Refused {
        /// The code, not 0.
        code: u8,
    },
    /// Something answers that does not know PCP: NAT-PMP, by its version (RFC 6887 §9).
    NatPmp,
}

impl Answer {
    /// Reads an answer; `None` where it is none.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let ([version, opcode, _, code], rest) = octets.split_first_chunk::<4>()?;
        if opcode & ANSWER == 0 {
            return None;
        }
        match (*version, *code) {
            (0, _) => return Some(Self::NatPmp),
            (VERSION, 0) if *opcode == ANSWER | MAP => {}
            (VERSION, code) if code != 0 => return Some(Self::Refused { code }),
            _ => return None,
        }
        let (lifetime, rest) = rest.split_first_chunk::<4>()?;
        // Epoch time and a reserved part.
        let (_, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<12>()?;
        let ([UDP, _, _, _], rest) = rest.split_first_chunk::<4>()? else {
            return None;
        };
        let (internal, rest) = rest.split_first_chunk::<2>()?;
        let (external, rest) = rest.split_first_chunk::<2>()?;
        let (address, _) = rest.split_first_chunk::<16>()?;
        Some(Self::Mapped {
            nonce: *nonce,
            internal: u16::from_be_bytes(*internal),
            external: (
                Ipv6Addr::from(*address).to_canonical(),
                u16::from_be_bytes(*external),
            ),
            lifetime_s: u32::from_be_bytes(*lifetime),
        })
    }
}

/// An IPv4 address as PCP carries it (RFC 6887 §5).
const fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// A result code in words (RFC 6887 §7.4).
#[must_use]
pub const fn refusal(code: u8) -> &'static str {
    match code {
        1 => "unsupported version",
        2 => "not authorized",
        3 => "malformed request",
        4 => "unsupported opcode",
        5 => "unsupported option",
        6 => "malformed option",
        7 => "network failure",
        8 => "no resources",
        9 => "unsupported protocol",
        10 => "quota exceeded",
        11 => "cannot provide that external port",
        12 => "address mismatch: there is a NAT before this one",
        13 => "excessive remote peers",
        _ => "unknown result code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> MapRequest {
        MapRequest {
            client: "192.168.1.10".parse().unwrap(),
            nonce: [7; 12],
            internal: 4569,
            external: 4569,
            lifetime_s: 60,
        }
    }

    #[test]
    fn a_request_is_laid_out_as_the_rfc_draws_it() {
        let octets = request().encode();
        assert_eq!(octets.len(), LENGTH);
        assert_eq!(octets[..8], [2, 1, 0, 0, 0, 0, 0, 60]);
        assert_eq!(octets[18..24], [0xff, 0xff, 192, 168, 1, 10]);
        assert_eq!(octets[24..36], [7; 12]);
        assert_eq!(octets[36..44], [17, 0, 0, 0, 0x11, 0xd9, 0x11, 0xd9]);
        assert_eq!(octets[54..], [0xff, 0xff, 0, 0, 0, 0]);
    }

    /// The answer to a request: the same octets behind another header.
    fn answer() -> Vec<u8> {
        let mut octets = request().encode();
        octets[1] |= ANSWER;
        octets[8..24].fill(0);
        octets[56..].copy_from_slice(&[11, 0, 0, 7]);
        octets
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let octets = answer();
        let expected = Answer::Mapped {
            nonce: [7; 12],
            internal: 4569,
            external: ("11.0.0.7".parse().unwrap(), 4569),
            lifetime_s: 60,
        };
        assert_eq!(Answer::decode(&octets), Some(expected));
        for length in 0..octets.len() {
            assert_eq!(Answer::decode(&octets[..length]), None, "{length}");
        }
        assert_eq!(Answer::decode(&request().encode()), None, "a request");
        assert_eq!(
            Answer::decode(&[2, 0x81, 0, 2]),
            Some(Answer::Refused { code: 2 })
        );
        // What NAT-PMP says to a version that it does not know (RFC 6886 §3.5).
        assert_eq!(
            Answer::decode(&[0, 0x81, 0, 1, 0, 0, 0, 0]),
            Some(Answer::NatPmp)
        );
    }
}
