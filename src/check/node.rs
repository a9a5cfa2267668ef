//! Do other nodes reach this node, and do they see it at the port that it announces?
//!
//! Nodes of AllStarLink call each other directly. A list tells the address and port of each, which it
//! announces over HTTPS, so no registration keeps a way open: a forwarded port does. The called one looks the caller
//! up by the address and port that it sees, so the NAT must not change the port on the way out either.

use crate::{
    check::{Context, Finding, FindingId, Question, Severity, nat_kind, open_question::Parts},
    probe::evidence::{Evidence, MappingObservation},
};

/// `announced-port-changed`, only where the user asks for a node.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    if context.question != Question::Node {
        return None;
    }
    let port = evidence.inbound.as_ref()?.port;
    let observations = &evidence.mapping.as_ref()?.observations;
    let own: Vec<&MappingObservation> = observations
        .iter()
        .filter(|seen| seen.local.get().port() == port)
        .collect();
    let (severity, changed, title) = if own.is_empty() {
        let changed = observations
            .iter()
            .find(|seen| seen.mapped.get().port() != seen.local.get().port())?;
        let title = "The NAT changes the ports of this host, and a node is known by its port";
        (Severity::Warning, changed, title.to_owned())
    } else {
        let changed = own
            .into_iter()
            .find(|seen| seen.mapped.get().port() != port)?;
        let seen = changed.mapped.get().port();
        let title = format!("Other nodes see this node at port {seen}, and it announces {port}");
        (Severity::Critical, changed, title)
    };
    let mut because = vec![format!(
        "{} saw {} at {}",
        changed.peer, changed.local, changed.mapped
    )];
    if severity == Severity::Warning {
        because.push(format!(
            "that was another port than {port}, which the node itself may hold"
        ));
    }
    let mut do_this = vec![
        format!("forward UDP port {port} to the same port of the node, and no other port to it"),
        "on a Linux router: take random and fully-random out of the masquerade rule of the node"
            .into(),
        "on pfSense or OPNsense: an outbound NAT rule with static port for the node".into(),
    ];
    if severity == Severity::Warning {
        do_this.push(format!(
            "to be sure, stop the node and look from its own port: --local-port {port}"
        ));
    }
    Some(Finding {
        id: FindingId::AnnouncedPortChanged,
        severity,
        title,
        because,
        do_this,
    })
}

/// Why the question is open, where it is.
pub(super) fn open(evidence: &Evidence) -> Option<Parts> {
    let is_seen = nat_kind::nat_kind(evidence).is_some();
    let inbound = evidence.inbound.as_ref();
    let is_reached = inbound.and_then(|seen| seen.answered).is_some();
    if is_seen && is_reached {
        return None;
    }
    let mut because = vec![];
    if !is_seen {
        because.push("nobody outside told the public address".into());
    }
    if !is_reached {
        because.push("nobody from outside tried the node's port with a known outcome".into());
    }
    Some((
        "Whether other nodes reach this node was not measured",
        because,
        vec![
            "name a reflector with two addresses: --reflector HOST, which runs iax2-natcheck serve \
             --bind A:P --alternate B:Q"
                .into(),
        ],
    ))
}

/// What it means for the owner of the node where nothing is wrong.
pub(super) fn sentence(evidence: &Evidence) -> String {
    let address = evidence.inbound.as_ref().and_then(|seen| seen.address);
    match address {
        Some(address) => format!("Other nodes reach this node at {address}, and see it there."),
        None => "Nothing wrong was found.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{context, local, mapped, mapping, seen},
        check::{Verdict, judge},
        probe::evidence::InboundEvidence,
    };

    fn node() -> Context {
        Context {
            question: Question::Node,
            credentials: false,
            ..context()
        }
    }

    /// A socket, where it is seen, whether a stranger's POKE is answered; the verdict, and the findings.
    type Row<'a> = (u16, u16, Option<bool>, Verdict, &'a [FindingId]);

    /// A socket at `from` seen as `to`, and a stranger's POKE.
    fn evidence(from: u16, to: u16, answered: Option<bool>) -> Evidence {
        let observation = MappingObservation {
            local: local(&format!("192.168.1.10:{from}")),
            ..seen("203.0.113.1:4569", &format!("198.51.100.7:{to}"), 0)
        };
        Evidence {
            inbound: Some(InboundEvidence {
                port: 4569,
                needed: true,
                address: Some(mapped("198.51.100.7:4569")),
                from: None,
                answered,
            }),
            ..mapping(&[observation])
        }
    }

    #[test]
    fn the_port_that_is_seen_has_its_row() {
        let changed = FindingId::AnnouncedPortChanged;
        let missing = FindingId::PortForwardMissing;
        let rows: [Row<'_>; 7] = [
            (40123, 40123, Some(true), Verdict::Ok, &[]),
            (4569, 4569, Some(true), Verdict::Ok, &[]),
            (40123, 1024, Some(true), Verdict::Warning, &[changed]),
            (4569, 1024, Some(true), Verdict::Critical, &[changed]),
            (40123, 40123, Some(false), Verdict::Critical, &[missing]),
            (
                40123,
                1024,
                Some(false),
                Verdict::Critical,
                &[missing, changed],
            ),
            (
                40123,
                40123,
                None,
                Verdict::Unknown,
                &[FindingId::NotMeasured],
            ),
        ];
        for (from, to, answered, verdict, expected) in rows {
            let judgement = judge(&evidence(from, to, answered), &node());
            let found: Vec<FindingId> = judgement.findings.iter().map(|it| it.id).collect();
            assert_eq!(found, expected, "{from} {to} {answered:?}");
            assert_eq!(judgement.verdict, verdict, "{from} {to} {answered:?}");
        }
        let other = judge(&evidence(4569, 1024, Some(true)), &context());
        assert!(!other.has(changed), "only a node is known by its port");
    }
}
