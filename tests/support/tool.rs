//! The command under test, started where a test wants it and read as its user and scripts read it.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    json_contract,
    process::{self, Finished, Running, Spawn},
};

/// How long a server of ours has to say that it is ready.
const BOOT: Duration = Duration::from_secs(20);
/// How long a command takes at most, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command with the words of `line`, and with nothing of the test's own environment that it
/// would listen to.
pub fn command(line: &str) -> Command {
    let mut command = Command::new(program());
    command
        .args(line.split_whitespace())
        .env_remove("IAX2_SECRET")
        .env_remove("NO_COLOR");
    command
}

/// The program itself.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_iax2-natcheck"))
}

/// The command with `secret` in its environment.
pub fn with_secret(line: &str, secret: &str) -> Command {
    let mut command = command(line);
    command.env("IAX2_SECRET", secret);
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; a signal that killed it is -1.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// Notes how a command that began at `began` has finished.
    pub fn new(finished: Finished, began: Instant) -> Self {
        Self {
            status: finished.status.code().unwrap_or(-1),
            stdout: finished.stdout,
            stderr: finished.stderr,
            took: began.elapsed(),
        }
    }

    /// Its JSON report, which must follow the contract and agree with the exit status.
    pub fn report(&self) -> Value {
        let report: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("no JSON: {e}\n{self:#?}"));
        json_contract::validate(&report);
        let status = match report["verdict"].as_str() {
            Some("ok") => 0,
            Some("warning") => 1,
            Some("critical") => 2,
            _ => 3,
        };
        assert_eq!(self.status, status, "exit status and verdict: {self:#?}");
        report
    }

    /// Asserts that it failed with status 3 and one sentence, which has all of `words`.
    pub fn assert_complaint(&self, words: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (3, ""), "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        assert!(self.stderr.starts_with("iax2-natcheck: "), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:#?}");
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command, spawn: &Spawn<'_>) -> Ended {
    run_within(PATIENCE, command, spawn)
}

/// Runs a command that may take this long to its end.
pub fn run_within(patience: Duration, command: &mut Command, spawn: &Spawn<'_>) -> Ended {
    let began = Instant::now();
    Ended::new(process::run(command, spawn, patience), began)
}

/// Starts `serve` with the words of `line`, and waits until it listens.
pub fn serve(line: &str, spawn: &Spawn<'_>) -> Running {
    let mut server = Running::start(&mut command(&format!("serve {line}")), spawn);
    let ready = process::poll(BOOT, || {
        assert!(server.is_running(), "serve has ended:\n{}", server.stderr());
        server.stderr().contains("reflector ready").then_some(())
    });
    assert!(ready.is_some(), "serve is not ready:\n{}", server.stderr());
    server
}

/// Asserts that a report of calls to a real Asterisk has no finding. On a busy machine Asterisk's threads overtake
/// each other, which is told rightly, and is no fault of the way: all that Asterisk sent came in order.
#[track_caller]
pub fn assert_no_fault(report: &Value) {
    let in_order = report["measurements"]["calls"]["media"]["reordered"] == 0;
    let faults: Vec<_> = findings(report)
        .into_iter()
        .filter(|id| !(in_order && *id == "reordered-packets"))
        .collect();
    assert_eq!(faults, [""; 0], "{report:#}");
}

/// The ids of the findings of a report, in their order.
pub fn findings(report: &Value) -> Vec<&str> {
    let found = report["findings"].as_array().unwrap();
    found.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

/// `alive_s` and `dead_s` of one shape of traffic.
pub fn edge(report: &Value, shape: &str) -> (Option<f64>, Option<f64>) {
    let edge = &report["measurements"]["lifetime"][shape];
    (edge["alive_s"].as_f64(), edge["dead_s"].as_f64())
}
