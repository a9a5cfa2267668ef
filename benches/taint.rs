//! How long it takes to find the tainted entry among 200 000: `taint` beside
//! `conntrack -L -p udp | grep 4569` in the same run.
//!
//! ```text
//! cargo bench --bench taint
//! ```
//!
//! Needs root, ip, nft and conntrack. The table is that of a network namespace of its own; both
//! read it in turn, and the medians count. `taint` judges what it finds, and asks nft and iptables
//! for their rules; the other only prints.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its figures, and may panic"
)]

#[path = "../tests/support/figures.rs"]
mod figures;

use std::{
    fmt::Write as _,
    fs,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::kernel::Namespace,
    os::conntrack::{Event, Events, Table, Wanted},
};
use nix::poll::{PollFd, PollFlags, poll};

use figures::row;

const ENTRIES: u32 = 200_000;
const ROUNDS: usize = 9;

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let router = router();
    fill(&router);
    let count = Command::new("conntrack")
        .arg("-C")
        .stderr(Stdio::null())
        .output();
    drop(count);

    let wanted = Wanted {
        port: 4569,
        peers: vec![],
    };
    let mut table = router.run(Table::open).unwrap().unwrap();
    let (mut dumps, mut taints, mut greps) = (vec![], vec![], vec![]);
    let before = peak();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert_eq!(table.entries(&wanted).unwrap().len(), 10);
        dumps.push(began.elapsed());

        let mut taint = Command::new(env!("CARGO_BIN_EXE_iax2-natcheck"));
        taint.args(["taint", "--look", "0s", "--format", "nagios"]);
        taints.push(timed(&router, &mut taint, Some(2)));

        let mut grep = Command::new("sh");
        grep.args(["-c", "conntrack -L -p udp 2>/dev/null | grep 4569"]);
        greps.push(timed(&router, &mut grep, Some(0)));
    }
    let [dump, taint, grep] = [dumps, taints, greps].map(median);
    row(
        &format!("one tainted entry found among {ENTRIES}"),
        "≤ 0.2 s, ≥ 3 times as fast",
        &format!(
            "`taint --look 0s`: {:.0} ms, {:.0} ms of them for the table",
            millis(taint),
            millis(dump)
        ),
        &format!(
            "`conntrack -L -p udp \\| grep 4569`: {:.0} ms, {:.1} times as long",
            millis(grep),
            millis(grep) / millis(taint)
        ),
    );
    row(
        "memory to read that table",
        "does not depend on its size",
        &format!("{} KiB more than before", peak() - before),
        "",
    );
    watch(&router);
}

/// Takes the events of a table that fills as fast as `conntrack -R` can. What counts is the time on
/// the processor that taking them needs; the rest is that of the filling.
fn watch(router: &Namespace) {
    let mut flush = Command::new("conntrack");
    flush.arg("-F");
    timed(router, &mut flush, Some(0));
    let mut events = router.run(Events::open).unwrap().unwrap();
    let (mut made, mut lost) = (0_u32, 0_u32);
    let before = on_processor();
    thread::scope(|scope| {
        let filling = scope.spawn(|| fill(router));
        loop {
            let is_full = filling.is_finished();
            let mut descriptors = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
            poll(&mut descriptors, 100_u8).unwrap();
            events
                .take(|event| match event {
                    Event::Made(_) => made += 1,
                    Event::Lost => lost += 1,
                    Event::Changed(_) | Event::Gone(_) => {}
                })
                .unwrap();
            if is_full {
                break;
            }
        }
    });
    let needed = on_processor().saturating_sub(before);
    row(
        &format!("events of {ENTRIES} new entries, as fast as they can be made"),
        "≥ 50 000 a second, or says that some were lost",
        &format!(
            "{made} taken, {:.0} a second of the processor; told {lost} times that some were lost",
            f64::from(made) / needed.as_secs_f64()
        ),
        "",
    );
}

/// How long this thread has run (`/proc/PID/schedstat`).
fn on_processor() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn router() -> Namespace {
    let router = Namespace::new("router").unwrap();
    router
        .ip(&[
            "link add wan type veth peer name wan-far",
            "link add lan type veth peer name lan-far",
            "link set wan-far up",
            "link set lan-far up",
            "link set wan up",
            "link set lan up",
            "address add 198.51.100.7/24 dev wan",
            "address add 192.168.1.1/24 dev lan",
            "route add default via 198.51.100.1",
        ])
        .unwrap();
    router.forward().unwrap();
    router
        .nft(
            "table ip nat {\nchain post {\ntype nat hook postrouting priority 100\n\
             oifname \"wan\" masquerade\n}\n}\n",
        )
        .unwrap();
    router
}

/// Flows of many hosts, and ten of the port in question, one of them tainted.
fn fill(router: &Namespace) {
    let mut text = String::new();
    for number in 0..ENTRIES {
        let [_, a, b, c] = number.to_be_bytes();
        let port = if number % (ENTRIES / 10) == 0 {
            4569
        } else {
            5060
        };
        let known_as = if number == 0 {
            format!("10.{a}.{b}.{c}")
        } else {
            "198.51.100.7".to_owned()
        };
        writeln!(
            text,
            "-A -t 600 -s 10.{a}.{b}.{c} -d 203.0.113.{} -r 203.0.113.{} -q {known_as} -p udp \
             --sport {port} --dport {port} --reply-port-src {port} --reply-port-dst {}",
            1 + number / 60_000,
            1 + number / 60_000,
            1024 + number % 60_000
        )
        .unwrap();
    }
    let folder = std::env::temp_dir().join(format!("iax2-natcheck-bench-{}", std::process::id()));
    fs::write(&folder, text).unwrap();
    let mut restore = Command::new("conntrack");
    restore
        .arg("-R")
        .arg(&folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = router.run(|| restore.status()).unwrap().unwrap();
    fs::remove_file(&folder).unwrap();
    assert!(status.success(), "conntrack -R: {status}");
}

fn timed(router: &Namespace, command: &mut Command, status: Option<i32>) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let ended = router.run(|| command.status()).unwrap().unwrap();
    let took = began.elapsed();
    assert_eq!(ended.code(), status, "{command:?}");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The most memory this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
