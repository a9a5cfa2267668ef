//! Packets of every link, whole and damaged.

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
