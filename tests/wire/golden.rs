//! What each golden vector says, field by field.

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, Control, FrameType},
        format::Formats,
        frame::{Frame, FullFrame, MetaOther, MetaVideo, Subclass},
        ie_value::{DateTime, Ie, Text, read_sockaddr},
        trunk::TrunkEntry,
    },
};

use super::fixtures::{Golden, golden};

const NOTHING: [Ie<'static>; 0] = [];
const ALICE: Ie<'static> = Ie::Username(Text(b"alice"));
const NO_TOKEN: Ie<'static> = Ie::CallToken(b"");
const REGISTER_TOKEN: Ie<'static> =
    Ie::CallToken(b"1795392554?f44c14bb08bf0135007f034cb145f8372ec2c285");
const CALL_TOKEN: Ie<'static> =
    Ie::CallToken(b"1795392745?b23e90528c60a148fc6ea7924604271585bf6b4c");
/// A NEW's elements before its token.
const NEW: [Ie<'static>; 5] = [
    Ie::Version(2),
    Ie::CalledNumber(Text(b"601")),
    ALICE,
    Ie::Format(4),
    Ie::Capability(12),
];

/// Source and destination call, timestamp, oseqno, iseqno and command of a frame, none of them resent.
type Header = (u16, u16, u32, u8, u8, Command);

#[test]
#[rustfmt::skip] // a table
fn iax_frames_say_what_was_recorded() {
    use Command as C;
    let mut rest = golden();
    let mut says = |name: &str, header: Header, elements: &[Ie<'_>]| {
        assert_iax(&take(&mut rest, name), header, elements);
    };
    let md5 = |digits| Ie::Md5Result(Text(digits));
    says("register-1-regreq", (0x26e2, 0, 4, 0, 0, C::RegReq), &[ALICE, Ie::Refresh(60), NO_TOKEN]);
    says("register-2-calltoken", (1, 0x26e2, 4, 0, 1, C::CallToken), &[REGISTER_TOKEN]);
    says("register-3-regreq", (0x26e2, 0, 5, 0, 0, C::RegReq), &[ALICE, Ie::Refresh(60), REGISTER_TOKEN]);
    says("register-4-regauth", (0x1fab, 0x26e2, 5, 0, 1, C::RegAuth), &[Ie::AuthMethods(2), Ie::Challenge(b"71988510"), ALICE]);
    says("register-5-regreq", (0x26e2, 0x1fab, 8, 1, 1, C::RegReq), &[ALICE, Ie::Refresh(60), md5(b"4baba087e040a1502fb69e3ce2473a0e"), NO_TOKEN]);
    says("register-6-poke", (0x32e7, 0, 6, 0, 0, C::Poke), &[NO_TOKEN]);
    says("register-7-regack", (0x1fab, 0x26e2, 6, 1, 2, C::RegAck), &[ALICE, Ie::DateTime(0x3577_0127), Ie::Refresh(60), Ie::ApparentAddr(&[2, 0, 0x11, 0xd9, 127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0])]);
    says("register-8-pong", (1, 0x32e7, 6, 0, 1, C::Pong), &NOTHING);
    says("register-9-ack", (0x26e2, 0x1fab, 6, 2, 2, C::Ack), &NOTHING);
    says("register-10-ack", (0x32e7, 1, 6, 1, 1, C::Ack), &NOTHING);
    says("call-1-new", (0x0bb9, 0, 3, 0, 0, C::New), &[&NEW[..], &[NO_TOKEN]].concat());
    says("call-2-calltoken", (1, 0x0bb9, 3, 0, 1, C::CallToken), &[CALL_TOKEN]);
    says("call-3-new", (0x0bb9, 0, 6, 0, 0, C::New), &[&NEW[..], &[CALL_TOKEN]].concat());
    says("call-4-authreq", (0x3f27, 0x0bb9, 12, 0, 1, C::AuthReq), &[Ie::AuthMethods(2), Ie::Challenge(b"301764961"), ALICE]);
    says("call-5-authrep", (0x0bb9, 0x3f27, 10, 1, 1, C::AuthRep), &[md5(b"78a691efde47d96d1e4f114794307192")]);
    says("call-6-accept", (0x3f27, 0x0bb9, 15, 1, 2, C::Accept), &[Ie::Format(4), Ie::Format2(4)]);
    says("call-7-ack", (0x0bb9, 0x3f27, 15, 2, 2, C::Ack), &NOTHING);
    says("call-10-ack", (0x0bb9, 0x3f27, 18, 2, 3, C::Ack), &NOTHING);
    says("call-11-ack", (0x0bb9, 0x3f27, 21, 2, 4, C::Ack), &NOTHING);
    says("call-13-lagrq", (0x3f27, 0x0bb9, 10_018, 5, 2, C::LagRq), &NOTHING);
    says("call-14-lagrp", (0x0bb9, 0x3f27, 10_018, 2, 6, C::LagRp), &NOTHING);
    says("call-15-ack", (0x3f27, 0x0bb9, 10_018, 6, 3, C::Ack), &NOTHING);
    says("stateless-poke", (0x4d, 0, 1234, 0, 0, C::Poke), &NOTHING);
    says("stateless-pong", (1, 0x4d, 1234, 0, 1, C::Pong), &NOTHING);
    says("stateless-poke-odd", (0x4e, 500, 99, 5, 7, C::Poke), &NOTHING);
    says("stateless-pong-odd", (1, 0x4e, 99, 0, 8, C::Pong), &NOTHING);
    says("stateless-reject", (1, 0x50, 5, 0, 1, C::Reject), &NOTHING);
    says("stateless-regrej", (1, 0x54, 6, 0, 1, C::RegRej), &NOTHING);
    says("stateless-reject-forged", (1, 0x53, 6, 0, 1, C::Reject), &NOTHING);
    says("hangup", (0x51, 0x37bb, 9, 1, 1, C::Hangup), &[Ie::CauseCode(16)]);
    says("hangup-ack", (0x37bb, 0x51, 9, 1, 2, C::Ack), &NOTHING);
    says("encrypted-authreq", (0x175e, 0x0fa1, 6, 0, 1, C::AuthReq), &[Ie::AuthMethods(2), Ie::Challenge(b"108407812"), Ie::Encryption(1), Ie::Username(Text(b"enc"))]);
    says("encrypted-authrep-plain", (0x0fa1, 0x175e, 10, 1, 1, C::AuthRep), &[md5(b"2688f1d72899ab72308e647323913d6b")]);
    says("encrypted-accept-plain", (0x175e, 0x0fa1, 9, 1, 2, C::Accept), &[Ie::Format(4), Ie::Format2(4)]);
    says("encrypted-ack-plain", (0x0fa1, 0x175e, 9, 2, 2, C::Ack), &NOTHING);
    says("encrypted-rtkey-plain", (0x175e, 0x0fa1, 543, 4, 2, C::RtKey), &[Ie::Challenge(&[0x04, 0x65, 0xe6, 0xce, 0x2d, 0x8a, 0x93, 0x47, 0x15, 0xd3, 0xf1, 0x06, 0xf3, 0xf4, 0xfa, 0xda])]);

    let left: Vec<_> = rest.iter().map(|golden| golden.name.as_str()).collect();
    assert_eq!(left, [
        "call-8-answer", "call-9-stop-tones", "call-12-voice",
        "encrypted-authrep-wire", "encrypted-accept-wire", "encrypted-ack-wire",
        "trunk-without-times", "trunk-with-times", "video-mini", "four-zero-octets",
    ], "each golden vector has an assertion here or in a test below");
}

#[test]
fn apparent_address_and_time_of_the_regack() {
    let regack = find("register-7-regack");
    let frame = full(&regack);
    let mut elements = frame.ies().map(Ie::read);
    let Some(Ie::DateTime(packed)) = elements.nth(1) else {
        panic!("no DATETIME");
    };
    let expected = DateTime {
        year: 2026,
        month: 11,
        day: 23,
        hour: 0,
        minute: 9,
        second: 14,
    };
    assert_eq!(DateTime::unpack(packed), expected);
    let Some(Ie::ApparentAddr(address)) = elements.nth(1) else {
        panic!("no APPARENT ADDR");
    };
    assert_eq!(
        read_sockaddr(address).unwrap().to_string(),
        "127.0.0.2:4569"
    );
}

#[test]
fn control_and_voice_say_what_was_recorded() {
    let answer = find("call-8-answer");
    let expected = FullFrame {
        source: CallNumber::from_bits(0x3f27),
        destination: CallNumber::from_bits(0x0bb9),
        retransmission: false,
        timestamp: Timestamp::from_millis(18),
        oseqno: SeqNo::new(2),
        iseqno: SeqNo::new(2),
        frame_type: FrameType::Control,
        subclass: Subclass::from(Control::Answer),
        payload: &[],
    };
    assert_eq!(full(&answer), expected);
    assert_eq!(expected.control(), Some(Control::Answer));

    let stop = find("call-9-stop-tones");
    let expected = FullFrame {
        timestamp: Timestamp::from_millis(21),
        oseqno: SeqNo::new(3),
        subclass: Subclass::from_raw(0xff),
        ..expected
    };
    assert_eq!(full(&stop), expected);
    assert_eq!(expected.control(), Some(Control::StopTones));
    assert_eq!(expected.subclass.value(), None);

    let voice = find("call-12-voice");
    let expected = FullFrame {
        timestamp: Timestamp::from_millis(540),
        oseqno: SeqNo::new(4),
        frame_type: FrameType::Voice,
        subclass: Subclass::from_raw(4),
        payload: &voice.datagram[12..],
        ..expected
    };
    assert_eq!(full(&voice), expected);
    assert_eq!(expected.format(), Some(Formats::ULAW));
    assert_eq!(expected.payload.len(), 160);
    assert_eq!(expected.ies().count(), 0);
}

#[test]
fn encrypted_frames_show_their_call_numbers_alone() {
    for (name, source, destination) in [
        ("encrypted-authrep-wire", 0x0fa1, 0x175e),
        ("encrypted-accept-wire", 0x175e, 0x0fa1),
        ("encrypted-ack-wire", 0x0fa1, 0x175e),
    ] {
        let golden = find(name);
        let frame = full(&golden);
        assert_eq!(frame.source.get(), source, "{name}");
        assert_eq!(frame.destination.get(), destination, "{name}");
        assert_eq!(frame.command(), None, "{name}");
    }
}

#[test]
fn trunk_entries_say_what_was_recorded() {
    for (name, time, command_data, source, timestamp) in [
        ("trunk-without-times", 0, 0, 0x1633, None),
        ("trunk-with-times", 2760, 1, 0x0d04, Some(560)),
    ] {
        let golden = find(name);
        let Frame::Trunk(trunk) = decode(&golden) else {
            panic!("{name} is no trunk frame");
        };
        assert_eq!(trunk.timestamp.millis(), time, "{name}");
        assert_eq!(trunk.command_data, command_data, "{name}");
        let expected = TrunkEntry {
            source: CallNumber::from_bits(source),
            timestamp,
            payload: &golden.datagram[golden.datagram.len() - 160..],
        };
        assert_eq!(trunk.entries().collect::<Vec<_>>(), [expected], "{name}");
    }
}

#[test]
fn other_meta_frames_say_what_was_recorded() {
    let expected = MetaVideo {
        source: CallNumber::from_bits(0x04d2),
        mark: false,
        timestamp: 5,
        payload: &[0; 10],
    };
    assert_eq!(decode(&find("video-mini")), Frame::Video(expected));
    let expected = MetaOther {
        command: 0,
        data: 0,
        payload: &[],
    };
    assert_eq!(decode(&find("four-zero-octets")), Frame::Meta(expected));
}

fn assert_iax(golden: &Golden, header: Header, elements: &[Ie<'_>]) {
    let frame = full(golden);
    let (source, destination, timestamp, oseqno, iseqno, command) = header;
    let expected = FullFrame {
        source: CallNumber::from_bits(source),
        destination: CallNumber::from_bits(destination),
        retransmission: false,
        timestamp: Timestamp::from_millis(timestamp),
        oseqno: SeqNo::new(oseqno),
        iseqno: SeqNo::new(iseqno),
        frame_type: FrameType::Iax,
        subclass: Subclass::from(command),
        payload: frame.payload,
    };
    assert_eq!(frame, expected, "{}", golden.name);
    assert_eq!(frame.command(), Some(command), "{}", golden.name);
    let read: Vec<_> = frame.ies().map(Ie::read).collect();
    assert_eq!(read, elements, "{}", golden.name);
}

fn full(golden: &Golden) -> FullFrame<'_> {
    match decode(golden) {
        Frame::Full(full) => full,
        other => panic!("{} is {other:?}", golden.name),
    }
}

/// The frame of a golden vector, which must be written back as it was recorded.
fn decode(golden: &Golden) -> Frame<'_> {
    let frame = Frame::decode(&golden.datagram).unwrap();
    assert_eq!(frame.to_vec(), golden.datagram, "{}", golden.name);
    frame
}

fn find(name: &str) -> Golden {
    take(&mut golden(), name)
}

fn take(vectors: &mut Vec<Golden>, name: &str) -> Golden {
    let position = vectors.iter().position(|golden| golden.name == name);
    vectors.remove(position.unwrap_or_else(|| panic!("no golden vector {name}")))
}
