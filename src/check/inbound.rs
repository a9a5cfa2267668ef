//! Do strangers reach the PBX, where they are to?

use crate::{
    check::{Finding, FindingId, Severity},
    probe::evidence::Evidence,
};

/// `port-forward-missing`, only where the user said that strangers call.
#[must_use]
pub fn finding(evidence: &Evidence) -> Option<Finding> {
    let seen = evidence.inbound.as_ref()?;
    let address = seen.address?;
    if !seen.needed || seen.answered != Some(false) {
        return None;
    }
    let from = seen
        .from
        .map_or_else(|| "a stranger".into(), |from| from.to_string());
    Some(Finding {
        id: FindingId::PortForwardMissing,
        severity: Severity::Critical,
        title: format!("Hosts that the PBX has not called do not reach it at {address}"),
        because: vec![
            format!(
                "POKEs from {from} to {address} were not answered, control probes meanwhile were"
            ),
            format!("--inbound {} says that such hosts call", seen.port),
        ],
        do_this: vec![
            format!(
                "forward UDP port {0} to the PBX on every NAT in a row, and let it in on its own firewall: \
                 nft add rule ip nat prerouting iifname WAN udp dport {0} dnat to ADDRESS_OF_THE_PBX",
                seen.port
            ),
            format!(
                "see that the PBX answers there: iax2-natcheck nat mapping ADDRESS_OF_THE_PBX:{}",
                seen.port
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{healthy, mapped},
        probe::evidence::InboundEvidence,
    };

    #[test]
    fn only_who_needs_it_is_told() {
        for (needed, answered, expected) in [
            (true, Some(false), true),
            (true, Some(true), false),
            (true, None, false),
            (false, Some(false), false),
        ] {
            let evidence = Evidence {
                inbound: Some(InboundEvidence {
                    port: 4569,
                    needed,
                    address: Some(mapped("198.51.100.7:4569")),
                    from: None,
                    answered,
                }),
                ..healthy()
            };
            assert_eq!(
                finding(&evidence).is_some(),
                expected,
                "{needed} {answered:?}"
            );
        }
    }
}
