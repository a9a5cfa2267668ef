//! `snat --apply`: what is not confirmed is taken back, whatever becomes of the program.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    home::{Home, PUBLIC},
    rules::{self, Backend},
    support::{
        process::{self, Running},
        site::inside,
        tool::{self, Ended},
    },
};

/// More than a change and its way back need on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A router with a rule of each kind of table, and what was seen of it.
struct Before {
    home: Home,
    seen: String,
    backend: Backend,
}

impl Before {
    fn new(backend: Backend) -> Self {
        let home = Home::new();
        backend.load(&home, true);
        let seen = rules::seen(&home);
        Self {
            home,
            seen,
            backend,
        }
    }

    fn apply(&self, within: &str) -> Command {
        tool::command(&format!(
            "snat --wan ppp0 --static {PUBLIC} --refresh 60s {} --apply --confirm-within {within}",
            self.backend.option()
        ))
    }

    fn is_changed(&self) -> bool {
        rules::seen(&self.home).contains("iax2_leak_guard")
    }

    /// Waits until the rules are as they were.
    fn wait_until_as_before(&self) {
        let back = process::poll(PATIENCE, || {
            (rules::seen(&self.home) == self.seen).then_some(())
        });
        assert!(
            back.is_some(),
            "before:\n{}\nnow:\n{}",
            self.seen,
            rules::seen(&self.home)
        );
        let timer = "sysctl -n net.netfilter.nf_conntrack_udp_timeout";
        assert_eq!(self.home.sh(timer).trim(), "30");
    }

    fn wait_until_changed(&self) {
        let changed = process::poll(PATIENCE, || self.is_changed().then_some(()));
        assert!(changed.is_some(), "{}", rules::seen(&self.home));
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn what_nobody_confirms_is_taken_back() {
    for backend in rules::ALL {
        let before = Before::new(backend);
        let running = Running::start(&mut before.apply("3s"), &inside(&before.home.router));
        before.wait_until_changed();
        let ended = Ended::new(running.end(PATIENCE), Instant::now());
        assert_eq!((ended.status, ended.stdout.as_str()), (3, ""), "{ended:#?}");
        assert!(
            ended.stderr.contains("the rules are as they were before"),
            "{ended:#?}"
        );
        before.wait_until_as_before();
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn a_killed_program_does_not_keep_its_change() {
    let killed = rules::ALL.map(|backend| (backend, Signal::SIGKILL));
    // What a line that is lost sends, and an administrator's `kill`.
    let ended = [
        (Backend::Nft, Signal::SIGHUP),
        (Backend::Iptables, Signal::SIGTERM),
    ];
    for (backend, signal) in killed.into_iter().chain(ended) {
        let before = Before::new(backend);
        let mut running = Running::start(&mut before.apply("4s"), &inside(&before.home.router));
        before.wait_until_changed();
        running.signal(signal);
        let gone = process::poll(PATIENCE, || (!running.is_running()).then_some(()));
        assert!(gone.is_some(), "{signal} does not end it");
        before.wait_until_as_before();
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn enter_keeps_the_change() {
    let before = Before::new(Backend::Iptables);
    let mut command = before.apply("20s");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = inside(&before.home.router)(&mut command).unwrap();
    before.wait_until_changed();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("Kept"),
        "{output:?}"
    );
    assert!(before.is_changed());
    // And the way back is known from the rules alone.
    let undo = before.home.snat(&format!(
        "--wan ppp0 --refresh 60s --undo {}",
        before.backend.option()
    ));
    before.home.sh(&undo);
    before.wait_until_as_before();
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn another_session_can_confirm_and_nobody_else_can_change_meanwhile() {
    let before = Before::new(Backend::Nft);
    let spawn = inside(&before.home.router);
    let nothing = tool::run(&mut tool::command("snat --confirm"), &spawn);
    nothing.assert_complaint(&["no change waits"]);
    let running = Running::start(&mut before.apply("20s"), &spawn);
    before.wait_until_changed();
    // Something else to change, so that a second change is meant.
    before.home.sh("nft delete table ip iax2_leak_guard");
    let second = tool::run(&mut before.apply("3s"), &spawn);
    second.assert_complaint(&["nothing was changed", "an earlier change waits"]);
    let confirmed = tool::run(&mut tool::command("snat --confirm"), &spawn);
    assert_eq!(
        (confirmed.status, confirmed.stdout.as_str()),
        (0, "Kept.\n")
    );
    let ended = running.end(PATIENCE);
    assert!(ended.status.success(), "{ended:#?}");
    assert!(rules::seen(&before.home).contains("snat to"));
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn a_confirmed_change_does_not_shorten_the_next_one() {
    let before = Before::new(Backend::Nft);
    let spawn = inside(&before.home.router);
    let confirm = || tool::run(&mut tool::command("snat --confirm"), &spawn);
    let first = Running::start(&mut before.apply("4s"), &spawn);
    before.wait_until_changed();
    assert_eq!(confirm().status, 0);
    assert!(first.end(PATIENCE).status.success());
    before.home.sh("nft delete table ip iax2_leak_guard");
    let mut second = Running::start(&mut before.apply("30s"), &spawn);
    before.wait_until_changed();
    // The shell of the first one has waited to its end by now.
    std::thread::sleep(Duration::from_secs(6));
    assert!(second.is_running() && before.is_changed());
    assert_eq!(confirm().status, 0);
    assert!(second.end(PATIENCE).status.success());
    assert!(before.is_changed());
}

#[test]
#[ignore = "needs root, ip and iptables"]
fn a_host_that_is_no_router_is_left_alone() {
    let home = Home::new();
    let spawn = inside(&home.router);
    for (options, words) in [
        (
            format!("--wan ppp0 --static {PUBLIC}"),
            "no rule in force translates",
        ),
        ("--wan ppp9".to_owned(), "no rule in force translates"),
    ] {
        let seen = rules::seen(&home);
        let line = format!("snat {options} --apply --confirm-within 1s");
        let ended = tool::run(&mut tool::command(&line), &spawn);
        ended.assert_complaint(&["nothing was changed", words]);
        assert_eq!(rules::seen(&home), seen);
    }
}
