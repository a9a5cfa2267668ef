//! Far ends that break calls, in bursts: by rule, by chance, or not at all.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::{
    placed::calls,
    support::{
        echo::{Fate, Served},
        loopback,
        process::plain,
        tool::{self, findings},
    },
};

const SOON: Duration = Duration::from_millis(500);

/// A burst of so many calls to a far end of ours that deals with them so.
fn burst(count: usize, fate: fn(usize) -> Fate) -> Value {
    let local = SocketAddr::new(loopback::address().into(), 4569);
    let _far_end = Served::start(local, fate);
    let line = format!(
        "call {local} 600 --bind {} --calls {count} --concurrent {count} --i-own-it --duration 1s \
         --expect echo --json",
        loopback::address()
    );
    let report = tool::run(&mut tool::command(&line), &plain).report();
    assert_eq!(calls(&report)["attempted"], count, "{report:#}");
    report
}

/// How many fail, how that is called, and what is found.
fn assert_burst(report: &Value, signatures: &Value, pattern: &Value, finding: &str) {
    let seen = calls(report);
    assert_eq!(seen["signatures"], *signatures, "{report:#}");
    assert_eq!(seen["pattern"], *pattern, "{report:#}");
    assert_eq!(findings(report), [finding], "{report:#}");
}

#[test]
fn a_far_end_that_echoes_has_no_pattern() {
    let report = burst(20, |_| Fate::Echoed);
    let seen = calls(&report);
    assert_eq!(seen["pattern"], "none", "{report:#}");
    assert_eq!(seen["completed"], 20, "{report:#}");
    assert_eq!(seen["media"]["lost"], 0, "{report:#}");
    assert_eq!(report["verdict"], "ok", "{report:#}");
}

#[test]
fn inval_is_named_and_counted() {
    let report = burst(3, |_| Fate::Forgotten(SOON));
    let signatures = json!({"invalidated": 3});
    assert_burst(
        &report,
        &signatures,
        &json!("systematic"),
        "systematic-hangups",
    );
    let seen = calls(&report);
    assert_eq!(seen["invals"], 3);
    assert_eq!(seen["raw_hangups"], 3);
    let what = seen["failures"][0]["what"].as_str().unwrap_or_default();
    assert!(what.starts_with("INVAL after the answer"), "{what}");
    assert!(what.contains("PING waited"), "{what}");
}

#[test]
fn a_hangup_without_a_cause_is_raw() {
    for code in ["without", "zero"] {
        let report = match code {
            "zero" => burst(3, |_| Fate::HungUp(SOON, Some(0))),
            _ => burst(3, |_| Fate::HungUp(SOON, None)),
        };
        let signatures = json!({"raw-hangup": 3});
        assert_burst(
            &report,
            &signatures,
            &json!("systematic"),
            "systematic-hangups",
        );
        assert_eq!(calls(&report)["raw_hangups"], 3, "{code}");
        assert_eq!(calls(&report)["invals"], 0, "{code}");
    }
}

#[test]
fn a_hangup_with_another_cause_than_normal_is_told() {
    let report = burst(1, |_| Fate::HungUp(SOON, Some(38)));
    assert_burst(&report, &json!({"hung-up": 1}), &Value::Null, "call-lost");
    let because = report["findings"][0]["because"].to_string();
    assert!(
        because.contains("network out of order (cause 38)"),
        "{because}"
    );
}

#[test]
fn one_call_in_five_is_chance() {
    let report = burst(20, |number| match number {
        3 | 8 | 9 | 14 => Fate::Forgotten(SOON),
        _ => Fate::Echoed,
    });
    let signatures = json!({"invalidated": 4});
    assert_burst(&report, &signatures, &json!("random"), "random-raw-hangups");
    let found = &report["findings"][0];
    assert!(
        found["because"]
            .to_string()
            .contains("with 95 % confidence"),
        "{found}"
    );
    assert!(
        found["do_this"]
            .to_string()
            .contains("replace the NAT device"),
        "{found}"
    );
    let rate = &calls(&report)["failure_rate"];
    assert_eq!(*rate, json!({"low": 0.081, "high": 0.416}));
}

#[test]
fn the_first_of_twenty_alone_is_a_rule() {
    let report = burst(20, |number| match number {
        0 => Fate::Forgotten(SOON),
        _ => Fate::Echoed,
    });
    let signatures = json!({"invalidated": 1});
    assert_burst(
        &report,
        &signatures,
        &json!("systematic"),
        "systematic-hangups",
    );
    let why = calls(&report)["pattern_because"]
        .as_str()
        .unwrap_or_default();
    assert!(why.starts_with("the first call failed"), "{why}");
}

#[test]
fn all_from_some_number_on_is_a_rule() {
    let report = burst(12, |number| match number {
        0..8 => Fate::Echoed,
        _ => Fate::HungUp(SOON, None),
    });
    let signatures = json!({"raw-hangup": 4});
    assert_burst(
        &report,
        &signatures,
        &json!("systematic"),
        "systematic-hangups",
    );
    let why = calls(&report)["pattern_because"]
        .as_str()
        .unwrap_or_default();
    assert!(why.contains("from number 9 on"), "{why}");
}
