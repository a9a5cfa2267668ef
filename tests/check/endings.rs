//! Early endings and mistakes: what is known is told, and what is wrong is named.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use iax2_natcheck::lab::network::Router;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    asterisk::{Asterisk, SECRET},
    loopback,
    process::{Running, plain},
    site::{PROVIDER, REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, Ended, findings},
};

/// How long a command has to end once it was told to.
const GRACE: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_survey_that_is_stopped_reports_what_it_knows() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let _provider = Asterisk::registrar(PROVIDER).start(&site.far());
    let _reflector = site.reflector();
    // An account each: of two that register at once, Asterisk may tell one the other's address.
    let start = |account: &str, options: &str| {
        let line = format!(
            "check {PROVIDER} --user {account} --json --reflector {REFLECTOR}:{REFLECTOR_PORT} \
             {options}"
        );
        Running::start(&mut tool::with_secret(&line, SECRET), &site.near())
    };
    thread::scope(|scope| {
        let timed = scope.spawn(|| {
            let (began, running) = (Instant::now(), start("alice", "--timeout 5s"));
            Ended::new(running.end(Duration::from_secs(5) + GRACE), began)
        });
        let signals = [(Signal::SIGINT, "trunk1"), (Signal::SIGTERM, "tokyes")];
        let [interrupted, terminated] = signals.map(|(signal, account)| {
            let start = &start;
            scope.spawn(move || {
                let (began, running) = (Instant::now(), start(account, ""));
                thread::sleep(Duration::from_secs(5));
                running.signal(signal);
                Ended::new(running.end(GRACE), began)
            })
        });
        for (name, thread) in [
            ("--timeout", timed),
            ("SIGINT", interrupted),
            ("SIGTERM", terminated),
        ] {
            let ended = thread.join().unwrap();
            let report = ended.report();
            assert_eq!(report["interrupted"], true, "{name}");
            assert_eq!(
                report["measurements"]["registration"]["state"],
                "registered"
            );
            assert_eq!(report["measurements"]["reachable"], Value::Null, "{name}");
            // What was not seen to the end is no fault of anybody.
            assert_eq!(findings(&report), ["not-measured"], "{name}");
            assert_eq!(ended.status, 3, "{name}");
            assert!(
                ended.took < Duration::from_secs(8),
                "{name}: {:?}",
                ended.took
            );
        }
    });
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn a_demonstration_can_be_stopped() {
    let (began, running) = (
        Instant::now(),
        Running::start(&mut tool::command("demo"), &plain),
    );
    thread::sleep(Duration::from_secs(5));
    running.signal(Signal::SIGINT);
    let ended = Ended::new(running.end(GRACE), began);
    assert_eq!(ended.status, 3, "{ended:#?}");
    assert!(ended.stdout.starts_with("UNKNOWN: "), "{ended:#?}");
    let text = ended
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(text.contains("stopped before its end"), "{ended:#?}");
}

/// Nothing listens: the host says so, and so do we.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_host_without_a_server_is_unreachable() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let line = format!("check {PROVIDER} --user alice");
    let ended = tool::run(
        &mut tool::with_secret(&format!("{line} --json"), SECRET),
        &site.near(),
    );
    let report = ended.report();
    assert_eq!(findings(&report), ["provider-unreachable"]);
    let title = report["findings"][0]["title"].as_str().unwrap();
    assert_eq!(
        title,
        format!("Nothing listens on UDP port 4569 of {PROVIDER}")
    );
    let reach = &report["measurements"]["reachability"];
    assert_eq!(reach["received"], 0);
    assert_eq!(reach["icmp"], "port unreachable");
    assert_eq!(report["measurements"]["registration"]["state"], "timeout");
    assert_eq!(ended.status, 2);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);

    let text = tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
    assert_eq!(text.status, 2);
    assert!(text.stdout.starts_with("CRITICAL: "), "{text:#?}");
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn silence_is_told_from_a_refusal() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let _reflector = site.reflector();
    let silent = "table ip silent { chain arrival { type filter hook input priority 0; \
                  udp dport 4569 drop; }; }";
    site.lab().server().nft(silent).unwrap();
    let line = format!(
        "check {PROVIDER} --user alice --json --reflector {REFLECTOR}:{REFLECTOR_PORT} \
         --max-lifetime 5s"
    );
    let ended = tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
    let report = ended.report();
    assert_eq!(findings(&report), ["provider-unreachable"]);
    let found = &report["findings"][0];
    assert!(
        found["title"]
            .as_str()
            .unwrap()
            .contains("does not answer at all")
    );
    let because = found["because"].to_string();
    assert!(because.contains("no ICMP error came"), "{because}");
    assert!(because.contains("UDP works from here"), "{because}");
    assert_eq!(report["measurements"]["reachability"].get("icmp"), None);
    println!("silent server: {:?}", ended.took);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_wrong_secret_is_what_the_check_says() {
    let site = Site::behind([Router::masquerade(6, 12)]);
    let _provider = Asterisk::registrar(PROVIDER).start(&site.far());
    let _reflector = site.reflector();
    let line = format!(
        "check {PROVIDER} --user alice --json --reflector {REFLECTOR}:{REFLECTOR_PORT} \
         --max-lifetime 14s"
    );
    let report = tool::run(&mut tool::with_secret(&line, "wrong"), &site.near()).report();
    assert_eq!(findings(&report)[0], "registration-rejected");
    assert_eq!(report["verdict"], "critical");
    let seen = &report["measurements"]["registration"];
    assert_eq!(seen["state"], "rejected");
    assert_eq!(seen["cause_code"], 29);
    // The refresh is not known, so no fraction is made up.
    assert_eq!(report["measurements"]["reachable"], Value::Null);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_port_in_use_is_named_with_its_owner() {
    let asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    let (ip, port) = (asterisk.address().ip(), asterisk.address().port());
    let line = format!("check {PROVIDER} --bind {ip} --local-port {port}");
    let began = Instant::now();
    tool::run(&mut tool::command(&line), &plain).assert_complaint(&[
        &asterisk.address().to_string(),
        "already in use",
        &format!("process {}", asterisk.pid()),
    ]);
    assert!(began.elapsed() < Duration::from_secs(5));
    let line = format!("serve --bind {}", asterisk.address());
    tool::run(&mut tool::command(&line), &plain).assert_complaint(&["already in use"]);
}

/// A reflector that cannot be found leaves a question open; the others are answered all the same.
#[test]
fn a_helper_without_address_is_told_and_left_out() {
    let here = SocketAddr::new(loopback::address().into(), 4569);
    let line = format!("check {here} --reflector no-such-host.invalid");
    let ended = tool::run(&mut tool::command(&line), &plain);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("no-such-host.invalid"), "{ended:?}");
    assert!(ended.stdout.contains("provider-unreachable"), "{ended:?}");
}

#[test]
fn mistakes_are_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        // Else there would be a warning too.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let users = file("users.toml", "[alice]\nsecret = \"x\"\n[bob]\nsecret = 7\n");
    let unknown = file(
        "unknown.toml",
        "[alice]\nsecret = \"x\"\ncolour = \"red\"\n",
    );
    let key = file("short.key", "abc");
    let empty = file("empty", "");
    let here = SocketAddr::new(loopback::address().into(), 4569);
    let rows: Vec<(String, Vec<&str>)> = vec![
        (
            "check no-such-host.invalid".into(),
            vec!["no-such-host.invalid"],
        ),
        (
            format!("check {here} --secret-file {empty}"),
            vec!["--user"],
        ),
        (
            format!("check {here} --user alice --secret-file /nonexistent"),
            vec!["/nonexistent", "cannot be read"],
        ),
        (
            format!("check {here} --user alice --rsa-key {empty}"),
            vec![&empty, "openssl genrsa"],
        ),
        (
            format!("check {here} --bind 192.0.2.7 --local-port 4569"),
            vec!["192.0.2.7"],
        ),
        (format!("register {here}"), vec!["--user"]),
        (
            format!("serve --bind {here} --users {users}"),
            vec![&users, ":4: "],
        ),
        (
            format!("serve --bind {here} --users {unknown}"),
            vec![&unknown, ":3: ", "colour"],
        ),
        (
            format!("serve --bind {here} --users /nonexistent"),
            vec!["/nonexistent"],
        ),
        (
            format!("serve --bind {here} --token-key-file {key}"),
            vec![&key],
        ),
        (
            format!("serve --bind {here} --alternate {here}"),
            vec!["--alternate", "differ"],
        ),
        ("serve --bind 192.0.2.7".into(), vec!["192.0.2.7"]),
        (
            format!("call {here} 600 --calls 2 --record /nonexistent/heard.wav"),
            vec!["--record", "--calls"],
        ),
        (
            format!("call {here} 600 --encrypt --trunk"),
            vec!["--encrypt", "--trunk"],
        ),
        (
            format!("call {here} 600 --codec morse"),
            vec!["morse", "--codec", "ulaw"],
        ),
        (format!("call {here} 600 --dtmf 12x"), vec!["12x", "--dtmf"]),
        (format!("call {here}"), vec!["EXTENSION"]),
        (
            "demo no-such-scenario".into(),
            vec!["no-such-scenario", "--list"],
        ),
    ];
    for (line, words) in rows {
        tool::run(&mut tool::command(&line), &plain).assert_complaint(&words);
    }
}
