//! A real Asterisk 16 is the registrar, and we register with it.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{net::SocketAddr, ops::ControlFlow, time::Duration};

use iax2_natcheck::{
    lab::network::{PUBLIC, Router},
    net::{
        clock,
        drive::{Ended as DriveEnded, drive},
        sockets::Sockets,
        udp::Ground,
    },
    os::asterisk::{Peer, PeerStatus, parse_peers},
    proto::{
        auth::Credentials,
        contract::SocketKey,
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
        reliable::RetryPolicy,
    },
    types::{MappedAddr, PeerAddr},
};
use serde_json::Value;

use crate::support::{
    asterisk::{Asterisk, PLAIN_SECRET, SECRET, rsa_key},
    loopback,
    process::{self, plain},
    site::{PROVIDER, Site},
    tool::{self, Ended, findings},
};

/// More than any of the servers needs to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `register` from a loopback address of its own.
fn register(registrar: &Asterisk, account: &str, secret: Option<&str>, options: &str) -> Ended {
    let line = format!(
        "register {} --bind {} --user {account} {options} --json",
        registrar.address(),
        loopback::address()
    );
    let mut command = match secret {
        Some(secret) => tool::with_secret(&line, secret),
        None => tool::command(&line),
    };
    tool::run(&mut command, &plain)
}

fn registration(report: &Value) -> &Value {
    &report["measurements"]["registration"]
}

/// The account as `iax2 show peers` has it.
fn peer(registrar: &Asterisk, account: &str) -> Peer {
    let text = registrar.cli("iax2 show peers");
    let peers = parse_peers(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = peers.into_iter().find(|peer| peer.name == account);
    found.unwrap_or_else(|| panic!("no {account} in\n{text}"))
}

/// Where the registrar has the account.
fn binding(registrar: &Asterisk, account: &str) -> Option<SocketAddr> {
    let peer = peer(registrar, account);
    Some(format!("{}:{}", peer.host?, peer.port?).parse().unwrap())
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn every_kind_of_account_is_taken() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let key = format!("--rsa-key {}", rsa_key().display());
    let rows = [
        ("alice", Some(SECRET), "", "md5"),
        ("rsa1", None, key.as_str(), "rsa"),
        (
            "plain1",
            Some(PLAIN_SECRET),
            "--allow-plaintext",
            "plaintext",
        ),
        ("nosecret", None, "", "none"),
        ("tokyes", Some(SECRET), "", "md5"),
        ("notok", Some(SECRET), "", "md5"),
        ("trunk1", Some(SECRET), "", "md5"),
        ("crypt2", Some(SECRET), "", "md5"),
    ];
    for (account, secret, options, auth) in rows {
        let ended = register(&registrar, account, secret, options);
        let report = ended.report();
        assert_eq!(report["verdict"], "ok", "{account}: {report:#}");
        assert_eq!(report["command"], "register");
        assert_eq!(report["provider"]["user"], account);
        let seen = registration(&report);
        assert_eq!(seen["state"], "registered", "{account}");
        assert_eq!(seen["auth"], auth, "{account}");
        assert_eq!(seen["refresh_s"], 60, "{account}");
        assert_eq!(seen["reregister_after_s"], 50, "{account}");
        let apparent: SocketAddr = seen["apparent_address"].as_str().unwrap().parse().unwrap();
        assert_eq!(report["host"]["local_address"], seen["apparent_address"]);
        // The registrar's own table says the same.
        assert_eq!(binding(&registrar, account), Some(apparent), "{account}");
    }
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_challenge_that_was_not_allowed_stays_unanswered() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let rows = [
        ("plain1", Some(PLAIN_SECRET), "--allow-plaintext"),
        ("rsa1", Some(SECRET), "--rsa-key"),
        ("alice", None, "--secret-file"),
    ];
    for (account, secret, remedy) in rows {
        let report = register(&registrar, account, secret, "").report();
        assert_eq!(
            registration(&report)["state"],
            "auth-unsupported",
            "{account}"
        );
        assert_eq!(registration(&report)["refresh_s"], Value::Null);
        assert_eq!(report["verdict"], "critical");
        assert_eq!(findings(&report), ["auth-unsupported"], "{account}");
        let advice = report["findings"][0]["do_this"].to_string();
        assert!(advice.contains(remedy), "{account}: {advice}");
        assert_eq!(binding(&registrar, account), None, "{account}");
    }
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_wrong_secret_and_an_unknown_user_are_refused_with_a_cause() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let plaintext = "--allow-plaintext";
    for (account, options) in [("alice", ""), ("nobody-here", ""), ("plain1", plaintext)] {
        let report = register(&registrar, account, Some("wrong"), options).report();
        let seen = registration(&report);
        assert_eq!(seen["state"], "rejected", "{account}");
        assert_eq!(seen["cause"], "Registration Refused", "{account}");
        assert_eq!(seen["cause_code"], 29, "{account}");
        assert_eq!(seen["apparent_address"], Value::Null, "{account}");
        assert_eq!(report["verdict"], "critical");
        assert_eq!(findings(&report), ["registration-rejected"], "{account}");
        let title = report["findings"][0]["title"].as_str().unwrap();
        assert!(title.contains(account) && title.contains("29"), "{title}");
    }
    assert_eq!(binding(&registrar, "alice"), None);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_registration_can_be_given_up() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    register(&registrar, "alice", Some(SECRET), "").report();
    assert!(binding(&registrar, "alice").is_some());
    let report = register(&registrar, "alice", Some(SECRET), "--release").report();
    assert_eq!(registration(&report)["state"], "released");
    assert_eq!(report["verdict"], "ok", "{report:#}");
    assert_eq!(binding(&registrar, "alice"), None);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_poke_in_the_middle_of_a_registration_is_answered() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let report = register(&registrar, "bob", Some(SECRET), "").report();
    assert_eq!(registration(&report)["state"], "registered");
    let reachable = process::poll(Duration::from_secs(3), || {
        matches!(peer(&registrar, "bob").status, PeerStatus::Reachable(_)).then_some(())
    });
    assert!(reachable.is_some(), "{:?}", peer(&registrar, "bob"));
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn the_refresh_is_the_one_that_is_granted() {
    let registrar = Asterisk::registrar(loopback::address())
        .refresh(90)
        .start(&plain);
    let report = register(&registrar, "alice", Some(SECRET), "").report();
    assert_eq!(registration(&report)["refresh_s"], 90);
    assert_eq!(registration(&report)["reregister_after_s"], 75);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn text_and_status_line_and_frames_are_shown() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let line = format!("register {} --user alice", registrar.address());
    let text = tool::run(&mut tool::with_secret(&line, SECRET), &plain);
    assert_eq!(text.status, 0, "{text:#?}");
    assert!(text.stdout.starts_with("OK: "), "{text:#?}");
    let nagios = format!("{line} --format nagios");
    let nagios = tool::run(&mut tool::with_secret(&nagios, SECRET), &plain);
    assert_eq!(nagios.status, 0, "{nagios:#?}");
    assert!(nagios.stdout.starts_with("IAX2 OK - "), "{nagios:#?}");
    assert_eq!(nagios.stdout.lines().count(), 1);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    let line = format!("{line} -v --secret-file {}", file.path().display());
    let shown = tool::run(&mut tool::command(&line), &plain);
    assert_eq!(shown.status, 0, "{shown:#?}");
    for frame in ["REGREQ", "CALLTOKEN", "REGAUTH", "REGACK", "ACK"] {
        assert!(shown.stderr.contains(frame), "{frame}: {shown:#?}");
    }
    for ended in [&text, &nagios, &shown] {
        assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
    }
}

#[test]
#[ignore = "needs root, network namespaces, ip, nft and the Asterisk that tests/all fetches"]
fn the_apparent_address_is_that_of_the_nat() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    let line = format!("register {PROVIDER} --user alice --local-port 4569 --json");
    let ended = tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
    let report = ended.report();
    assert_eq!(report["host"]["local_address"], "192.168.1.10:4569");
    let apparent = format!("{PUBLIC}:4569");
    assert_eq!(registration(&report)["apparent_address"], apparent.as_str());
    let public = SocketAddr::new(PUBLIC.into(), 4569);
    assert_eq!(binding(&registrar, "alice"), Some(public));
}

/// Asterisk takes clients from before 2009 where the account says so (`no`), or says nothing and no
/// client of it has shown a token yet (`auto`). Else it turns them away before it looks at the
/// account.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_client_without_tokens_is_taken_only_where_the_account_allows_it() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let taken = |account: &str| match old_client(registrar.address(), account) {
        Outcome::Acknowledged { refresh, apparent } => {
            assert_eq!(refresh, Duration::from_secs(60));
            assert_eq!(apparent.map(MappedAddr::get), binding(&registrar, account));
            true
        }
        Outcome::TokenRefused { had_token: false } => false,
        other => panic!("{account}: {other:?}"),
    };
    for (account, expected) in [("notok", true), ("alice", true), ("tokyes", false)] {
        assert_eq!(taken(account), expected, "{account}, before");
        register(&registrar, account, Some(SECRET), "").report();
    }
    for (account, expected) in [("notok", true), ("alice", false), ("tokyes", false)] {
        assert_eq!(
            taken(account),
            expected,
            "{account}, after a client with tokens"
        );
    }
    assert!(!taken("nobody-here"));
}

/// How a registration ends that does not know of tokens.
fn old_client(registrar: SocketAddr, account: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = RegistrationConfig {
            registrar: PeerAddr::new(registrar),
            socket: SocketKey(0),
            credentials: Credentials::with_secret(account, SECRET),
            refresh: Duration::from_secs(60),
            release: false,
            offer_token: false,
            retry: RetryPolicy::QUICK,
            seed: rand::random(),
        };
        let mut machine = Registration::new(config, clock::now());
        let mut sockets = Sockets::client(Ground::host(), Some(loopback::address().into()));
        let ended = drive(
            &mut machine,
            &mut sockets,
            |event, _| match event {
                RegistrationEvent::Ended(outcome) => ControlFlow::Break(outcome),
                _ => ControlFlow::Continue(()),
            },
            tokio::time::sleep(PATIENCE),
        );
        match ended.await.unwrap() {
            DriveEnded::Event(outcome) => outcome,
            DriveEnded::Stopped(()) => panic!("{account}: nothing within {PATIENCE:?}"),
            DriveEnded::Idle => panic!("{account}: it sleeps for ever"),
        }
    })
}
