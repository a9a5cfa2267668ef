//! What others say of the same calls: the far end's own figures, and Wireshark's dissection of every frame.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use iax2_natcheck::wire::iax2::{
    command::FrameType,
    frame::{Kind, Subclass},
};

use serde_json::Value;

use crate::{
    placed::{Calling, LINUX, drop_forwarded, site},
    support::{
        asterisk::{Asterisk, SECRET},
        process::{self, Process, Running},
        site::{PROVIDER, Site},
        tool, tshark,
    },
};

/// The fields of a frame that both name.
const FIELDS: [&str; 12] = [
    "udp.srcport",
    "udp.dstport",
    "iax2.src_call",
    "iax2.dst_call",
    "iax2.timestamp",
    "iax2.oseqno",
    "iax2.iseqno",
    "iax2.type",
    "iax2.iax.subclass",
    "iax2.control.subclass",
    "iax2.voice.subclass",
    "iax2.dtmf.subclass",
];

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and a minute"]
fn the_far_end_counts_the_same_loss() {
    let site = Site::behind([LINUX]);
    let provider = Asterisk::registrar(PROVIDER)
        .jitter_buffer()
        .start(&site.far());
    drop_forwarded(
        &site,
        "iifname \"lan\" udp length > 170 numgen inc mod 20 0",
    );
    let calling = Calling::start(&site, "600", "--duration 45s --expect echo");
    calling.wait_for_talk();
    thread::sleep(Duration::from_secs(43));
    let shown = provider.cli("iax2 show netstats");
    let line = shown
        .lines()
        .find(|line| line.starts_with("IAX2/"))
        .unwrap();
    // Channel, round trip; then of what it received: jitter, delay, lost, percent, dropped, out of order, thousands.
    let lost: f64 = line.split_whitespace().nth(4).unwrap().parse().unwrap();
    // It has been talked to for 43 s and what its start took, 50 packets a second.
    let theirs = lost / (43.0 * 50.0) * 100.0;
    let placed = calling.end();
    let media = placed.media();
    let share = |key: &str| media[key].as_f64().unwrap() / media["sent"].as_f64().unwrap() * 100.0;
    let ours = share("lost_outbound");
    let far_end = &placed.calls()["far_end"];
    println!("it lost {theirs:.2} %, we say {ours:.2} %: {line}\n{far_end}");
    assert!(
        (theirs - ours).abs() < 1.0,
        "{theirs} and {ours}: {line}\n{media:#}"
    );
    assert!((ours - 5.0).abs() < 1.0, "{media:#}");
    assert_eq!(far_end["measured"], true);
}

/// One frame as both tell of it: from us or to us, the two call numbers, clock, sequence numbers, and what it is.
type Seen = (bool, u16, u16, u32, u8, u8, String);

/// Captures all UDP of the client's host.
fn capturing(site: &Site, folder: &Path) -> (PathBuf, Process) {
    let capture = folder.join("calls.pcap");
    let mut command = Command::new("tcpdump");
    command
        .args([
            "-i",
            "any",
            "--immediate-mode",
            "-s",
            "2048",
            "-B",
            "8192",
            "-U",
            "-w",
        ])
        .arg(&capture)
        .arg("udp");
    let tcpdump = Process::start(&mut command, &site.near(), &folder.join("log"));
    let listens = || tcpdump.output().contains("listening").then_some(());
    assert!(process::poll(Duration::from_secs(10), listens).is_some());
    (capture, tcpdump)
}

#[test]
#[ignore = "needs root, ip, nft, tcpdump, tshark and the Asterisk that tests/all fetches"]
fn wireshark_reads_the_frames_that_we_sent_and_received() {
    let (site, _provider) = site(LINUX);
    let folder = tempfile::tempdir().unwrap();
    let (capture, mut tcpdump) = capturing(&site, folder.path());

    let calls = [
        ("alice", "600", "--dtmf 12"),
        ("alice", "601", ""),
        ("alice", "602", ""),
        ("alice", "603", ""),
        ("alice", "606", ""),
        ("alice", "607", ""),
        ("alice", "608", ""),
        ("alice", "609", "--ring 1s"),
        ("alice", "999", ""),
        ("alice", "600", "--codec alaw"),
        ("crypt2", "600", "--encrypt"),
    ];
    let running: Vec<Running> = (0..)
        .zip(calls)
        .map(|(at, (user, extension, options))| {
            let line = format!(
                "call {PROVIDER} {extension} --user {user} --json -v --duration 1s --local-port {} {options}",
                40_001 + at
            );
            Running::start(&mut tool::with_secret(&line, SECRET), &site.near())
        })
        .collect();
    let ended: Vec<_> = running
        .into_iter()
        .map(|running| running.end(Duration::from_secs(60)))
        .collect();
    thread::sleep(Duration::from_millis(500));
    tcpdump.kill();

    let rows = tshark::fields(&capture, "iax2", &FIELDS);
    for (port, ((user, extension, options), ended)) in (40_001..).zip(calls.iter().zip(&ended)) {
        let name = format!("{user} to {extension} {options}");
        let ours = told(&ended.stderr);
        let theirs = dissected(&rows, port);
        for from_us in [true, false] {
            let one_way = |frames: &[Seen]| -> Vec<Seen> {
                let way = frames.iter().filter(|frame| frame.0 == from_us);
                // Behind the challenge an encrypted call shows nothing but its numbers.
                let clear = if *user == "crypt2" { 2 } else { usize::MAX };
                way.take(clear).cloned().collect()
            };
            let (ours, theirs) = (one_way(&ours), one_way(&theirs));
            assert!(ours.len() >= 2, "{name}: {ours:#?}");
            assert_eq!(ours, theirs, "{name}");
        }
        if *user == "crypt2" {
            continue;
        }
        let minis = |from_us: bool| {
            let mini = |row: &&Vec<String>| row[7].is_empty() && is_of(row, port) == Some(from_us);
            rows.iter().filter(mini).count()
        };
        let audio = |arrow: &str| {
            let lines = ended.stderr.lines().filter(|line| line.contains(arrow));
            lines.filter(|line| line.contains(" audio from ")).count()
        };
        assert_eq!(minis(true), audio("DEBUG →"), "{name}");
        assert_eq!(minis(false), audio("DEBUG ←"), "{name}");
    }
    // What the report says of codec and cause, the frames say too.
    let report = |at: usize| -> Value { serde_json::from_str(&ended[at].stdout).unwrap() };
    let causes = tshark::fields(
        &capture,
        "iax2.iax.causecode",
        &["udp.dstport", "iax2.iax.causecode"],
    );
    let cause_to = |port: &str| {
        let mut rows = causes.iter().filter(|row| row[0] == port);
        rows.next_back().map(|row| row[1].clone())
    };
    assert_eq!(cause_to("40009").as_deref(), Some("0x03"), "{causes:?}");
    assert!(
        report(8)["findings"][0]["title"]
            .as_str()
            .unwrap()
            .contains("cause 3")
    );
    assert_eq!(report(9)["measurements"]["calls"]["codec"], "alaw");
    let voice = |port: u16, name: &str| {
        let frames = dissected(&rows, port);
        frames.iter().any(|frame| frame.6 == name)
    };
    assert!(voice(40_001, "VOICE ulaw") && voice(40_010, "VOICE alaw"));
}

/// Whether a packet left from this port of ours, or came to it.
fn is_of(row: &[String], port: u16) -> Option<bool> {
    let port = port.to_string();
    if row[0] == port {
        return Some(true);
    }
    (row[1] == port).then_some(false)
}

/// The full frames of the call, as our own log tells them: `DEBUG → ADDRESS NEW 4703→0 0 ms o0 i0 · …`.
fn told(log: &str) -> Vec<Seen> {
    let frames = log.lines().filter_map(|line| {
        let (_, frame) = line.split_once("DEBUG ")?;
        let (arrow, rest) = frame.split_once(' ')?;
        let (_, rest) = rest.split_once(' ')?;
        let head = rest.split(" · ").next()?;
        let words: Vec<&str> = head
            .split_whitespace()
            .filter(|it| *it != "again")
            .collect();
        let at = words.iter().position(|word| word.contains('→'))?;
        let (source, destination) = words[at].split_once('→')?;
        let number = |word: &str| word.get(1..)?.parse().ok();
        let [clock, .., oseqno, iseqno] = words.get(at + 1..)? else {
            return None;
        };
        Some((
            arrow == "→",
            source.parse().ok()?,
            destination.parse().ok()?,
            clock.parse().ok()?,
            number(oseqno)?,
            number(iseqno)?,
            words[..at].join(" "),
        ))
    });
    of_the_call(frames.collect())
}

/// The same as tshark reads them.
fn dissected(rows: &[Vec<String>], port: u16) -> Vec<Seen> {
    let frames = rows.iter().filter_map(|row| {
        let from_us = is_of(row, port)?;
        let number = |at: usize| row[at].parse::<u32>().ok();
        let narrow = |at: usize| u16::try_from(number(at)?).ok();
        let octet = |at: usize| u8::try_from(number(at)?).ok();
        let frame_type = FrameType::from(octet(7)?);
        let subclass = match frame_type {
            FrameType::Iax => octet(8)?,
            FrameType::Control => octet(9)?,
            FrameType::Voice => octet(10)?,
            FrameType::DtmfBegin | FrameType::DtmfEnd => *row[11].as_bytes().first()?,
            _ => 0,
        };
        let kind = Kind {
            frame_type,
            subclass: Subclass::from_raw(subclass),
        };
        Some((
            from_us,
            narrow(2)?,
            narrow(3)?,
            number(4)?,
            octet(5)?,
            octet(6)?,
            kind.to_string(),
        ))
    });
    of_the_call(frames.collect())
}

/// Those of the dialogue that begins with NEW: POKEs beside it have numbers of their own.
fn of_the_call(frames: Vec<Seen>) -> Vec<Seen> {
    let ours = |frame: &Seen| if frame.0 { frame.1 } else { frame.2 };
    let call = frames
        .iter()
        .find(|frame| frame.0 && frame.6 == "NEW")
        .map(ours);
    frames
        .into_iter()
        .filter(|frame| Some(ours(frame)) == call)
        .collect()
}
