//! What the calls of a capture mean: how each ended, and whether those that failed did so by chance or by rule.

#![allow(
    clippy::similar_names,
    reason = "caller and callee are the words of the field"
)]

use std::collections::BTreeMap;

use super::{NAMED, counted};
use crate::{
    check::{
        Finding, FindingId, Severity,
        calls::{
            id_of,
            pattern::{self, Fared, Spread},
            symptom::Symptom,
        },
        seconds,
    },
    trace::{
        call::{BUSY, CONGESTION, Call, End, Secret, Side},
        traced::Traced,
    },
    wire::iax2::cause::Cause,
};

/// How a call fared; `None` where the capture does not tell.
#[must_use]
pub fn symptom(call: &Call) -> Option<Symptom> {
    let answered = call.answered.is_some() || call.began_before;
    let says = |bit: u8| call.progress & bit != 0;
    Some(match &call.end {
        End::Open => return None,
        End::HungUp {
            by: Side::Caller, ..
        } => match answered {
            true => Symptom::Fine,
            false if says(BUSY) => Symptom::Busy,
            false if says(CONGESTION) => Symptom::Congested,
            false => Symptom::NoAnswer,
        },
        End::HungUp {
            by: Side::Callee, ..
        }
        | End::Rejected { by: Side::Callee } => said(call, answered),
        End::Rejected { by: Side::Caller } => Symptom::AuthUnsupported,
        End::TokenRefused { had_token: true } => Symptom::TokenRefused,
        End::TokenRefused { had_token: false } => Symptom::TokenMissing,
        End::Invalid { .. } => Symptom::Invalidated,
        End::Unanswered => Symptom::AutoCongested,
        End::Silent { .. } if call.moved.is_some() => Symptom::StateLost,
        End::Silent { .. } => Symptom::Silent,
    })
}

/// The callee ended it, and may have said why.
fn said(call: &Call, answered: bool) -> Symptom {
    let naked = call.cause.is_none() && matches!(call.cause_code, None | Some(0));
    let busy = call.progress & BUSY != 0 || call.cause_code == Some(Cause::Busy.get());
    match call.cause_code {
        Some(code) if answered && code == Cause::Normal.get() => Symptom::Fine,
        // In a call from before the capture either end may be the caller.
        _ if call.began_before => Symptom::Fine,
        _ if answered && naked => Symptom::RawHangup,
        _ if answered => Symptom::HungUpOddly,
        _ if busy => Symptom::Busy,
        None | Some(0 | 16 | 31) if call.progress & CONGESTION != 0 => Symptom::Congested,
        _ if naked => Symptom::RawHangup,
        Some(18 | 19) => Symptom::NoAnswer,
        Some(34..=47) => Symptom::Congested,
        _ => Symptom::Rejected,
    }
}

/// What is wrong with them: one finding for each kind of failure.
pub(super) fn findings(traced: &Traced) -> Vec<Finding> {
    let ended: Vec<(&Call, Symptom)> = traced
        .calls
        .iter()
        .filter_map(|call| Some((call, symptom(call)?)))
        .collect();
    let fared: Vec<Fared> = ended
        .iter()
        .map(|(call, symptom)| Fared {
            symptom: *symptom,
            trunked: call.media.iter().any(|media| media.trunk > 0),
        })
        .collect();
    let spread = pattern::spread(&fared);
    let mut by_id: BTreeMap<FindingId, Vec<(&Call, Symptom)>> = BTreeMap::new();
    for (call, symptom) in ended.iter().filter(|(_, symptom)| symptom.is_failure()) {
        let id = id_of(*symptom, spread.pattern);
        by_id.entry(id).or_default().push((call, *symptom));
    }
    by_id
        .into_iter()
        .filter_map(|(id, failures)| finding(traced, id, &failures, &spread))
        .collect()
}

fn finding(
    traced: &Traced,
    id: FindingId,
    failures: &[(&Call, Symptom)],
    spread: &Spread,
) -> Option<Finding> {
    let (call, symptom) = failures.first().copied()?;
    let mut because = Vec::new();
    if spread.ended > 1 {
        because.push(spread.why.clone());
    }
    because.extend(
        failures
            .iter()
            .take(NAMED)
            .map(|(call, _)| told(traced, call)),
    );
    if failures.len() > NAMED {
        because.push(format!("{} in all", counted(failures.len(), "such call")));
    }
    because.extend(spread.odds());
    let rare = spread.failed * 20 < spread.ended;
    Some(Finding {
        id,
        severity: if id == FindingId::RandomRawHangups && rare {
            Severity::Warning
        } else {
            Severity::Critical
        },
        title: title(id, call, symptom, failures.len(), spread),
        because,
        do_this: vec![do_this(symptom).to_owned()],
    })
}

fn title(id: FindingId, call: &Call, symptom: Symptom, failures: usize, spread: &Spread) -> String {
    let of = format!("{failures} of {} calls", spread.ended);
    match id {
        FindingId::AutoCongested => format!("NEW stays unanswered: {of}"),
        FindingId::TokenRefused if call.moved.is_some() => {
            "The public port changes between call token and call".into()
        }
        FindingId::TokenRefused => format!("Calls are turned away at the door: {of}"),
        FindingId::CallRejected => {
            let cause = call.cause.as_deref().map_or_else(
                || {
                    call.cause_code
                        .map_or_else(String::new, |code| format!(": {}", Cause::from(code)))
                },
                |cause| format!(": {cause}"),
            );
            format!("The far end refuses calls{cause}")
        }
        FindingId::AuthUnsupported => "The caller turns down the challenge".into(),
        _ => match failures {
            1 => format!("A call ended before its time: {}", symptom.as_str()),
            _ => format!("{of} ended before their time: {}", symptom.as_str()),
        },
    }
}

const fn do_this(symptom: Symptom) -> &'static str {
    match symptom {
        Symptom::AutoCongested => {
            "capture on both sides of the router at once: that tells whether NEW leaves and whether the \
             answer comes back; ask the far end for an access list or a ban"
        }
        Symptom::TokenRefused | Symptom::TokenMissing => {
            "make the NAT keep one external port for the PBX; where it does, ask the far end to raise \
             maxcallnumbers for this address"
        }
        Symptom::Rejected | Symptom::AuthUnsupported | Symptom::NotEncrypted | Symptom::NoCodec => {
            "check extension, account, secret and codecs against the far end"
        }
        Symptom::Congested => "ask the far end what its line to that number lacks",
        Symptom::Invalidated => {
            "one end says that it knows no such call: look whether it restarted, or whether the NAT gave \
             the call another port"
        }
        Symptom::RawHangup | Symptom::HungUpOddly => {
            "look at the log of the end that hung up, at the time that is named"
        }
        _ => {
            "capture on both sides of the router at once: that tells which of them drops the frames, or \
             sends them from another port"
        }
    }
}

/// One call that failed, in words.
fn told(traced: &Traced, call: &Call) -> String {
    let (caller, callee) = traced.ends(call).map_or_else(
        || ("?".to_owned(), "?".to_owned()),
        |(caller, callee)| (caller.to_string(), callee.to_string()),
    );
    let to = call
        .called
        .as_deref()
        .map_or_else(String::new, |number| format!(" to {number}"));
    let stage = match (call.accepted, call.answered) {
        (_, Some(_)) => " after the answer",
        (Some(_), None) => " after ACCEPT",
        (None, None) => "",
    };
    let begin = format!("call {}{to}, {caller} → {callee}, {}", call.id, call.first);
    let at = call.ended.unwrap_or(call.first);
    let after = seconds(at.since(&call.first));
    let cause = match (&call.cause, call.cause_code) {
        (None, None) => "without a cause".to_owned(),
        (words, code) => {
            let mut told = Vec::new();
            told.extend(words.as_deref().map(|words| format!("\"{words}\"")));
            told.extend(code.map(|code| format!("cause {code} ({})", Cause::from(code))));
            told.join(", ")
        }
    };
    let end = match &call.end {
        End::Open => "it goes on".into(),
        End::HungUp { by, .. } => {
            format!(
                "HANGUP by the {}{stage}, {at}, {after} after NEW, {cause}",
                side(*by)
            )
        }
        End::Rejected { by } => format!("REJECT by the {}, {at}, {cause}", side(*by)),
        End::TokenRefused { had_token } => {
            let token = if *had_token { "with" } else { "without" };
            format!("REJECT from call number 1 without a cause, to a NEW {token} a token, {at}")
        }
        End::Invalid { by, about } => {
            let about = about.map_or_else(String::new, |kind| format!(", after {kind}"));
            format!(
                "INVAL by the {}{stage}{about}, {at}, {after} after NEW",
                side(*by)
            )
        }
        End::Unanswered => {
            let last = call.last[0].unwrap_or(call.first);
            format!(
                "{} and no answer, the last {last}",
                counted(call.requests.into(), "NEW")
            )
        }
        End::Silent { of } => {
            let heard = |who: Side| {
                call.last[who.index()].map_or_else(
                    || format!("the {} was never heard", side(who)),
                    |last| format!("the {} was last heard {last}", side(who)),
                )
            };
            let sealed = if call.secret == Secret::Sealed {
                ", encrypted"
            } else {
                ""
            };
            match of {
                Some(of) => format!("{}, and the other went on{sealed}", heard(*of)),
                None => format!("{}{stage}, nobody hung up{sealed}", heard(Side::Callee)),
            }
        }
    };
    format!("{begin}: {end}")
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Callee => "callee",
    }
}
