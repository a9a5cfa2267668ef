//! The judge of the JSON is judged: it takes what the program writes, and nothing that differs.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::panic::catch_unwind;

use serde_json::{Value, json};

use crate::support::{json_contract, loopback, process::plain, tool};

/// Nothing listens there, and the host says so.
fn report(options: &str) -> Value {
    let line = format!("check {} --json {options}", loopback::address());
    let ended = tool::run(&mut tool::command(&line), &plain);
    assert_eq!(ended.status, 2, "{ended:#?}");
    ended.report()
}

#[test]
fn a_report_that_breaks_the_contract_is_noticed() {
    let sound = report("");
    assert_eq!(
        sound["measurements"]["reachability"]["icmp"],
        "port unreachable"
    );
    let rows = [
        ("/schema_version", json!(2)),
        ("/schema_version", json!("1")),
        ("/started_at", json!("2026-11-22 10:00:00")),
        ("/finished_at", json!("2001-01-01T00:00:00Z")),
        ("/verdict", json!("bad")),
        ("/verdict", json!("ok")),
        ("/provider/address", json!("127.0.0.1")),
        ("/provider/name", json!(" ")),
        ("/findings/0/id", json!("no-such-finding")),
        ("/findings/0/severity", json!("warning")),
        ("/findings/0/because", json!([])),
        ("/findings/0/do_this", json!([7])),
        ("/findings/0", json!({"id": "provider-unreachable"})),
        ("/measurements/reachability/sent", json!(-1)),
        ("/measurements/reachability/sent", json!(null)),
        ("/measurements/reachability/rtt_ms", json!(10.1)),
        ("/measurements/mapping", json!({"behavior": "none"})),
        ("/measurements", json!({"reachability": null})),
    ];
    for (pointer, value) in rows {
        let mut broken = sound.clone();
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        let judged = catch_unwind(|| json_contract::validate(&broken));
        assert!(judged.is_err(), "{pointer}: {value} goes unnoticed");
    }
}

/// The provider alone is asked where its helpers cannot be found, and that is said.
#[test]
fn helpers_that_cannot_be_found_are_done_without() {
    let line = format!(
        "check {} --json --reflector no-such-host.invalid --stun no-such-host.invalid",
        loopback::address()
    );
    let ended = tool::run(&mut tool::command(&line), &plain);
    assert_eq!(tool::findings(&ended.report()), ["provider-unreachable"]);
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
    for line in ended.stderr.lines() {
        assert!(line.contains("no-such-host.invalid"), "{ended:#?}");
    }
}
