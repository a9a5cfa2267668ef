//! What two captures, of both sides of a NAT, tell of it: sources that are wrong, ports that change, content that is
//! rewritten.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::NAMED;
use crate::{
    check::{Finding, FindingId, Severity},
    trace::pairing::{Pairing, Translation},
};

/// What is wrong.
pub(super) fn findings(pairing: &Pairing) -> Vec<Finding> {
    let mut findings: Vec<Finding> = pairing
        .translations
        .iter()
        .filter_map(|translation| tainted(pairing, translation))
        .collect();
    findings.extend(inconsistent(pairing));
    findings.extend(rewritten(pairing));
    findings
}

/// Whether an address has no place on a public line (RFC 1918, 4193, 6598).
const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// A source that no answer comes back to, while it should be another.
fn tainted(pairing: &Pairing, translation: &Translation) -> Option<Finding> {
    const ENOUGH: u64 = 3;
    let unanswered = match &translation.answered {
        None => true,
        // The last packets have to have gone unanswered for a while.
        Some(answered) => {
            translation.last.since(answered) > Duration::from_secs(5)
                && other_is_answered(pairing, translation)
        }
    };
    if !unanswered || translation.out < ENOUGH {
        return None;
    }
    let (inner, outer) = (translation.inner, translation.outer);
    let was_answered = translation.answered.is_some();
    let on_other_line = pairing.translations.iter().find(|other| {
        other.outer.ip() == outer.ip() && other.line != translation.line && other.answered.is_some()
    });
    let (id, title) = if let Some(other) = on_other_line {
        let _ = other;
        (
            FindingId::WrongUplink,
            format!("{inner} leaves by one line as {outer}, which is the address of another"),
        )
    } else if outer.ip() == inner.ip() && is_private(outer.ip()) {
        (
            FindingId::NullBinding,
            format!("{inner} leaves with its private source"),
        )
    } else if is_private(outer.ip()) && !was_answered {
        (
            FindingId::WrongSourceMasquerade,
            format!("{inner} leaves as {outer}, an inner address"),
        )
    } else if was_answered || other_is_answered(pairing, translation) {
        (
            FindingId::StaleSource,
            format!("{inner} leaves as {outer}, and answers no longer come to that address"),
        )
    } else {
        return None;
    };
    let mut because = vec![format!(
        "{} datagrams of {inner} to {} leave as {outer}, from {} to {}",
        translation.out, translation.peer, translation.first, translation.last
    )];
    because.push(match &translation.answered {
        None => "no answer to that address came".into(),
        Some(answered) => format!("the last answer to that address came with {answered}"),
    });
    let others = pairing.translations.iter().filter(|other| {
        other.inner.ip() == inner.ip() && other.outer != outer && other.answered.is_some()
    });
    because.extend(others.take(NAMED).map(|other| {
        format!(
            "{} leaves as {} too, and is answered, from {} to {}",
            other.inner, other.outer, other.first, other.last
        )
    }));
    Some(Finding {
        id,
        severity: Severity::Critical,
        title,
        because,
        do_this: vec![
            "on the router, delete that one entry: iax2-natcheck taint --fix".into(),
            "keep it from coming back: iax2-natcheck taint names the rule that is missing".into(),
        ],
    })
}

/// Whether the same peer answers another outer address, later than it last answered this one: then the peer is
/// there, and so is the line.
fn other_is_answered(pairing: &Pairing, translation: &Translation) -> bool {
    pairing.translations.iter().any(|other| {
        let answered_later = match (&other.answered, &translation.answered) {
            (Some(other), Some(own)) => other.since(own) > Duration::ZERO,
            (Some(_), None) => true,
            (None, _) => false,
        };
        other.peer == translation.peer
            && other.outer.ip() != translation.outer.ip()
            && answered_later
    })
}

/// One inner socket under several outer addresses that are all answered.
fn inconsistent(pairing: &Pairing) -> Option<Finding> {
    for translation in &pairing.translations {
        let same: Vec<&Translation> = pairing
            .translations
            .iter()
            .filter(|other| other.inner == translation.inner && other.answered.is_some())
            .collect();
        let peers: BTreeSet<_> = same.iter().map(|other| other.peer).collect();
        let outer: BTreeSet<_> = same.iter().map(|other| other.outer).collect();
        if outer.len() < 2 {
            continue;
        }
        let facts = same.iter().take(NAMED).map(|other| {
            format!(
                "{} is {} towards {}, from {} to {}",
                other.inner, other.outer, other.peer, other.first, other.last
            )
        });
        let (id, title) = if peers.len() > 1 && outer.len() >= peers.len() {
            (
                FindingId::InconsistentNat,
                format!(
                    "The NAT shows {} under another address to every peer",
                    translation.inner
                ),
            )
        } else {
            (
                FindingId::MappingChanged,
                format!("The public address of {} changed", translation.inner),
            )
        };
        return Some(Finding {
            id,
            severity: Severity::Warning,
            title,
            because: facts.collect(),
            do_this: vec![
                "Linux: take random and fully-random out of the masquerade or SNAT rule; pf: an outbound \
                 rule with static port for the PBX"
                    .into(),
            ],
        });
    }
    None
}

fn rewritten(pairing: &Pairing) -> Option<Finding> {
    let first = pairing.rewritten.first()?;
    Some(Finding {
        id: FindingId::PayloadRewritten,
        severity: Severity::Warning,
        title: "A device on the way rewrites the content of packets".into(),
        because: vec![format!(
            "{} of {} datagrams differ on both sides of the NAT, the first {} inside, {} outside",
            pairing.rewritten_count, pairing.matched, first.lan, first.wan
        )],
        do_this: vec![
            "switch application layer gateways off on the router (SIP ALG, helper, fixup); IAX2 needs none"
                .into(),
        ],
    })
}
