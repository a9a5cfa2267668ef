//! How many echo calls one core holds: `serve` beside Asterisk 16's `Echo()` in the same run.
//!
//! ```text
//! cargo bench --bench calls
//! ```
//!
//! Needs the Asterisk that `tests/all` fetches, and two cores: the server has the first to itself, the load
//! generator the second. The load is the same for both: µ-law calls of 20 ms packets from loopback
//! addresses, 800 from each, set up with call token and MD5, their packets spread evenly over time.
//! Calls are added until more than one frame in a thousand is not back within 20 ms of its sending, twice in
//! a row. Each call stays up until its server's turn ends.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its figures, and may panic"
)]

#[path = "calls/load.rs"]
mod load;
#[path = "../tests/support/support.rs"]
mod support;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use load::Load;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use support::{
    asterisk::Asterisk,
    figures::row,
    process::{Process, plain},
};

/// How long each number of calls is watched.
const WINDOW: Duration = Duration::from_secs(5);
/// More frames than one in this many must not be late.
const LATE_IN: u64 = 1000;
/// Calls that a server begins with, and the most that it is given.
const FIRST: usize = 100;
const MOST: usize = 12_000;
/// From one number of calls to the next, in percent.
const STEP: usize = 120;

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .unwrap()
        .1;
    files = files.min(500_000);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, files, files)
        .unwrap();
    pin(0, 1);
    // `-- plain` and `-- trunked` measure one kind, `-- serve` the one server.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let asked_for = |name: &str| wanted.iter().any(|it| it == name);
    for (name, trunk) in [("plain", false), ("trunked", true)] {
        if asked_for("plain") != asked_for("trunked") && !asked_for(name) {
            continue;
        }
        println!("echo calls of 20 ms µ-law, {name}");
        let ours = hold_ours(trunk);
        if asked_for("serve") {
            continue;
        }
        let theirs = hold_asterisk(trunk);
        row(
            &format!("echo calls of 20 ms µ-law held at once, {name}"),
            if trunk {
                "≥ 10 times as many"
            } else {
                "≥ 5 times as many"
            },
            &format!("`serve`: {}", ours.calls),
            &format!(
                "Asterisk 16 `Echo()`: {}, {:.1} times fewer",
                theirs.calls,
                ours.calls as f64 / theirs.calls as f64
            ),
        );
        row(
            &format!("memory of such a call at the server, {name}"),
            "≤ 16 KiB",
            &format!("`serve`: {:.1} KiB", ours.memory as f64 / 1024.0),
            &format!("Asterisk 16: {:.1} KiB", theirs.memory as f64 / 1024.0),
        );
    }
}

/// What a server bore.
struct Held {
    calls: usize,
    /// Octets a call.
    memory: u64,
}

fn hold_ours(trunk: bool) -> Held {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    fs::write(&users, "[load]\nsecret = \"s3cret\"\ntrunk = true\n").unwrap();
    let address = SocketAddr::new(Ipv4Addr::new(127, 8, 1, 1).into(), 4569);
    let mut command = Command::new(env!("CARGO_BIN_EXE_iax2-natcheck"));
    command
        .args(["serve", "-q", "--bind", &address.to_string(), "--users"])
        .arg(&users);
    let server = Process::start(&mut command, &plain, &folder.path().join("log"));
    pin(server.pid(), 0);
    load::wait_for_pong(address);
    hold("serve", server.pid(), address, trunk)
}

fn hold_asterisk(trunk: bool) -> Held {
    let ip = Ipv4Addr::new(127, 8, 2, 1);
    let server = Asterisk::registrar(ip)
        .quiet()
        .general("maxcallnumbers=16382")
        .section(&format!(
            "[load]\ntype=friend\nhost=dynamic\nauth=md5\nsecret=s3cret\nrequirecalltoken=yes\nmaxauthreq=0\n\
             context=test\n{}",
            if trunk { "trunk=yes\n" } else { "" }
        ))
        .start(&plain);
    pin(server.pid(), 0);
    load::wait_for_pong(server.address());
    hold("Asterisk 16", server.pid(), server.address(), trunk)
}

/// Adds calls until the server no longer holds them.
fn hold(name: &str, pid: u32, server: SocketAddr, trunk: bool) -> Held {
    let idle = resident(pid);
    let mut load = Load::new(server, trunk);
    let (mut held, mut wanted, mut failures) = (0, FIRST, 0);
    let mut memory = 0;
    while failures < 2 && wanted <= MOST {
        load.raise(wanted);
        let before = cpu_seconds(pid);
        let seen = load.watch(WINDOW);
        let cpu = (cpu_seconds(pid) - before) / WINDOW.as_secs_f64();
        let good = seen.late * LATE_IN <= seen.sent && load.up() >= wanted;
        println!(
            "  {name}: {wanted} calls, {} up, {} of {} frames late or lost, {:.0} % of a core, generator {:.1} ms late at worst",
            load.up(),
            seen.late,
            seen.sent,
            cpu * 100.0,
            seen.own_delay.as_secs_f64() * 1000.0
        );
        if good {
            held = wanted;
            memory = (resident(pid) - idle) / wanted as u64;
            failures = 0;
            wanted = wanted * STEP / 100;
        } else {
            failures += 1;
        }
    }
    load.hang_up();
    Held {
        calls: held,
        memory,
    }
}

/// Binds a process (0: this one) to a core, with all of its threads.
fn pin(pid: u32, core: usize) {
    let mut set = CpuSet::new();
    set.set(core).unwrap();
    let threads: Vec<i32> = match pid {
        0 => vec![0],
        pid => fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect(),
    };
    for thread in threads {
        sched_setaffinity(Pid::from_raw(thread), &set).unwrap();
    }
}

/// Resident memory in octets.
fn resident(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
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
