//! Ends in the middle of a call: each has its own name.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    placed::{Calling, LINUX, PORT, Placed, drop_forwarded, serve, site, users},
    support::{process, site::Site},
};

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_far_end_that_was_restarted_invalidates_the_call() {
    let site = Site::behind([LINUX]);
    let users = users();
    let server = serve(&site, "rfc", &users);
    let calling = Calling::start(&site, "600", "--duration 8s --expect echo");
    calling.wait_for_talk();
    thread::sleep(Duration::from_secs(1));
    drop(server);
    let _server = serve(&site, "rfc", &users);
    let placed = calling.end();
    placed.assert_signature("invalidated", 1);
    assert_eq!(placed.calls()["invals"], 1);
    assert_eq!(placed.calls()["raw_hangups"], 1);
    assert_eq!(placed.findings()[0], "call-lost");
    assert_eq!(placed.ended.status, 2);
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn trunked_audio_that_the_far_end_does_not_take_is_a_mismatch() {
    let site = Site::behind([LINUX]);
    let users = users();
    let _server = serve(&site, "rfc", &users);
    let placed = Placed::on(
        &site,
        "600",
        "--calls 3 --concurrent 3 --duration 2s --expect echo --trunk",
    );
    assert_eq!(
        placed.findings()[0],
        "trunk-mismatch",
        "{:#}",
        placed.report
    );
    assert_eq!(placed.calls()["pattern"], "none");
    assert_eq!(placed.ended.status, 2);
}

/// A call of three seconds with something done to the network after the first.
fn disturbed(disturb: impl FnOnce(&Site)) -> Placed {
    let (site, _provider) = site(LINUX);
    let options = format!("--local-port {PORT} --duration 3s --expect echo");
    let calling = Calling::start(&site, "600", &options);
    calling.wait_for_talk();
    thread::sleep(Duration::from_secs(1));
    disturb(&site);
    let placed = calling.end();
    assert_eq!(placed.findings()[0], "call-lost");
    assert_eq!(placed.ended.status, 2);
    placed
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_provider_that_vanishes_is_a_lost_path() {
    let placed = disturbed(|site| site.lab().server().ip(&["link set eth0 down"]).unwrap());
    placed.assert_signature("path-lost", 1);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_flow_that_dies_alone_is_a_lost_flow() {
    let placed = disturbed(|site| {
        drop_forwarded(site, &format!("ip saddr 192.168.1.10 udp sport {PORT}"));
    });
    placed.assert_signature("flow-lost", 1);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_burst_that_is_interrupted_hangs_up_and_reports() {
    let (site, provider) = site(LINUX);
    let options = "--calls 20 --concurrent 6 --duration 30s --expect echo";
    let calling = Calling::start(&site, "600", options);
    provider.wait_for("iax2 show channels", |text| {
        text.contains("6 active IAX channels")
    });
    thread::sleep(Duration::from_secs(2));
    calling.running().signal(Signal::SIGINT);
    let hung_up = || {
        let text = provider.cli("iax2 show channels");
        text.contains("0 active IAX channels").then_some(())
    };
    assert!(process::poll(Duration::from_secs(2), hung_up).is_some());
    let placed = calling.end();
    assert_eq!(placed.report["interrupted"], true);
    assert!(placed.ended.took < Duration::from_secs(12));
    let calls = placed.calls();
    assert_eq!(calls["attempted"], 6);
    assert_eq!(calls["answered"], 6);
    assert_eq!(calls["signatures"], serde_json::Value::Null);
    assert!(!placed.findings().contains(&"call-lost"));
}
