//! A real Asterisk 16 registers with `serve`.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use crate::{
    server::{PATIENCE, Server},
    support::{
        asterisk::{Asterisk, PLAIN_SECRET, SECRET, rsa_key},
        loopback,
        process::{self, plain},
    },
};

/// The columns "Perceived", "Refresh" and "State" of an account in `iax2 show registry`.
fn row(line: &str) -> (String, String, String) {
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    let mut next = || words.next().unwrap();
    (next(), next(), next())
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_registers_every_kind_of_account() {
    let key = rsa_key().with_extension("pub");
    let users = format!(
        r#"
        [alice]
        secret = "{SECRET}"
        [bob]
        secret = "{SECRET}"
        refresh = "10s"
        qualify = "1s"
        [rsa1]
        rsa_public_key = "{}"
        [plain1]
        secret = "{PLAIN_SECRET}"
        auth = ["plaintext"]
        [notok]
        secret = "{SECRET}"
        call_token = "optional"
        refresh = "120s"
        [tokyes]
        secret = "{SECRET}"
        call_token = "required"
        [nosecret]
        auth = []
        "#,
        key.display()
    );
    let server = Server::start(&users, "-v");
    let accounts = [
        ("alice", "60"),
        ("bob", "10"),
        ("rsa1", "60"),
        ("plain1", "60"),
        ("notok", "120"),
        ("tokyes", "60"),
        ("nosecret", "60"),
    ];
    let mut client = Asterisk::client(loopback::address(), server.address);
    for (account, _) in accounts {
        client = client.register(account);
    }
    let client = client.start(&plain);
    let perceived = client.address().to_string();
    for (account, refresh) in accounts {
        let line = client.wait_for_registration(account);
        let expected = (
            perceived.clone(),
            refresh.to_owned(),
            "Registered".to_owned(),
        );
        assert_eq!(row(&line), expected, "{line}");
        server.wait_for(&[account, "registered at", &perceived]);
    }
    server.wait_for(&["bob answers after"]);

    let log = server.terminate();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("stopped after"), "{log}");
    for words in ["0 malformed", "0 answers that could not be sent"] {
        assert!(last.contains(words), "{last}");
    }
    for secret in [SECRET, PLAIN_SECRET] {
        assert!(!log.contains(secret), "a secret is in the log:\n{log}");
    }
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_with_a_wrong_secret_is_rejected() {
    let server = Server::start(&format!("[alice]\nsecret = \"{SECRET}\"\n"), "-v");
    let client = Asterisk::client(loopback::address(), server.address)
        .register_with("alice", "wrong")
        .register("bob")
        .general("authdebug=yes")
        .start(&plain);
    for account in ["alice", "bob"] {
        let line = client.wait_for_state(account, "Rejected");
        assert_eq!(row(&line).0, "<Unregistered>", "{line}");
        server.wait_for(&["refused", account, &client.address().to_string()]);
    }
    assert!(client.log().contains("'Registration Refused'"));
    let log = server.terminate();
    assert!(!log.contains("registered at"), "{log}");
}

/// Asterisk registers again after 5/6 of what we granted: 8 s of 10 s.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_registers_again_at_five_sixths_of_the_refresh() {
    assert_registers_again_after("10s", 8);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches, and 52 s"]
fn full_asterisk_registers_again_after_50_s_of_60_s() {
    assert_registers_again_after("60s", 50);
}

fn assert_registers_again_after(refresh: &str, seconds: u64) {
    let users = format!("[alice]\nsecret = \"{SECRET}\"\nrefresh = \"{refresh}\"\n");
    let server = Server::start(&users, "-v");
    let _client = Asterisk::client(loopback::address(), server.address)
        .register("alice")
        .start(&plain);
    server.wait_for(&["alice registered at"]);
    let again = process::poll(Duration::from_secs(seconds) + PATIENCE, || {
        server.times("alice registered again at").first().copied()
    });
    let first = server.times("alice registered at")[0];
    let gap = again
        .unwrap_or_else(|| panic!("{}", server.running.stderr()))
        .duration_since(first)
        .unwrap();
    assert!(
        gap.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1),
        "registered again after {gap:?}"
    );
    assert!(!server.running.stderr().contains("expired"));
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn an_asterisk_that_is_gone_is_missed_and_its_registration_expires() {
    let users = format!("[alice]\nsecret = \"{SECRET}\"\nrefresh = \"2s\"\nqualify = \"1s\"\n");
    let server = Server::start(&users, "-v");
    let mut client = Asterisk::client(loopback::address(), server.address)
        .register("alice")
        .start(&plain);
    server.wait_for(&["alice answers after"]);
    client.kill();
    server.wait_for(&["alice does not answer"]);
    server.wait_for(&["the registration of alice expired"]);
    server.terminate();
}
