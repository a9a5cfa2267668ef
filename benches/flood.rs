//! Who is still served while strangers flood the port: `serve` beside Asterisk 16 in the same run.
//!
//! ```text
//! cargo bench --bench flood
//! ```
//!
//! Needs the Asterisk that `tests/all` fetches. For six seconds 800 loopback addresses, which read no
//! answer as if they were spoofed, send 20 000 packets a second of one kind; meanwhile an honest client
//! registers again and again, with call token and MD5. What counts: how many of its registrations succeed,
//! how long they take, and how much the server's memory grows.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its figures, and may panic"
)]

#[path = "../tests/support/support.rs"]
mod support;

use std::{
    fs,
    future::pending,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    ops::ControlFlow,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    net::{
        drive::{Ended, drive},
        sockets::{FIRST, Sockets},
        udp::Ground,
    },
    proto::{
        auth::Credentials,
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
        reliable::RetryPolicy,
    },
    types::PeerAddr,
};
use support::{
    asterisk::Asterisk,
    figures::row,
    process::{Process, plain, poll},
};

/// Addresses that strangers send from.
const SOURCES: u16 = 800;
/// How long a flood lasts, and how many packets it has a second.
const LENGTH: Duration = Duration::from_secs(6);
const RATE: u32 = 20_000;
/// Packets that leave together.
const BATCH: u32 = 100;
/// What an honest client waits for one registration.
const PATIENCE: Duration = Duration::from_secs(3);
/// What memory of ours may grow by, and the share of the honest that must be served.
const GROWTH_MIB: f64 = 32.0;
const SERVED: f64 = 0.95;

/// Subclasses of IAX frames (RFC 5456, 8.4) and elements (8.6).
const NEW: u8 = 1;
const REGREQ: u8 = 13;
const POKE: u8 = 30;
const USERNAME: (u8, &[u8]) = (6, b"alice");
const CALLED: (u8, &[u8]) = (1, b"600");
const VERSION: (u8, &[u8]) = (11, &[0, 2]);
const NO_TOKEN: (u8, &[u8]) = (54, b"");
const WRONG_TOKEN: (u8, &[u8]) = (54, b"1795341641?0123456789abcdef0123456789abcdef01234567");

/// What strangers send: a name, the subclass, the elements.
type Flood = (&'static str, u8, &'static [(u8, &'static [u8])]);

const FLOODS: [Flood; 6] = [
    ("nothing", POKE, &[]),
    ("POKE", POKE, &[]),
    ("REGREQ, asks for a token", REGREQ, &[USERNAME, NO_TOKEN]),
    ("REGREQ, wrong token", REGREQ, &[USERNAME, WRONG_TOKEN]),
    (
        "NEW, asks for a token",
        NEW,
        &[VERSION, CALLED, USERNAME, NO_TOKEN],
    ),
    ("NEW, knows of no tokens", NEW, &[VERSION, CALLED, USERNAME]),
];

/// What came of the honest.
struct Served {
    tried: u32,
    succeeded: u32,
    median: Duration,
    growth_mib: f64,
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for (index, flood) in FLOODS.into_iter().enumerate() {
        let place = u8::try_from(index + 1).unwrap();
        let ours = measure_ours(flood, place);
        row(
            &format!(
                "honest registrations while {RATE} packets a second arrive from {SOURCES} addresses: {}",
                flood.0
            ),
            "honest clients served, memory bounded",
            &format!("`serve`: {}", told(&ours)),
            &format!("Asterisk 16: {}", told(&measure_asterisk(flood, place))),
        );
        let share = f64::from(ours.succeeded) / f64::from(ours.tried);
        assert!(share >= SERVED, "{}: {share} served", flood.0);
        assert!(
            ours.growth_mib <= GROWTH_MIB,
            "{}: {}",
            flood.0,
            ours.growth_mib
        );
    }
}

fn told(served: &Served) -> String {
    format!(
        "{} of {}, {:.2} ms each, {:+.1} MiB",
        served.succeeded,
        served.tried,
        served.median.as_secs_f64() * 1000.0,
        served.growth_mib
    )
}

fn measure_ours(flood: Flood, place: u8) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let mut file = fs::File::create(&users).unwrap();
    writeln!(file, "[alice]\nsecret = \"s3cret\"").unwrap();
    let address = SocketAddr::new(Ipv4Addr::new(127, 9, 6, place).into(), 4569);
    let mut command = Command::new(env!("CARGO_BIN_EXE_iax2-natcheck"));
    command
        .args(["serve", "-q", "--bind", &address.to_string(), "--users"])
        .arg(&users);
    let server = Process::start(&mut command, &plain, &folder.path().join("log"));
    under(flood, server.pid(), address)
}

fn measure_asterisk(flood: Flood, place: u8) -> Served {
    // The registrar of the tests knows alice, by MD5.
    let server = Asterisk::registrar(Ipv4Addr::new(127, 9, 7, place))
        .quiet()
        .general("maxcallnumbers=16382")
        .start(&plain);
    under(flood, server.pid(), server.address())
}

/// Registers again and again while strangers flood the server.
fn under(flood: Flood, pid: u32, server: SocketAddr) -> Served {
    wait_for_pong(server);
    assert!(register(server).is_some(), "{server} takes no registration");
    let before = memory_mib(pid);
    let is_over = AtomicBool::new(false);
    let mut took = vec![];
    let mut tried = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            if flood.0 == "nothing" {
                thread::sleep(LENGTH);
            } else {
                send(flood, server);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            tried += 1;
            took.extend(register(server));
            thread::sleep(Duration::from_millis(50));
        }
    });
    let growth_mib = (memory_mib(pid) - before).max(0.0);
    took.sort_unstable();
    Served {
        tried,
        succeeded: u32::try_from(took.len()).unwrap(),
        median: took.get(took.len() / 2).copied().unwrap_or(PATIENCE),
        growth_mib,
    }
}

/// One registration, and how long it took; `None` where it did not succeed.
fn register(server: SocketAddr) -> Option<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let from = Ipv4Addr::new(127, 9, 9, 9).into();
        let mut sockets = Sockets::client(Ground::host(), Some(from));
        let config = RegistrationConfig {
            registrar: PeerAddr::new(server),
            socket: FIRST,
            credentials: Credentials::with_secret("alice", "s3cret"),
            refresh: Duration::from_secs(60),
            release: false,
            offer_token: true,
            retry: RetryPolicy::QUICK,
            seed: rand::random(),
        };
        let mut machine = Registration::new(config, began);
        let driving = drive(
            &mut machine,
            &mut sockets,
            |event, _| match event {
                RegistrationEvent::Ended(outcome) => ControlFlow::Break(outcome),
                _ => ControlFlow::Continue(()),
            },
            pending::<()>(),
        );
        match tokio::time::timeout(PATIENCE, driving).await {
            Ok(Ok(Ended::Event(Outcome::Acknowledged { .. }))) => Some(began.elapsed()),
            _ => None,
        }
    })
}

/// Sends the flood from all the addresses in turn, at its rate.
fn send((_, subclass, elements): Flood, server: SocketAddr) {
    let sources: Vec<UdpSocket> = (0..SOURCES)
        .map(|source| {
            let [high, low] = source.to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 10 + high, low, 1), 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let began = Instant::now();
    let mut sent: u32 = 0;
    while began.elapsed() < LENGTH {
        for _ in 0..BATCH {
            // A new call number for each round of the sources.
            let round = u16::try_from(sent / u32::from(SOURCES) % 0x7ff0).unwrap();
            let socket = &sources[usize::try_from(sent % u32::from(SOURCES)).unwrap()];
            // What the kernel does not take is lost, as on a line.
            let _ = socket.send_to(&frame(subclass, round + 1, elements), server);
            sent += 1;
        }
        let due = began + Duration::from_secs(1) * sent / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// A full frame that begins a dialogue from this call number.
fn frame(subclass: u8, call: u16, elements: &[(u8, &[u8])]) -> Vec<u8> {
    let [high, low] = (0x8000 | call).to_be_bytes();
    let mut frame = vec![high, low, 0, 0, 0, 0, 0, 1, 0, 0, 6, subclass];
    for (element, value) in elements {
        frame.push(*element);
        frame.push(u8::try_from(value.len()).unwrap());
        frame.extend_from_slice(value);
    }
    frame
}

/// What a process holds in memory.
fn memory_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

fn wait_for_pong(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let answered = poll(Duration::from_secs(20), || {
        let _ = socket.send_to(&frame(POKE, 77, &[]), server);
        socket.recv_from(&mut [0; 64]).ok()
    });
    assert!(answered.is_some(), "{server} does not answer");
}
