//! An independent judge of our encoder: what we write into a frame, Wireshark's dissector reads from
//! it. One frame of every kind, type, command, control, format and information element.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "judge/elements.rs"]
mod elements;
#[path = "judge/frames.rs"]
mod frames;
#[path = "support/support.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use iax2_natcheck::wire::iax2::{PORT, command::FrameType, frame::Frame};

use support::{pcap::Capture, tshark};

/// What tshark 4.0 says by another name than ours, and why.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("command UNQUELCH", "UNQULCH"),       // a slip of theirs
    ("command UNSUPPORT", "UNSUPPORTED"),  // the RFC says UNSUPPORT
    ("control take off hook", "TKOFFHK"),  // theirs is the name of a constant
    ("control off hook", "OFFHOOK"),       // the same
    ("control stop tones", "stop sounds"), // in no RFC
];

/// The controls that tshark 4.0 shows as a number: its table ends with OFFHOOK, but for "stop sounds".
const UNNAMED_CONTROLS: [&str; 26] = [
    "congestion",
    "flash",
    "wink",
    "option",
    "key radio",
    "unkey radio",
    "progress",
    "proceeding",
    "hold",
    "unhold",
    "video update",
    "T.38",
    "source update",
    "transfer",
    "connected line",
    "redirecting",
    "T.38 parameters",
    "call completion",
    "source change",
    "read action",
    "advice of charge",
    "end of queue",
    "incomplete",
    "malicious call",
    "update RTP peer",
    "cause code",
];

/// The elements that tshark 4.0 shows as data without meaning, and why.
const UNREAD_ELEMENTS: [(&str, &str); 6] = [
    ("VARIABLE", "it knows the id, but has no field for it"),
    ("OSPTOKEN", "it knows the id, but has no field for it"),
    ("CALLTOKEN", "it knows the id, but has no field for it"),
    ("CALLING ANI2", "its table ends with FORMAT2"),
    ("PROBE", "the number is ours"),
    (
        "APPARENT ADDR of IPv6",
        "it reads no family but Linux's IPv4",
    ),
];

/// The frames that tshark 4.0 calls malformed although they are right, and why.
const CALLED_MALFORMED: [(&str, &str); 2] = [
    (
        "trunk without entry timestamps",
        "it loses its place after the first entry",
    ),
    (
        "meta command 5",
        "it takes every meta frame for a trunk frame",
    ),
];

/// Where tshark shows what it cannot read.
const UNREAD_FIELDS: [&str; 5] = [
    "iax2.iax.unknownbyte",
    "iax2.iax.unknownshort",
    "iax2.iax.unknownlong",
    "iax2.iax.unknownstring",
    "iax2.peer_address_unsupported",
];

/// Names of tshark's fields, with the values it shows.
type Fields = BTreeMap<&'static str, String>;

/// One datagram and what tshark has to read from it.
struct Case {
    name: String,
    datagram: Vec<u8>,
    expected: Fields,
}

impl Case {
    fn new(
        name: impl Into<String>,
        frame: &Frame<'_>,
        expected: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        Self {
            name: name.into(),
            datagram: frame.to_vec(),
            expected: expected.into_iter().collect(),
        }
    }
}

/// What tshark read from one datagram.
struct Verdict {
    fields: Fields,
    info: String,
    malformed: bool,
}

#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn tshark_reads_from_every_frame_what_we_wrote_into_it() {
    let cases = all();
    let differing: Vec<String> = cases
        .iter()
        .zip(judge(&cases))
        .filter(|(case, verdict)| verdict.fields != case.expected)
        .map(|(case, verdict)| {
            let (ours, theirs) = (&case.expected, &verdict.fields);
            format!("{}\n  we    {ours:?}\n  tshark {theirs:?}", case.name)
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn tshark_names_every_command_and_control_but_those_listed() {
    let cases = all();
    let mut other_names = BTreeSet::new();
    let mut unnamed = BTreeSet::new();
    for (case, verdict) in cases.iter().zip(judge(&cases)) {
        let Some((kind @ ("command" | "control"), ours)) = case.name.split_once(' ') else {
            continue;
        };
        // "IAX, source call# 4660, timestamp 16909060ms NEW"
        let (_, theirs) = verdict.info.split_once("ms ").unwrap();
        if theirs.starts_with("unknown (") {
            unnamed.insert(format!("{kind} {ours}"));
        } else if theirs != ours.to_uppercase() {
            other_names.insert((case.name.clone(), theirs.to_owned()));
        }
    }
    let listed = OTHER_NAMES.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()));
    assert_eq!(other_names, BTreeSet::from(listed));
    let listed = UNNAMED_CONTROLS.map(|control| format!("control {control}"));
    assert_eq!(unnamed, BTreeSet::from(listed));
}

#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn tshark_understands_every_frame_but_those_listed() {
    let cases = all();
    let verdicts = judge(&cases);
    let names = |wanted: fn(&Verdict) -> bool| -> BTreeSet<&str> {
        let judged = cases.iter().zip(&verdicts);
        judged
            .filter(|(_, verdict)| wanted(verdict))
            .map(|(case, _)| case.name.as_str())
            .collect()
    };
    let unread = names(|verdict| {
        UNREAD_FIELDS
            .iter()
            .any(|field| verdict.fields.contains_key(field))
    });
    let listed = UNREAD_ELEMENTS.map(|(name, _why)| name);
    assert_eq!(unread, BTreeSet::from(listed));
    let malformed = names(|verdict| verdict.malformed);
    let listed = CALLED_MALFORMED.map(|(name, _why)| name);
    assert_eq!(malformed, BTreeSet::from(listed));
}

#[test]
fn every_frame_type_is_judged() {
    let cases = all();
    let judged: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| case.expected.get("iax2.type").map(String::as_str))
        .collect();
    for frame_type in FrameType::KNOWN {
        let number = frame_type.get().to_string();
        assert!(judged.contains(number.as_str()), "no {frame_type}");
    }
}

fn all() -> Vec<Case> {
    let mut cases = frames::all();
    cases.extend(elements::all());
    cases
}

/// Has tshark read the datagrams of all cases. Of its fields it shows those that any case expects, so
/// that one which appears where it is not expected differs too.
fn judge(cases: &[Case]) -> Vec<Verdict> {
    let mut capture = Capture::new();
    // Each from a port of its own: tshark then sees no call that goes on from frame to frame.
    for (case, port) in cases.iter().zip(20_000..) {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        capture.push(
            Duration::from_secs(1),
            SocketAddr::new(local, port),
            SocketAddr::new(local, PORT),
            &case.datagram,
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("judge.pcap");
    capture.write(&file).unwrap();

    let expected = cases.iter().flat_map(|case| case.expected.keys().copied());
    let names: BTreeSet<&str> = expected.chain(UNREAD_FIELDS).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let columns = [&["_ws.col.Info", "_ws.malformed"], names.as_slice()].concat();
    let rows = tshark::fields(&file, "", &columns);
    assert_eq!(rows.len(), cases.len());
    rows.iter().map(|row| verdict(row, &names)).collect()
}

fn verdict(row: &[String], names: &[&'static str]) -> Verdict {
    let [info, malformed, values @ ..] = row else {
        panic!("tshark's row is short: {row:?}");
    };
    let fields = names
        .iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (*name, shown(name, value)))
        .collect();
    Verdict {
        fields,
        info: info.clone(),
        // Not where it is the codec of a picture that three octets are too few for.
        malformed: malformed.contains("IAX2"),
    }
}

/// The value without what depends on the machine: behind the seconds of a time stands its zone.
fn shown(name: &str, value: &str) -> String {
    let value = match (name, value.split_once('.')) {
        (elements::DATETIME, Some((seconds, _zone))) => seconds,
        _ => value,
    };
    value.to_owned()
}
