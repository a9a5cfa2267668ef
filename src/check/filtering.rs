//! Whom does the NAT let in?
//!
//! Nothing that it does here is wrong: a strict filter protects, a loose one lets anybody call. What the owner
//! learns is who can reach the PBX without being called first.

use crate::{
    check::{
        nat_kind::{self, Behaviour},
        open_question::Parts,
    },
    probe::{
        behaviour::Dependence,
        evidence::{Evidence, FilteringEvidence},
    },
};

/// The filtering behaviour (RFC 4787 §5); `None` where it was not looked at. [`Behaviour::None`] is a way
/// without a NAT on which strangers come in.
#[must_use]
pub fn filtering(evidence: &Evidence) -> Option<Behaviour> {
    let seen = evidence.filtering.as_ref()?;
    Some(match (seen.from_other_address, seen.from_other_port) {
        (Some(true), _) if is_translated(evidence, seen) == Some(false) => Behaviour::None,
        (Some(true), _) => Behaviour::Known(Dependence::EndpointIndependent),
        (Some(false), Some(true)) => Behaviour::Known(Dependence::AddressDependent),
        (Some(false), Some(false)) => Behaviour::Known(Dependence::AddressAndPortDependent),
        (None, _) | (Some(false), None) => Behaviour::Unknown,
    })
}

/// Whether addresses are translated, by this experiment's own socket or else by what others saw.
fn is_translated(evidence: &Evidence, seen: &FilteringEvidence) -> Option<bool> {
    let own = seen.local.zip(seen.mapped);
    own.filter(|(local, _)| !local.get().ip().is_unspecified())
        .map(|(local, mapped)| local.get() != mapped.get())
        .or_else(|| nat_kind::nat_kind(evidence)?.translated)
}

/// Why the question of `nat filtering` is open, where it is.
pub(super) fn open(evidence: &Evidence) -> Option<Parts> {
    let behaviour = filtering(evidence);
    if behaviour.is_some_and(|behaviour| behaviour != Behaviour::Unknown) {
        return None;
    }
    let servers =
        "name a reflector with two addresses: iax2-natcheck serve --bind A:P --alternate B:Q";
    let (fact, remedy) = match &evidence.filtering {
        Some(seen) if seen.server.is_none() => (
            "nobody outside answered who could have answered from a second address".into(),
            servers,
        ),
        Some(seen) if seen.one_address => (
            "the server has no second address to answer from".into(),
            servers,
        ),
        Some(seen) if seen.rounds.1 < seen.rounds.0 => (
            format!(
                "too many packets were lost: of {} control probes {} were answered",
                seen.rounds.0, seen.rounds.1
            ),
            "try again when the line is less busy",
        ),
        Some(_) => (
            "the server's other address was silent, and was so too when it was asked directly: it may \
             be the server's own firewall"
                .into(),
            "let UDP in and out on both addresses and ports of the reflector's host",
        ),
        None => ("nobody was asked".into(), servers),
    };
    Some((
        "Whom the NAT lets in was not found out",
        vec![fact],
        vec![remedy.into(), "or an RFC 5780 server: --stun HOST".into()],
    ))
}

/// What the filter means for the owner of the PBX.
pub(super) fn sentence(evidence: &Evidence) -> String {
    let translated = evidence
        .filtering
        .as_ref()
        .and_then(|seen| is_translated(evidence, seen));
    let keeper = if translated == Some(false) {
        "firewall"
    } else {
        "NAT"
    };
    match filtering(evidence) {
        Some(Behaviour::None) => {
            "There is no NAT and no filter on the way: anybody can send to the PBX.".into()
        }
        Some(Behaviour::Known(Dependence::EndpointIndependent)) => {
            format!("The {keeper} lets anybody in to a port that the PBX has sent from.")
        }
        Some(Behaviour::Known(Dependence::AddressDependent)) => format!(
            "The {keeper} lets in only hosts that the PBX has sent to, from any port of theirs."
        ),
        Some(Behaviour::Known(Dependence::AddressAndPortDependent)) => format!(
            "The {keeper} lets in only answers: packets from exactly the address and port that the PBX \
             has sent to."
        ),
        Some(Behaviour::Unknown) | None => "Whom the NAT lets in is not known.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{healthy, local, mapped};

    fn seen(other_address: Option<bool>, other_port: Option<bool>) -> Evidence {
        Evidence {
            filtering: Some(FilteringEvidence {
                local: Some(local("192.168.1.10:40200")),
                mapped: Some(mapped("198.51.100.7:40200")),
                from_other_address: other_address,
                from_other_port: other_port,
                rounds: (7, 7),
                ..FilteringEvidence::default()
            }),
            ..healthy()
        }
    }

    #[test]
    fn every_filter_has_its_row_and_half_a_proof_is_none() {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let rows = [
            (Some(true), None, Behaviour::Known(EndpointIndependent)),
            (
                Some(true),
                Some(true),
                Behaviour::Known(EndpointIndependent),
            ),
            (Some(false), Some(true), Behaviour::Known(AddressDependent)),
            (
                Some(false),
                Some(false),
                Behaviour::Known(AddressAndPortDependent),
            ),
            (Some(false), None, Behaviour::Unknown),
            (None, Some(true), Behaviour::Unknown),
            (None, Some(false), Behaviour::Unknown),
            (None, None, Behaviour::Unknown),
        ];
        for (address, port, behaviour) in rows {
            let evidence = seen(address, port);
            assert_eq!(
                filtering(&evidence),
                Some(behaviour),
                "{address:?} {port:?}"
            );
            let is_open = behaviour == Behaviour::Unknown;
            assert_eq!(open(&evidence).is_some(), is_open, "{address:?} {port:?}");
        }
        assert_eq!(filtering(&healthy()), None);
    }

    #[test]
    fn an_open_way_without_a_nat_is_no_filter() {
        let mut evidence = seen(Some(true), None);
        if let Some(seen) = &mut evidence.filtering {
            seen.mapped = Some(mapped("192.168.1.10:40200"));
        }
        assert_eq!(filtering(&evidence), Some(Behaviour::None));
        if let Some(seen) = &mut evidence.filtering {
            seen.from_other_address = Some(false);
            seen.from_other_port = Some(false);
        }
        let known = Behaviour::Known(Dependence::AddressAndPortDependent);
        assert_eq!(
            filtering(&evidence),
            Some(known),
            "a firewall filters without a NAT"
        );
    }
}
