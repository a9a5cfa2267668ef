//! The wire itself: what passes an interface is what the report shows.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, time::Duration};

use iax2_natcheck::lab::kernel::Namespace;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    asterisk::SECRET,
    process::{self, Running},
    site::inside,
    tool, tshark,
};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root for a network namespace and to listen on it, and tshark"]
fn a_registration_and_a_call_are_seen_as_they_pass() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    fs::write(&users, format!("[alice]\nsecret = \"{SECRET}\"\n")).unwrap();
    let file = folder.path().join("wire.pcap");
    let host = Namespace::new("live").unwrap();
    let spawn = inside(&host);
    let _server = tool::serve(
        &format!("--bind 127.0.0.1 --users {}", users.display()),
        &spawn,
    );
    let line = format!(
        "analyze --interface lo --json -v --write {}",
        file.display()
    );
    let listening = Running::start(&mut tool::command(&line), &spawn);
    let ready = process::poll(PATIENCE, || {
        listening.stderr().contains("listening on lo").then_some(())
    });
    assert!(ready.is_some(), "{}", listening.stderr());
    for line in [
        "register 127.0.0.1 --user alice",
        "call 127.0.0.1 600 --user alice --duration 4s --expect echo",
    ] {
        let ended = tool::run(&mut tool::with_secret(line, SECRET), &spawn);
        assert_eq!(ended.status, 0, "{ended:#?}");
    }
    listening.signal(Signal::SIGINT);
    let finished = listening.end(PATIENCE);
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {finished:#?}"));
    crate::support::json_contract::validate(&report);
    assert_eq!(finished.status.code(), Some(0), "{report:#}");
    let measured = &report["measurements"];
    assert_eq!(measured["registrations"][0]["state"], "registered");
    let calls = measured["calls_seen"].as_array().unwrap();
    let [call] = calls.as_slice() else {
        panic!("{calls:#?}");
    };
    assert_eq!(
        (&call["outcome"], &call["called"]),
        (&"fine".into(), &"600".into())
    );
    let packets = call["caller_audio"]["packets"].as_u64().unwrap();
    assert!((150..=250).contains(&packets), "{call:#}");
    assert_eq!(measured["capture"]["lost"], Value::Null, "{measured:#}");

    // The file holds the same, for any program.
    let rows = tshark::fields(&file, "iax2", &["iax2.packet_type"]);
    assert_eq!(
        Some(rows.len() as u64),
        measured["capture"]["datagrams"].as_u64()
    );
    let line = format!("analyze {} --json", file.display());
    let again = tool::run(&mut tool::command(&line), &process::plain).report();
    assert_eq!(again["measurements"]["calls_seen"], measured["calls_seen"]);
}

#[test]
#[ignore = "needs root for a network namespace and to listen on it"]
fn a_look_of_a_second_ends_by_itself() {
    let host = Namespace::new("quiet").unwrap();
    let line = "analyze --interface any --duration 1s --json";
    let ended = tool::run(&mut tool::command(line), &inside(&host));
    let report = ended.report();
    assert_eq!(tool::findings(&report), ["not-measured"]);
    assert!(ended.took < Duration::from_secs(20), "{ended:#?}");
}

#[test]
#[ignore = "needs root to give root up"]
fn without_the_right_to_listen_it_says_what_is_missing() {
    let mut command = std::process::Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    command
        .arg(tool::program())
        .args("analyze --interface lo --duration 1s".split(' '));
    let ended = tool::run(&mut command, &process::plain);
    ended.assert_complaint(&["cannot be watched", "root"]);
}
