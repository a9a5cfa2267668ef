//! From the packet on a link to what it carries: Ethernet with VLAN tags and `PPPoE`, PPP, Linux cooked captures,
//! loopback, raw IP; UDP datagrams, their fragments, and ICMP errors about them.

mod cursor;
mod ip;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use pnet::packet::{
    ethernet::{EtherType, EtherTypes, EthernetPacket},
    sll::SLLPacket,
    sll2::SLL2Packet,
    vlan::VlanPacket,
};

use cursor::Cursor;
use ip::{ipv4, ipv6};

/// What the octets of a captured packet begin with: the LINKTYPE numbers of capture files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkType {
    /// The address family as the capturing host writes it (BSD loopback).
    Null,
    /// An Ethernet header.
    Ethernet,
    /// PPP, with or without its HDLC address and control octets.
    Ppp,
    /// PPP in HDLC-like framing.
    PppHdlc,
    /// A `PPPoE` header of a session, without Ethernet before it.
    PppEther,
    /// An IPv4 or IPv6 header.
    Raw,
    /// The address family, most significant octet first (`OpenBSD` loopback).
    Loop,
    /// Linux "cooked" captures, from any interface.
    LinuxCooked,
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
    /// Linux "cooked" captures, version 2.
    LinuxCooked2,
    /// Any other.
    Other(u32),
}

impl LinkType {
    /// The link type with this number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::Null,
            1 => Self::Ethernet,
            9 => Self::Ppp,
            50 => Self::PppHdlc,
            51 => Self::PppEther,
            101 => Self::Raw,
            108 => Self::Loop,
            113 => Self::LinuxCooked,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            276 => Self::LinuxCooked2,
            other => Self::Other(other),
        }
    }

    /// The number in a capture file.
    #[must_use]
    pub const fn get(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Ppp => 9,
            Self::PppHdlc => 50,
            Self::PppEther => 51,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::LinuxCooked => 113,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::LinuxCooked2 => 276,
            Self::Other(other) => other,
        }
    }
}

/// Why no datagram can be had from a packet. Offsets are in octets from the start of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The packets of this link are not understood.
    #[error(
        "link type {0} is not one that is read here; capture on an Ethernet, PPP, IP or \"any\" interface"
    )]
    LinkType(u32),
    /// The packet ends too early: it is damaged, or was not captured as a whole.
    #[error("{what} at offset {offset} needs {needed} octets, the packet has {have}")]
    Truncated {
        /// Which part.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Octets it needs.
        needed: usize,
        /// Octets there are.
        have: usize,
    },
    /// A field of a header contradicts the rest.
    #[error("{what} at offset {offset} cannot be {value}")]
    Field {
        /// Which field of which header.
        what: &'static str,
        /// Where the header begins.
        offset: usize,
        /// What the field says.
        value: usize,
    },
    /// A piece of a UDP datagram that was sent in fragments.
    #[error("the packet at offset {offset} is one fragment of a UDP datagram")]
    Fragment {
        /// Where the header that says so begins.
        offset: usize,
    },
}

/// A UDP datagram and between whom it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Who sent it, or the NAT in front of them.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// The datagram in a packet; `None` where the packet carries something else. Checksums are not
    /// looked at: hosts capture their own packets before the network card fills them in.
    ///
    /// # Errors
    ///
    /// Where a header is cut or contradicts itself, for fragments, and for links that are not known.
    pub fn read(link: LinkType, packet: &'a [u8]) -> Result<Option<Self>, LinkError> {
        match Carried::read(link, packet)? {
            Carried::Udp { datagram, missing } if missing > 0 => Err(LinkError::Truncated {
                what: "the data of a UDP datagram",
                offset: ip::offset_of(packet, datagram.payload),
                needed: datagram.payload.len() + missing,
                have: datagram.payload.len(),
            }),
            Carried::Udp { datagram, .. } => Ok(Some(datagram)),
            Carried::Fragment(piece) => Err(LinkError::Fragment { offset: piece.at }),
            Carried::Icmp(_) | Carried::Other => Ok(None),
        }
    }
}

/// A piece of a UDP datagram that was sent in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Where it went.
    pub destination: IpAddr,
    /// Names the whole that this is a piece of, between the two.
    pub id: u32,
    /// Where in the whole it belongs, in octets.
    pub position: usize,
    /// More pieces follow behind it.
    pub more: bool,
    /// The piece; the first begins with the UDP header.
    pub octets: &'a [u8],
    /// Where the header that says so begins, in octets from the start of the packet.
    pub at: usize,
}

/// An ICMP error about a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// Who complains.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// The type, in the numbers of the family of `from`.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// What it quotes, as far as it does.
    pub quoted: Udp<'a>,
}

/// What a packet carries, as far as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// A datagram.
    Udp {
        /// It, with what was captured of its data.
        datagram: Udp<'a>,
        /// Octets of its data that were not captured.
        missing: usize,
    },
    /// A piece of a datagram.
    Fragment(Fragment<'a>),
    /// An ICMP error that quotes a datagram.
    Icmp(IcmpError<'a>),
    /// Something else.
    Other,
}

impl<'a> Carried<'a> {
    /// Reads a packet. A packet that was not captured as a whole gives what is there of its data.
    ///
    /// # Errors
    ///
    /// Where a header is cut or contradicts itself, and for links that are not known.
    #[inline]
    pub fn read(link: LinkType, packet: &'a [u8]) -> Result<Self, LinkError> {
        let mut at = Cursor {
            rest: packet,
            offset: 0,
        };
        match link {
            LinkType::Ethernet => {
                let header = at.header("an Ethernet header", 14, EthernetPacket::new)?;
                network(at, header.get_ethertype())
            }
            LinkType::LinuxCooked => {
                let header = at.header("a Linux cooked header", 16, SLLPacket::new)?;
                network(at, header.get_protocol())
            }
            LinkType::LinuxCooked2 => {
                let header = at.header("a Linux cooked header", 20, SLL2Packet::new)?;
                network(at, header.get_protocol_type())
            }
            LinkType::Null | LinkType::Loop => {
                let family = at.header("an address family", 4, |octets| {
                    octets.first_chunk::<4>().copied()
                })?;
                // Families are small: the smaller reading is the one in the writer's order.
                match u32::from_be_bytes(family).min(u32::from_le_bytes(family)) {
                    2 => ipv4(at),
                    // Linux, NetBSD and OpenBSD, FreeBSD, macOS.
                    10 | 24 | 28 | 30 => ipv6(at),
                    _ => Ok(Self::Other),
                }
            }
            LinkType::Ppp | LinkType::PppHdlc => ppp(at),
            LinkType::PppEther => pppoe(at),
            // 12 and 14 stand for raw IP in files of some systems.
            LinkType::Raw | LinkType::Other(12 | 14) => match at.rest.first() {
                Some(first) if first >> 4 == 4 => ipv4(at),
                Some(first) if first >> 4 == 6 => ipv6(at),
                Some(first) => Err(at.field("the IP version", usize::from(first >> 4))),
                None => Err(at.truncated("an IP header", 1)),
            },
            LinkType::Ipv4 => ipv4(at),
            LinkType::Ipv6 => ipv6(at),
            LinkType::Other(other) => Err(LinkError::LinkType(other)),
        }
    }
}

/// What follows a type field, behind any number of VLAN tags.
fn network(mut at: Cursor<'_>, mut ether_type: EtherType) -> Result<Carried<'_>, LinkError> {
    while matches!(
        ether_type,
        EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ
    ) {
        ether_type = at.header("a VLAN tag", 4, VlanPacket::new)?.get_ethertype();
    }
    match ether_type {
        EtherTypes::Ipv4 => ipv4(at),
        EtherTypes::Ipv6 => ipv6(at),
        EtherTypes::PppoeSession => pppoe(at),
        _ => Ok(Carried::Other),
    }
}

/// A `PPPoE` header (RFC 2516 §4) and the PPP frame behind it.
fn pppoe(mut at: Cursor<'_>) -> Result<Carried<'_>, LinkError> {
    let [_, code, _, _, length @ ..] = at.header("a PPPoE header", 6, |octets| {
        octets.first_chunk::<6>().copied()
    })?;
    // Only sessions carry packets; 0 is their code.
    if code != 0 {
        return Ok(Carried::Other);
    }
    at.limit(u16::from_be_bytes(length).into());
    ppp(at)
}

/// A PPP frame (RFC 1661 §2, RFC 1662 §3.1): address and control may be left out, and the first octet of a
/// protocol number that begins with zero.
fn ppp(mut at: Cursor<'_>) -> Result<Carried<'_>, LinkError> {
    const WHAT: &str = "a PPP header";
    if at.rest.starts_with(&[0xff, 0x03]) {
        at.header(WHAT, 2, Some)?;
    }
    let first = at.header(WHAT, 1, |octets| octets.first().copied())?;
    let protocol = if first & 1 == 1 {
        u16::from(first)
    } else {
        let second = at.header(WHAT, 1, |octets| octets.first().copied())?;
        u16::from_be_bytes([first, second])
    };
    match protocol {
        0x21 => ipv4(at),
        0x57 => ipv6(at),
        _ => Ok(Carried::Other),
    }
}
