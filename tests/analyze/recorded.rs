//! The captures of real peers: the findings that somebody wrote down who knows how each was made.

use std::collections::BTreeMap;

use secrecy::SecretString;

use iax2_natcheck::trace::{
    call::{End, Secret, Side},
    registration::Outcome,
};

use crate::looked::{captures, judged, settings, traced};

/// What is wrong in each capture; the others show nothing wrong.
///
/// * `call606-alice`: the far end is congested.
/// * `register-rsa2`: a key that Asterisk cannot load, so that the client turns the challenge down.
/// * `dialogues`: forged tokens, a wrong password, REGACKs never acknowledged, a port that changes inside a
///   registration, calls that nobody answers on purpose.
/// * `trunk`: a client that ends both calls by INVAL.
/// * `natlab2-wan`: the router's address changes, and its old entry lives on for minutes.
/// * `odd-ast16`: odd requests, of which the server turns away those without a token or codec.
/// * `retry`: three outages, each over at its end.
const FINDINGS: [(&str, &[&str]); 10] = [
    ("ast16/call606-alice", &["call-rejected"]),
    ("ast16/register-badpw", &["registration-rejected"]),
    ("ast16/register-rsa2", &["auth-unsupported"]),
    ("ast16/register-unknownuser", &["registration-rejected"]),
    (
        "ast22/dialogues",
        &[
            "mapping-changed",
            "random-raw-hangups",
            "registration-rejected",
            "registration-timeout",
            "token-refused",
        ],
    ),
    ("ast22/trunk", &["call-lost"]),
    ("natlab2-wan", &["mapping-changed", "registration-timeout"]),
    ("odd-ast16", &["call-rejected", "token-refused"]),
    ("register-rejected-cadence", &["registration-rejected"]),
    ("retry", &["registration-timeout"]),
];

#[test]
fn each_capture_has_its_findings_and_no_other() {
    let expected: BTreeMap<_, _> = FINDINGS.into_iter().collect();
    let mut seen = 0;
    for (name, path) in captures() {
        let (_, judgement) = judged(&path);
        let mut ids: Vec<&str> = judgement
            .findings
            .iter()
            .map(|found| found.id.as_str())
            .collect();
        ids.sort_unstable();
        let wanted = expected.get(name.as_str()).copied().unwrap_or_default();
        assert_eq!(ids, wanted, "{name}: {:#?}", judgement.findings);
        for found in &judgement.findings {
            let evidence = found.because.iter().any(|fact| fact.contains("frame "));
            assert!(evidence, "{name}: {found:#?}");
            assert!(!found.do_this.is_empty(), "{name}: {found:#?}");
        }
        seen += usize::from(expected.contains_key(name.as_str()));
    }
    assert_eq!(seen, expected.len(), "a capture is missing");
}

#[test]
fn a_registration_and_a_call_are_rebuilt() {
    let files: BTreeMap<_, _> = captures().into_iter().collect();
    let (traced, _) = judged(&files["ast16/register-alice"]);
    let [attempt] = traced.registrations.as_slice() else {
        panic!("{:#?}", traced.registrations);
    };
    assert_eq!(attempt.outcome, Outcome::Registered);
    assert_eq!(attempt.user.as_deref(), Some("alice"));
    assert_eq!(attempt.number.get(), 4651);
    assert_eq!((attempt.refresh, attempt.token), (Some(60), true));
    assert_eq!((attempt.requests, attempt.retransmissions), (3, 0));
    assert_eq!(attempt.decided.unwrap().number(), 6);
    assert_eq!(attempt.apparent.unwrap().to_string(), "10.99.0.2:4569");

    let (traced, _) = judged(&files["ast16/call608-alice"]);
    let [call] = traced.calls.as_slice() else {
        panic!("{:#?}", traced.calls);
    };
    assert_eq!(call.called.as_deref(), Some("608"));
    assert!(call.accepted.is_some() && call.answered.is_some());
    let ended = End::HungUp {
        by: Side::Caller,
        acknowledged: true,
    };
    assert_eq!(call.end, ended);
    let digits: usize = call.digits.iter().flatten().map(|it| it.len()).sum();
    assert_eq!(digits, 10, "{:?}", call.digits);
    assert_eq!(call.texts, 2);
}

#[test]
fn qualify_cycles_are_counted() {
    let files: BTreeMap<_, _> = captures().into_iter().collect();
    let (traced, _) = judged(&files["ast16/qualify"]);
    let pokes: Vec<_> = traced
        .flows
        .iter()
        .flat_map(|flow| flow.pokes.iter().flatten())
        .collect();
    let [pokes] = pokes.as_slice() else {
        panic!("{pokes:#?}");
    };
    assert_eq!(pokes.answered, 4);
    assert_eq!(pokes.sent + pokes.again, 8, "{pokes:#?}");
}

#[test]
fn an_encrypted_call_is_sealed_and_opens_with_its_secret_alone() {
    let files: BTreeMap<_, _> = captures().into_iter().collect();
    let path = &files["ast16/call600-crypt2"];
    let with = |secret: &str| {
        let mut told = settings();
        told.secret = Some(SecretString::from(secret.to_owned()));
        traced(path, told).0
    };
    let (sealed, judgement) = judged(path);
    assert_eq!(judgement.findings, []);
    assert_eq!(sealed.calls[0].secret, Secret::Sealed);
    assert_eq!(sealed.calls[0].end, End::Open);
    assert_eq!(with("wrong").calls[0].secret, Secret::Sealed);
    let opened = with("s3cret");
    let call = &opened.calls[0];
    assert_eq!(call.secret, Secret::Opened);
    assert!(call.accepted.is_some() && call.answered.is_some());
    assert!(matches!(call.end, End::HungUp { .. }), "{:?}", call.end);
    assert_eq!(call.media.map(|media| media.packets()), [137, 137]);
    assert_eq!(call.media.map(|media| media.lost), [0, 0]);
}
