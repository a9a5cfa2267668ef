//! Test calls to a real Asterisk 16: what is kept of them in a file, and what is said of them when the server
//! goes away under way.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{process::Command, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    placed::calls,
    support::{
        asterisk::{Asterisk, SECRET},
        loopback,
        process::{Running, plain, poll},
        tool::{self, Ended, findings},
    },
};

/// How long a call may take to come up, or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A call of alice's from a loopback address of its own.
fn call(asterisk: &Asterisk, number: &str, options: &str) -> Command {
    let (to, from) = (asterisk.address(), loopback::address());
    let line = format!("call {to} {number} --user alice --bind {from} {options}");
    tool::with_secret(&line, SECRET)
}

/// Milliwatt is 1004 Hz at 0 dBm0: a sine of 5/8 of full scale or so.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_recording_holds_what_came() {
    let asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    let folder = tempfile::tempdir().unwrap();
    for codec in ["ulaw", "alaw"] {
        let file = folder.path().join(format!("{codec}.wav"));
        let options = format!(
            "--duration 2s --codec {codec} --json --record {}",
            file.display()
        );
        let report = tool::run(&mut call(&asterisk, "601", &options), &plain).report();
        let mut wav = hound::WavReader::open(&file).unwrap();
        let spec = wav.spec();
        let shape = (spec.channels, spec.sample_rate, spec.bits_per_sample);
        assert_eq!(shape, (1, 8000, 16));
        let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
        // Each packet has its place; of one that was lost the place stays silent.
        let media = &calls(&report)["media"];
        let packets = media["received"].as_u64().unwrap() + media["lost"].as_u64().unwrap();
        let seconds = samples.len() / 8000;
        assert_eq!(samples.len() % 160, 0, "{codec}");
        assert!(
            samples
                .len()
                .abs_diff(usize::try_from(packets).unwrap() * 160)
                <= 160 * 5,
            "{codec}: {} samples of {packets} packets",
            samples.len()
        );
        assert!((2..=4).contains(&seconds), "{codec}: {seconds} s");
        // A second from the middle: a rising zero a period.
        let middle = &samples[samples.len() / 2 - 4000..samples.len() / 2 + 4000];
        let rising = middle.windows(2).filter(|it| it[0] < 0 && it[1] >= 0);
        let hertz = rising.count();
        assert!(hertz.abs_diff(1004) <= 60, "{codec}: {hertz} Hz");
        let peak = middle.iter().map(|it| it.unsigned_abs()).max().unwrap();
        assert!((10_000..30_000).contains(&peak), "{codec}: peak {peak}");
    }
}

/// What cannot be recorded is said before anybody's telephone rings.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_recording_that_cannot_be_kept_is_refused_before_the_call() {
    let asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    for (options, word) in [
        ("--record /nonexistent/heard.wav", "/nonexistent/heard.wav"),
        ("--record /tmp/heard.wav --codec ulaw,gsm", "gsm"),
        ("--record /tmp/heard.wav --calls 2", "--calls"),
    ] {
        let ended = tool::run(&mut call(&asterisk, "601", options), &plain);
        ended.assert_complaint(&[word, "--record"]);
    }
    let processed = asterisk.cli("core show channels");
    assert!(processed.contains("0 calls processed"), "{processed}");
}

/// A call under way, whose audio came back for a while.
fn mid_call(asterisk: &Asterisk) -> Running {
    let mut command = call(asterisk, "600", "--duration 60s --json");
    let running = Running::start(&mut command, &plain);
    let answered = poll(PATIENCE, || {
        running.stderr().contains("answered").then_some(())
    });
    assert!(answered.is_some(), "{}", running.stderr());
    thread::sleep(Duration::from_secs(2));
    running
}

fn end(running: Running) -> Value {
    Ended::new(running.end(PATIENCE), std::time::Instant::now()).report()
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_server_that_dies_in_mid_call_is_a_lost_path() {
    let mut asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    let running = mid_call(&asterisk);
    asterisk.kill();
    let report = end(running);
    assert_eq!(report["verdict"], "critical", "{report:#}");
    let calls = calls(&report);
    assert_eq!(calls["signatures"], json!({"path-lost": 1}), "{report:#}");
    let control = &calls["failures"][0]["control"];
    assert_eq!(control["same_received"], 0, "{report:#}");
    assert_eq!(control["fresh_received"], 0, "{report:#}");
    assert_eq!(findings(&report)[0], "call-lost", "{report:#}");
}

/// It knows nothing of the call, and says nothing to its frames; POKEs it answers.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_server_that_restarts_in_mid_call_has_lost_the_call() {
    let address = loopback::address();
    let mut asterisk = Asterisk::registrar(address).start(&plain);
    let running = mid_call(&asterisk);
    asterisk.kill();
    let _again = Asterisk::registrar(address).start(&plain);
    let report = end(running);
    assert_eq!(report["verdict"], "critical", "{report:#}");
    let calls = calls(&report);
    let lost = json!({"call-state-lost": 1});
    assert_eq!(calls["signatures"], lost, "{report:#}");
    let control = &calls["failures"][0]["control"];
    assert!(control["same_received"].as_u64() > Some(0), "{report:#}");
    assert_eq!(findings(&report)[0], "call-lost", "{report:#}");
}
