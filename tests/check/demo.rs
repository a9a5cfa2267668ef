//! `demo`: every scenario says what it promises, in every format.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, os::unix::fs::PermissionsExt, process::Command, thread, time::Duration};

use iax2_natcheck::lab::scenario;
use serde_json::Value;

use crate::support::{
    process::plain,
    tool::{self, Ended, findings},
};

/// What the default scenario may take.
const LIMIT: Duration = Duration::from_secs(20);

fn demo(line: &str) -> Ended {
    tool::run(&mut tool::command(&format!("demo {line}")), &plain)
}

/// The word of a verdict in text and Nagios, and its status.
fn verdict(report: &Value) -> (&'static str, i32) {
    match report["verdict"].as_str() {
        Some("ok") => ("OK", 0),
        Some("warning") => ("WARNING", 1),
        Some("critical") => ("CRITICAL", 2),
        _ => ("UNKNOWN", 3),
    }
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn every_scenario_is_diagnosed_as_promised() {
    thread::scope(|scope| {
        for scenario in scenario::all() {
            scope.spawn(move || {
                let name = scenario.name;
                let ended = demo(&format!("{name} --json"));
                assert!(ended.stderr.contains("real kernel NAT"), "{ended:#?}");
                let report = ended.report();
                let mut found = findings(&report);
                found.sort_unstable();
                assert_eq!(found, scenario.findings, "{name}: {report:#}");
                let fraction = report["measurements"]["reachable"]["fraction"].as_f64();
                assert_eq!(fraction, Some(scenario.reachable), "{name}");
                let shortest = scenario.network.routers.iter().map(|router| router.timeout);
                let dead = shortest.min().unwrap().as_secs_f64();
                let edge = tool::edge(&report, "exchange");
                assert_eq!(edge, (Some(dead - 1.0), Some(dead)), "{name}");
                assert_eq!(report["command"], "demo");
                assert_eq!(report["provider"]["name"], name);

                // The same report in the other formats.
                let (word, status) = verdict(&report);
                let file = tempfile::NamedTempFile::new().unwrap();
                fs::write(file.path(), &ended.stdout).unwrap();
                let again = format!("report {}", file.path().display());
                let text = tool::run(&mut tool::command(&again), &plain);
                assert!(text.stdout.starts_with(&format!("{word}: ")), "{text:#?}");
                assert!(scenario.findings.iter().all(|id| text.stdout.contains(id)));
                let nagios = format!("{again} --format nagios");
                let nagios = tool::run(&mut tool::command(&nagios), &plain);
                assert!(nagios.stdout.starts_with(&format!("IAX2 {word} - ")));
                assert!(
                    scenario
                        .findings
                        .iter()
                        .all(|id| nagios.stdout.contains(id))
                );
                assert_eq!((text.status, nagios.status), (status, status), "{name}");
            });
        }
    });
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn the_default_is_over_in_20_s_in_every_format() {
    thread::scope(|scope| {
        let text = scope.spawn(|| demo(""));
        let json = scope.spawn(|| demo("--json"));
        let nagios = scope.spawn(|| demo("--format nagios"));
        let [text, json, nagios] = [text, json, nagios].map(|it| it.join().unwrap());
        for ended in [&text, &json, &nagios] {
            assert_eq!(ended.status, 2, "{ended:#?}");
            assert!(ended.took <= LIMIT, "{ended:#?}");
            assert!(ended.stderr.contains("real kernel NAT"), "{ended:#?}");
            assert!(ended.stdout.contains("short-mapping-timeout"));
        }
        let report = json.report();
        assert_eq!(report["provider"]["name"], scenario::DEFAULT);
        let summary = report["summary"].as_str().unwrap();
        assert!(summary.contains("4 s of every 10 s"), "{summary}");
        let one_line = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            one_line.starts_with(&format!("CRITICAL: {summary}")),
            "{text:#?}"
        );
        assert!(
            nagios
                .stdout
                .starts_with(&format!("IAX2 CRITICAL - {summary}"))
        );
        for number in ["reachable=60%", "exchange_dead=6s", "cycle=10s"] {
            assert!(nagios.stdout.contains(number), "{nagios:#?}");
        }
        assert_eq!(nagios.stdout.lines().count(), 1);
    });
}

#[test]
#[ignore = "needs root, setpriv, network namespaces, ip and nft"]
fn an_ordinary_user_sees_the_demonstration() {
    // The user may not be allowed to look into the build folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("iax2-natcheck");
    fs::copy(tool::program(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .args(["demo", "--json"]);
    let ended = tool::run(&mut command, &plain);
    assert!(ended.stderr.contains("real kernel NAT"), "{ended:#?}");
    assert_eq!(findings(&ended.report()), ["short-mapping-timeout"]);
    assert!(ended.took <= LIMIT, "{ended:#?}");
}

/// Where the kernel refuses, the same is shown in process, and that is said.
#[test]
#[ignore = "needs root, unshare and setpriv"]
fn where_the_kernel_refuses_the_nat_is_simulated() {
    // A user namespace in which there are no more of them, and no capabilities there.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" demo --json";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(tool::program());
    let ended = tool::run(&mut command, &plain);
    assert!(ended.stderr.contains("simulated in process"), "{ended:#?}");
    assert_eq!(findings(&ended.report()), ["short-mapping-timeout"]);
}
