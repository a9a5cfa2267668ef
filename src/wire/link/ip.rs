//! IP packets and what they carry: IPv4, and IPv6 with extension headers.

use std::net::{IpAddr, SocketAddr};

use pnet::packet::{
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv4::Ipv4Packet,
    ipv6::{ExtensionPacket, FragmentPacket, Ipv6Packet},
    udp::UdpPacket,
};

use super::{Carried, Fragment, IcmpError, LinkError, Udp, cursor::Cursor};

/// An IPv4 packet.
pub(super) fn ipv4(mut at: Cursor<'_>) -> Result<Carried<'_>, LinkError> {
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
    let protocol = header.get_next_level_protocol();
    let more = header.get_flags() & 1 != 0;
    let position = usize::from(header.get_fragment_offset()) * 8;
    let (source, destination) = (
        IpAddr::from(header.get_source()),
        IpAddr::from(header.get_destination()),
    );
    match protocol {
        IpNextHeaderProtocols::Udp if more || position != 0 => Ok(Carried::Fragment(Fragment {
            source,
            destination,
            id: header.get_identification().into(),
            position,
            more,
            octets: at.rest,
            at: start.offset,
        })),
        IpNextHeaderProtocols::Udp => udp(at, source, destination),
        IpNextHeaderProtocols::Icmp if position == 0 => Ok(icmp(at, source, destination)),
        _ => Ok(Carried::Other),
    }
}

/// An IPv6 packet.
pub(super) fn ipv6(at: Cursor<'_>) -> Result<Carried<'_>, LinkError> {
    ipv6_packet(at, true)
}

/// The same; `errors`: an ICMP error in it is read too, and is not where it is quoted by one.
fn ipv6_packet(mut at: Cursor<'_>, errors: bool) -> Result<Carried<'_>, LinkError> {
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
                return udp(at, source.into(), destination.into());
            }
            IpNextHeaderProtocols::Icmpv6 if errors => {
                let (source, destination) = (header.get_source(), header.get_destination());
                return Ok(icmp(at, source.into(), destination.into()));
            }
            IpNextHeaderProtocols::Hopopt
            | IpNextHeaderProtocols::Ipv6Route
            | IpNextHeaderProtocols::Ipv6Opts => extension(&mut at, 8, 8)?,
            // An authentication header counts words of four octets, less two (RFC 4302 §2.2).
            IpNextHeaderProtocols::Ah => extension(&mut at, 4, 8)?,
            IpNextHeaderProtocols::Ipv6Frag => {
                let fragment = at;
                let piece = at.header("an IPv6 fragment header", 8, FragmentPacket::new)?;
                let next = piece.get_next_header();
                // Offset and "more", with two reserved bits between them (RFC 8200 §4.5).
                let place = piece.get_fragment_offset_with_flags();
                if place & 0xfff9 == 0 {
                    next
                } else if next == IpNextHeaderProtocols::Udp {
                    return Ok(Carried::Fragment(Fragment {
                        source: header.get_source().into(),
                        destination: header.get_destination().into(),
                        id: piece.get_id(),
                        position: usize::from(place & 0xfff8),
                        more: place & 1 != 0,
                        octets: at.rest,
                        at: fragment.offset,
                    }));
                } else {
                    return Ok(Carried::Other);
                }
            }
            _ => return Ok(Carried::Other),
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

fn udp(mut at: Cursor<'_>, source: IpAddr, destination: IpAddr) -> Result<Carried<'_>, LinkError> {
    const HEADER: usize = 8;
    let start = at;
    let header = at.header("a UDP header", HEADER, UdpPacket::new)?;
    let length = match usize::from(header.get_length()) {
        0 => start.rest.len(),
        length => length,
    };
    let length = length
        .checked_sub(HEADER)
        .ok_or_else(|| start.field("the length of a UDP datagram", length))?;
    let payload = at.rest.get(..length).unwrap_or(at.rest);
    Ok(Carried::Udp {
        datagram: Udp {
            source: SocketAddr::new(source, header.get_source()),
            destination: SocketAddr::new(destination, header.get_destination()),
            payload,
        },
        missing: length - payload.len(),
    })
}

/// An ICMP message: an error quotes the packet that it is about (RFC 792, RFC 4443 §3).
fn icmp(mut at: Cursor<'_>, from: IpAddr, to: IpAddr) -> Carried<'_> {
    let Ok([kind, code, ..]) = at.header("an ICMP header", 8, |octets| {
        octets.first_chunk::<8>().copied()
    }) else {
        return Carried::Other;
    };
    let quoted = match (from, kind) {
        (IpAddr::V4(_), 3 | 4 | 11 | 12) => quoted_v4(at),
        (IpAddr::V6(_), 1..=4) => ipv6_packet(at, false).ok(),
        _ => None,
    };
    match quoted {
        Some(Carried::Udp { datagram, .. }) => Carried::Icmp(IcmpError {
            from,
            to,
            kind,
            code,
            quoted: datagram,
        }),
        _ => Carried::Other,
    }
}

/// What an ICMP error quotes, unless that is an ICMP message itself: those are about no datagram.
fn quoted_v4(at: Cursor<'_>) -> Option<Carried<'_>> {
    let protocol = Ipv4Packet::new(at.rest)?.get_next_level_protocol();
    (protocol == IpNextHeaderProtocols::Udp)
        .then(|| ipv4(at).ok())
        .flatten()
}

/// Where a part of a packet begins in it.
pub(super) fn offset_of(packet: &[u8], part: &[u8]) -> usize {
    // The part ends where the packet does, unless padding follows, and then it is whole.
    packet.len().saturating_sub(part.len())
}
