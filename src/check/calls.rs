//! Do calls come to their end, and if not, which way do they fail?

pub mod pattern;
pub mod symptom;
mod words;

use std::collections::BTreeMap;

use self::{
    pattern::{Fared, Pattern, Spread},
    symptom::Symptom,
    words::Failed,
};
use crate::{
    check::{Context, Finding, FindingId, Severity, drift, seconds},
    probe::{
        calls::evidence::{CallRecord, CallsEvidence},
        evidence::Evidence,
    },
    proto::call::{Ending, Side},
};

/// What a burst of calls means.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedCalls {
    /// The symptom of each call, in the order in which they were placed; `None` while under way.
    pub symptoms: Vec<Option<Symptom>>,
    /// How the failures are spread.
    pub spread: Spread,
}

/// Judges each call and all of them together.
#[must_use]
pub fn judge(evidence: &CallsEvidence) -> JudgedCalls {
    let symptoms: Vec<Option<Symptom>> = evidence.calls.iter().map(Symptom::of).collect();
    let fared: Vec<Fared> = evidence
        .calls
        .iter()
        .zip(&symptoms)
        .filter_map(|(call, symptom)| {
            Some(Fared {
                symptom: (*symptom)?,
                trunked: call.trunked,
            })
        })
        .collect();
    JudgedCalls {
        symptoms,
        spread: pattern::spread(&fared),
    }
}

/// What is wrong with the calls: one finding for each kind of failure.
#[must_use]
pub fn findings(evidence: &Evidence, context: &Context) -> Vec<Finding> {
    let Some(calls) = &evidence.calls else {
        return Vec::new();
    };
    let judged = judge(calls);
    let mut by_id: BTreeMap<FindingId, Vec<(Symptom, &CallRecord)>> = BTreeMap::new();
    for (record, symptom) in calls.calls.iter().zip(&judged.symptoms) {
        if let Some(symptom) = symptom.filter(|symptom| symptom.is_failure()) {
            let id = id_of(symptom, judged.spread.pattern);
            by_id.entry(id).or_default().push((symptom, record));
        }
    }
    by_id
        .into_iter()
        .filter_map(|(id, failures)| finding(id, &failures, &judged, evidence, context))
        .collect()
}

/// The finding that a failure belongs to.
pub(super) fn id_of(symptom: Symptom, pattern: Option<Pattern>) -> FindingId {
    match symptom {
        Symptom::AutoCongested => FindingId::AutoCongested,
        Symptom::TokenMissing | Symptom::TokenRefused => FindingId::TokenRefused,
        Symptom::Rejected | Symptom::Congested | Symptom::NotEncrypted | Symptom::NoCodec => {
            FindingId::CallRejected
        }
        Symptom::AuthUnsupported => FindingId::AuthUnsupported,
        Symptom::Fine
        | Symptom::Busy
        | Symptom::NoAnswer
        | Symptom::Invalidated
        | Symptom::RawHangup
        | Symptom::StateLost
        | Symptom::FrameLost
        | Symptom::FlowLost
        | Symptom::PathLost
        | Symptom::Silent
        | Symptom::Stalled
        | Symptom::HangupLost
        | Symptom::HungUpOddly => match pattern {
            Some(Pattern::Systematic) => FindingId::SystematicHangups,
            Some(Pattern::Random) => FindingId::RandomRawHangups,
            Some(Pattern::None) | None => FindingId::CallLost,
        },
    }
}

fn finding(
    id: FindingId,
    failures: &[(Symptom, &CallRecord)],
    judged: &JudgedCalls,
    evidence: &Evidence,
    context: &Context,
) -> Option<Finding> {
    let reach = evidence.reach.as_ref();
    // A provider that answers nothing at all has a finding of its own.
    let unreachable = reach.is_some_and(|reach| reach.sent > 0 && reach.received == 0);
    if id == FindingId::AutoCongested && unreachable {
        return None;
    }
    let (symptom, record) = failures.first().copied()?;
    let spread = &judged.spread;
    let mut because = vec![fact(symptom, record)];
    if spread.ended > 1 {
        because.insert(0, spread.why.clone());
    }
    because.extend(spread.odds());
    if let Some(reach) = reach.filter(|reach| reach.sent > 0) {
        because.push(format!(
            "{} of {} POKEs from another socket were answered",
            reach.received, reach.sent
        ));
    }
    because.extend(drift::told_of(evidence, context.provider));
    let failed = Failed {
        calls: failures.len(),
        of: spread.ended,
    };
    let (title, do_this) = words::words(id, symptom, record, failed, context);
    Some(Finding {
        id,
        severity: severity(id, spread),
        title,
        because,
        do_this,
    })
}

/// A device that loses one call in fifty is a nuisance; one in twenty is no telephone.
fn severity(id: FindingId, spread: &Spread) -> Severity {
    let rare = spread.failed * 20 < spread.ended;
    if id == FindingId::RandomRawHangups && rare {
        Severity::Warning
    } else {
        Severity::Critical
    }
}

/// What was seen of one such call.
#[must_use]
pub fn fact(symptom: Symptom, record: &CallRecord) -> String {
    let after = record.ended.map_or_else(String::new, |ended| {
        format!(", {} after NEW", seconds(ended))
    });
    let stage = match (record.accepted, record.answered) {
        (_, Some(_)) => "after the answer",
        (Some(_), None) => "after ACCEPT",
        (None, None) => "during the set-up",
    };
    match record.ending.as_ref() {
        None => "the call is still under way".into(),
        Some(Ending::HungUp { by: Side::Us, .. }) if symptom::is_congested(record) => {
            format!("CONGESTION {stage}{after}")
        }
        Some(Ending::HungUp {
            by: Side::Us,
            acknowledged: false,
            ..
        }) if record.fell_silent() => {
            let hung_up = record.hung_up.map_or_else(String::new, |hung_up| {
                format!(" {} after NEW", seconds(hung_up))
            });
            let before = record
                .unacknowledged
                .map_or_else(String::new, |frame| format!(", as was {frame} before it"));
            format!(
                "our HANGUP{hung_up} stayed unacknowledged{before}{}",
                last_heard(record)
            ) + &told_by_control(record)
        }
        Some(Ending::HungUp { cause, by, .. }) => {
            format!("HANGUP by {} {stage}{after}: {cause}", side(*by))
        }
        Some(Ending::Rejected { cause, .. }) => format!("REJECT{after}: {cause}"),
        Some(Ending::TokenRefused { had_token: true }) => {
            "REJECT from call number 1 without a cause, to the NEW with the token that the callee \
             had just given"
                .into()
        }
        Some(Ending::TokenRefused { had_token: false }) => {
            "REJECT from call number 1 without a cause, to a NEW without a token".into()
        }
        Some(Ending::AuthUnsupported { offered, reason }) => {
            format!("AUTHREQ with methods {offered:#06x}: {reason}")
        }
        Some(Ending::NotEncrypted) => {
            "encryption was demanded, and the callee's answer has none".into()
        }
        Some(Ending::NoFormat(format)) => format!("ACCEPT names the format {format}"),
        Some(Ending::Invalidated { about: Some(frame) }) => {
            format!("INVAL {stage}{after}, while {frame} waited for its acknowledgement")
        }
        Some(Ending::Invalidated { about: None }) => format!("INVAL {stage}{after}"),
        Some(Ending::Unanswered { frame, heard }) => {
            let before = match (*heard, record.token) {
                (true, _) => "",
                (false, true) => ", although a call token had come",
                (false, false) => ", and no frame came before",
            };
            format!(
                "{frame} stayed unacknowledged {stage}, given up{after}{before}{}",
                last_heard(record)
            ) + &told_by_control(record)
        }
        Some(Ending::Stalled) => format!("nothing more came {stage}{after} ({})", symptom.as_str()),
    }
}

fn last_heard(record: &CallRecord) -> String {
    record.heard.map_or_else(String::new, |heard| {
        format!(
            "; the far end was last heard in it {} after NEW",
            seconds(heard)
        )
    })
}

fn told_by_control(record: &CallRecord) -> String {
    record.control.map_or_else(String::new, |control| {
        format!(
            "; POKEs then: {} of {} answered on the call's socket, {} of {} on a fresh one",
            control.same.1, control.same.0, control.fresh.1, control.fresh.0
        )
    })
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Us => "us",
        Side::Peer => "the far end",
    }
}
