//! From the packet on a link to the UDP datagram in it: Ethernet with VLAN tags, Linux cooked captures,
//! loopback, raw IP; IPv4, and IPv6 with extension headers.

use std::net::{IpAddr, SocketAddr};

use pnet::packet::{
    ethernet::{EtherType, EtherTypes, EthernetPacket},
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv4::Ipv4Packet,
    ipv6::{ExtensionPacket, FragmentPacket, Ipv6Packet},
    sll::SLLPacket,
    sll2::SLL2Packet,
    udp::UdpPacket,
    vlan::VlanPacket,
};

/// What the octets of a captured packet begin with: the LINKTYPE numbers of capture files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkType {
    /// The address family as the capturing host writes it (BSD loopback).
    Null,
    /// An Ethernet header.
    Ethernet,
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
        "link type {0} is not one that is read here; capture on an Ethernet, IP or \"any\" interface"
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
                    _ => Ok(None),
                }
            }
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

/// The octets not read yet, and how many were.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Takes `length` octets and views them as a header.
    fn header<T>(
        &mut self,
        what: &'static str,
        length: usize,
        view: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, LinkError> {
        let split = self.rest.split_at_checked(length);
        let (octets, rest) = split.ok_or_else(|| self.truncated(what, length))?;
        let header = view(octets).ok_or_else(|| self.truncated(what, length))?;
        self.rest = rest;
        self.offset += length;
        Ok(header)
    }

    /// Leaves out what follows the first `length` octets: padding of the link.
    fn limit(&mut self, length: usize) {
        self.rest = self.rest.get(..length).unwrap_or(self.rest);
    }

    fn truncated(self, what: &'static str, needed: usize) -> LinkError {
        LinkError::Truncated {
            what,
            offset: self.offset,
            needed,
            have: self.rest.len(),
        }
    }

    fn field(self, what: &'static str, value: usize) -> LinkError {
        LinkError::Field {
            what,
            offset: self.offset,
            value,
        }
    }
}

/// What follows a type field, behind any number of VLAN tags.
fn network(mut at: Cursor<'_>, mut ether_type: EtherType) -> Result<Option<Udp<'_>>, LinkError> {
    while matches!(
        ether_type,
        EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ
    ) {
        ether_type = at.header("a VLAN tag", 4, VlanPacket::new)?.get_ethertype();
    }
    match ether_type {
        EtherTypes::Ipv4 => ipv4(at),
        EtherTypes::Ipv6 => ipv6(at),
        _ => Ok(None),
    }
}

fn ipv4(mut at: Cursor<'_>) -> Result<Option<Udp<'_>>, LinkError> {
    const MINIMUM: usize = 20;
    let start = at;
    let header = at.header("an IPv4 header", MINIMUM, Ipv4Packet::new)?;
    if header.get_version() != 4 {
        return Err(start.field("the version of an IPv4 header", header.get_version().into()));
    }
    let length = usize::from(header.get_header_length()) * 4;
    let options = length
        .checked_sub(MINIMUM)
        .ok_or_else(|| start.field("the length of an IPv4 header", length))?;
    at.header("IPv4 options", options, Some)?;
    // A host that leaves segmenting to its network card captures packets with length 0.
    match usize::from(header.get_total_length()) {
        0 => {}
        total => at.limit(
            total
                .checked_sub(length)
                .ok_or_else(|| start.field("the total length of an IPv4 packet", total))?,
        ),
    }
    if header.get_next_level_protocol() != IpNextHeaderProtocols::Udp {
        return Ok(None);
    }
    let more_fragments = header.get_flags() & 1 != 0;
    if more_fragments || header.get_fragment_offset() != 0 {
        return Err(LinkError::Fragment {
            offset: start.offset,
        });
    }
    udp(
        at,
        header.get_source().into(),
        header.get_destination().into(),
    )
    .map(Some)
}

fn ipv6(mut at: Cursor<'_>) -> Result<Option<Udp<'_>>, LinkError> {
    let start = at;
    let header = at.header("an IPv6 header", 40, Ipv6Packet::new)?;
    if header.get_version() != 6 {
        return Err(start.field("the version of an IPv6 header", header.get_version().into()));
    }
    // 0 is a jumbogram or, as with IPv4, a packet not yet segmented.
    match usize::from(header.get_payload_length()) {
        0 => {}
        length => at.limit(length),
    }
    let mut next = header.get_next_header();
    loop {
        next = match next {
            IpNextHeaderProtocols::Udp => {
                let (source, destination) = (header.get_source(), header.get_destination());
                return udp(at, source.into(), destination.into()).map(Some);
            }
            IpNextHeaderProtocols::Hopopt
            | IpNextHeaderProtocols::Ipv6Route
            | IpNextHeaderProtocols::Ipv6Opts => extension(&mut at, 8, 8)?,
            // An authentication header counts words of four octets, less two (RFC 4302 §2.2).
            IpNextHeaderProtocols::Ah => extension(&mut at, 4, 8)?,
            IpNextHeaderProtocols::Ipv6Frag => {
                let fragment = at;
                let header = at.header("an IPv6 fragment header", 8, FragmentPacket::new)?;
                let next = header.get_next_header();
                // Offset and "more", without the two reserved bits between them (RFC 8200 §4.5).
                if header.get_fragment_offset_with_flags() & 0xfff9 == 0 {
                    next
                } else if next == IpNextHeaderProtocols::Udp {
                    return Err(LinkError::Fragment {
                        offset: fragment.offset,
                    });
                } else {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
    }
}

/// Passes an extension header that is `minimum` octets and `unit` octets for each step of its length.
fn extension(
    at: &mut Cursor<'_>,
    unit: usize,
    minimum: usize,
) -> Result<IpNextHeaderProtocol, LinkError> {
    const WHAT: &str = "an IPv6 extension header";
    let header = at.header(WHAT, minimum, ExtensionPacket::new)?;
    let more = usize::from(header.get_hdr_ext_len()) * unit;
    at.header(WHAT, more, Some)?;
    Ok(header.get_next_header())
}

fn udp(mut at: Cursor<'_>, source: IpAddr, destination: IpAddr) -> Result<Udp<'_>, LinkError> {
    const HEADER: usize = 8;
    let start = at;
    let header = at.header("a UDP header", HEADER, UdpPacket::new)?;
    let length = match usize::from(header.get_length()) {
        0 => start.rest.len(),
        length => length,
    };
    let payload = length
        .checked_sub(HEADER)
        .ok_or_else(|| start.field("the length of a UDP datagram", length))?;
    Ok(Udp {
        source: SocketAddr::new(source, header.get_source()),
        destination: SocketAddr::new(destination, header.get_destination()),
        payload: at.header("the data of a UDP datagram", payload, Some)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: [u8; 4] = [0; 4];

    /// UDP from port 4570 to 4569 with four octets.
    fn udp_datagram() -> Vec<u8> {
        [&[0x11, 0xda, 0x11, 0xd9, 0, 12, 0, 0][..], &PAYLOAD].concat()
    }

    /// IPv4 from 192.0.2.1 to 192.0.2.2 with this protocol, flags and offset.
    fn ipv4_packet(protocol: u8, fragment: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(udp_datagram());
        packet
    }

    /// IPv6 from `2001:db8::1` to `2001:db8::2`; `extensions` stand before the UDP datagram.
    fn ipv6_packet(next: u8, extensions: &[u8]) -> Vec<u8> {
        let length = u8::try_from(extensions.len() + 12).unwrap();
        let mut packet = vec![0x60, 0, 0, 0, 0, length, next, 64];
        for last in [1, 2] {
            packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0]);
            packet.extend([0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.extend_from_slice(extensions);
        packet.extend(udp_datagram());
        packet
    }

    fn ethernet(tags_and_type: &[u16], packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(tags_and_type.iter().flat_map(|word| word.to_be_bytes()));
        frame.extend_from_slice(packet);
        frame
    }

    fn assert_carries(link: LinkType, packet: &[u8], source: &str, destination: &str) {
        let expected = Udp {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            payload: &PAYLOAD,
        };
        assert_eq!(Udp::read(link, packet), Ok(Some(expected)), "{link:?}");
    }

    fn assert_carries_v4(link: LinkType, packet: &[u8]) {
        assert_carries(link, packet, "192.0.2.1:4570", "192.0.2.2:4569");
    }

    fn assert_carries_v6(link: LinkType, packet: &[u8]) {
        assert_carries(link, packet, "[2001:db8::1]:4570", "[2001:db8::2]:4569");
    }

    #[test]
    fn every_link_carries_both_families() {
        let v4 = ipv4_packet(17, 0);
        let v6 = ipv6_packet(17, &[]);
        let cooked = |protocol: u16| [vec![0; 14], protocol.to_be_bytes().into()].concat();
        let cooked2 = |protocol: u16| [protocol.to_be_bytes().into(), vec![0; 18]].concat();
        for (link, before_v4, before_v6) in [
            (
                LinkType::Ethernet,
                ethernet(&[0x800], &[]),
                ethernet(&[0x86dd], &[]),
            ),
            (
                LinkType::Ethernet,
                ethernet(&[0x88a8, 7, 0x8100, 8, 0x800], &[]),
                ethernet(&[0x8100, 8, 0x86dd], &[]),
            ),
            (LinkType::LinuxCooked, cooked(0x800), cooked(0x86dd)),
            (LinkType::LinuxCooked2, cooked2(0x800), cooked2(0x86dd)),
            (LinkType::Null, vec![2, 0, 0, 0], vec![30, 0, 0, 0]),
            (LinkType::Null, vec![0, 0, 0, 2], vec![0, 0, 0, 28]),
            (LinkType::Loop, vec![0, 0, 0, 2], vec![0, 0, 0, 24]),
            (LinkType::Raw, vec![], vec![]),
            (LinkType::Other(12), vec![], vec![]),
        ] {
            assert_carries_v4(link, &[&before_v4[..], &v4].concat());
            assert_carries_v6(link, &[&before_v6[..], &v6].concat());
        }
        assert_carries_v4(LinkType::Ipv4, &v4);
        assert_carries_v6(LinkType::Ipv6, &v6);
    }

    #[test]
    fn padding_is_left_out_and_unsegmented_packets_are_whole() {
        let mut padded = ethernet(&[0x800], &ipv4_packet(17, 0));
        padded.extend([0xff; 14]);
        assert_carries_v4(LinkType::Ethernet, &padded);
        let mut unsegmented = ipv4_packet(17, 0);
        unsegmented[2..4].fill(0);
        unsegmented[24..26].fill(0);
        assert_carries_v4(LinkType::Raw, &unsegmented);
    }

    #[test]
    fn ipv4_options_are_passed() {
        let mut packet = ipv4_packet(17, 0x4000);
        packet[0] = 0x46;
        packet[3] += 4;
        packet.splice(20..20, [1; 4]);
        assert_carries_v4(LinkType::Raw, &packet);
    }

    #[test]
    fn ipv6_extension_headers_are_passed() {
        let hop_by_hop = [43, 0, 1, 4, 0, 0, 0, 0];
        let routing = [[60, 1, 0, 0, 0, 0, 0, 0], [0; 8]].concat();
        let options = [51, 0, 1, 4, 0, 0, 0, 0];
        let authentication = [[44, 2, 0, 0, 0, 0, 0, 0], [0; 8]].concat();
        // An "atomic" fragment: the whole packet, reserved bits set.
        let fragment = [17, 0, 0, 6, 0, 0, 0, 1];
        let all: Vec<u8> = [
            &hop_by_hop[..],
            &routing,
            &options,
            &authentication,
            &fragment,
        ]
        .concat();
        assert_carries_v6(LinkType::Raw, &ipv6_packet(0, &all));
    }

    #[test]
    fn fragments_are_named() {
        for fragment in [0x2000, 0x0001, 0x3fff] {
            assert_eq!(
                Udp::read(LinkType::Raw, &ipv4_packet(17, fragment)),
                Err(LinkError::Fragment { offset: 0 })
            );
        }
        for flags in [1, 8] {
            let packet = ipv6_packet(44, &[17, 0, 0, flags, 0, 0, 0, 1]);
            assert_eq!(
                Udp::read(LinkType::Raw, &packet),
                Err(LinkError::Fragment { offset: 40 })
            );
        }
    }

    #[test]
    fn other_packets_are_none() {
        for (link, packet) in [
            (LinkType::Raw, ipv4_packet(6, 0)),
            (LinkType::Raw, ipv4_packet(6, 0x2000)),
            (LinkType::Raw, ipv6_packet(58, &[])),
            (LinkType::Raw, ipv6_packet(44, &[6, 0, 0, 1, 0, 0, 0, 1])),
            (LinkType::Ethernet, ethernet(&[0x806], &[0; 28])),
            (LinkType::Ethernet, ethernet(&[38], &[0; 38])),
            (LinkType::Null, vec![7, 0, 0, 0]),
        ] {
            assert_eq!(Udp::read(link, &packet), Ok(None), "{packet:02x?}");
        }
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let whole = ethernet(&[0x8100, 8, 0x800], &ipv4_packet(17, 0));
        // Offsets within Ethernet, VLAN, IPv4 and UDP.
        for (offset, octet, message) in [
            (
                18,
                0x55,
                "the version of an IPv4 header at offset 18 cannot be 5",
            ),
            (
                18,
                0x44,
                "the length of an IPv4 header at offset 18 cannot be 16",
            ),
            (
                21,
                19,
                "the total length of an IPv4 packet at offset 18 cannot be 19",
            ),
            (
                43,
                7,
                "the length of a UDP datagram at offset 38 cannot be 7",
            ),
            (
                43,
                13,
                "the data of a UDP datagram at offset 46 needs 5 octets, the packet has 4",
            ),
        ] {
            let mut packet = whole.clone();
            packet[offset] = octet;
            let error = Udp::read(LinkType::Ethernet, &packet).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        for length in 0..whole.len() {
            let error = Udp::read(LinkType::Ethernet, &whole[..length]).unwrap_err();
            let LinkError::Truncated {
                offset,
                needed,
                have,
                ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!(offset + have, length);
            assert!(needed > have);
        }
        assert_eq!(
            Udp::read(LinkType::Other(147), &[]).unwrap_err(),
            LinkError::LinkType(147)
        );
    }

    #[test]
    fn link_types_keep_their_numbers() {
        for raw in 0..300 {
            assert_eq!(LinkType::from_raw(raw).get(), raw);
        }
    }
}
