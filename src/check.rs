//! Floor 4: the judgement. Evidence goes in, findings come out; one question a file.
//!
//! A finding names the facts it rests on and what to do about them. A fact that is missing never
//! picks a side: where the main question stays open, the verdict is *unknown* and a finding says
//! what would close it.

pub mod audio;
pub mod busy;
pub mod callback;
pub mod calls;
pub mod depth;
pub mod devices;
pub mod drift;
pub mod filtering;
pub mod finding;
pub mod full_table;
pub mod hops;
pub mod inbound;
pub mod lifetime;
pub mod nat_kind;
pub mod neighbours;
pub mod node;
pub mod open_question;
pub mod passive;
pub mod payload;
pub mod peer;
pub mod registration;
mod remedies;
pub mod router_rules;
pub mod same_port;
mod sentence;
pub mod snat;
pub mod taint;

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
    /// The box in front of the PBX, as the user names it.
    pub device: Option<&'static devices::Device>,
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
    /// Whom does the NAT let in? (`nat filtering`)
    Filtering,
    /// Which boxes on the way keep state, and for how long each? (`nat hops`)
    Hops,
    /// How long does an idle mapping live? (`nat lifetime`)
    Lifetime,
    /// Do hosts behind the NAT reach each other by their public addresses? (`nat hairpin`)
    Hairpin,
    /// Do calls come to their end, and can both sides hear each other? (`call`)
    Calls,
    /// Is the flow of the chosen port alive? (`taint --local-port`)
    Flow,
    /// Do other nodes reach this one at the port that it announces, and see it there?
    /// (`check --profile allstarlink`)
    Node,
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
    /// Which ports and addresses it gives, where many were seen.
    pub depth: Option<depth::Depth>,
    /// Who keeps a port that two hosts send from, where a second address was there to see it.
    pub neighbours: Option<neighbours::Neighbours>,
    /// Whom it lets in, where that was looked at.
    pub filtering: Option<nat_kind::Behaviour>,
    /// The boxes on the way that keep state, the nearest first.
    pub boxes: Vec<hops::StateBox>,
    /// How often the client registers again, where the refresh is known.
    pub cycle: Option<lifetime::Cycle>,
    /// What the test calls mean, where some were placed.
    pub calls: Option<calls::JudgedCalls>,
    /// What their audio means.
    pub audio: Option<audio::JudgedAudio>,
    /// The share of the time in which calls can come in, where it could be told.
    pub reachable: Option<lifetime::Reachable>,
    /// The box in front of the PBX, where somebody says which it is.
    pub device: Option<devices::Known>,
    /// The boxes that keep the timers that were measured, unless changed.
    pub alike: Vec<&'static devices::Device>,
}

/// Judges what a survey found.
#[must_use]
pub fn judge(evidence: &Evidence, context: &Context) -> Judgement {
    let nat = nat_kind::nat_kind(evidence);
    let cycle = lifetime::cycle(evidence, context);
    let reachable = lifetime::reachable(evidence, cycle);
    let drift = drift::finding(evidence, context);
    let lifetime = evidence.lifetime.as_ref();

    let tainted = same_port::finding(evidence, context);
    // A dead flow is why its registration is not answered.
    let registration = registration::finding(evidence, context)
        .filter(|found| tainted.is_none() || found.id != FindingId::RegistrationTimeout);

    let mut findings: Vec<Finding> = [
        peer::finding(evidence, context),
        full_table::finding(evidence, context),
        tainted,
        registration,
        lifetime::finding(evidence, context),
        busy::finding(evidence),
        callback::finding(evidence, context),
        hops::finding(evidence),
        payload::finding(evidence),
        inbound::finding(evidence),
        node::finding(evidence, context),
    ]
    .into_iter()
    .flatten()
    .collect();
    if drift.as_ref().map(|found| found.id) != Some(FindingId::InconsistentNat) {
        findings.extend(nat_kind::finding(evidence, context));
    }
    findings.extend(drift);
    for found in calls::findings(evidence, context)
        .into_iter()
        .chain(audio::findings(evidence, context))
    {
        // What the registration met, the calls meet too.
        if findings.iter().all(|known| known.id != found.id) {
            findings.push(found);
        }
    }
    findings.extend(open_question::finding(evidence, context, &findings));
    let verdict = weigh(&mut findings);
    let summary = sentence::summary(evidence, context, &findings, reachable);
    Judgement {
        verdict,
        summary,
        findings,
        nat,
        depth: depth::depth(evidence),
        neighbours: neighbours::neighbours(evidence),
        filtering: filtering::filtering(evidence),
        boxes: hops::boxes(evidence),
        cycle,
        calls: evidence.calls.as_ref().map(calls::judge),
        audio: evidence.calls.as_ref().map(audio::judge),
        reachable,
        device: devices::known(evidence, context),
        alike: lifetime.map(devices::with_timers).unwrap_or_default(),
    }
}

/// Puts the worst finding first, and gives the verdict.
fn weigh(findings: &mut [Finding]) -> Verdict {
    findings.sort_by_key(|found| std::cmp::Reverse(found.severity));
    findings
        .first()
        .map_or(Verdict::Ok, |worst| match worst.severity {
            Severity::Unknown => Verdict::Unknown,
            Severity::Warning => Verdict::Warning,
            Severity::Critical => Verdict::Critical,
        })
}

impl Judgement {
    /// The judgement of findings that need no survey; `fine` is the sentence where there are none.
    #[must_use]
    pub fn of(findings: Vec<Finding>, fine: &str) -> Self {
        let mut judgement = Self {
            verdict: Verdict::Ok,
            summary: fine.to_owned(),
            findings: vec![],
            nat: None,
            depth: None,
            neighbours: None,
            filtering: None,
            boxes: vec![],
            cycle: None,
            calls: None,
            audio: None,
            reachable: None,
            device: None,
            alike: vec![],
        };
        judgement.add(findings);
        judgement
    }

    /// Whether there is such a finding.
    #[must_use]
    pub fn has(&self, id: FindingId) -> bool {
        self.findings.iter().any(|found| found.id == id)
    }

    /// Adds findings from beside the survey; one that is the worst of all gives the sentence.
    pub fn add(&mut self, findings: Vec<Finding>) {
        let before = self.findings.first().map(|worst| worst.id);
        self.findings.extend(findings);
        self.verdict = weigh(&mut self.findings);
        if let Some(worst) = self.findings.first()
            && Some(worst.id) != before
        {
            // What comes from beside a survey is about neither calls that are placed nor hops.
            self.summary = sentence::consequence(worst, false, self.reachable, None);
        }
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
            Question::Filtering,
            Question::Hops,
            Question::Lifetime,
            Question::Hairpin,
            Question::Flow,
            Question::Node,
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
