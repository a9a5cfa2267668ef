//! How fast captures are read, beside `cat` of the same file and beside tshark, and how much memory many calls take.
//!
//! ```text
//! cargo bench --bench analyze
//! ```
//!
//! Needs tshark and 2 GB of room for temporary files, which stay in the page cache. Each figure is the median of
//! several rounds; all programs read in turn.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its figures, and may panic"
)]

#[path = "../tests/support/figures.rs"]
mod figures;

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::{
        iax2::{
            command::{Command as Iax, Control, FrameType},
            format::Formats,
            frame::{Frame, FullFrame, MiniFrame, Subclass},
            ie::IeWriter,
            ie_value::{Ie, Text},
        },
        ip_packet,
        link::LinkType,
        pcap::{write_header, write_packet},
    },
};
use nix::sys::resource::{UsageWho, getrusage};

use figures::row;

const ROUNDS: usize = 5;
/// Calls at once in the captures of audio.
const AT_ONCE: u16 = 200;
const LARGE: u64 = 1_000_000_000;
const SMALL: u64 = 60_000_000;
const CALLS: u32 = 100_000;

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let many = folder.path().join("calls.pcap");
    let calls = many_calls(&many);
    let took = analyze(&many);
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    row(
        &format!("memory to explain a capture of {calls} calls"),
        "≤ 64 MB",
        &format!(
            "{:.1} MB at most, in {:.2} s",
            peak as f64 * 1024.0 / 1e6,
            took.as_secs_f64()
        ),
        "",
    );

    let large = folder.path().join("large.pcap");
    let octets = audio(&large, LARGE);
    let (ours, cat) = (median(|| analyze(&large)), median(|| cat(&large)));
    let speed = |time: Duration| octets as f64 / 1e9 / time.as_secs_f64();
    row(
        &format!(
            "a capture of {:.2} GB of audio, from the page cache",
            octets as f64 / 1e9
        ),
        "≥ 1 GB/s, or 0.8 of `cat` where that is less",
        &format!("`analyze`: {:.2} GB/s", speed(ours)),
        &format!("`cat`: {:.2} GB/s", speed(cat)),
    );
    drop(std::fs::remove_file(&large));

    let small = folder.path().join("small.pcap");
    let octets = audio(&small, SMALL);
    let (ours, other) = (median(|| analyze(&small)), tshark(&small));
    row(
        &format!("a capture of {:.0} MB of audio", octets as f64 / 1e6),
        "≥ 50 times as fast",
        &format!("`analyze`: {:.0} ms", ours.as_secs_f64() * 1e3),
        &format!(
            "`tshark -Y iax2 -T fields`: {:.1} s, {:.0} times as long",
            other.as_secs_f64(),
            other.as_secs_f64() / ours.as_secs_f64()
        ),
    );
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| run()).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed()
}

fn analyze(file: &Path) -> Duration {
    timed(
        Command::new(env!("CARGO_BIN_EXE_iax2-natcheck"))
            .arg("analyze")
            .arg(file),
    )
}

fn cat(file: &Path) -> Duration {
    // Through a pipe, so that it is read and not only sent on.
    timed(
        Command::new("sh")
            .args(["-c", "cat \"$0\" | cat"])
            .arg(file),
    )
}

/// What a script would ask to have the same answers: dialogues, kinds, causes, and the clocks of the audio.
fn tshark(file: &Path) -> Duration {
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-r"])
        .arg(file)
        .args(["-Y", "iax2", "-T", "fields"]);
    for field in [
        "frame.number",
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "iax2.src_call",
        "iax2.dst_call",
        "iax2.iax.subclass",
        "iax2.control.subclass",
        "iax2.iax.causecode",
        "iax2.timestamp",
    ] {
        command.args(["-e", field]);
    }
    timed(command.stderr(Stdio::null()))
}

/// A capture in the making.
struct Writing {
    file: BufWriter<File>,
    octets: Vec<u8>,
    written: u64,
}

impl Writing {
    fn new(path: &Path) -> Self {
        let mut octets = Vec::new();
        write_header(LinkType::Raw, &mut octets);
        let mut file = BufWriter::new(File::create(path).unwrap());
        file.write_all(&octets).unwrap();
        Self {
            file,
            written: octets.len() as u64,
            octets,
        }
    }

    fn packet(&mut self, at: Duration, from: SocketAddr, to: SocketAddr, frame: &Frame<'_>) {
        let packet = ip_packet::udp(from, to, &frame.to_vec()).unwrap();
        self.octets.clear();
        write_packet(at, &packet, &mut self.octets);
        self.file.write_all(&self.octets).unwrap();
        self.written += self.octets.len() as u64;
    }
}

/// The two ends of a call.
#[derive(Clone, Copy)]
struct Ends {
    caller: SocketAddr,
    callee: SocketAddr,
    number: u16,
}

impl Ends {
    /// The same two hosts, with other numbers.
    fn numbered(number: u16) -> Self {
        Self {
            caller: "192.168.1.10:4569".parse().unwrap(),
            callee: "203.0.113.1:4569".parse().unwrap(),
            number,
        }
    }

    fn full(
        self,
        of_caller: bool,
        (frame_type, subclass): (FrameType, Subclass),
        clock: u32,
        numbers: (u8, u8),
        payload: &[u8],
    ) -> FullFrame<'_> {
        let own = CallNumber::from_bits(if of_caller {
            self.number
        } else {
            self.number + 0x4000
        });
        let far = CallNumber::from_bits(if of_caller {
            self.number + 0x4000
        } else {
            self.number
        });
        FullFrame {
            source: own,
            destination: far,
            retransmission: false,
            timestamp: Timestamp::from_millis(clock),
            oseqno: SeqNo::new(numbers.0),
            iseqno: SeqNo::new(numbers.1),
            frame_type,
            subclass,
            payload,
        }
    }

    /// NEW, ACCEPT, ANSWER, with their ACKs.
    fn set_up(self, out: &mut Writing, at: Duration) {
        let elements = IeWriter::new()
            .ie(Ie::Version(2))
            .ie(Ie::Username(Text(b"alice")))
            .ie(Ie::CalledNumber(Text(b"600")))
            .ie(Ie::Format(4))
            .finish()
            .unwrap();
        let format = IeWriter::new().ie(Ie::Format(4)).finish().unwrap();
        let iax = |command: Iax| (FrameType::Iax, command.into());
        let answer = (FrameType::Control, Control::Answer.into());
        let mut new = self.full(true, iax(Iax::New), 3, (0, 0), &elements);
        new.destination = CallNumber::NONE;
        let frames = [
            (true, new),
            (
                false,
                self.full(false, iax(Iax::Accept), 5, (0, 1), &format),
            ),
            (true, self.full(true, iax(Iax::Ack), 5, (1, 1), &[])),
            (false, self.full(false, answer, 8, (1, 1), &[])),
            (true, self.full(true, iax(Iax::Ack), 8, (1, 2), &[])),
        ];
        for (of_caller, frame) in frames {
            self.send(out, at, of_caller, &Frame::Full(frame));
        }
    }

    fn hang_up(self, out: &mut Writing, at: Duration, clock: u32) {
        let cause = IeWriter::new().ie(Ie::CauseCode(16)).finish().unwrap();
        let hangup = (FrameType::Iax, Iax::Hangup.into());
        let ack = (FrameType::Iax, Iax::Ack.into());
        let frame = self.full(true, hangup, clock, (2, 3), &cause);
        self.send(out, at, true, &Frame::Full(frame));
        let frame = self.full(false, ack, clock, (3, 3), &[]);
        self.send(out, at, false, &Frame::Full(frame));
    }

    fn audio(self, out: &mut Writing, at: Duration, of_caller: bool, clock: u32) {
        let payload = [0x55; 160];
        if clock == 20 {
            let voice = (
                FrameType::Voice,
                Subclass::from_value(Formats::ULAW.bits()).unwrap(),
            );
            let numbers = if of_caller { (1, 2) } else { (2, 2) };
            let frame = self.full(of_caller, voice, clock, numbers, &payload);
            return self.send(out, at, of_caller, &Frame::Full(frame));
        }
        let own = if of_caller {
            self.number
        } else {
            self.number + 0x4000
        };
        let mini = MiniFrame {
            source: CallNumber::from_bits(own),
            #[allow(clippy::cast_possible_truncation)] // the low bits are what is sent
            timestamp: clock as u16,
            payload: &payload,
        };
        self.send(out, at, of_caller, &Frame::Mini(mini));
    }

    fn send(self, out: &mut Writing, at: Duration, of_caller: bool, frame: &Frame<'_>) {
        let (from, to) = if of_caller {
            (self.caller, self.callee)
        } else {
            (self.callee, self.caller)
        };
        out.packet(at, from, to, frame);
    }
}

/// Calls that talk side by side until the file is full; octets written.
fn audio(path: &Path, full: u64) -> u64 {
    let mut out = Writing::new(path);
    let begin = Duration::from_secs(1_795_000_000);
    let calls: Vec<Ends> = (2..AT_ONCE + 2).map(Ends::numbered).collect();
    for call in &calls {
        call.set_up(&mut out, begin);
    }
    let mut clock = 0;
    while out.written < full {
        clock += 20;
        let at = begin + Duration::from_millis(clock.into());
        for (place, call) in (0..).zip(&calls) {
            let at = at + Duration::from_micros(place * 50);
            call.audio(&mut out, at, true, clock);
            call.audio(&mut out, at, false, clock);
        }
    }
    let at = begin + Duration::from_millis(u64::from(clock) + 20);
    for call in &calls {
        call.hang_up(&mut out, at, clock + 20);
    }
    out.file.flush().unwrap();
    out.written
}

/// Short calls of many hosts; their number.
fn many_calls(path: &Path) -> u32 {
    let mut out = Writing::new(path);
    let begin = Duration::from_secs(1_795_000_000);
    for number in 0..CALLS {
        let [_, _, high, low] = number.to_be_bytes();
        let ends = Ends {
            caller: SocketAddr::from(([198, 18, high, low], 4569)),
            number: 2 + u16::try_from(number % 16_000).unwrap(),
            ..Ends::numbered(0)
        };
        let at = begin + Duration::from_millis(u64::from(number) * 25);
        ends.set_up(&mut out, at);
        for clock in [20, 40, 60] {
            ends.audio(
                &mut out,
                at + Duration::from_millis(clock.into()),
                true,
                clock,
            );
            ends.audio(
                &mut out,
                at + Duration::from_millis(clock.into()),
                false,
                clock,
            );
        }
        ends.hang_up(&mut out, at + Duration::from_millis(80), 80);
    }
    out.file.flush().unwrap();
    CALLS
}
