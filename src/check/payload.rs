//! Does somebody on the way rewrite the content of packets?

use crate::{
    check::{Finding, FindingId, Severity},
    probe::evidence::{Evidence, PayloadEvidence},
};

/// Whether somebody does; `None`: not known.
#[must_use]
pub fn is_rewritten(evidence: &Evidence) -> Option<bool> {
    let by_stun = evidence
        .mapping
        .as_ref()
        .is_some_and(|mapping| !mapping.rewritten.is_empty());
    let by_mirror = evidence
        .payload
        .as_ref()
        .and_then(PayloadEvidence::is_rewritten);
    if by_stun { Some(true) } else { by_mirror }
}

/// `payload-rewritten`.
#[must_use]
pub fn finding(evidence: &Evidence) -> Option<Finding> {
    if is_rewritten(evidence) != Some(true) {
        return None;
    }
    let mut because = vec![];
    if let Some(seen) = evidence
        .payload
        .as_ref()
        .filter(|seen| seen.is_rewritten() == Some(true))
    {
        because.extend(mirror(seen));
    }
    let by_stun = evidence
        .mapping
        .iter()
        .flat_map(|mapping| &mapping.rewritten);
    because.extend(by_stun.map(|(server, hidden, plain)| {
        format!(
            "{server} saw {hidden}, and where it wrote that plainly in its answer, {plain} arrived"
        )
    }));
    Some(Finding {
        id: FindingId::PayloadRewritten,
        severity: Severity::Warning,
        title: "A device on the way rewrites the content of packets".into(),
        because,
        do_this: vec![
            "switch application layer gateways off on the router, often called SIP ALG, SIP helper, \
             SIP fixup or VoIP pass-through: IAX2 needs none of them (RFC 4787 REQ-10)"
                .into(),
            "where the carrier does this: carry the IAX2 through a tunnel".into(),
        ],
    })
}

fn mirror(seen: &PayloadEvidence) -> Vec<String> {
    let mut facts = vec![];
    let (sent, received) = seen.length;
    if sent != received {
        facts.push(format!(
            "a datagram of {sent} octets arrived with {received}"
        ));
    }
    if let (Some(first), Some(last)) = (seen.changed.first(), seen.changed.last()) {
        let hex = |octet: fn(&crate::probe::evidence::ChangedOctet) -> u8| {
            let octets = seen.changed.iter().take(16).map(octet);
            octets
                .map(|octet| format!("{octet:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        facts.push(format!(
            "{} of {} octets between offset {} and {} arrived changed, in each of {} datagrams: {} as {}",
            seen.changed.len(),
            seen.octets,
            first.offset,
            last.offset,
            seen.answers,
            hex(|changed| changed.sent),
            hex(|changed| changed.received)
        ));
    }
    if let Some((hidden, plain)) = seen.mapped {
        facts.push(format!(
            "the reflector saw {hidden}, and where it wrote that plainly in its answer, {plain} arrived"
        ));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{healthy, mapped, peer},
        probe::evidence::ChangedOctet,
    };

    fn mirrored(change: impl FnOnce(&mut PayloadEvidence)) -> Evidence {
        let mut seen = PayloadEvidence {
            answers: 3,
            octets: 100,
            length: (164, 164),
            ..PayloadEvidence::default()
        };
        change(&mut seen);
        Evidence {
            payload: Some(seen),
            ..healthy()
        }
    }

    #[test]
    fn every_change_has_its_fact_and_one_answer_proves_nothing() {
        let octet = ChangedOctet {
            offset: 32,
            sent: 0xc0,
            received: 0xc6,
        };
        let address = (mapped("198.51.100.7:1"), mapped("192.168.1.10:1"));
        let mut stun = healthy();
        let mapping = stun.mapping.as_mut().unwrap();
        mapping
            .rewritten
            .push((peer("203.0.113.2:3478"), address.0, address.1));
        let rows = [
            ("nothing", mirrored(|_| {}), Some(false), ""),
            ("not looked at", healthy(), None, ""),
            (
                "one answer",
                mirrored(|seen| {
                    seen.answers = 1;
                    seen.changed.push(octet);
                }),
                None,
                "",
            ),
            (
                "an octet",
                mirrored(|seen| seen.changed.push(octet)),
                Some(true),
                "c0 as c6",
            ),
            (
                "longer",
                mirrored(|seen| seen.length.1 = 170),
                Some(true),
                "arrived with 170",
            ),
            (
                "inbound",
                mirrored(|seen| seen.mapped = Some(address)),
                Some(true),
                "192.168.1.10:1 arrived",
            ),
            ("by STUN", stun, Some(true), "203.0.113.2:3478 saw"),
        ];
        for (name, evidence, expected, fact) in rows {
            assert_eq!(is_rewritten(&evidence), expected, "{name}");
            let found = finding(&evidence);
            assert_eq!(found.is_some(), expected == Some(true), "{name}");
            if let Some(found) = found {
                assert!(found.because[0].contains(fact), "{name}: {found:?}");
            }
        }
    }
}
