//! Do calls come to their end, and if not, which way do they fail?

pub mod pattern;
pub mod symptom;

use std::{collections::BTreeMap, fmt::Write as _};

use self::{
    pattern::{Fared, Pattern, Spread},
    symptom::Symptom,
};
use crate::{
    check::{Context, Finding, FindingId, Severity, drift, seconds},
    probe::{
        calls::evidence::{CallRecord, CallsEvidence},
        evidence::Evidence,
    },
    proto::call::Ending,
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

fn id_of(symptom: Symptom, pattern: Option<Pattern>) -> FindingId {
    match symptom {
        Symptom::AutoCongested => FindingId::AutoCongested,
        Symptom::TokenMissing | Symptom::TokenRefused => FindingId::TokenRefused,
        Symptom::Rejected | Symptom::NotEncrypted | Symptom::NoCodec => FindingId::CallRejected,
        Symptom::AuthUnsupported => FindingId::AuthUnsupported,
        Symptom::Fine
        | Symptom::Busy
        | Symptom::NoAnswer
        | Symptom::Invalidated
        | Symptom::RawHangup
        | Symptom::StateLost
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
    let count = format!("{} of {}", failures.len(), spread.ended);
    let mut because = vec![fact(symptom, record)];
    if spread.ended > 1 {
        because.insert(0, spread.why.clone());
    }
    if let (Some((low, high)), Some(Pattern::Random)) = (spread.interval, spread.pattern) {
        because.push(format!(
            "{} of {} calls failed: between {:.1} and {:.1} % of all would, with 95 % confidence",
            spread.failed,
            spread.ended,
            low * 100.0,
            high * 100.0
        ));
    }
    if let Some(reach) = reach.filter(|reach| reach.sent > 0) {
        because.push(format!(
            "{} of {} POKEs from another socket were answered",
            reach.received, reach.sent
        ));
    }
    because.extend(drift::told_of(evidence, context.provider));
    let (title, do_this) = words(id, symptom, record, &count, context);
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
        format!(" {} after NEW", seconds(ended))
    });
    let stage = match (record.accepted, record.answered) {
        (_, Some(_)) => "after the answer",
        (Some(_), None) => "after ACCEPT",
        (None, None) => "during the set-up",
    };
    match record.ending.as_ref() {
        None => "the call is still under way".into(),
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
            format!("INVAL{after}, {stage}, while {frame} waited for its acknowledgement")
        }
        Some(Ending::Invalidated { about: None }) => format!("INVAL{after}, {stage}"),
        Some(Ending::Unanswered { frame, heard }) => {
            let before = if *heard {
                ""
            } else {
                ", and no frame came before"
            };
            let mut text =
                format!("{frame} stayed unacknowledged {stage}, given up{after}{before}");
            if let Some(control) = record.control {
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "; POKEs then: {} of {} answered on the call's socket, {} of {} on a fresh one",
                    control.same.1, control.same.0, control.fresh.1, control.fresh.0
                );
            }
            text
        }
        Some(Ending::Stalled) => format!("nothing more came {stage}{after} ({})", symptom.as_str()),
    }
}

const fn side(side: crate::proto::call::Side) -> &'static str {
    match side {
        crate::proto::call::Side::Us => "us",
        crate::proto::call::Side::Peer => "the far end",
    }
}

/// Title and remedies.
fn words(
    id: FindingId,
    symptom: Symptom,
    record: &CallRecord,
    count: &str,
    context: &Context,
) -> (String, Vec<String>) {
    let provider = context.provider;
    match id {
        FindingId::AutoCongested => (
            format!("{count} calls were never answered: NEW gets no reply"),
            vec![
                "Asterisk logs this as \"Auto-congesting call due to slow response\"".into(),
                format!("ask the far end whether a firewall or an access list drops calls to {provider}, and whether your address and port are the ones it expects"),
                "look for a filter on the way that lets short packets pass: NEW is longer than POKE".into(),
            ],
        ),
        FindingId::TokenRefused if symptom == Symptom::TokenMissing => (
            "The callee requires a call token, and none was offered".into(),
            vec!["offer one, or have the callee set requirecalltoken=no for this account".into()],
        ),
        FindingId::TokenRefused => (
            format!("{count} calls: the callee refuses the call token that it gave a moment before"),
            vec![
                "make the NAT keep one external port for the PBX: see nat mapping".into(),
                "else ask the provider to raise maxcallnumbers or callnumberlimits for this address".into(),
            ],
        ),
        FindingId::CallRejected => (
            match &record.ending {
                Some(Ending::Rejected { cause, .. } | Ending::HungUp { cause, .. }) => {
                    format!("{count} calls were refused: {cause}")
                }
                Some(Ending::NoFormat(_)) => format!("{count} calls found no codec in common"),
                _ => format!("{count} calls were refused: no encryption to be had"),
            },
            vec![
                "check extension, account and secret, and the codecs that both ends allow".into(),
                "for an encrypted call the account needs encryption=aes128 and auth=md5 at the far end".into(),
            ],
        ),
        FindingId::AuthUnsupported => (
            "The callee wants a proof of identity that was not given".into(),
            vec!["give --secret-file, --rsa-key or --allow-plaintext as its account asks".into()],
        ),
        _ => lost(id, symptom, count),
    }
}

fn lost(id: FindingId, symptom: Symptom, count: &str) -> (String, Vec<String>) {
    let what = match symptom {
        Symptom::Invalidated => "ended by INVAL: the far end knows nothing of them",
        Symptom::RawHangup => "were hung up by the far end without a word",
        Symptom::StateLost => {
            "fell silent while the path stayed up: the far end no longer takes their packets for theirs"
        }
        Symptom::FlowLost => {
            "fell silent: nothing passes between their socket and the provider any more"
        }
        Symptom::PathLost => "fell silent, and so did the provider",
        Symptom::HangupLost => "could not be hung up: nobody acknowledges it",
        Symptom::HungUpOddly => "were ended by the far end in their middle",
        _ => "came to nothing",
    };
    let mut do_this = match symptom {
        Symptom::StateLost | Symptom::Invalidated | Symptom::RawHangup | Symptom::HangupLost => {
            vec![
                "see whether the NAT changed the external port in mid-call: the same with --reflector HOST".into(),
            ]
        }
        Symptom::FlowLost => vec![
            "look at the NAT's entry of this socket: a tainted or half-dead one is deleted by conntrack -D".into(),
        ],
        _ => vec!["see whether the line drops out at these times".into()],
    };
    do_this.push(match id {
        FindingId::SystematicHangups => {
            "the failure is the same each time: a setting is wrong, at the far end or on the way".into()
        }
        FindingId::RandomRawHangups => {
            "failures that follow no rule are a device that loses or mistranslates packets: replace the NAT device, or go round it".into()
        }
        _ => "place more calls to tell chance from rule: --calls 20".into(),
    });
    (format!("{count} calls {what}"), do_this)
}
