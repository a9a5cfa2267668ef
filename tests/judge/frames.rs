//! Frames of every kind, type, command, control and format.

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, Control, FrameType, Html},
        format::Formats,
        frame::{Frame, FullFrame, MetaOther, MetaVideo, MiniFrame, Subclass},
        trunk::{MetaTrunk, TrunkEntry},
    },
};

use super::{Case, Fields};

/// Audio, video or data.
const MEDIA: [u8; 3] = [0xd5, 0x55, 0x00];
/// [`MEDIA`] as tshark shows it.
const SHOWN_MEDIA: &str = "d55500";

/// Every frame but those with information elements.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    headers(&mut cases);
    commands(&mut cases);
    controls(&mut cases);
    formats(&mut cases);
    other_types(&mut cases);
    metas(&mut cases);
    cases
}

/// A full frame whose header has another value in every field.
pub(crate) fn full(frame_type: FrameType, subclass: Subclass, payload: &[u8]) -> FullFrame<'_> {
    FullFrame {
        source: CallNumber::from_bits(0x1234),
        destination: CallNumber::from_bits(0x5678),
        retransmission: false,
        timestamp: Timestamp::from_millis(0x0102_0304),
        oseqno: SeqNo::new(9),
        iseqno: SeqNo::new(250),
        frame_type,
        subclass,
        payload,
    }
}

/// What tshark has to read from the header of a full frame.
pub(crate) fn header(frame: &FullFrame<'_>) -> Fields {
    Fields::from([
        ("iax2.packet_type", "1".to_owned()),
        ("iax2.src_call", frame.source.get().to_string()),
        ("iax2.dst_call", frame.destination.get().to_string()),
        (
            "iax2.retransmission",
            u8::from(frame.retransmission).to_string(),
        ),
        ("iax2.timestamp", frame.timestamp.millis().to_string()),
        ("iax2.oseqno", frame.oseqno.get().to_string()),
        ("iax2.iseqno", frame.iseqno.get().to_string()),
        ("iax2.type", frame.frame_type.get().to_string()),
    ])
}

fn case(
    name: impl Into<String>,
    frame: FullFrame<'_>,
    more: impl IntoIterator<Item = (&'static str, String)>,
) -> Case {
    let expected = header(&frame).into_iter().chain(more);
    Case::new(name, &Frame::Full(frame), expected)
}

fn headers(cases: &mut Vec<Case>) {
    let ordinary = full(FrameType::Iax, Command::LagRq.into(), &[]);
    let again = FullFrame {
        retransmission: true,
        ..ordinary
    };
    let lowest = FullFrame {
        source: CallNumber::from_bits(1),
        destination: CallNumber::NONE,
        timestamp: Timestamp::ZERO,
        oseqno: SeqNo::ZERO,
        iseqno: SeqNo::ZERO,
        ..ordinary
    };
    let highest = FullFrame {
        source: CallNumber::MAX,
        destination: CallNumber::MAX,
        timestamp: Timestamp::from_millis(u32::MAX),
        oseqno: SeqNo::new(u8::MAX),
        iseqno: SeqNo::new(u8::MAX),
        ..again
    };
    for (name, frame) in [
        ("sent again", again),
        ("lowest header", lowest),
        ("highest header", highest),
    ] {
        let subclass = frame.subclass.raw().to_string();
        cases.push(case(name, frame, [("iax2.iax.subclass", subclass)]));
    }
}

fn commands(cases: &mut Vec<Case>) {
    for command in Command::KNOWN {
        let frame = full(FrameType::Iax, (*command).into(), &[]);
        let subclass = command.get().to_string();
        cases.push(case(
            format!("command {command}"),
            frame,
            [("iax2.iax.subclass", subclass)],
        ));
    }
}

fn controls(cases: &mut Vec<Case>) {
    for control in Control::KNOWN {
        let frame = full(FrameType::Control, (*control).into(), &[]);
        let subclass = control.get().to_string();
        cases.push(case(
            format!("control {control}"),
            frame,
            [("iax2.control.subclass", subclass)],
        ));
    }
}

/// Each format in a full frame of its medium; those above bit 6 take the C bit.
fn formats(cases: &mut Vec<Case>) {
    for format in Formats::from_bits(u64::MAX).iter() {
        let Some(name) = format.name() else { continue };
        let subclass = Subclass::from_value(format.bits()).unwrap();
        let codec = format.bits().to_string();
        let raw = subclass.raw();
        let (frame_type, subclass, expected) = match format.bits().trailing_zeros() {
            // tshark has no field for an image's format.
            16 | 17 => (
                FrameType::Image,
                subclass,
                vec![("iax2.subclass", raw.to_string())],
            ),
            18..=23 => (
                FrameType::Video,
                // The mark of the last packet of a picture.
                Subclass::from_raw(raw | 0x40),
                vec![
                    ("iax2.video.subclass", raw.to_string()),
                    ("iax2.video.marker", "1".to_owned()),
                    ("iax2.video.codec", codec),
                    ("iax2.payload_data", SHOWN_MEDIA.to_owned()),
                ],
            ),
            _ => (
                FrameType::Voice,
                subclass,
                vec![
                    ("iax2.voice.subclass", raw.to_string()),
                    ("iax2.voice.codec", codec),
                    ("iax2.payload_data", SHOWN_MEDIA.to_owned()),
                ],
            ),
        };
        cases.push(case(
            format!("{frame_type} {name}"),
            full(frame_type, subclass, &MEDIA),
            expected,
        ));
    }
    let unmarked = full(FrameType::Video, Subclass::from_raw(0x95), &MEDIA);
    cases.push(case(
        "VIDEO without mark",
        unmarked,
        [
            ("iax2.video.subclass", "149".to_owned()),
            ("iax2.video.marker", "0".to_owned()),
            ("iax2.video.codec", (1 << 21).to_string()),
            ("iax2.payload_data", SHOWN_MEDIA.to_owned()),
        ],
    ));
}

fn other_types(cases: &mut Vec<Case>) {
    for digit in "0123456789ABCD*#".bytes() {
        for frame_type in [FrameType::DtmfBegin, FrameType::DtmfEnd] {
            let shown = char::from(digit);
            cases.push(case(
                format!("{frame_type} {shown}"),
                full(frame_type, Subclass::from_raw(digit), &[]),
                [("iax2.dtmf.subclass", shown.to_string())],
            ));
        }
    }
    let url = "http://192.0.2.1/";
    for html in Html::KNOWN {
        let subclass = Subclass::from_raw(html.get());
        let mut expected = vec![("iax2.html.subclass", html.get().to_string())];
        if *html == Html::Url {
            expected.push(("iax2.html.url", url.to_owned()));
        }
        cases.push(case(
            format!("HTML {html}"),
            full(FrameType::Html, subclass, url.as_bytes()),
            expected,
        ));
    }
    cases.push(case(
        "text",
        full(FrameType::Text, Subclass::from_raw(0), b"hello"),
        [
            ("iax2.text.subclass", "0".to_owned()),
            ("iax2.text.text", "hello".to_owned()),
        ],
    ));
    for (protocol, subclass) in [("T.38", 1), ("V.150", 2)] {
        cases.push(case(
            format!("modem {protocol}"),
            full(FrameType::Modem, Subclass::from_raw(subclass), &MEDIA),
            [("iax2.modem.subclass", subclass.to_string())],
        ));
    }
    for (frame_type, subclass) in [(FrameType::Null, 0), (FrameType::ComfortNoise, 70)] {
        cases.push(case(
            frame_type.to_string(),
            full(frame_type, Subclass::from_raw(subclass), &[]),
            [("iax2.subclass", subclass.to_string())],
        ));
    }
}

fn metas(cases: &mut Vec<Case>) {
    let mini = MiniFrame {
        source: CallNumber::from_bits(0x1234),
        timestamp: 0xfedc,
        payload: &MEDIA,
    };
    cases.push(Case::new(
        "mini",
        &Frame::Mini(mini),
        [
            ("iax2.packet_type", "0".to_owned()),
            ("iax2.src_call", mini.source.get().to_string()),
            ("iax2.timestamp", mini.timestamp.to_string()),
            ("iax2.payload_data", SHOWN_MEDIA.to_owned()),
        ],
    ));
    for mark in [true, false] {
        let video = MetaVideo {
            source: CallNumber::from_bits(0x1234),
            mark,
            timestamp: 0x7edc,
            payload: &MEDIA,
        };
        cases.push(Case::new(
            format!("meta video, mark {mark}"),
            &Frame::Video(video),
            [
                ("iax2.packet_type", "2".to_owned()),
                ("iax2.src_call", video.source.get().to_string()),
                ("iax2.timestamp", video.timestamp.to_string()),
                ("iax2.video.mini_marker", u8::from(mark).to_string()),
                ("iax2.payload_data", SHOWN_MEDIA.to_owned()),
            ],
        ));
    }
    cases.push(trunk_with_entry_timestamps());
    cases.push(trunk_without_entry_timestamps());
    let other = MetaOther {
        command: 5,
        data: 7,
        payload: &MEDIA,
    };
    cases.push(Case::new(
        "meta command 5",
        &Frame::Meta(other),
        [
            ("iax2.packet_type", "3".to_owned()),
            ("iax2.trunk.metacmd", "5".to_owned()),
            ("iax2.trunk.cmddata", "0x07".to_owned()),
            ("iax2.trunk.cmddata.ts", "1".to_owned()),
        ],
    ));
}

fn trunk_with_entry_timestamps() -> Case {
    let body = trunk_body([Some(0xfedc), Some(7)]);
    trunk(
        "trunk with entry timestamps",
        1,
        &body,
        [
            ("iax2.trunk.cmddata", "0x01"),
            ("iax2.trunk.cmddata.ts", "1"),
            ("iax2.trunk.call.scallno", "4660,9029"),
            ("iax2.trunk.call.len", "3,2"),
            ("iax2.trunk.call.ts", "65244,7"),
            ("iax2.trunk.call.payload", "d55500,5500"),
            ("iax2.trunk.ncalls", "2"),
        ],
    )
}

/// tshark 4.0 reads the first entry only.
fn trunk_without_entry_timestamps() -> Case {
    let body = trunk_body([None, None]);
    trunk(
        "trunk without entry timestamps",
        0,
        &body,
        [
            ("iax2.trunk.cmddata", "0x00"),
            ("iax2.trunk.cmddata.ts", "0"),
            ("iax2.trunk.call.scallno", "4660"),
            ("iax2.trunk.call.len", "3"),
            ("iax2.trunk.call.payload", SHOWN_MEDIA),
        ],
    )
}

/// Two entries of calls 4660 and 9029.
fn trunk_body(timestamps: [Option<u16>; 2]) -> Vec<u8> {
    let mut body = Vec::new();
    let audio = [(4660, &MEDIA[..]), (9029, &MEDIA[1..])];
    for ((source, payload), timestamp) in audio.into_iter().zip(timestamps) {
        let entry = TrunkEntry {
            source: CallNumber::from_bits(source),
            timestamp,
            payload,
        };
        entry.encode(&mut body).unwrap();
    }
    body
}

fn trunk<const N: usize>(
    name: &str,
    command_data: u8,
    body: &[u8],
    more: [(&'static str, &str); N],
) -> Case {
    let trunk = MetaTrunk {
        command_data,
        timestamp: Timestamp::from_millis(0x0102_0304),
        body,
    };
    let expected = [
        ("iax2.packet_type", "3".to_owned()),
        ("iax2.trunk.metacmd", "1".to_owned()),
        ("iax2.timestamp", trunk.timestamp.millis().to_string()),
    ];
    let more = more.map(|(field, value)| (field, value.to_owned()));
    Case::new(name, &Frame::Trunk(trunk), expected.into_iter().chain(more))
}
