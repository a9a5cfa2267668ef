//! Floor 4: the judgement. Evidence goes in, findings come out; one question a file.
//!
//! A finding names the facts it rests on and what to do about them. A fact that is missing never
//! picks a side: where the main question stays open, the verdict is *unknown* and a finding says
//! what would close it.

pub mod drift;
pub mod finding;
pub mod lifetime;
pub mod nat_kind;
pub mod open_question;
pub mod peer;
pub mod registration;
pub mod router_rules;
mod sentence;
pub mod snat;

#[cfg(test)]
pub(crate) mod sample;

use std::time::Duration;

use crate::{probe::evidence::Evidence, types::PeerAddr};

pub use finding::{Finding, FindingId, Severity};

/// What the user asked, and what the survey cannot know by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The main question.
    pub question: Question,
    /// The provider's address.
    pub provider: PeerAddr,
    /// An account was given, so that a registration was meant to be made.
    pub credentials: bool,
    /// The refresh the user told us to judge with, instead of the granted one.
    pub refresh: Option<Duration>,
}

/// The question a command exists to answer. The verdict is *unknown* while it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Can calls reach the PBX between two registrations? (`check`, `demo`)
    Reachability,
    /// Does the registrar take the account? (`register`)
    Registration,
    /// How does the external address depend on the destination? (`nat mapping`)
    Mapping,
    /// How long does an idle mapping live? (`nat lifetime`)
    Lifetime,
}

/// The whole judgement in one word, in the order of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The main question is answered, and nothing is wrong.
    Ok,
    /// The main question could not be answered.
    Unknown,
    /// Something is wrong, calls still come through or may do so.
    Warning,
    /// Calls are lost.
    Critical,
}

/// What the evidence means.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// The verdict in one sentence for the owner of the PBX.
    pub summary: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What kind of NAT this is, where a mapping was seen.
    pub nat: Option<nat_kind::NatKind>,
    /// How often the client registers again, where the refresh is known.
    pub cycle: Option<lifetime::Cycle>,
    /// The share of the time in which calls can come in, where it could be told.
    pub reachable: Option<lifetime::Reachable>,
}

/// Judges what a survey found.
#[must_use]
pub fn judge(evidence: &Evidence, context: &Context) -> Judgement {
    let nat = nat_kind::nat_kind(evidence);
    let cycle = lifetime::cycle(evidence, context);
    let reachable = lifetime::reachable(evidence, cycle);
    let drift = drift::finding(evidence, context);

    let mut findings: Vec<Finding> = [
        peer::finding(evidence, context),
        registration::finding(evidence, context),
        lifetime::finding(evidence, context),
    ]
    .into_iter()
    .flatten()
    .collect();
    if drift.as_ref().map(|found| found.id) != Some(FindingId::InconsistentNat) {
        findings.extend(nat_kind::finding(evidence));
    }
    findings.extend(drift);
    findings.extend(open_question::finding(evidence, context, &findings));
    findings.sort_by_key(|found| std::cmp::Reverse(found.severity));

    let verdict = findings
        .iter()
        .map(|found| match found.severity {
            Severity::Unknown => Verdict::Unknown,
            Severity::Warning => Verdict::Warning,
            Severity::Critical => Verdict::Critical,
        })
        .max()
        .unwrap_or(Verdict::Ok);
    let summary = sentence::summary(evidence, context, &findings, reachable);
    Judgement {
        verdict,
        summary,
        findings,
        nat,
        cycle,
        reachable,
    }
}

/// A duration as the findings write it: `30 s`, `4.99 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let rounded = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    format!("{rounded} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{context, healthy, with_exchange};

    #[test]
    fn a_healthy_line_is_ok_without_findings() {
        let judgement = judge(&healthy(), &context());
        assert_eq!(judgement.findings, vec![]);
        assert_eq!(judgement.verdict, Verdict::Ok);
        assert_eq!(
            judgement.summary,
            "Calls can reach this PBX at any time: the NAT keeps the way open for 65 s, and \
             the PBX registers again after 50 s."
        );
    }

    #[test]
    fn the_worst_finding_gives_the_verdict_and_stands_first() {
        let mut evidence = with_exchange(29, 30);
        let mapping = evidence.mapping.as_mut().unwrap();
        mapping.observations[1].mapped = sample::mapped("198.51.100.7:1024");
        let judgement = judge(&evidence, &context());
        assert_eq!(judgement.verdict, Verdict::Critical);
        let ids: Vec<FindingId> = judgement.findings.iter().map(|found| found.id).collect();
        assert_eq!(
            ids,
            [FindingId::ShortMappingTimeout, FindingId::InconsistentNat]
        );
    }

    #[test]
    fn nothing_found_is_unknown_for_every_question() {
        for question in [
            Question::Reachability,
            Question::Registration,
            Question::Mapping,
            Question::Lifetime,
        ] {
            let context = Context {
                question,
                ..context()
            };
            let judgement = judge(&Evidence::default(), &context);
            assert_eq!(judgement.verdict, Verdict::Unknown, "{question:?}");
        }
    }

    #[test]
    fn fractions_of_seconds_are_written_short() {
        assert_eq!(seconds(Duration::from_secs(30)), "30 s");
        assert_eq!(seconds(Duration::from_millis(4990)), "4.99 s");
    }
}
