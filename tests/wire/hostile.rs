//! Captures and packets of strangers: whatever the octets, an answer and no panic.

use std::time::Duration;

use iax2_natcheck::wire::{
    link::{LinkError, LinkType, Udp},
    pcap::{Reader, write_header, write_packet},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::fixtures::captures;

const LINKS: [LinkType; 10] = [
    LinkType::Null,
    LinkType::Ethernet,
    LinkType::Raw,
    LinkType::Loop,
    LinkType::LinuxCooked,
    LinkType::Ipv4,
    LinkType::Ipv6,
    LinkType::LinuxCooked2,
    LinkType::Other(12),
    LinkType::Other(147),
];

/// Reads all packets of a capture and what is in them; says how many were read.
fn walk(file: &[u8]) -> usize {
    let Ok(reader) = Reader::new(file) else {
        return 0;
    };
    let mut read = 0;
    for packet in reader {
        match packet {
            Ok(packet) => {
                read += 1;
                let _ = Udp::read(packet.link, packet.octets);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    read
}

#[test]
fn every_truncation_of_a_capture_gives_the_packets_before_the_cut() {
    for (name, file) in captures().iter().filter(|(_, file)| file.len() < 10_000) {
        let whole: Vec<_> = Reader::new(file).unwrap().map(Result::unwrap).collect();
        for length in 24..=file.len() {
            let cut: Vec<_> = Reader::new(&file[..length]).unwrap().collect();
            let good: Vec<_> = cut.iter().filter_map(|packet| packet.ok()).collect();
            assert!(whole.starts_with(&good), "{name} at {length}");
            let octets = 24
                + good
                    .iter()
                    .map(|packet| 16 + packet.octets.len())
                    .sum::<usize>();
            assert_eq!(
                cut.len() - good.len(),
                usize::from(octets != length),
                "{name} at {length}"
            );
        }
        for length in 0..24 {
            assert!(Reader::new(&file[..length]).is_err());
        }
    }
}

#[test]
fn every_truncation_of_a_packet_says_what_is_missing() {
    for (name, file) in captures().iter().filter(|(_, file)| file.len() < 10_000) {
        for packet in Reader::new(file).unwrap().map(Result::unwrap) {
            assert!(
                matches!(Udp::read(packet.link, packet.octets), Ok(Some(_))),
                "{name}"
            );
            for length in 0..packet.octets.len() {
                let error = Udp::read(packet.link, &packet.octets[..length]).unwrap_err();
                assert!(
                    matches!(error, LinkError::Truncated { .. }),
                    "{name}: {error}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn captures_are_read_as_written(
        link: u16,
        packets in vec((any::<u32>(), 0..1_000_000_000u32, vec(any::<u8>(), 0..100)), 0..10),
    ) {
        let link = LinkType::from_raw(link.into());
        let mut file = Vec::new();
        write_header(link, &mut file);
        for (seconds, nanoseconds, octets) in &packets {
            write_packet(Duration::new((*seconds).into(), *nanoseconds), octets, &mut file);
        }
        let reader = Reader::new(&file).unwrap();
        prop_assert_eq!(reader.link(), Some(link));
        let read: Vec<_> = reader.map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), packets.len());
        for (packet, (seconds, nanoseconds, octets)) in read.iter().zip(&packets) {
            prop_assert_eq!(packet.time, Duration::new((*seconds).into(), *nanoseconds));
            prop_assert_eq!(packet.link, link);
            prop_assert_eq!(packet.length, octets.len());
            prop_assert_eq!(packet.octets, octets);
        }
    }

    #[test]
    fn any_octets_are_walked_as_a_capture(
        variant: Index,
        octets in vec(any::<u8>(), 0..200),
    ) {
        let magics = [0xa1b2_c3d4u32, 0xa1b2_3c4d, 0xa1b2_cd34, 0xd4c3_b2a1, 0x4d3c_b2a1];
        walk(&octets);
        walk(&[&variant.get(&magics).to_le_bytes()[..], &octets].concat());
    }

    /// A capture of ours with some octets changed.
    #[test]
    fn damaged_captures_are_walked(
        file: Index,
        damage in vec((any::<Index>(), any::<u8>()), 1..20),
    ) {
        let captures = captures();
        let small: Vec<_> = captures.iter().filter(|(_, file)| file.len() < 2000).collect();
        let mut octets = file.get(&small).1.clone();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        walk(&octets);
    }

    #[test]
    fn any_octets_are_read_as_a_packet(
        octets in vec(any::<u8>(), 0..120),
        version in prop_oneof![Just(0x45), Just(0x4f), Just(0x60), any::<u8>()],
        protocol in prop_oneof![Just(17), Just(0), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
        ether_type in prop_oneof![Just([8, 0]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()],
    ) {
        let mut ip = octets;
        for (place, octet) in [(0, version), (6, protocol), (9, protocol)] {
            if let Some(field) = ip.get_mut(place) {
                *field = octet;
            }
        }
        let before: [&[u8]; 4] = [
            &[],
            &[0, 0, 0, 2],
            &[&[0; 12][..], &ether_type].concat(),
            &[&[0; 14][..], &ether_type].concat(),
        ];
        for link in LINKS {
            for header in before {
                let packet = [header, &ip].concat();
                if let Err(error) = Udp::read(link, &packet) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
