//! Captures that are damaged, incomplete or hostile: nothing panics, what is there is read, what is lost is said.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, path::Path, time::Duration};

use iax2_natcheck::{
    trace::{reading::Losses, traced::Traced},
    wire::{
        link::LinkType,
        pcap::{Reader, write_header, write_packet},
    },
};
use proptest::prelude::*;

use crate::looked::{captures, settings, traced};

fn file(name: &str) -> Vec<u8> {
    let path = captures().into_iter().find(|(own, _)| own == name).unwrap();
    fs::read(path.1).unwrap()
}

/// Reads octets as a capture file.
fn read(octets: &[u8]) -> (Traced, Losses) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    fs::write(&path, octets).unwrap();
    traced(&path, settings())
}

/// Writes the packets of a capture anew, each as told: when, and how much of it.
fn rewritten(octets: &[u8], mut each: impl FnMut(usize, Duration, &[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(LinkType::Ethernet, &mut out);
    for (number, packet) in Reader::new(octets).unwrap().enumerate() {
        let packet = packet.unwrap();
        each(number, packet.time, packet.octets, &mut out);
    }
    out
}

#[test]
fn a_cut_file_gives_what_it_holds() {
    let octets = file("ast16/call600-alice");
    let (whole, _) = read(&octets);
    let (cut, losses) = read(&octets[..octets.len() / 2]);
    assert_eq!(cut.calls.len(), 1);
    assert!(cut.counts.datagrams > 100 && cut.counts.datagrams < whole.counts.datagrams);
    assert!(losses.damaged.unwrap().contains("are left in the file"));
}

#[test]
fn a_short_snap_length_keeps_what_the_heads_tell() {
    let octets = file("ast16/call600-alice");
    // Ethernet, IP, UDP, and 12 octets of IAX2: the shortest that tells a frame.
    let short = rewritten(&octets, |_, time, packet, out| {
        let kept = packet.len().min(14 + 20 + 8 + 12);
        write_packet(time, &packet[..kept], out);
        // The field of the length on the wire stands behind that of the captured one.
        let at = out.len() - kept - 4;
        out[at..at + 4].copy_from_slice(&u32::try_from(packet.len()).unwrap().to_le_bytes());
    });
    let (traced, losses) = read(&short);
    assert!(losses.cut > 250, "{losses:?}");
    let [call] = traced.calls.as_slice() else {
        panic!("{:#?}", traced.calls);
    };
    assert!(call.accepted.is_some() && call.answered.is_some() && call.ended.is_some());
    assert_eq!(call.media.map(|media| media.packets()), [137, 137]);
    assert_eq!(call.media.map(|media| media.lost), [0, 0]);
}

#[test]
fn a_mirror_port_shows_everything_twice_and_each_counts_once() {
    let octets = file("ast16/call600-alice");
    let (once, _) = read(&octets);
    let twice = rewritten(&octets, |_, time, packet, out| {
        write_packet(time, packet, out);
        write_packet(time + Duration::from_micros(40), packet, out);
    });
    let (traced, losses) = read(&twice);
    assert_eq!(losses.duplicates, 289);
    assert_eq!(traced.counts.datagrams, once.counts.datagrams);
    let call = &traced.calls[0];
    assert_eq!(call.retransmissions, [0, 0]);
    assert_eq!(call.media.map(|media| media.duplicated), [0, 0]);
}

#[test]
fn a_clock_that_goes_back_is_told_and_nothing_is_lost() {
    let octets = file("ast16/call600-alice");
    let back = rewritten(&octets, |number, time, packet, out| {
        let time = if number < 100 {
            time
        } else {
            time.saturating_sub(Duration::from_secs(3600))
        };
        write_packet(time, packet, out);
    });
    let (traced, losses) = read(&back);
    assert_eq!(losses.backwards, 1);
    assert!(losses.furthest_back > Duration::from_secs(3590));
    assert_eq!(traced.calls.len(), 1);
    assert_eq!(
        traced.calls[0].media.map(|media| media.packets()),
        [137, 137]
    );
}

#[test]
fn other_links_carry_the_same() {
    let octets = file("ast16/register-alice");
    let (expected, _) = read(&octets);
    let heads: [(LinkType, &[u8]); 5] = [
        (LinkType::Ppp, &[0xff, 3, 0, 0x21]),
        (LinkType::PppHdlc, &[0x21]),
        (LinkType::PppEther, &[0x11, 0, 0, 1, 0, 0xff, 0, 0x21]),
        (LinkType::Raw, &[]),
        (
            LinkType::Ethernet,
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x64, 0x11, 0, 0, 1, 0, 0xff, 0, 0x21,
            ],
        ),
    ];
    for (link, head) in heads {
        let mut out = Vec::new();
        write_header(link, &mut out);
        for packet in Reader::new(&octets).unwrap() {
            let packet = packet.unwrap();
            let ip = &packet.octets[14..];
            write_packet(packet.time, &[head, ip].concat(), &mut out);
        }
        let (traced, losses) = read(&out);
        assert_eq!(losses.unread, 0, "{link:?}: {losses:?}");
        assert_eq!(traced.registrations.len(), 1, "{link:?}");
        assert_eq!(
            traced.registrations[0].outcome,
            expected.registrations[0].outcome
        );
    }
}

/// A datagram of the first NEW in two fragments, with the second first.
#[test]
fn fragments_are_put_together_in_any_order() {
    let octets = file("ast16/call600-alice");
    let pieces = rewritten(&octets, |number, time, packet, out| {
        if number != 0 {
            return write_packet(time, packet, out);
        }
        let (link, ip) = packet.split_at(14);
        let (header, data) = ip.split_at(20);
        let piece = |position: usize, more: bool, data: &[u8]| {
            let mut header = header.to_vec();
            let total = u16::try_from(20 + data.len()).unwrap();
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[4..6].copy_from_slice(&[0x12, 0x34]);
            let flags = u16::try_from(position / 8).unwrap() | if more { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&flags.to_be_bytes());
            [link, &header, data].concat()
        };
        write_packet(time, &piece(40, false, &data[40..]), out);
        write_packet(time, &piece(0, true, &data[..40]), out);
    });
    let (traced, losses) = read(&pieces);
    assert_eq!((losses.fragments, traced.calls.len()), (0, 1));
    assert_eq!(traced.calls[0].requests, 2);
    assert_eq!(traced.calls[0].called.as_deref(), Some("600"));
}

#[test]
fn many_dialogues_stay_within_the_limits() {
    let mut told = settings();
    told.limits.registrations = 2;
    told.limits.flows = 1;
    let path = captures()
        .into_iter()
        .find(|(name, _)| name == "natlab-wan")
        .unwrap()
        .1;
    let (traced, _) = traced(&path, told);
    assert_eq!((traced.flows.len(), traced.registrations.len()), (1, 2));
    assert!(traced.counts.beyond > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Flips octets anywhere in a capture, headers included.
    #[test]
    fn a_damaged_capture_never_panics(
        which in 0_usize..6,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let names = [
            "ast16/register-bob",
            "ast16/call608-alice",
            "ast22/encrypted-rotation",
            "ast22/trunk",
            "odd-ast16",
            "natlab2-wan",
        ];
        let mut octets = file(names[which]);
        for (at, value) in flips {
            let at = at.index(octets.len() - 24) + 24;
            octets[at] = value;
        }
        let (traced, _) = read(&octets);
        let _ = iax2_natcheck::check::passive::judge(&traced, None);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    assert!(iax2_natcheck::os::capture_file::CaptureFile::open(Path::new("/dev/null")).is_err());
}
