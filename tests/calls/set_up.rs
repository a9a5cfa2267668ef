//! Faults between NEW and ACCEPT.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    placed::{LINUX, PORT, Placed, drop_forwarded, router, serve, site, users},
    relay::{Fate, Policy, Relay, harmless},
    support::{
        asterisk::{Asterisk, SECRET},
        loopback,
        process::plain,
        site::{PROVIDER, Site},
        tool,
    },
};

/// A router that sends the datagrams of one socket that have at least `long` octets, UDP header included,
/// those that carry a call token, from another port than the short ones, without state.
fn token_by_another_port(site: &Site, long: u16) {
    let short = long - 1;
    let rules = format!(
        "table ip alternate {{\n\
         chain early {{ type filter hook prerouting priority -310; \
         iifname \"lan\" ip daddr {PROVIDER} udp sport {PORT} notrack; \
         iifname \"wan\" udp dport {{ 40001, 40002 }} notrack ip daddr set 192.168.1.10 udp dport set {PORT}; }}\n\
         chain late {{ type filter hook postrouting priority 200; \
         oifname \"wan\" ip saddr 192.168.1.10 udp sport {PORT} \
         udp sport set udp length map {{ 0-{short} : 40001, {long}-65535 : 40002 }} ip saddr set 198.51.100.7; }}\n\
         chain admit {{ type filter hook forward priority -5; udp dport {PORT} accept; }}\n\
         }}\n"
    );
    router(site).nft(&rules).unwrap();
    // The firewall of the router knows its own flows alone.
    router(site)
        .nft(&format!(
            "insert rule ip lab forward iifname \"wan\" ip daddr 192.168.1.10 udp dport {PORT} accept\n"
        ))
        .unwrap();
}

/// Calls from the port whose datagrams are told apart.
const CHANGING: &str = "--local-port 4569 --calls 5 --concurrent 1 --duration 1s";

#[test]
#[ignore = "needs root, ip and nft"]
fn a_port_that_changes_between_token_and_new_is_a_refused_token() {
    let site = Site::behind([LINUX]);
    let users = users();
    let _serve = serve(&site, "asterisk", &users);
    // Our tokens have 8 octets.
    token_by_another_port(&site, 80);
    let placed = Placed::on(&site, "600", CHANGING);
    placed.assert_signature("token-refused", 5);
    assert_eq!(placed.calls()["pattern"], "systematic");
    assert_eq!(placed.calls()["raw_hangups"], 5);
    assert_eq!(placed.findings(), ["token-refused"], "{:#}", placed.report);
    assert_eq!(placed.ended.status, 2);
}

/// Asterisk queues a full frame behind one that it is still at by address and call number, without the port,
/// and takes it as coming from that one's port. A token that comes so soon passes, so how many do is chance.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_token_that_asterisk_refuses_is_told_first() {
    let (site, _provider) = site(LINUX);
    token_by_another_port(&site, 110);
    let placed = Placed::on(&site, "600", CHANGING);
    let refused = placed.calls()["signatures"]["token-refused"].as_u64();
    assert!(
        refused.is_some_and(|count| count >= 1),
        "{:#}",
        placed.report
    );
    assert_eq!(
        placed.findings().first(),
        Some(&"token-refused"),
        "{:#}",
        placed.report
    );
    assert_eq!(placed.ended.status, 2);
}

/// Asterisk would open a second leg for a NEW that is sent again meanwhile, and mix the two up.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_challenge_that_comes_late_leaves_one_call_that_lives() {
    let provider = Asterisk::registrar(loopback::address()).start(&plain);
    let challenges = AtomicU32::new(0);
    let late: Policy = Arc::new(move |octets: &[u8]| {
        let challenge = octets.len() > 12 && octets[0] & 0x80 != 0 && octets[10..12] == [6, 8];
        if challenge && challenges.fetch_add(1, Ordering::Relaxed) == 0 {
            Fate::Late(Duration::from_millis(2500))
        } else {
            Fate::Pass
        }
    });
    let relay = Relay::start(provider.address(), harmless(), late);
    let line = format!(
        "call {} 600 --user alice --json --expect echo --duration 5s",
        relay.address()
    );
    let placed = Placed::by(&mut tool::with_secret(&line, SECRET), &plain);
    placed.assert_healthy(1);
    assert!(placed.calls()["answer_ms"]["max"].as_f64().unwrap() > 900.0);
}

/// It opens one all the same where its challenge is lost twice: each leg has a number of its own then, and the
/// mini frames find theirs.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn two_challenges_that_are_lost_leave_a_call_that_is_heard() {
    let provider = Asterisk::registrar(loopback::address()).start(&plain);
    let challenges = AtomicU32::new(0);
    let lossy: Policy = Arc::new(move |octets: &[u8]| {
        let challenge = octets.len() > 12 && octets[0] & 0x80 != 0 && octets[10..12] == [6, 8];
        if challenge && challenges.fetch_add(1, Ordering::Relaxed) < 2 {
            Fate::Lost
        } else {
            Fate::Pass
        }
    });
    let relay = Relay::start(provider.address(), harmless(), lossy);
    let line = format!(
        "call {} 600 --user alice --json --expect echo --duration 5s",
        relay.address()
    );
    let placed = Placed::by(&mut tool::with_secret(&line, SECRET), &plain);
    placed.assert_healthy(1);
    assert!(placed.calls()["answer_ms"]["max"].as_f64().unwrap() >= 3000.0);
    assert!(placed.calls()["retransmissions"].as_u64().unwrap() >= 1);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_filter_that_drops_new_alone_is_auto_congestion() {
    let (site, _provider) = site(LINUX);
    // Octets 10 and 11 of a full frame: type IAX (6), subclass NEW (1).
    drop_forwarded(
        &site,
        &format!("ip daddr {PROVIDER} udp dport 4569 @th,144,16 0x0601"),
    );
    let placed = Placed::on(&site, "600", "--calls 3 --concurrent 3 --duration 1s");
    placed.assert_signature("auto-congested", 3);
    assert_eq!(placed.calls()["pattern"], "systematic");
    assert_eq!(placed.findings(), ["auto-congested"], "{:#}", placed.report);
    let because = placed.finding("auto-congested")["because"].to_string();
    assert!(
        because.contains("POKEs from another socket were answered"),
        "{because}"
    );
    assert!(!because.contains("\"0 of"), "{because}");
    assert_eq!(placed.ended.status, 2);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn challenges_that_get_lost_make_no_call_one_too_many() {
    let (site, _provider) = site(LINUX);
    // AUTHREQ where it is sent for the first time: type 6, subclass 8, and no R bit. Asterisk says it again after
    // 2 s, and rejects an account that leaves three challenges without an answer in the meantime.
    drop_forwarded(
        &site,
        &format!("ip saddr {PROVIDER} udp sport 4569 @th,144,16 0x0608 @th,80,1 0"),
    );
    let placed = Placed::on(
        &site,
        "600",
        "--calls 8 --concurrent 8 --duration 1s --expect echo",
    );
    assert_eq!(placed.calls()["completed"], 8, "{:#}", placed.report);
    assert!(placed.calls()["setup_ms"]["min"].as_f64().unwrap() >= 1500.0);
}
