//! What was really on the wire: tshark reads from every frame of every kind of call what we read, and counts
//! what the report counts.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use iax2_natcheck::{
    lab::kernel::Namespace,
    proto::media::g711::Law,
    wire::{
        iax2::{
            command::{Command as Iax, FrameType},
            frame::{Frame, FullFrame},
            ie_value::Ie,
        },
        link::Udp,
        pcap::Reader,
    },
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    placed::calls,
    support::{
        asterisk::{Asterisk, PLAIN_SECRET, SECRET, rsa_key},
        pcap::Capture,
        process::{self, Running},
        site::inside,
        tool, tshark,
    },
};

const CALLEE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// One call: extension, account, secret, options.
type Kind<'a> = (u16, &'a str, Option<&'a str>, &'a str);

/// A datagram of a capture.
struct Seen {
    at: Duration,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// Places the calls one beside the other, each from an address of its own: 127.0.1.1, 127.0.1.2, … Gives
/// their reports, and what was on the wire.
fn captured(folder: &Path, kinds: &[Kind<'_>]) -> (Vec<Value>, Vec<Seen>) {
    let host = Namespace::new("wire").unwrap();
    let spawn = inside(&host);
    let _callee = Asterisk::registrar(CALLEE).start(&spawn);
    let file = folder.join("wire.pcap");
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args([
        "--immediate-mode",
        "-s",
        "2048",
        "-i",
        "lo",
        "-U",
        "-B",
        "8192",
        "-Z",
        "root",
        "-w",
    ]);
    tcpdump.arg(&file).args(["udp", "and", "port", "4569"]);
    let tcpdump = Running::start(&mut tcpdump, &spawn);
    let listening = process::poll(Duration::from_secs(20), || {
        tcpdump.stderr().contains("listening on").then_some(())
    });
    assert!(listening.is_some(), "{}", tcpdump.stderr());
    let reports = std::thread::scope(|scope| {
        let calls: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(index, (extension, user, secret, options))| {
                let spawn = inside(&host);
                scope.spawn(move || {
                    let from = caller(index);
                    let mut line = format!("call {CALLEE} {extension} --bind {from} --json");
                    for (option, value) in [("--user", *user), ("", *options)] {
                        if !value.is_empty() {
                            line = format!("{line} {option} {value}");
                        }
                    }
                    let mut command = match secret {
                        Some(secret) => tool::with_secret(&line, secret),
                        None => tool::command(&line),
                    };
                    tool::run(&mut command, &spawn).report()
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    tcpdump.signal(Signal::SIGINT);
    let ended = tcpdump.end(Duration::from_secs(20));
    assert!(
        ended.stderr.contains("0 packets dropped by kernel"),
        "{ended:?}"
    );
    (reports, read(&file))
}

fn caller(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(index + 1).unwrap())
}

fn read(file: &Path) -> Vec<Seen> {
    let octets = fs::read(file).unwrap();
    let packets = Reader::new(&octets).unwrap();
    packets
        .map(|packet| {
            let packet = packet.unwrap();
            let udp = Udp::read(packet.link, packet.octets).unwrap().unwrap();
            Seen {
                at: packet.time,
                source: udp.source,
                destination: udp.destination,
                payload: udp.payload.to_vec(),
            }
        })
        .collect()
}

/// What tshark shows of each datagram: the fields that have a value.
type Fields = BTreeMap<&'static str, String>;

const NAMES: [&str; 24] = [
    "iax2.packet_type",
    "iax2.src_call",
    "iax2.dst_call",
    "iax2.retransmission",
    "iax2.timestamp",
    "iax2.oseqno",
    "iax2.iseqno",
    "iax2.type",
    "iax2.iax.subclass",
    "iax2.control.subclass",
    "iax2.voice.subclass",
    "iax2.voice.codec",
    "iax2.dtmf.subclass",
    "iax2.text.text",
    "iax2.iax.called_number",
    "iax2.iax.username",
    "iax2.iax.format",
    "iax2.iax.codecprefs",
    "iax2.iax.auth.challenge",
    "iax2.iax.auth.md5",
    "iax2.iax.cause",
    "iax2.iax.causecode",
    "iax2.trunk.call.scallno",
    "iax2.trunk.call.ts",
];

/// Has tshark read the datagrams. The sums of packets on loopback were never filled in, so they are written
/// anew.
fn judged(folder: &Path, seen: &[Seen]) -> Vec<Fields> {
    let mut capture = Capture::new();
    for datagram in seen {
        capture.push(
            datagram.at,
            datagram.source,
            datagram.destination,
            &datagram.payload,
        );
    }
    let file = folder.join("judged.pcap");
    capture.write(&file).unwrap();
    let rows = tshark::fields(&file, "", &NAMES);
    assert_eq!(rows.len(), seen.len());
    rows.into_iter()
        .map(|row| {
            let named = NAMES.into_iter().zip(row);
            named.filter(|(_, value)| !value.is_empty()).collect()
        })
        .collect()
}

/// What we read from a datagram, as tshark would show it.
fn ours(payload: &[u8]) -> Fields {
    match Frame::decode(payload).unwrap() {
        Frame::Full(frame) => full(&frame),
        Frame::Mini(mini) => Fields::from([
            ("iax2.packet_type", "0".to_owned()),
            ("iax2.src_call", mini.source.get().to_string()),
            ("iax2.timestamp", mini.timestamp.to_string()),
        ]),
        Frame::Trunk(trunk) => {
            let list = |of: &dyn Fn(u16, u16) -> u16| {
                let entries = trunk.entries();
                let all: Vec<String> = entries
                    .map(|entry| of(entry.source.get(), entry.timestamp.unwrap()).to_string())
                    .collect();
                all.join(",")
            };
            Fields::from([
                ("iax2.packet_type", "3".to_owned()),
                ("iax2.timestamp", trunk.timestamp.millis().to_string()),
                ("iax2.trunk.call.scallno", list(&|source, _| source)),
                ("iax2.trunk.call.ts", list(&|_, timestamp| timestamp)),
            ])
        }
        other => panic!("{other:?}"),
    }
}

fn full(frame: &FullFrame<'_>) -> Fields {
    let mut fields = Fields::from([
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
    ]);
    let raw = frame.subclass.raw().to_string();
    match frame.frame_type {
        FrameType::Iax => {
            fields.insert("iax2.iax.subclass", raw);
            fields.extend(frame.ies().map(Ie::read).filter_map(element));
        }
        FrameType::Control => {
            fields.insert("iax2.control.subclass", raw);
        }
        FrameType::Voice => {
            let codec = frame.format().unwrap().bits().to_string();
            fields.extend([("iax2.voice.subclass", raw), ("iax2.voice.codec", codec)]);
        }
        FrameType::DtmfBegin | FrameType::DtmfEnd => {
            let digit = char::from(frame.subclass.raw());
            fields.insert("iax2.dtmf.subclass", digit.to_string());
        }
        FrameType::Text => {
            let text = String::from_utf8_lossy(frame.payload).into_owned();
            fields.insert("iax2.text.text", text.trim_end_matches('\0').to_owned());
        }
        other => panic!("{other}"),
    }
    fields
}

fn element(ie: Ie<'_>) -> Option<(&'static str, String)> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some(match ie {
        Ie::CalledNumber(number) => ("iax2.iax.called_number", text(number.0)),
        Ie::Username(name) => ("iax2.iax.username", text(name.0)),
        Ie::Format(bits) => ("iax2.iax.format", bits.to_string()),
        Ie::CodecPrefs(letters) => ("iax2.iax.codecprefs", text(letters.0)),
        Ie::Challenge(challenge) => ("iax2.iax.auth.challenge", text(challenge)),
        Ie::Md5Result(digest) => ("iax2.iax.auth.md5", text(digest.0)),
        Ie::Cause(cause) => ("iax2.iax.cause", text(cause.0)),
        Ie::CauseCode(code) => ("iax2.iax.causecode", format!("{code:#04x}")),
        _ => return None,
    })
}

#[test]
#[ignore = "needs root, network namespaces, tcpdump, tshark and the Asterisk that tests/all fetches"]
fn tshark_agrees_frame_by_frame_and_in_the_sum() {
    let folder = TempDir::new().unwrap();
    let key = format!("--duration 1s --rsa-key {}", rsa_key().display());
    let (secret, short) = (Some(SECRET), "--duration 1s");
    let kinds: [Kind<'_>; 14] = [
        (600, "alice", secret, short),
        (600, "rsa1", None, &key),
        (
            600,
            "plain1",
            Some(PLAIN_SECRET),
            "--duration 1s --allow-plaintext",
        ),
        (601, "nosecret", None, short),
        (602, "tokyes", secret, short),
        (603, "notok", secret, short),
        (606, "alice", secret, short),
        (607, "notok", secret, short),
        (608, "tokyes", secret, "--duration 9s"),
        (600, "notok", secret, "--duration 1s --dtmf 12A"),
        (609, "alice", secret, "--ring 1s"),
        (999, "alice", secret, short),
        (600, "trunk1", secret, "--duration 1s --trunk"),
        (600, "alice", secret, "--duration 1s --codec gsm"),
    ];
    let (reports, seen) = captured(folder.path(), &kinds);
    let judged = judged(folder.path(), &seen);

    let mut differing = vec![];
    for (datagram, theirs) in seen.iter().zip(&judged) {
        let ours = ours(&datagram.payload);
        if ours != *theirs {
            differing.push(format!("we     {ours:?}\ntshark {theirs:?}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {} differ\n{}",
        differing.len(),
        seen.len(),
        differing[..differing.len().min(5)].join("\n")
    );
    println!("{} frames alike", seen.len());

    for (index, (kind, report)) in kinds.iter().zip(&reports).enumerate() {
        let from = caller(index);
        let rows = seen.iter().zip(&judged);
        let (sent, received): (Vec<_>, Vec<_>) = rows
            .filter(|(datagram, _)| {
                [datagram.source, datagram.destination]
                    .iter()
                    .any(|address| address.ip() == from)
            })
            .partition(|(datagram, _)| datagram.source.ip() == from);
        let fields = |of: &[(&Seen, &Fields)]| -> Vec<Fields> {
            of.iter().map(|(_, fields)| (*fields).clone()).collect()
        };
        assert_sum(kind, report, &fields(&sent), &fields(&received));
    }
}

/// Counts from tshark's reading what the report tells.
fn assert_sum(kind: &Kind<'_>, report: &Value, sent: &[Fields], received: &[Fields]) {
    let seen = calls(report);
    let audio = |rows: &[Fields]| -> usize {
        rows.iter()
            .map(|row| {
                let trunked = row.get("iax2.trunk.call.ts");
                let entries = trunked.map_or(0, |list| list.split(',').count());
                let mini = row["iax2.packet_type"] == "0";
                let voice = row.contains_key("iax2.voice.codec");
                entries
                    + usize::from(mini)
                    + usize::from(voice && row["iax2.retransmission"] == "0")
            })
            .sum()
    };
    let media = &seen["media"];
    let count = |key: &str| usize::try_from(media[key].as_u64().unwrap_or(0)).unwrap();
    assert_eq!(audio(sent), count("sent"), "{kind:?} {report:#}");
    // What came after our HANGUP is not counted.
    let heard = audio(received);
    let range = heard.saturating_sub(3)..=heard;
    assert!(
        range.contains(&count("received")),
        "{kind:?} {heard} {report:#}"
    );
    let values = |rows: &[Fields], name: &str| -> Vec<String> {
        rows.iter()
            .filter(|row| {
                row.get("iax2.retransmission")
                    .is_none_or(|again| again == "0")
            })
            .filter_map(|row| row.get(name).cloned())
            .collect()
    };
    let called = values(sent, "iax2.iax.called_number");
    assert!(called.iter().all(|number| *number == kind.0.to_string()) && !called.is_empty());
    if let Some(codec) = seen["codec"].as_str().filter(|_| count("sent") > 0) {
        let bits = if codec == "gsm" { "2" } else { "4" };
        for rows in [sent, received] {
            let codecs = values(rows, "iax2.voice.codec");
            assert!(
                codecs.iter().all(|codec| codec == bits),
                "{kind:?} {codecs:?}"
            );
        }
    }
    let digits = |rows: &[Fields]| -> String {
        let ends = rows
            .iter()
            .filter(|row| row.get("iax2.type").is_some_and(|it| it == "1"));
        ends.filter(|row| row["iax2.retransmission"] == "0")
            .map(|row| row["iax2.dtmf.subclass"].clone())
            .collect()
    };
    assert_eq!(
        seen["dtmf"]["sent"].as_str().unwrap_or(""),
        digits(sent),
        "{kind:?}"
    );
    assert_eq!(
        seen["dtmf"]["received"].as_str().unwrap_or(""),
        digits(received),
        "{kind:?}"
    );
    let texts = values(received, "iax2.text.text");
    let told: Vec<&str> = seen["texts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(texts, told, "{kind:?}");
    let causes = (
        values(sent, "iax2.iax.causecode"),
        values(received, "iax2.iax.causecode"),
    );
    let text = |code: &str| vec![code.to_owned()];
    let expected = match kind.0 {
        602 | 608 => (vec![], text("0x10")),
        603 => (text("0x11"), vec![]),
        606 => (text("0x2a"), vec![]),
        609 => (text("0x13"), vec![]),
        999 => (vec![], text("0x03")),
        600 if kind.1 == "trunk1" => (vec!["0x10".to_owned(); 2], vec![]),
        _ => (text("0x10"), vec![]),
    };
    assert_eq!(causes, expected, "{kind:?} {report:#}");
}

/// Of an encrypted call the numbers of the calls are in clear, and everything until the answer to the
/// challenge.
#[test]
#[ignore = "needs root, network namespaces, tcpdump, tshark and the Asterisk that tests/all fetches"]
fn tshark_sees_of_an_encrypted_call_what_is_in_clear() {
    let folder = TempDir::new().unwrap();
    let kinds: [Kind<'_>; 1] = [(
        600,
        "crypt2",
        Some(SECRET),
        "--duration 1s --encrypt --expect echo",
    )];
    let (reports, seen) = captured(folder.path(), &kinds);
    let judged = judged(folder.path(), &seen);
    let report = &reports[0];
    assert_eq!(report["verdict"], "ok", "{report:#}");
    let numbers = ["iax2.packet_type", "iax2.src_call", "iax2.dst_call"];
    let clear = |fields: &Fields| -> Fields {
        let all = fields.iter().filter(|(name, _)| numbers.contains(name));
        all.map(|(name, value)| (*name, value.clone())).collect()
    };
    let (mut plain, mut minis, mut challenged) = (0, 0, false);
    for (datagram, theirs) in seen.iter().zip(&judged) {
        let command = command(&datagram.payload);
        let of_no_call = matches!(command, Some(Iax::Poke | Iax::Pong | Iax::Ack));
        if !challenged || (of_no_call && datagram.payload.len() < 32) {
            assert_eq!(ours(&datagram.payload), *theirs);
            plain += 1;
            challenged |= command == Some(Iax::AuthReq);
            continue;
        }
        assert_eq!(ours_in_clear(&datagram.payload), clear(theirs));
        let mini = theirs["iax2.packet_type"] == "0";
        minis += u64::from(mini);
        // Two or four octets in clear, and two whole blocks of AES or more behind them.
        let sealed = datagram.payload.len() - if mini { 2 } else { 4 };
        assert!(
            sealed >= 32 && sealed % 16 == 0,
            "from {}, {:02x?}: {theirs:?}",
            datagram.source,
            datagram.payload
        );
    }
    // NEW, CALLTOKEN, NEW and AUTHREQ at least.
    assert!(challenged && plain >= 4, "{plain}");
    let media = &calls(report)["media"];
    let both = media["sent"].as_u64().unwrap() + media["received"].as_u64().unwrap();
    assert_eq!(minis + 2, both, "one VOICE each way: {media:#}");
}

/// The call numbers of a frame, whatever follows them.
fn ours_in_clear(payload: &[u8]) -> Fields {
    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let low = |at| (number(at) & 0x7fff).to_string();
    if number(0) & 0x8000 == 0 {
        return Fields::from([
            ("iax2.packet_type", "0".to_owned()),
            ("iax2.src_call", low(0)),
        ]);
    }
    Fields::from([
        ("iax2.packet_type", "1".to_owned()),
        ("iax2.src_call", low(0)),
        ("iax2.dst_call", low(2)),
    ])
}

fn command(payload: &[u8]) -> Option<Iax> {
    match Frame::decode(payload) {
        Ok(Frame::Full(frame)) => frame.command(),
        _ => None,
    }
}

/// What is kept of a call is what came, sample by sample, and what we had said before.
#[test]
#[ignore = "needs root, network namespaces, tcpdump and the Asterisk that tests/all fetches"]
fn a_recording_holds_the_echo() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("echo.wav");
    let options = format!("--duration 3s --expect echo --record {}", file.display());
    let kinds: [Kind<'_>; 1] = [(600, "alice", Some(SECRET), &options)];
    let (reports, seen) = captured(folder.path(), &kinds);
    let mut wav = hound::WavReader::open(&file).unwrap();
    let spec = wav.spec();
    assert_eq!(
        (spec.channels, spec.sample_rate, spec.bits_per_sample),
        (1, 8000, 16)
    );
    let kept: Vec<i16> = wav.samples::<i16>().map(Result::unwrap).collect();
    let said = |ours: bool| -> Vec<i16> {
        let from_us = |datagram: &&Seen| (datagram.source.ip() == caller(0)) == ours;
        let mut samples = vec![];
        for datagram in seen.iter().filter(from_us) {
            let octets = match Frame::decode(&datagram.payload).unwrap() {
                Frame::Mini(mini) => mini.payload,
                Frame::Full(frame) if frame.frame_type == FrameType::Voice => frame.payload,
                _ => continue,
            };
            samples.extend(octets.iter().map(|octet| Law::Mu.decode(*octet)));
        }
        samples
    };
    let media = &calls(&reports[0])["media"];
    assert!(kept.len() > 8000 * 2, "{} samples: {media:#}", kept.len());
    // Where the far end set its clock anew there is silence in between.
    let sounds = |samples: &[i16]| -> Vec<i16> {
        samples
            .iter()
            .copied()
            .filter(|sample| *sample != 0)
            .collect()
    };
    assert_eq!(sounds(&kept), sounds(&said(false)));
    let whole = ["lost", "reordered", "returned_out_of_order"];
    if whole.iter().all(|key| media[*key] == 0) {
        assert_eq!(sounds(&kept), sounds(&said(true)));
    }
}
