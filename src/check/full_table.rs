//! Do new flows pass? Seen from the LAN, a router whose table of connections is full drops them and goes on with
//! those that it knows.

use crate::{
    check::{Context, Finding, FindingId, Severity},
    probe::evidence::Evidence,
};

/// Sockets that never opened, at least: one may have met nothing but loss.
const SEVERAL: u32 = 3;

/// `conntrack-table-full` as it shows from the LAN: the flow of the port that was chosen is answered and no fresh
/// one is, or some of many sockets opened and others never did. Neither tells a full table from a quota, or from a
/// rule that lets one port out alone, and the finding says so.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let (fact, more) = known_flow_alone(evidence, context).or_else(|| some_of_many(evidence))?;
    Some(Finding {
        id: FindingId::ConntrackTableFull,
        severity: Severity::Warning,
        title: "The router lets no new flow pass, and goes on with those that it knows".into(),
        because: vec![fact, more],
        do_this: vec![
            "on the router, see whether its table of connections is full (Linux: iax2-natcheck taint, or \
             `table full, dropping packet` in dmesg), and raise its size: sysctl -w \
             net.netfilter.nf_conntrack_max=262144"
                .into(),
            "look which host makes so many flows; where a carrier's NAT has a quota of ports, ask the \
             carrier"
                .into(),
            "until then do not restart the PBX, and keep its flow open: qualify=yes".into(),
        ],
    })
}

fn known_flow_alone(evidence: &Evidence, context: &Context) -> Option<(String, String)> {
    let (same, fresh) = (evidence.same_port.as_ref()?, evidence.reach.as_ref()?);
    let silent = fresh.sent > 0 && fresh.received == 0 && fresh.unreachable.is_none();
    if !silent || same.received == 0 || fresh.answered_from.is_some() || evidence.interrupted {
        return None;
    }
    let port = same
        .local
        .map_or_else(|| "the port".into(), |local| local.get().to_string());
    Some((
        format!(
            "{} of {} POKEs from {port} to {} were answered, and of {} from a fresh port none",
            same.received, same.sent, context.provider, fresh.sent
        ),
        "a rule that lets out that port alone would look the same".into(),
    ))
}

fn some_of_many(evidence: &Evidence) -> Option<(String, String)> {
    let depth = evidence.depth.as_ref()?;
    let opened = depth.sockets.len();
    (depth.unopened >= SEVERAL && opened > 0 && !evidence.interrupted).then(|| {
        (
            format!(
                "{} of {} sockets were never answered, the others were",
                depth.unopened,
                opened + depth.unopened as usize
            ),
            "a quota of ports would look the same".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{
            judge,
            sample::{context, healthy, local, mapped, reach},
        },
        probe::evidence::DepthEvidence,
    };

    #[test]
    fn a_flow_that_goes_on_beside_silence_is_told_and_nobody_else_is_blamed() {
        for (same, fresh, expected) in [(5, 0, true), (5, 10, false), (0, 0, false)] {
            let evidence = Evidence {
                reach: Some(reach(10, fresh)),
                same_port: Some(reach(5, same)),
                ..Evidence::default()
            };
            let judgement = judge(&evidence, &context());
            assert_eq!(
                judgement.has(FindingId::ConntrackTableFull),
                expected,
                "{same} {fresh}"
            );
            let blamed = judgement.has(FindingId::ProviderUnreachable);
            assert_eq!(blamed, same + fresh == 0, "{same} {fresh}");
        }
    }

    #[test]
    fn sockets_that_never_open_beside_others_are_told() {
        for (unopened, expected) in [(0, false), (2, false), (3, true)] {
            let socket = (local("192.168.1.10:40300"), mapped("198.51.100.7:40300"));
            let evidence = Evidence {
                depth: Some(DepthEvidence {
                    sockets: vec![socket; 13],
                    unopened,
                    ..DepthEvidence::default()
                }),
                ..healthy()
            };
            assert_eq!(finding(&evidence, &context()).is_some(), expected);
        }
    }
}
