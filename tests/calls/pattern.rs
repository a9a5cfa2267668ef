//! A device that mistreats packets here and there, and one that does so by rule.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    placed::{Placed, users},
    relay::{Fate, Policy, Relay, harmless},
    support::{
        asterisk::SECRET,
        loopback,
        process::{Running, plain},
        tool,
    },
};

/// A server of ours at a free address of loopback.
fn serve() -> (Running, SocketAddr, NamedTempFile) {
    let users = users();
    let address = SocketAddr::new(loopback::address().into(), 4569);
    let line = format!(
        "--bind {address} --profile rfc --users {}",
        users.path().display()
    );
    (tool::serve(&line, &plain), address, users)
}

/// Calls to the echo through a relay.
fn through(out: Policy, back: Policy, options: &str) -> Placed {
    let (_server, address, _users) = serve();
    let relay = Relay::start(address, out, back);
    let line = format!(
        "call {} 600 --user alice --json --expect echo --i-own-it {options}",
        relay.address()
    );
    Placed::by(&mut tool::with_secret(&line, SECRET), &plain)
}

/// Full frames after the set-up leave from another port, for the calls that `hit` tells by their number.
fn astray(hit: fn(u16) -> bool) -> Policy {
    Arc::new(move |octets: &[u8]| {
        let [high, low, .., kind, subclass] = octets.get(..12).unwrap_or(&[0; 12]) else {
            return Fate::Pass;
        };
        let number = u16::from_be_bytes([*high, *low]);
        // A full frame of type IAX: PING and HANGUP.
        let late = number & 0x8000 != 0 && *kind == 6 && [2, 5].contains(subclass);
        if late && hit(number & 0x7fff) {
            Fate::Elsewhere
        } else {
            Fate::Pass
        }
    })
}

#[test]
#[ignore = "takes a while; runs in tests/all"]
fn a_device_that_mistranslates_some_calls_is_called_random() {
    let placed = through(
        astray(|number| number % 5 == 2),
        harmless(),
        "--calls 40 --concurrent 20 --duration 1s",
    );
    let calls = placed.calls();
    println!("{} {}", calls["pattern_because"], calls["failure_rate"]);
    assert_eq!(calls["pattern"], "random", "{calls:#}");
    let failed = placed.signature("invalidated");
    assert_eq!(calls["invals"], failed);
    assert_eq!(calls["completed"].as_u64(), Some(40 - failed));
    let share = f64::from(u32::try_from(failed).unwrap()) / 40.0;
    let rate = &calls["failure_rate"];
    let (low, high) = (&rate["low"], &rate["high"]);
    assert!(low.as_f64().unwrap() < share && share < high.as_f64().unwrap());
    assert_eq!(
        placed.findings(),
        ["random-raw-hangups"],
        "{:#}",
        placed.report
    );
}

#[test]
#[ignore = "takes a while; runs in tests/all"]
fn a_device_that_mistranslates_every_call_is_called_systematic() {
    let placed = through(
        astray(|_| true),
        harmless(),
        "--calls 8 --concurrent 8 --duration 1s",
    );
    placed.assert_signature("invalidated", 8);
    assert_eq!(placed.calls()["pattern"], "systematic");
    assert_eq!(
        placed.findings(),
        ["systematic-hangups"],
        "{:#}",
        placed.report
    );
    assert_eq!(placed.ended.status, 2);
}

/// Every tenth packet of audio comes 50 ms late.
fn overtaken() -> Policy {
    let count = AtomicU32::new(0);
    Arc::new(move |octets: &[u8]| {
        let mini = octets.len() > 160 && octets[0] & 0x80 == 0;
        if mini && count.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
            Fate::Late(Duration::from_millis(50))
        } else {
            Fate::Pass
        }
    })
}

#[test]
#[ignore = "takes a while; runs in tests/all"]
fn packets_that_overtake_each_other_are_counted() {
    for (way, out, back) in [
        ("in", harmless(), overtaken()),
        ("out", overtaken(), harmless()),
    ] {
        let placed = through(out, back, "--duration 6s");
        let media = placed.media();
        println!("{way}: {}", placed.report["findings"][0]["because"]);
        assert_eq!(
            placed.findings(),
            ["reordered-packets"],
            "{way}: {:#}",
            placed.report
        );
        assert_eq!(placed.calls()["pattern"], "none");
        assert_eq!(media["lost"], 0, "{way}: {media:#}");
        assert_ne!(media["one_way"], Value::Bool(true));
        if way == "in" {
            let reordered = media["reordered"].as_u64().unwrap();
            assert!((27..=33).contains(&reordered), "{media:#}");
        }
        assert_eq!(placed.ended.status, 1);
    }
}
