//! How many registrations a CPU second buys: `serve` beside Asterisk 16 in the same run.
//!
//! ```text
//! cargo bench --bench registrations
//! ```
//!
//! Needs the Asterisk that `tests/all` fetches. Both servers get the same load from the same generator:
//! bursts of registrations with call token and MD5 from eight loopback addresses, an account each, 32 at a
//! time. What counts is the CPU time of the server's process, from /proc; the generator runs beside it.
//! Asterisk's call numbers rest for 60 s, so each of its bursts meets a fresh one.

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
    collections::VecDeque,
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    ops::ControlFlow,
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    net::{drive::drive, sockets::Sockets, udp::Ground},
    proto::{
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
        reliable::RetryPolicy,
    },
    types::PeerAddr,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use support::{
    asterisk::Asterisk,
    figures::row,
    process::{Process, plain, poll},
};

/// Source addresses, and accounts.
const SOURCES: u8 = 8;
/// Registrations of one burst.
const BURST: u32 = 8_000;
/// Registrations under way at once, of one source.
const AT_ONCE: usize = 32;
/// Bursts for each server; the median counts.
const ROUNDS: usize = 3;

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("registrations with call token and MD5, {BURST} a burst from {SOURCES} addresses");
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for round in 0..ROUNDS {
        ours.push(measure_ours(round));
        theirs.push(measure_asterisk(round));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    row(
        "registrations with call token and MD5, a CPU second of the server",
        "≥ 10 times as many",
        &format!("`serve`: {ours:.0}"),
        &format!("Asterisk 16: {theirs:.0}, {:.0} times fewer", ours / theirs),
    );
}

fn measure_ours(round: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let mut file = fs::File::create(&users).unwrap();
    for source in 0..SOURCES {
        writeln!(file, "[user{source}]\nsecret = \"s3cret\"\n").unwrap();
    }
    let address = SocketAddr::new(
        Ipv4Addr::new(127, 9, 1, 1 + u8::try_from(round).unwrap()).into(),
        4569,
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_iax2-natcheck"));
    command
        .args(["serve", "-q", "--bind", &address.to_string(), "--users"])
        .arg(&users);
    let server = Process::start(&mut command, &plain, &folder.path().join("log"));
    wait_for_pong(address);
    burst("serve", server.pid(), address)
}

fn measure_asterisk(round: usize) -> f64 {
    let ip = Ipv4Addr::new(127, 9, 2, 1 + u8::try_from(round).unwrap());
    let mut builder = Asterisk::registrar(ip)
        .quiet()
        .general("maxcallnumbers=16382");
    for source in 0..SOURCES {
        builder = builder.section(&format!(
            "[user{source}]\ntype=friend\nhost=dynamic\nauth=md5\nsecret=s3cret\nrequirecalltoken=yes\n\
             maxauthreq=0\ncontext=test\n"
        ));
    }
    let server = builder.start(&plain);
    wait_for_pong(server.address());
    burst("Asterisk 16", server.pid(), server.address())
}

/// Runs one burst; returns registrations a CPU second of the server.
fn burst(name: &str, pid: u32, server: SocketAddr) -> f64 {
    let next = AtomicU8::new(0);
    let ground = Ground::new(move |_| {
        let last = next.fetch_add(1, Ordering::Relaxed);
        UdpSocket::bind(SocketAddr::new(
            Ipv4Addr::new(127, 9, 3, 1 + last).into(),
            0,
        ))
    });
    let mut sockets = Sockets::client(ground, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let mut load = Load::new(PeerAddr::new(server), Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = cpu_seconds(pid);
    let began = Instant::now();
    runtime.block_on(async {
        let limit = tokio::time::sleep(Duration::from_secs(120));
        drive(
            &mut load,
            &mut sockets,
            |(), _| ControlFlow::Break(()),
            limit,
        )
        .await
        .unwrap();
    });
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(pid) - before;
    println!(
        "  {name}: {} of {BURST} registered in {wall:.2} s, {cpu:.2} s of CPU",
        load.registered
    );
    assert!(
        load.registered * 100 >= BURST * 99,
        "{} failed",
        BURST - load.registered
    );
    f64::from(load.registered) / cpu
}

/// Registers again and again.
struct Load {
    server: PeerAddr,
    rng: StdRng,
    left: u32,
    registered: u32,
    ended: u32,
    active: Vec<Vec<Registration>>,
    outbox: VecDeque<Transmit>,
    over: bool,
}

impl Load {
    fn new(server: PeerAddr, now: Instant) -> Self {
        let mut load = Self {
            server,
            rng: StdRng::seed_from_u64(1),
            left: BURST,
            registered: 0,
            ended: 0,
            active: (0..SOURCES).map(|_| Vec::new()).collect(),
            outbox: VecDeque::new(),
            over: false,
        };
        for source in 0..usize::from(SOURCES) {
            for _ in 0..AT_ONCE {
                load.begin(source, now);
            }
        }
        load
    }

    fn begin(&mut self, source: usize, now: Instant) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        // Two at once with one call number would be one to the server.
        let registration = loop {
            let registration = self.registration(source, now);
            let number = registration.call_number();
            if self.active[source]
                .iter()
                .all(|other| other.call_number() != number)
            {
                break registration;
            }
        };
        self.active[source].push(registration);
        let last = self.active[source].len() - 1;
        self.drain(source, last, now);
    }

    fn registration(&mut self, source: usize, now: Instant) -> Registration {
        let config = RegistrationConfig {
            registrar: self.server,
            socket: SocketKey(u32::try_from(source).unwrap()),
            credentials: Credentials::with_secret(&format!("user{source}"), "s3cret"),
            refresh: Duration::from_secs(60),
            release: false,
            offer_token: true,
            retry: RetryPolicy::QUICK,
            seed: self.rng.random(),
        };
        Registration::new(config, now)
    }

    fn drain(&mut self, source: usize, index: usize, now: Instant) {
        let registration = &mut self.active[source][index];
        while let Some(transmit) = registration.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        let mut ended = false;
        while let Some(event) = registration.poll_event() {
            if let RegistrationEvent::Ended(outcome) = event {
                ended = true;
                self.registered += u32::from(matches!(outcome, Outcome::Acknowledged { .. }));
            }
        }
        if ended {
            self.active[source].swap_remove(index);
            self.ended += 1;
            self.over = self.ended == BURST;
            self.begin(source, now);
        }
    }
}

impl Machine for Load {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram {
            socket, payload, ..
        } = input
            && let Ok(iax2_natcheck::wire::iax2::frame::Frame::Full(frame)) =
                iax2_natcheck::wire::iax2::frame::Frame::decode(payload)
        {
            let source = usize::try_from(socket.0).unwrap();
            let owner = self.active[source].iter().position(|one| one.owns(&frame));
            if let Some(index) = owner {
                self.active[source][index].handle_input(input, now);
                self.drain(source, index, now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for source in 0..self.active.len() {
            for index in (0..self.active[source].len()).rev() {
                self.active[source][index].handle_timeout(now);
                self.drain(source, index, now);
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        std::mem::take(&mut self.over).then_some(())
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.active
            .iter()
            .flatten()
            .map(Registration::poll_timeout)
            .fold(None, earlier)
    }
}

/// User and system time of a process, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<f64>().unwrap())
        .sum();
    ticks / TICKS_A_SECOND
}

fn wait_for_pong(server: SocketAddr) {
    const POKE: [u8; 12] = [0x80, 0x4d, 0, 0, 0, 0, 0, 1, 0, 0, 6, 0x1e];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let answered = poll(Duration::from_secs(20), || {
        let _ = socket.send_to(&POKE, server);
        socket.recv_from(&mut [0; 64]).ok()
    });
    assert!(answered.is_some(), "{server} does not answer");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
