//! Does a call reach the registered account shortly before it registers again? Through the kernel's NAT, with
//! a real Asterisk 16 that rings the account.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use iax2_natcheck::lab::network::Router;
use serde_json::Value;

use crate::support::{
    asterisk::{Asterisk, Builder, SECRET},
    site::{PROVIDER, Site},
    tool::{self, Ended, findings},
};

/// `check` with a call to `extension`, behind a NAT with these timers, at a provider that grants `refresh`.
fn call_back(
    router: Router,
    provider: impl FnOnce(Builder) -> Builder,
    extension: &str,
) -> (Ended, Value) {
    let site = Site::behind([router]);
    let _provider = provider(Asterisk::registrar(PROVIDER)).start(&site.far());
    let line = format!("check {PROVIDER} --user alice --json --callback {extension}");
    let mut command = tool::with_secret(&line, SECRET);
    let ended = tool::run_within(Duration::from_secs(180), &mut command, &site.near());
    let report = ended.report();
    let callback = report["measurements"]["callback"].clone();
    (ended, callback)
}

fn assert_lost(ended: &Ended, callback: &Value) {
    assert_eq!(callback["arrives"], false, "{callback}");
    assert_eq!(callback["late"]["arrived"], false);
    assert_eq!(callback["control"]["arrived"], true);
    assert!(
        callback["control"]["after_s"].as_f64().unwrap() < 2.0,
        "{callback}"
    );
    assert!(findings(&ended.report()).contains(&"call-not-delivered"));
    assert_eq!(ended.status, 2);
}

fn assert_arrived(ended: &Ended, callback: &Value) {
    assert_eq!(callback["arrives"], true, "{callback}");
    assert_eq!(callback["late"]["arrived"], true);
    assert_eq!(callback["control"], Value::Null);
    assert!(!findings(&ended.report()).contains(&"call-not-delivered"));
}

fn is_near(seconds: &Value, expected: f64) -> bool {
    seconds
        .as_f64()
        .is_some_and(|it| (it - expected).abs() < 0.5)
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_call_late_in_the_interval_is_lost_and_one_right_after_a_registration_is_not() {
    // 12 s are renewed after 10; the call comes after 9, and the NAT forgets after 5.
    let (ended, callback) = call_back(
        Router::masquerade(5, 8),
        |builder| builder.refresh(12),
        "604",
    );
    assert_lost(&ended, &callback);
    assert!(is_near(&callback["late"]["after_s"], 9.0), "{callback}");
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_call_late_in_the_interval_arrives_where_the_nat_remembers() {
    let (ended, callback) = call_back(
        Router::masquerade(15, 20),
        |builder| builder.refresh(12),
        "604",
    );
    assert_arrived(&ended, &callback);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn an_extension_that_rings_nobody_of_ours_leaves_the_question_open() {
    // The NAT forgets; the tone would tell nothing even if it did not.
    let (ended, callback) = call_back(
        Router::masquerade(5, 8),
        |builder| builder.refresh(12),
        "601",
    );
    assert_eq!(callback["arrives"], Value::Null, "{callback}");
    assert_eq!(callback["control"]["arrived"], false);
    assert!(!findings(&ended.report()).contains(&"call-not-delivered"));
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and a minute"]
fn full_with_the_defaults_of_linux_the_call_at_45_s_does_not_arrive() {
    let (ended, callback) = call_back(Router::masquerade(30, 120), |builder| builder, "604");
    assert_lost(&ended, &callback);
    assert!(is_near(&callback["late"]["after_s"], 45.0), "{callback}");
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and a minute"]
fn full_with_a_timer_of_65_s_the_call_at_45_s_arrives() {
    let (ended, callback) = call_back(Router::masquerade(65, 120), |builder| builder, "604");
    assert_arrived(&ended, &callback);
    assert!(is_near(&callback["late"]["after_s"], 45.0), "{callback}");
}
