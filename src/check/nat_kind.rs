//! What kind of NAT is it: how does the external address of a socket depend on the destination?
//!
//! The rules of truth: *endpoint-independent* needs two addresses that saw the same;
//! *address-and-port-dependent* needs two ports of one address that saw different things;
//! *address-dependent* needs two addresses that differ and two ports of one address that agree.
//! Everything else is *unknown*, also where a dependence is proven but not which.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    check::{Context, Finding, FindingId, Severity, remedies},
    probe::{
        behaviour::Dependence,
        evidence::{Evidence, MappingObservation},
    },
    types::{LocalAddr, MappedAddr, PeerAddr},
};

/// What the mappings seen say about the NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatKind {
    /// How the mapping depends on the destination.
    pub behaviour: Behaviour,
    /// Whether addresses are translated at all; `None`: the socket's own address is not known.
    pub translated: Option<bool>,
    /// Every mapping kept the port of its socket.
    pub port_preserved: bool,
    /// Some destinations saw another mapping than others at the same time.
    pub depends: bool,
}

/// The mapping behaviour (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// The observations do not tell.
    Unknown,
    /// Nothing is translated.
    None,
    /// As RFC 4787 names it.
    Known(Dependence),
}

impl Behaviour {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Known(dependence) => dependence.as_str(),
        }
    }
}

/// Tells the kind of NAT; `None` where no mapping was seen.
#[must_use]
pub fn nat_kind(evidence: &Evidence) -> Option<NatKind> {
    let observations = &evidence.mapping.as_ref()?.observations;
    if observations.is_empty() {
        return None;
    }
    let translated = translated(observations);
    let sockets: Vec<Views> = by_socket(observations).into_values().collect();
    let depends = sockets.iter().any(differs);
    let behaviour = if translated == Some(false) {
        Behaviour::None
    } else {
        sockets
            .iter()
            .map(dependence)
            .max()
            .flatten()
            .filter(|known| !(depends && *known == Dependence::EndpointIndependent))
            .map_or(Behaviour::Unknown, Behaviour::Known)
    };
    Some(NatKind {
        behaviour,
        translated,
        port_preserved: observations
            .iter()
            .all(|seen| seen.mapped.get().port() == seen.local.get().port()),
        depends,
    })
}

/// `inconsistent-nat` as a warning: the mapping depends on the destination.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let nat = nat_kind(evidence)?;
    if !nat.depends {
        return None;
    }
    let observations = &evidence.mapping.as_ref()?.observations;
    let mut because: Vec<String> = by_socket(observations)
        .values()
        .filter(|views| differs(views))
        .flat_map(|views| {
            views
                .iter()
                .map(|(peer, mapped)| format!("{peer} saw the socket at {mapped}"))
        })
        .collect();
    because.push(match nat.behaviour {
        Behaviour::Known(dependence) => format!("that is {dependence} mapping (RFC 4787 REQ-1)"),
        Behaviour::Unknown | Behaviour::None => {
            "whether it depends on the address alone or on the port too, these observations do \
             not tell"
                .into()
        }
    });
    Some(Finding {
        id: FindingId::InconsistentNat,
        severity: Severity::Warning,
        title: "The NAT gives one socket different public addresses for different destinations"
            .into(),
        because,
        do_this: remedies::consistent(
            evidence,
            context,
            &[
                "on a Linux router: take random and fully-random out of the masquerade or SNAT \
                 rule of the PBX",
                "on pfSense or OPNsense: add an outbound NAT rule with static port for the PBX \
                 and UDP port 4569",
            ],
            &[
                "where the provider's own NAT (CGN) does this: ask for a public address, or carry \
                 the IAX2 through a tunnel to one",
            ],
        ),
    })
}

/// What remembers the flow: without a NAT, what forgets it can only be a firewall.
pub(super) fn keeper(evidence: &Evidence) -> &'static str {
    match nat_kind(evidence).and_then(|nat| nat.translated) {
        Some(false) => "firewall",
        Some(true) | None => "NAT",
    }
}

/// Whether addresses are translated: proven by a mapping that differs from the socket's address,
/// disproven only where the whole address is known.
fn translated(observations: &[MappingObservation]) -> Option<bool> {
    let mut known = true;
    for seen in observations {
        let (local, mapped) = (seen.local.get(), seen.mapped.get());
        if local.ip().is_unspecified() {
            if local.port() != mapped.port() {
                return Some(true);
            }
            known = false;
        } else if local != mapped {
            return Some(true);
        }
    }
    known.then_some(false)
}

/// What each peer saw of one socket.
type Views = BTreeMap<PeerAddr, MappedAddr>;

/// The observations by socket, without peers that saw more than one mapping over time (what others
/// saw cannot be compared with those), and without peers reached past the NAT where others are not.
fn by_socket(observations: &[MappingObservation]) -> BTreeMap<LocalAddr, Views> {
    let mut all: BTreeMap<LocalAddr, BTreeMap<PeerAddr, BTreeSet<MappedAddr>>> = BTreeMap::new();
    for seen in observations {
        all.entry(seen.local)
            .or_default()
            .entry(seen.peer)
            .or_default()
            .insert(seen.mapped);
    }
    all.into_iter()
        .map(|(local, peers)| {
            let steady: Views = peers
                .into_iter()
                .filter(|(_, mapped)| mapped.len() == 1)
                .filter_map(|(peer, mapped)| Some((peer, mapped.into_iter().next()?)))
                .collect();
            let past_the_nat = |mapped: &MappedAddr| mapped.get() == local.get();
            let views = if steady.values().all(past_the_nat) {
                steady
            } else {
                steady
                    .into_iter()
                    .filter(|(_, mapped)| !past_the_nat(mapped))
                    .collect()
            };
            (local, views)
        })
        .collect()
}

/// Whether two peers saw different mappings.
fn differs(views: &Views) -> bool {
    views.values().collect::<BTreeSet<_>>().len() > 1
}

/// What one socket proves about the dependence.
fn dependence(views: &Views) -> Option<Dependence> {
    let mut by_address: BTreeMap<_, Vec<MappedAddr>> = BTreeMap::new();
    for (peer, mapped) in views {
        by_address.entry(peer.get().ip()).or_default().push(*mapped);
    }
    let agree = |seen: &[MappedAddr]| seen.windows(2).all(|pair| pair.first() == pair.last());
    if !by_address.values().all(|seen| agree(seen)) {
        return Some(Dependence::AddressAndPortDependent);
    }
    if by_address.len() < 2 {
        return None;
    }
    if !differs(views) {
        return Some(Dependence::EndpointIndependent);
    }
    by_address
        .values()
        .any(|seen| seen.len() > 1)
        .then_some(Dependence::AddressDependent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{context, local, mapping, seen};

    const A1: &str = "203.0.113.1:4569";
    const A2: &str = "203.0.113.1:4570";
    const B1: &str = "203.0.113.2:4569";
    const B2: &str = "203.0.113.2:4570";
    const X: &str = "198.51.100.7:40123";
    const Y: &str = "198.51.100.7:1024";
    const Z: &str = "198.51.100.7:1025";
    const SELF: &str = "192.168.1.10:40123";

    #[test]
    fn every_kind_of_nat_has_its_row() {
        use Behaviour::{Known, None as NoNat, Unknown};
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Behaviour, bool);
        let rows: [Row<'_>; 14] = [
            ("one destination", &[(A1, X)], Unknown, false),
            (
                "one address, two ports",
                &[(A1, X), (A2, X)],
                Unknown,
                false,
            ),
            (
                "two addresses agree",
                &[(A1, X), (B1, X)],
                Known(EndpointIndependent),
                false,
            ),
            (
                "four endpoints agree",
                &[(A1, X), (A2, X), (B1, X), (B2, X)],
                Known(EndpointIndependent),
                false,
            ),
            (
                "ports of one address differ",
                &[(A1, X), (A2, Y)],
                Known(AddressAndPortDependent),
                true,
            ),
            (
                "all four differ",
                &[(A1, X), (A2, Y), (B1, Z), (B2, "198.51.100.7:1026")],
                Known(AddressAndPortDependent),
                true,
            ),
            (
                "addresses differ, ports agree",
                &[(A1, X), (A2, X), (B1, Y), (B2, Y)],
                Known(AddressDependent),
                true,
            ),
            (
                "addresses differ, ports of one agree",
                &[(A1, X), (A2, X), (B1, Y)],
                Known(AddressDependent),
                true,
            ),
            (
                "addresses differ, no second port asked",
                &[(A1, X), (B1, Y)],
                Unknown,
                true,
            ),
            ("no NAT", &[(A1, SELF), (B1, SELF)], NoNat, false),
            ("no NAT, one destination", &[(A1, SELF)], NoNat, false),
            (
                "one destination past the NAT",
                &[(A1, X), (B1, SELF)],
                Unknown,
                false,
            ),
            (
                "changed over time",
                &[(A1, X), (A1, Y), (B1, X)],
                Unknown,
                false,
            ),
            (
                "changed over time at one, others agree",
                &[(A1, X), (A1, Y), (B1, Z), ("203.0.113.3:4569", Z)],
                Known(EndpointIndependent),
                false,
            ),
        ];
        for (name, views, behaviour, depends) in rows {
            let observations: Vec<MappingObservation> = views
                .iter()
                .map(|(peer, mapped)| seen(peer, mapped, 0))
                .collect();
            let evidence = mapping(&observations);
            let nat = nat_kind(&evidence).unwrap();
            assert_eq!(nat.behaviour, behaviour, "{name}");
            assert_eq!(nat.depends, depends, "{name}");
            let found = finding(&evidence, &context());
            assert_eq!(
                found.map(|found| (found.id, found.severity)),
                depends.then_some((FindingId::InconsistentNat, Severity::Warning)),
                "{name}"
            );
        }
        assert_eq!(nat_kind(&mapping(&[])), None);
        assert_eq!(nat_kind(&Evidence::default()), None);
    }

    #[test]
    fn translation_is_told_only_from_known_addresses() {
        let rows = [
            (SELF, X, Some(true), true),
            (SELF, Y, Some(true), false),
            (SELF, SELF, Some(false), true),
            ("0.0.0.0:40123", X, None, true),
            ("0.0.0.0:40123", Y, Some(true), false),
        ];
        for (from, to, translated, port_preserved) in rows {
            let nat = nat_kind(&mapping(&[MappingObservation {
                local: local(from),
                ..seen(A1, to, 0)
            }]))
            .unwrap();
            assert_eq!(nat.translated, translated, "{from} seen as {to}");
            assert_eq!(nat.port_preserved, port_preserved, "{from} seen as {to}");
        }
    }

    #[test]
    fn sockets_are_not_compared_with_each_other() {
        let other = MappingObservation {
            local: local("192.168.1.10:40124"),
            ..seen(B1, Y, 0)
        };
        let nat = nat_kind(&mapping(&[seen(A1, X, 0), other])).unwrap();
        assert!(!nat.depends);
        assert_eq!(nat.behaviour, Behaviour::Unknown);
    }
}
