//! A table of many entries: the memory that a look takes, and events that come faster than they are
//! taken.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{
    street::Street,
    support::{
        process::{Running, poll, read_lossy},
        tool,
    },
    table::{fill, insert},
};

const MASQUERADE: &str = "table ip nat {\nchain post {\ntype nat hook postrouting priority 100\n\
                          oifname \"ppp0\" masquerade\n}\n}";
const PATIENCE: Duration = Duration::from_secs(60);

/// The most memory that `taint` has had at the end of a look, in KiB.
fn peak(street: &Street) -> u64 {
    let mut running = Running::start(
        &mut tool::command("taint --json --look 4s"),
        &street.on_router(),
    );
    let status = format!("/proc/{}/status", running.pid());
    let mut most = 0;
    while running.is_running() {
        let text = read_lossy(status.as_ref());
        let line = text.lines().find(|line| line.starts_with("VmHWM"));
        if let Some(figure) = line.and_then(|line| line.split_whitespace().nth(1)) {
            most = most.max(figure.parse().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = running.end(PATIENCE);
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    assert!(most > 0);
    most
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn the_memory_of_a_look_does_not_grow_with_the_table() {
    let street = Street::new();
    street.nft(MASQUERADE);
    insert(&street.router, "192.168.1.10", (4569, 4569), "");
    let of_one = peak(&street);
    fill(&street.router, 200_000);
    let of_many = peak(&street);
    println!("{of_one} KiB with 1 entry, {of_many} KiB with 200 001");
    // Ten octets an entry would be more than this.
    assert!(of_many < of_one + 2000, "{of_one} KiB, then {of_many} KiB");
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn lost_events_are_told_and_the_table_is_read_again() {
    let street = Street::new();
    street.nft(MASQUERADE);
    let follow = Running::start(
        &mut tool::command("-v taint --follow --json"),
        &street.on_router(),
    );
    insert(&street.router, "192.168.1.10", (4569, 4569), "");
    let line = |text: &str| {
        let found = poll(PATIENCE, || (follow.stdout().contains(text)).then_some(()));
        assert!(found.is_some(), "no {text}: {}", follow.stdout());
    };
    line("192.168.1.10:4569");
    // It sleeps while more happens than the kernel keeps for it, this among it.
    follow.signal(Signal::SIGSTOP);
    insert(&street.router, "192.168.1.11", (4569, 4569), "");
    fill(&street.router, 100_000);
    follow.signal(Signal::SIGCONT);
    line("192.168.1.11:4569");
    let said = poll(PATIENCE, || {
        follow.stderr().contains("events were lost").then_some(())
    });
    assert!(said.is_some(), "{}", follow.stderr());
}
