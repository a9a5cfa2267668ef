//! What a capture means: the same findings as those of the active commands, each with the frames and times it
//! rests on.
//!
//! A capture shows what passed one place. What it does not show may have passed elsewhere, or not have been sent:
//! a verdict needs the answers of both ends around what is missing.

mod audio;
mod calls;
mod mapping;
mod registrations;
mod translation;

use super::{Finding, FindingId, Judgement, Severity};
use crate::trace::{pairing::Pairing, traced::Traced};

pub use calls::symptom;

/// Frames that are named as evidence of one fact; the others are counted.
const NAMED: usize = 4;

/// Judges a capture, or the captures of both sides of a NAT.
#[must_use]
pub fn judge(traced: &Traced, pairing: Option<&Pairing>) -> Judgement {
    let mut findings = registrations::findings(traced);
    findings.extend(mapping::findings(traced));
    findings.extend(calls::findings(traced));
    findings.extend(audio::findings(traced));
    if let Some(pairing) = pairing {
        findings.extend(translation::findings(pairing));
    }
    let findings = merged(findings);
    if traced.counts.datagrams == 0 {
        return Judgement::of(vec![nothing_seen()], "");
    }
    Judgement::of(findings, &fine(traced))
}

/// One finding of each kind, the worst of its kind, with the facts of all.
fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for found in findings {
        let Some(known) = all.iter_mut().find(|known| known.id == found.id) else {
            all.push(found);
            continue;
        };
        if found.severity > known.severity {
            let before = std::mem::replace(known, found);
            known.because.extend(before.because);
        } else {
            known.because.extend(found.because);
        }
        known.because.truncate(3 * NAMED);
    }
    all
}

fn nothing_seen() -> Finding {
    Finding {
        id: FindingId::NotMeasured,
        severity: Severity::Unknown,
        title: "The capture shows no IAX2".into(),
        because: vec![
            "no datagram from or to port 4569, and none on other ports that begins like IAX2"
                .into(),
        ],
        do_this: vec![
            "capture where the PBX's packets pass: tcpdump -i any -w FILE udp port 4569".into(),
            "name the port where the PBX uses another: --port PORT".into(),
        ],
    }
}

fn fine(traced: &Traced) -> String {
    let calls = traced.calls.len();
    let registrations = traced.registrations.len();
    format!(
        "Nothing wrong was seen: {} and {}.",
        counted(registrations, "registration"),
        counted(calls, "call")
    )
}

/// `1 call`, `3 calls`.
fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::Verdict, trace::traced::Traced};

    #[test]
    fn a_capture_without_iax2_is_unknown() {
        let judgement = judge(&Traced::default(), None);
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert_eq!(judgement.findings[0].id, FindingId::NotMeasured);
    }
}
