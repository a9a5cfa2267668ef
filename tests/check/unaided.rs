//! Timers of a kernel NAT, found with nobody outside but a real Asterisk that knows nothing of it.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use iax2_natcheck::lab::network::{PUBLIC, Ports, Router, SIBLING};
use serde_json::{Value, json};

use crate::support::{
    asterisk::{Asterisk, SECRET},
    site::{PROVIDER, Site},
    tool::{self, Ended, edge, findings},
};

const SHORT: Router = Router::masquerade(6, 12);

const fn random(router: Router) -> Router {
    Router {
        ports: Ports::FullyRandom,
        ..router
    }
}

/// `nat lifetime` with one method, as JSON.
fn lifetime(site: &Site, user: &str, options: &str) -> Ended {
    let line = format!("nat lifetime {PROVIDER} --user {user} --json {options}");
    let mut command = tool::with_secret(&line, SECRET);
    tool::run_within(Duration::from_secs(360), &mut command, &site.near())
}

/// What is so however it was measured.
fn assert_method(report: &Value, method: &str, confidence: &str) {
    let seen = &report["measurements"]["lifetime"];
    assert_eq!(seen["method"], method, "{seen:#}");
    assert_eq!(seen["confidence"], confidence, "{seen:#}");
    assert_eq!(report["interrupted"], Value::Null);
}

/// The port that the registrar has for an account.
fn bound_port(registrar: &Asterisk, account: &str) -> u16 {
    let peers = registrar.cli("iax2 show peers");
    let line = peers
        .lines()
        .find(|line| line.starts_with(account))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = words.iter().find_map(|word| word.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {line:?}"))
}

/// The account's binding is that of the socket that registered first, not of one of the many after it.
fn assert_restored(registrar: &Asterisk, report: &Value) {
    let apparent = report["measurements"]["registration"]["apparent_address"].as_str();
    let expected = format!("{PUBLIC}:{}", bound_port(registrar, "alice"));
    assert_eq!(apparent, Some(expected.as_str()));
}

fn assert_sibling(site: &Site, registrar: &Asterisk, timer: f64, longest: u64) {
    let options =
        format!("--method sibling --sibling {SIBLING} --local-port 4569 --max-lifetime {longest}s");
    let ended = lifetime(site, "alice", &options);
    println!("sibling took {:.1} s", ended.took.as_secs_f64());
    let report = ended.report();
    assert_method(&report, "sibling", "inferred");
    assert_eq!(edge(&report, "exchange"), (Some(timer - 1.0), Some(timer)));
    assert_eq!(bound_port(registrar, "alice"), 4569);
    assert_restored(registrar, &report);
    assert!(ended.took.as_secs_f64() <= timer + 15.0, "{:?}", ended.took);
}

fn assert_drift(site: &Site, registrar: &Asterisk, timer: f64, longest: u64) {
    let options = format!("--method drift --max-lifetime {longest}s");
    let ended = lifetime(site, "alice", &options);
    println!("drift took {:.1} s", ended.took.as_secs_f64());
    let report = ended.report();
    assert_method(&report, "drift", "inferred");
    assert_eq!(edge(&report, "exchange"), (Some(timer - 1.0), Some(timer)));
    assert_restored(registrar, &report);
    assert!(ended.took.as_secs_f64() <= timer + 15.0, "{:?}", ended.took);
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and a minute"]
fn full_a_sibling_finds_30_s_where_the_nat_keeps_ports() {
    let site = Site::with_sibling([Router::masquerade(30, 120)]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    assert_sibling(&site, &registrar, 30.0, 60);
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and a minute"]
fn full_drift_finds_30_s_where_the_nat_draws_ports() {
    let site = Site::behind([random(Router::masquerade(30, 120))]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    assert_drift(&site, &registrar, 30.0, 60);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_sibling_is_given_the_port_of_a_mapping_that_is_gone() {
    let site = Site::with_sibling([SHORT]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    assert_sibling(&site, &registrar, 6.0, 14);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_port_that_drifts_shows_the_timer() {
    let site = Site::behind([random(SHORT)]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    assert_drift(&site, &registrar, 6.0, 14);
}

/// A registrar that POKEs the account all the time reaches one socket at a time, and spoils no edge.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn pokes_of_the_registrar_spoil_nothing() {
    let drift = "--method drift".to_owned();
    let sibling = format!("--method sibling --sibling {SIBLING}");
    for (router, options) in [(random(SHORT), drift), (SHORT, sibling)] {
        let site = Site::with_sibling([router]);
        let registrar = Asterisk::registrar(PROVIDER)
            .qualify("alice", 1000)
            .start(&site.far());
        let ended = lifetime(&site, "alice", &format!("{options} --max-lifetime 14s"));
        let report = ended.report();
        assert_eq!(
            edge(&report, "exchange"),
            (Some(5.0), Some(6.0)),
            "{options}: {report:#}"
        );
        assert_restored(&registrar, &report);
    }
}

/// The binding goes back where the measurement is stopped, too.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_measurement_that_is_stopped_restores_the_binding() {
    let site = Site::with_sibling([Router::masquerade(30, 120)]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    let options = format!("--method sibling --sibling {SIBLING} --local-port 4569 --timeout 4s");
    let ended = lifetime(&site, "alice", &options);
    let report = ended.report();
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["measurements"]["lifetime"]["method"], "sibling");
    assert_eq!(bound_port(&registrar, "alice"), 4569);
    assert!(ended.took <= Duration::from_secs(8), "{:?}", ended.took);
}

/// The main job with what the NAT allows: the share of the time in which calls come in.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn check_takes_the_method_that_fits() {
    for (router, method) in [(SHORT, "sibling"), (random(SHORT), "drift")] {
        let site = Site::with_sibling([router]);
        let _registrar = Asterisk::registrar(PROVIDER).refresh(12).start(&site.far());
        let line = format!(
            "check {PROVIDER} --user alice --json --method auto --sibling {SIBLING} --max-lifetime 14s"
        );
        let ended = tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
        let report = ended.report();
        assert_method(&report, method, "inferred");
        let reachable = json!({"fraction": 0.6, "open_s": 6, "cycle_s": 10});
        assert_eq!(report["measurements"]["reachable"], reachable, "{method}");
        assert!(
            findings(&report).contains(&"short-mapping-timeout"),
            "{method}"
        );
        let because = report["findings"].to_string();
        assert!(because.contains("the mapping is inferred"), "{because}");
        assert!(
            ended.took <= Duration::from_secs(6 + 15),
            "{:?}",
            ended.took
        );
    }
}

/// POKEs that come through prove that the mapping lived, and no more.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn the_registrars_pokes_are_a_lower_bound() {
    for (timer, every, alive) in [(6, 4000, Some(4.0)), (3, 5000, None)] {
        let site = Site::behind([Router::masquerade(timer, 12)]);
        let _registrar = Asterisk::registrar(PROVIDER)
            .refresh(20)
            .qualify("alice", every)
            .start(&site.far());
        let ended = lifetime(&site, "alice", "--method qualify --max-lifetime 12s");
        let report = ended.report();
        assert_method(&report, "qualify", "lower-bound");
        let (seen, dead) = edge(&report, "exchange");
        assert_eq!(dead, None);
        if let Some(alive) = alive {
            let seen = seen.unwrap();
            assert!((seen - alive).abs() < 0.5, "{seen}");
            let exchange = &report["measurements"]["lifetime"]["exchange"];
            assert!(exchange.get("dead_s").is_none(), "{exchange}");
            assert_eq!(ended.status, 0, "{report:#}");
        } else {
            assert_eq!(seen, None);
            assert_eq!(findings(&report), ["not-measured"]);
            let why = report["findings"][0]["because"].to_string();
            assert!(why.contains("no POKE of the registrar"), "{why}");
        }
    }
}

/// Without a secret, and without a registration of ours at the registrar.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_token_shows_a_timer_below_ten_seconds() {
    let site = Site::behind([random(SHORT)]);
    let registrar = Asterisk::registrar(PROVIDER).start(&site.far());
    let line = format!("nat lifetime {PROVIDER} --user alice --json --method token");
    let ended = tool::run(&mut tool::command(&line), &site.near());
    let report = ended.report();
    assert_method(&report, "token", "inferred");
    assert_eq!(edge(&report, "exchange"), (Some(5.0), Some(6.0)));
    assert_eq!(report["measurements"]["registration"], Value::Null);
    let log = registrar.log();
    assert!(!log.contains("Registered IAX2 'alice'"), "{log}");
    assert!(!log.contains("failed MD5 authentication"), "{log}");
    // No registration is left half open.
    let channels = registrar.cli("iax2 show channels");
    assert!(channels.contains("0 active IAX channels"), "{channels}");
}

/// A method that does not fit the NAT says so, and which one does.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_method_that_does_not_fit_finds_nothing() {
    let rows = [
        (
            SHORT,
            "--method drift".to_owned(),
            "keeps the port",
            "--method sibling",
        ),
        (
            random(SHORT),
            format!("--method sibling --sibling {SIBLING}"),
            "does not keep the port",
            "--",
        ),
    ];
    for (router, options, fact, remedy) in rows {
        let site = Site::with_sibling([router]);
        let _registrar = Asterisk::registrar(PROVIDER).start(&site.far());
        let ended = lifetime(&site, "alice", &format!("{options} --max-lifetime 14s"));
        let report = ended.report();
        assert_eq!(findings(&report), ["not-measured"], "{options}");
        let found = &report["findings"][0];
        assert!(found["because"].to_string().contains(fact), "{found:#}");
        assert!(found["do_this"].to_string().contains(remedy), "{found:#}");
        assert_eq!(edge(&report, "exchange"), (None, None), "{options}");
        // A measurement takes longer than the lifetime it looks for.
        assert!(ended.took < Duration::from_secs(14), "{:?}", ended.took);
    }
}
