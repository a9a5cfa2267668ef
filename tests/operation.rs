//! What stands beside the guardian for its operation: the unit of systemd, the alert rules, the
//! dashboard, the webhook. Each is read by the program that it is for.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use assert_cmd::cargo::cargo_bin;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What a program says; it must succeed.
fn says(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

/// The unit, with the program that was built in place of the installed one.
fn unit(folder: &Path) -> PathBuf {
    let text = read("systemd/iax2-natcheck-watch.service");
    let installed = "ExecStart=iax2-natcheck ";
    assert!(text.contains(installed));
    let built = format!("ExecStart={} ", cargo_bin!("iax2-natcheck").display());
    let path = folder.join("iax2-natcheck-watch.service");
    fs::write(&path, text.replace(installed, &built)).unwrap();
    path
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_the_unit_of_the_guardian() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(folder.path()).display().to_string();
    let verified = says(
        "systemd-analyze",
        &["verify", "--man=no", &unit],
        folder.path(),
    );
    assert_eq!(verified, "");
    // Its scale goes from 0, safe, to 100. It holds two rights over the network and needs them.
    let security = [
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=25",
        &unit,
    ];
    let said = says("systemd-analyze", &security, folder.path());
    let score = said.lines().find(|line| line.contains("exposure level"));
    println!("{}", score.unwrap());
}

#[test]
#[ignore = "needs promtool"]
fn prometheus_takes_the_alert_rules_and_they_fire() {
    let folder = root().join("examples/prometheus");
    let said = says(
        "promtool",
        &["check", "rules", "iax2-natcheck.rules.yml"],
        &folder,
    );
    assert!(said.contains("8 rules found"), "{said}");
    says(
        "promtool",
        &["test", "rules", "iax2-natcheck.rules.test.yml"],
        &folder,
    );
}

/// The metrics that a text asks for.
fn asked(text: &str) -> BTreeSet<String> {
    let prefix = "iax2_natcheck_";
    text.match_indices(prefix)
        .map(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            rest[..end.unwrap_or(rest.len())].to_owned()
        })
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let source = read("src/watch/metrics.rs");
    let known: BTreeSet<String> = source
        .split("page.family(")
        .skip(1)
        .filter_map(|call| Some(call.split('"').nth(1)?.to_owned()))
        .collect();
    assert!(known.len() > 8, "{known:?}");
    for file in [
        "examples/prometheus/iax2-natcheck.rules.yml",
        "examples/grafana/iax2-natcheck.json",
    ] {
        let asked = asked(&read(file));
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let text = read("examples/grafana/iax2-natcheck.json");
    let board: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(right <= 24, "{title}");
    }
}

#[test]
#[ignore = "needs curl"]
fn the_webhook_posts_the_incident_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (mut request, mut part) = (vec![], [0; 4096]);
        while !request.ends_with(b"}\n") {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "the request is cut short");
            request.extend_from_slice(&part[..length]);
        }
        let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        String::from_utf8(request).unwrap()
    });
    let incident = "{\"provider\":\"example\",\"cause\":\"tainted\"}\n";
    let mut script = Command::new(root().join("examples/iax2-natcheck-webhook"))
        .arg(format!("http://{address}/hook"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    stdin.write_all(incident.as_bytes()).unwrap();
    drop(stdin);
    assert!(script.wait().unwrap().success());
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /hook "), "{request}");
    assert!(
        request
            .to_ascii_lowercase()
            .contains("content-type: application/json")
    );
    assert!(request.ends_with(incident), "{request}");
}
