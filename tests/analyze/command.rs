//! `analyze` as its user meets it.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use crate::{
    looked::captures,
    support::{
        process::plain,
        tool::{self, Ended, findings},
    },
};

fn path(name: &str) -> PathBuf {
    captures()
        .into_iter()
        .find(|(own, _)| own == name)
        .unwrap()
        .1
}

fn analyze(name: &str, options: &str) -> Ended {
    let line = format!("analyze {} {options}", path(name).display());
    tool::run(&mut tool::command(&line), &plain)
}

#[test]
fn every_capture_gives_a_report_that_keeps_the_contract() {
    for (name, _) in captures() {
        let report = analyze(&name, "--json").report();
        assert_eq!(report["command"], "analyze", "{name}");
        let text = analyze(&name, "").stdout;
        assert!(text.contains("datagrams of IAX2"), "{name}: {text}");
        for line in text.lines() {
            // A word that is wider than a line stands alone: the path of the file.
            let fits = line.chars().count() <= 80 || line.ends_with(".pcap:");
            assert!(fits, "{name}: {line}");
        }
    }
}

#[test]
fn registrations_and_bindings_are_told_apart() {
    let report = analyze("natlab2-wan", "--json").report();
    let measured = &report["measurements"];
    let states: Vec<&Value> = measured["registrations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["registrar"] == "10.97.2.2:4569")
        .map(|it| &it["state"])
        .collect();
    assert_eq!(
        serde_json::to_string(&states).unwrap(),
        r#"["registered","registered","registered","timeout","timeout","timeout","timeout","registered"]"#
    );
    let bindings = measured["bindings"].as_array().unwrap();
    let first = &bindings[0];
    assert_eq!(first["apparent_address"], "10.97.2.1:4569");
    assert_eq!(
        (&first["registrations"], &first["kept"]),
        (&3.into(), &true.into())
    );
    assert_eq!(bindings.len(), 4, "{bindings:#?}");
}

#[test]
fn several_files_of_one_time_after_the_other_are_one_report() {
    let line = format!(
        "analyze {} {} --json",
        path("ast16/register-alice").display(),
        path("ast16/call602-alice").display()
    );
    let report = tool::run(&mut tool::command(&line), &plain).report();
    let measured = &report["measurements"];
    assert_eq!(measured["registrations"].as_array().unwrap().len(), 1);
    assert_eq!(measured["calls_seen"].as_array().unwrap().len(), 1);
    assert_eq!(measured["translations"], Value::Null);
    assert_eq!(measured["capture"]["packets"], 23);
}

#[test]
fn a_ladder_shows_the_messages_of_one_call() {
    let ended = analyze("ast16/call600-alice", "--ladder 1");
    let rungs: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| line.contains('│'))
        .collect();
    assert!(
        rungs[0].contains(" NEW ") && rungs[0].ends_with("▶│"),
        "{rungs:#?}"
    );
    assert!(
        rungs[1].contains(" CALLTOKEN ") && rungs[1].contains("│◀"),
        "{rungs:#?}"
    );
    assert!(
        rungs.iter().any(|line| line.contains("audio, 136 packets")),
        "{rungs:#?}"
    );
    assert!(
        rungs.iter().any(|line| line.contains("HANGUP")),
        "{rungs:#?}"
    );
    assert_eq!(ended.status, 0);
    let report = analyze("ast16/call600-alice", "--ladder 1 --json").report();
    assert_eq!(report["measurements"]["ladder"]["left"], "10.99.0.2:4569");
    analyze("ast16/call600-alice", "--ladder 7").assert_complaint(&["no call 7", "its 1 calls"]);
}

#[test]
fn frames_are_a_line_each() {
    let ended = analyze("ast16/register-alice", "--frames");
    assert_eq!(ended.stdout.lines().count(), 7, "{ended:#?}");
    assert!(
        ended.stdout.starts_with("1 00:18:07.")
            && ended
                .stdout
                .contains("10.99.0.2:4569 → 10.99.0.1:4569 [registration 1] REGREQ 4651→0"),
        "{ended:#?}"
    );
    let ended = analyze("ast16/register-alice", "--frames --json");
    for line in ended.stdout.lines() {
        let frame: Value = serde_json::from_str(line).unwrap();
        assert_eq!(frame["dialogue"], "registration 1");
    }
}

#[test]
fn what_is_followed_comes_as_it_ends_and_the_report_last() {
    let ended = analyze("ast16/call600-rsa1", "--follow --json");
    let kinds: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value.as_object().unwrap().keys().next().unwrap().clone()
        })
        .collect();
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("report"),
        "{kinds:?}"
    );
    assert_eq!(kinds.iter().filter(|kind| *kind == "call").count(), 1);
    assert_eq!(
        kinds.iter().filter(|kind| *kind == "registration").count(),
        1
    );
}

#[test]
fn a_capture_without_people_means_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in captures() {
        let target = folder.path().join("out.pcap");
        let ended = analyze(&name, &format!("--anonymize {}", target.display()));
        assert_eq!(ended.status, 0, "{name}: {ended:#?}");
        let before = analyze(&name, "--json").report();
        let line = format!("analyze {} --json", target.display());
        let after = tool::run(&mut tool::command(&line), &plain).report();
        let ids = |report: &Value| -> BTreeSet<String> {
            findings(report).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(ids(&before), ids(&after), "{name}");
        for key in ["registrations", "calls_seen"] {
            let states = |report: &Value| -> Vec<(Value, Value, Value)> {
                let all = report["measurements"][key].as_array().unwrap();
                all.iter()
                    .map(|it| {
                        (
                            it["state"].clone(),
                            it["outcome"].clone(),
                            it["at_s"].clone(),
                        )
                    })
                    .collect()
            };
            assert_eq!(states(&before), states(&after), "{name}: {key}");
        }
        let octets = fs::read(&target).unwrap();
        for word in ["alice", "plain1", "nobody", "s3cret", "plainpw"] {
            let there = octets.windows(word.len()).any(|it| it == word.as_bytes());
            assert!(!there, "{name}: {word}");
        }
    }
}

#[test]
fn a_secret_opens_an_encrypted_call() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    let options = format!("--json --secret-file {}", secret.display());
    let report = analyze("ast16/call600-crypt2", &options).report();
    let call = &report["measurements"]["calls_seen"][0];
    assert_eq!(
        (&call["encrypted"], &call["outcome"]),
        (&"opened".into(), &"fine".into())
    );
}

#[test]
fn mistakes_are_one_sentence() {
    let run = |line: &str| tool::run(&mut tool::command(line), &plain);
    run("analyze /nonexistent.pcap").assert_complaint(&["/nonexistent.pcap", "cannot be read"]);
    run("analyze Cargo.toml").assert_complaint(&["Cargo.toml is no capture", "tcpdump -w"]);
    run("analyze").assert_complaint(&["see iax2-natcheck analyze --help"]);
    run("analyze --interface none9 --duration 1s").assert_complaint(&["none9"]);
    run("analyze a.pcap --duration 1s").assert_complaint(&["--duration"]);
    run("analyze a.pcap --port 0").assert_complaint(&["--port"]);
    let own = path("ast16/register-alice");
    let line = format!("analyze {0} --anonymize {0}", own.display());
    run(&line).assert_complaint(&["is the capture itself"]);
}

#[test]
fn a_capture_of_something_else_is_unknown() {
    let line = format!(
        "analyze {} --port 5060 --json",
        path("ast16/register-alice").display()
    );
    let ended = tool::run(&mut tool::command(&line), &plain);
    let report = ended.report();
    assert_eq!((ended.status, findings(&report)), (3, vec!["not-measured"]));
}
