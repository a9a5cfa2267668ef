//! Comparisons of real reports, and of some that are made to differ in one thing.

use super::*;
use crate::report::{
    fixture,
    model::{Edge, Gone, Number},
};

/// The router's timer was raised: 29/30 s became 64/65 s.
fn mended() -> Report {
    let mut after = fixture("linux-defaults");
    after.verdict = Verdict::Ok;
    after.findings.clear();
    let lifetime = after.measurements.lifetime.as_mut().unwrap();
    lifetime.exchange = Some(Edge {
        alive_s: Some(Number::new(64.0)),
        dead_s: Gone::After(Number::new(65.0)),
    });
    let reachable = after.measurements.reachable.as_mut().unwrap();
    reachable.fraction = Some(Number::new(1.0));
    reachable.open_s = Some(Number::new(65.0));
    after
}

#[test]
fn a_raised_timer_is_better_and_a_lowered_one_worse() {
    let (before, after) = (fixture("linux-defaults"), mended());
    let forth = Diff::of(&before, &after);
    insta::assert_snapshot!("raised.txt", render(&forth));
    assert_eq!(forth.worse, Vec::<String>::new());
    let back = Diff::of(&after, &before);
    assert_eq!(back.better, Vec::<String>::new());
    assert_eq!(back.worse.len(), forth.better.len());
    assert!(render(&back).starts_with("WORSE: verdict: CRITICAL, was OK."));
}

#[test]
fn a_report_is_the_same_as_itself() {
    for name in ["critical", "ok", "unknown", "unreachable", "warning"] {
        let report = fixture(name);
        let diff = Diff::of(&report, &report);
        assert_eq!(diff.better, Vec::<String>::new(), "{name}");
        assert_eq!(diff.worse, Vec::<String>::new(), "{name}");
        assert_eq!(diff.changed, Vec::<String>::new(), "{name}");
        assert_eq!(diff.not_told, Vec::<String>::new(), "{name}");
        assert_eq!(diff.still.len(), report.findings.len(), "{name}");
    }
}

#[test]
fn what_was_not_looked_for_is_not_mended() {
    let (before, mut after) = (fixture("linux-defaults"), mended());
    after.measurements.lifetime = None;
    after.measurements.reachable = None;
    let diff = Diff::of(&before, &after);
    assert_eq!(diff.better, ["verdict: OK, was CRITICAL"]);
    assert!(diff.not_told[0].starts_with("not found, and perhaps not looked for any more: "));
    assert!(diff.not_told[1].ends_with("measured nothing of: lifetime, reachable"));

    let mut after = mended();
    after.interrupted = true;
    let diff = Diff::of(&before, &after);
    assert!(diff.remarks[0].contains("second report was stopped"));
    assert!(diff.not_told[0].starts_with("not found, and perhaps not looked for any more: "));
    let back = Diff::of(&after, &before);
    assert!(back.not_told[0].starts_with("found, and perhaps not looked for before: "));
}

#[test]
fn an_unknown_verdict_is_neither() {
    let diff = Diff::of(&fixture("critical"), &fixture("unknown"));
    assert!(
        diff.not_told
            .contains(&"verdict: UNKNOWN, was CRITICAL".to_owned()),
        "{diff:#?}"
    );
}

/// Edges that touch are the same timer measured twice.
#[test]
fn an_edge_differs_only_beyond_what_was_measured() {
    let before = fixture("linux-defaults");
    for (alive, dead, expected) in [
        (28.0, 29.0, 1),
        (29.0, 30.0, 0),
        (29.5, 30.5, 0),
        (30.0, 31.0, 1),
    ] {
        let mut after = before.clone();
        let lifetime = after.measurements.lifetime.as_mut().unwrap();
        lifetime.stream = None;
        lifetime.one_way = Some(Edge {
            alive_s: Some(Number::new(alive)),
            dead_s: Gone::After(Number::new(dead)),
        });
        let diff = Diff::of(&before, &after);
        let told = diff.better.len() + diff.worse.len();
        assert_eq!(told, expected, "{alive}/{dead}: {diff:#?}");
    }
}

#[test]
fn other_providers_and_swapped_reports_are_remarked() {
    let (before, mut after) = (fixture("linux-defaults"), mended());
    after.provider.as_mut().unwrap().address = "203.0.113.9:4569".parse().ok();
    after.finished_at = Time(std::time::SystemTime::UNIX_EPOCH);
    let diff = Diff::of(&before, &after);
    assert_eq!(diff.remarks.len(), 2, "{diff:#?}");
}

#[test]
fn chance_is_not_called_a_difference() {
    let before = fixture("critical");
    let mut after = before.clone();
    after.measurements.calls.as_mut().unwrap().completed = 19;
    let diff = Diff::of(&before, &after);
    assert_eq!((diff.better.len(), diff.worse.len()), (0, 0));
    assert!(
        diff.not_told[0].ends_with("which may be chance"),
        "{diff:#?}"
    );
}
