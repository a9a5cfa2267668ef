//! The NAT's table in mid-call.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{thread, time::Duration};

use iax2_natcheck::lab::network::{Ports, Router};

use crate::{
    placed::{Calling, LINUX, Placed, forget_mappings, site},
    support::site::{PROVIDER, REFLECTOR, REFLECTOR_PORT},
};

const RANDOM: Router = Router {
    ports: Ports::FullyRandom,
    ..LINUX
};

/// One call of `seconds`, with the mapping towards the provider lost after a second of talk.
fn lose_mapping(router: Router, seconds: u32) -> Placed {
    let (site, _provider) = site(router);
    let options = format!("--duration {seconds}s --expect echo");
    let calling = Calling::start(&site, "600", &options);
    calling.wait_for_talk();
    thread::sleep(Duration::from_secs(1));
    forget_mappings(&site, &format!("--orig-dst {PROVIDER}"));
    calling.end()
}

/// The far end drops what comes from the new port, and says nothing.
fn assert_state_lost(placed: &Placed) {
    placed.assert_signature("call-state-lost", 1);
    assert_eq!(placed.findings()[0], "call-lost", "{:#}", placed.report);
    let failure = &placed.calls()["failures"][0];
    assert_eq!(failure["signature"], "call-state-lost");
    assert_eq!(
        failure["control"]["same_sent"],
        failure["control"]["same_received"]
    );
    assert_eq!(placed.ended.status, 2);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and the Asterisk that tests/all fetches"]
fn a_mapping_lost_in_a_long_call_is_lost_state() {
    assert_state_lost(&lose_mapping(RANDOM, 12));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and the Asterisk that tests/all fetches"]
fn a_mapping_lost_in_a_short_call_is_lost_state() {
    // The call ends before any frame of its own is given up.
    assert_state_lost(&lose_mapping(RANDOM, 3));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and the Asterisk that tests/all fetches"]
fn a_mapping_that_comes_back_at_the_same_port_fails_nothing() {
    lose_mapping(LINUX, 4).assert_healthy(1);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and the Asterisk that tests/all fetches"]
fn a_reflector_sees_the_port_change_that_lost_the_call() {
    let (site, _provider) = site(RANDOM);
    let _reflector = site.reflector();
    let options = format!("--duration 12s --expect echo --reflector {REFLECTOR}:{REFLECTOR_PORT}");
    let calling = Calling::start(&site, "600", &options);
    calling.wait_for_talk();
    thread::sleep(Duration::from_secs(1));
    forget_mappings(&site, "");
    let placed = calling.end();
    placed.assert_signature("call-state-lost", 1);
    let because = placed.finding("call-lost")["because"].to_string();
    assert!(because.contains("saw the socket at"), "{because}");
}
