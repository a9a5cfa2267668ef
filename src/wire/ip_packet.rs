//! Writes IP packets: a UDP datagram, and an ICMP error about one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pnet::packet::{
    icmp, icmpv6,
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv4::{self, MutableIpv4Packet},
    ipv6::MutableIpv6Packet,
    udp::{self, MutableUdpPacket},
};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;

/// A packet with this datagram; `None` where the addresses are of two families, or the payload is too long for a
/// packet.
#[must_use]
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut datagram = vec![0; UDP_HEADER + payload.len()];
    datagram.get_mut(UDP_HEADER..)?.copy_from_slice(payload);
    let length = u16::try_from(datagram.len()).ok()?;
    let mut header = MutableUdpPacket::new(&mut datagram)?;
    header.set_source(source.port());
    header.set_destination(destination.port());
    header.set_length(length);
    let view = header.to_immutable();
    let sum = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => udp::ipv4_checksum(&view, &from, &to),
        (IpAddr::V6(from), IpAddr::V6(to)) => udp::ipv6_checksum(&view, &from, &to),
        _ => return None,
    };
    // Zero would mean that there is none (RFC 768).
    header.set_checksum(if sum == 0 { 0xffff } else { sum });
    packet(
        source.ip(),
        destination.ip(),
        IpNextHeaderProtocols::Udp,
        &datagram,
    )
}

/// An ICMP error of this type and code that quotes `quoted`, a packet; `None` as with [`udp()`].
#[must_use]
pub fn icmp_error(from: IpAddr, to: IpAddr, kind: u8, code: u8, quoted: &[u8]) -> Option<Vec<u8>> {
    let mut message = vec![0; ICMP_HEADER];
    message.extend_from_slice(quoted);
    if let [own_kind, own_code, ..] = message.as_mut_slice() {
        (*own_kind, *own_code) = (kind, code);
    }
    let (protocol, sum) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let view = icmp::IcmpPacket::new(&message)?;
            (IpNextHeaderProtocols::Icmp, icmp::checksum(&view))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let view = icmpv6::Icmpv6Packet::new(&message)?;
            (
                IpNextHeaderProtocols::Icmpv6,
                icmpv6::checksum(&view, &from, &to),
            )
        }
        _ => return None,
    };
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    packet(from, to, protocol, &message)
}

fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNextHeaderProtocol,
    payload: &[u8],
) -> Option<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => v4(from, to, protocol, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => v6(from, to, protocol, payload),
        _ => None,
    }
}

fn v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpNextHeaderProtocol,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut octets = vec![0; IPV4_HEADER];
    octets.extend_from_slice(payload);
    let length = u16::try_from(octets.len()).ok()?;
    let mut header = MutableIpv4Packet::new(&mut octets)?;
    header.set_version(4);
    header.set_header_length(5);
    header.set_total_length(length);
    header.set_ttl(64);
    header.set_next_level_protocol(protocol);
    header.set_source(source);
    header.set_destination(destination);
    let sum = ipv4::checksum(&header.to_immutable());
    header.set_checksum(sum);
    Some(octets)
}

fn v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: IpNextHeaderProtocol,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut octets = vec![0; IPV6_HEADER];
    octets.extend_from_slice(payload);
    let length = u16::try_from(payload.len()).ok()?;
    let mut header = MutableIpv6Packet::new(&mut octets)?;
    header.set_version(6);
    header.set_payload_length(length);
    header.set_next_header(protocol);
    header.set_hop_limit(64);
    header.set_source(source);
    header.set_destination(destination);
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::link::{Carried, LinkType};

    #[test]
    fn what_is_written_is_read() {
        for (source, destination) in [
            ("192.0.2.1:4569", "198.51.100.7:4570"),
            ("[2001:db8::1]:4569", "[2001:db8::2]:4570"),
        ] {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let packet = udp(source, destination, b"frame").unwrap();
            let Ok(Carried::Udp {
                datagram,
                missing: 0,
            }) = Carried::read(LinkType::Raw, &packet)
            else {
                panic!("{packet:02x?}");
            };
            assert_eq!(
                (datagram.source, datagram.destination),
                (source, destination)
            );
            assert_eq!(datagram.payload, b"frame");
            let kind = if source.is_ipv4() { 3 } else { 1 };
            let error = icmp_error(destination.ip(), source.ip(), kind, 3, &packet).unwrap();
            let Ok(Carried::Icmp(error)) = Carried::read(LinkType::Raw, &error) else {
                panic!("{error:02x?}");
            };
            assert_eq!((error.kind, error.code), (kind, 3));
            assert_eq!(error.quoted.source, source);
        }
        let v6 = "[::1]:1".parse().unwrap();
        assert_eq!(udp("192.0.2.1:1".parse().unwrap(), v6, b""), None);
    }
}
