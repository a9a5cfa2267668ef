//! One datagram from an address and port that another program of this host has, put on the link below
//! the host's own filters and tables.
//!
//! That program does not notice, and need not share its socket; what comes back goes to it.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use pnet::{
    datalink::{self, Channel, ChannelType, Config, NetworkInterface},
    packet::{
        MutablePacket as _,
        ethernet::{EtherType, EtherTypes, MutableEthernetPacket},
        ip::IpNextHeaderProtocols,
        ipv4::{self, MutableIpv4Packet},
        ipv6::MutableIpv6Packet,
        udp::{self, MutableUdpPacket},
    },
    util::MacAddr,
};

use crate::os::{OsError, neighbour::neighbour, route::Way};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Whose it is made out to be.
    pub source: SocketAddr,
    /// Where it goes; of the same family.
    pub destination: SocketAddr,
    /// How many routers it may pass.
    pub ttl: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

const WHAT: &str = "a packet from the PBX's port cannot be sent";
const ETHERNET: usize = 14;
const UDP: usize = 8;
/// How long the kernel has to ask a neighbour for its address, and how often that is looked at.
const ASKED: Duration = Duration::from_millis(300);
const LOOKS: u32 = 10;

/// Sends a datagram by the way that the kernel would take. It waits for an address of a neighbour
/// that is not known yet, 0.3 s at most.
///
/// # Errors
///
/// [`OsError::NotPermitted`] without `CAP_NET_RAW`, [`OsError::NoWay`] where the interface or the next
/// router's address is not there, [`OsError::Netlink`] where the kernel does not send.
pub fn send(way: Way, datagram: Datagram<'_>) -> Result<(), OsError> {
    let interface = datalink::interfaces()
        .into_iter()
        .find(|interface| interface.index == way.link)
        .ok_or(OsError::NoWay {
            to: datagram.destination.ip(),
            what: "its interface has gone",
        })?;
    let kind = match datagram.destination {
        SocketAddr::V4(_) => EtherTypes::Ipv4,
        SocketAddr::V6(_) => EtherTypes::Ipv6,
    };
    let packet = network_packet(datagram).ok_or(OsError::NoWay {
        to: datagram.destination.ip(),
        what: "the PBX's own address is of another family",
    })?;
    match interface.mac {
        Some(own) if !interface.is_point_to_point() => {
            let next = way.gateway.unwrap_or(datagram.destination.ip());
            let next = resolved(way.link, next)?.ok_or(OsError::NoWay {
                to: datagram.destination.ip(),
                what: "the next router does not tell its link address",
            })?;
            let frame = ethernet_frame(own, next, kind, &packet);
            put(&interface, ChannelType::Layer2, &frame)
        }
        // A link to one peer has no addresses of its own.
        _ => put(&interface, ChannelType::Layer3(kind.0), &packet),
    }
}

/// The link address of a neighbour; the kernel is made to ask where it does not know.
fn resolved(link: u32, ip: IpAddr) -> Result<Option<MacAddr>, OsError> {
    for look in 0..LOOKS {
        if let Some([a, b, c, d, e, f]) = neighbour(link, ip)? {
            return Ok(Some(MacAddr(a, b, c, d, e, f)));
        }
        if look == 0 {
            // The discard port: nobody answers, and the kernel has to find the neighbour for it.
            let any = match ip {
                IpAddr::V4(_) => "0.0.0.0:0",
                IpAddr::V6(_) => "[::]:0",
            };
            let _ = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], (ip, 9)));
        }
        std::thread::sleep(ASKED / LOOKS);
    }
    Ok(None)
}

fn put(
    interface: &NetworkInterface,
    channel_type: ChannelType,
    packet: &[u8],
) -> Result<(), OsError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(nix::libc::EPERM | nix::libc::EACCES) => OsError::NotPermitted { what: WHAT },
        _ => OsError::Netlink { what: WHAT, source },
    };
    let config = Config {
        channel_type,
        promiscuous: false,
        write_timeout: Some(Duration::from_secs(1)),
        ..Config::default()
    };
    let channel = datalink::channel(interface, config).map_err(failed)?;
    let Channel::Ethernet(mut sender, _) = channel else {
        return Err(failed(io::ErrorKind::Unsupported.into()));
    };
    sender
        .send_to(packet, None)
        .unwrap_or_else(|| Err(io::ErrorKind::WriteZero.into()))
        .map_err(failed)
}

fn ethernet_frame(from: MacAddr, to: MacAddr, kind: EtherType, packet: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; ETHERNET + packet.len()];
    if let Some(mut frame) = MutableEthernetPacket::new(&mut octets) {
        frame.set_source(from);
        frame.set_destination(to);
        frame.set_ethertype(kind);
        frame.set_payload(packet);
    }
    octets
}

/// The IP packet; `None` where the families differ or the payload is too long.
fn network_packet(datagram: Datagram<'_>) -> Option<Vec<u8>> {
    let length = UDP + datagram.payload.len();
    let udp_length = u16::try_from(length).ok()?;
    match (datagram.source.ip(), datagram.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            const HEADER: u8 = 20;
            let total = udp_length.checked_add(HEADER.into())?;
            let mut octets = vec![0; total.into()];
            let mut packet = MutableIpv4Packet::new(&mut octets)?;
            packet.set_version(4);
            packet.set_header_length(HEADER / 4);
            packet.set_total_length(total);
            packet.set_flags(ipv4::Ipv4Flags::DontFragment);
            packet.set_ttl(datagram.ttl);
            packet.set_next_level_protocol(IpNextHeaderProtocols::Udp);
            packet.set_source(source);
            packet.set_destination(destination);
            packet.set_checksum(ipv4::checksum(&packet.to_immutable()));
            let mut inner = udp_packet(datagram, udp_length, packet.payload_mut())?;
            inner.set_checksum(udp::ipv4_checksum(
                &inner.to_immutable(),
                &source,
                &destination,
            ));
            Some(octets)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            const HEADER: usize = 40;
            let mut octets = vec![0; HEADER + length];
            let mut packet = MutableIpv6Packet::new(&mut octets)?;
            packet.set_version(6);
            packet.set_payload_length(udp_length);
            packet.set_next_header(IpNextHeaderProtocols::Udp);
            packet.set_hop_limit(datagram.ttl);
            packet.set_source(source);
            packet.set_destination(destination);
            let mut inner = udp_packet(datagram, udp_length, packet.payload_mut())?;
            inner.set_checksum(udp::ipv6_checksum(
                &inner.to_immutable(),
                &source,
                &destination,
            ));
            Some(octets)
        }
        _ => None,
    }
}

fn udp_packet<'a>(
    datagram: Datagram<'_>,
    length: u16,
    octets: &'a mut [u8],
) -> Option<MutableUdpPacket<'a>> {
    let mut packet = MutableUdpPacket::new(octets)?;
    packet.set_source(datagram.source.port());
    packet.set_destination(datagram.destination.port());
    packet.set_length(length);
    packet.set_payload(datagram.payload);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::link::{LinkType, Udp};

    #[test]
    fn what_is_sent_reads_back_in_both_families() {
        let rows = [
            ("192.168.1.10:4569", "203.0.113.1:4569"),
            ("[fd00::10]:4569", "[2001:db8::1]:4569"),
        ];
        for (source, destination) in rows {
            let datagram = Datagram {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                ttl: 7,
                payload: &[0; 4],
            };
            let packet = network_packet(datagram).unwrap();
            let udp = Udp::read(LinkType::Raw, &packet).unwrap().unwrap();
            assert_eq!(udp.source, datagram.source);
            assert_eq!(udp.destination, datagram.destination);
            assert_eq!(udp.payload, [0; 4]);
            let time_to_live = if datagram.source.is_ipv4() { 8 } else { 7 };
            assert_eq!(packet[time_to_live], 7);
        }
        let mixed = Datagram {
            source: "192.168.1.10:1".parse().unwrap(),
            destination: "[::1]:1".parse().unwrap(),
            ttl: 1,
            payload: &[],
        };
        assert_eq!(network_packet(mixed), None);
    }
}
