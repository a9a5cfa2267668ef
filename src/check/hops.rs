//! Which boxes on the way keep state, and which of them forgets first?

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use crate::{
    check::{Finding, FindingId, Severity, lifetime, nat_kind, open_question::Parts, seconds},
    probe::evidence::{Evidence, HopsEvidence, ShapeLifetime},
};

/// A box that keeps state: a NAT, or a firewall.
#[derive(Clone, Debug, PartialEq)]
pub struct StateBox {
    /// How many hops away; 1 is the nearest.
    pub hop: u8,
    /// The address it reports packets from: the one on our side.
    pub address: Option<IpAddr>,
    /// How long it keeps an idle exchange, where its own timer was read.
    pub exchange: Option<ShapeLifetime>,
    /// What shows that it keeps state.
    pub because: String,
}

/// The boxes that are proven to keep state, the nearest first.
#[must_use]
pub fn boxes(evidence: &Evidence) -> Vec<StateBox> {
    let Some(hops) = &evidence.hops else {
        return vec![];
    };
    let mut boxes: Vec<StateBox> = (1..=hops.distance.unwrap_or(0))
        .filter_map(|hop| {
            let exchange = timer(hops, hop);
            let because = if let Some(dead) = exchange.as_ref().and_then(|edge| edge.dead) {
                format!(
                    "hop {hop} forgets an exchange after {}, all others kept open meanwhile",
                    seconds(dead)
                )
            } else if hops.outermost == Some(hop) {
                format!("hop {hop} is the outermost that lets in only who was sent to")
            } else {
                in_front_of_shared_space(hops, hop)?
            };
            Some(StateBox {
                hop,
                address: address(hops, hop),
                exchange,
                because,
            })
        })
        .collect();
    // One box alone has the timer that was measured from end to end.
    if let [only] = boxes.as_mut_slice()
        && hops.outermost == Some(1)
        && only.exchange.is_none()
    {
        only.exchange = lifetime::exchange(evidence).cloned();
    }
    boxes
}

/// The shortest timer of all boxes that were timed, where two or more were.
pub(super) fn least(evidence: &Evidence) -> Option<Duration> {
    let ends: Vec<Duration> = boxes(evidence)
        .iter()
        .filter_map(|found| found.exchange.as_ref()?.dead)
        .collect();
    ends.iter().min().copied().filter(|_| ends.len() > 1)
}

/// The timer of a box, where it is proven to be its own.
fn timer(hops: &HopsEvidence, hop: u8) -> Option<ShapeLifetime> {
    let timer = hops.timers.iter().find(|timer| timer.hop == hop)?;
    timer.is_own.then(|| timer.edge.clone())
}

fn address(hops: &HopsEvidence, hop: u8) -> Option<IpAddr> {
    hops.routers
        .iter()
        .find(|(known, _)| *known == hop)
        .and_then(|(_, address)| *address)
}

/// The nearest router translates where we have a private address and the router behind it has one of those
/// that carriers use between their subscribers and their own NAT (RFC 6598): private addresses are not routed
/// there. That there is a NAT behind it too, the outermost filter shows.
fn in_front_of_shared_space(hops: &HopsEvidence, hop: u8) -> Option<String> {
    let local = hops.local?.get().ip();
    let next = address(hops, hop + 1)?;
    let holds = hop == 1
        && is_private(local)
        && is_shared(next)
        && hops.outermost.is_some_and(|outermost| outermost > hop);
    holds.then(|| {
        format!(
            "hop 1 leads from {local} to {next}, an address of carriers' inner networks (RFC 6598)"
        )
    })
}

fn is_private(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_private())
}

/// 100.64.0.0/10 (RFC 6598).
fn is_shared(ip: IpAddr) -> bool {
    const MASK: u32 = !0 << 22;
    let network = u32::from(Ipv4Addr::new(100, 64, 0, 0));
    matches!(ip, IpAddr::V4(v4) if u32::from(v4) & MASK == network)
}

/// What the router says of its own public address and what others see of ours, where the two differ: another NAT
/// stands behind it. `None` too where the router's protocols do not agree.
fn behind_the_router(evidence: &Evidence) -> Option<(IpAddr, IpAddr)> {
    let told = evidence.port_mapping.as_ref()?.external()?;
    let registrar = evidence.registration.iter().flat_map(|it| &it.apparent);
    let others = evidence.mapping.iter().flat_map(|it| &it.observations);
    let seen: BTreeSet<IpAddr> = registrar
        .map(|(_, mapped)| mapped.get().ip())
        .chain(others.map(|seen| seen.mapped.get().ip()))
        .filter(|ip| ip.is_ipv4() == told.is_ipv4())
        .collect();
    let first = seen.first().copied()?;
    // A router with several addresses tells one of them.
    let differs = !told.is_unspecified() && !seen.contains(&told) && seen.len() == 1;
    differs.then_some((told, first))
}

/// The same as a fact.
fn told_and_seen(evidence: &Evidence) -> Option<String> {
    let (told, seen) = behind_the_router(evidence)?;
    let kind = if is_shared(told) {
        ", an address of carriers' inner networks (RFC 6598),"
    } else if is_private(told) {
        ", a private address,"
    } else {
        ""
    };
    Some(format!(
        "the router says that its public address is {told}{kind} and outside we are seen at {seen}"
    ))
}

/// `double-nat`: two or more boxes in a row, and addresses are translated.
#[must_use]
pub fn finding(evidence: &Evidence) -> Option<Finding> {
    let boxes = boxes(evidence);
    let translated = nat_kind::nat_kind(evidence).and_then(|nat| nat.translated);
    if boxes.len() < 2 || translated == Some(false) {
        return behind(evidence);
    }
    let names: Vec<String> = boxes.iter().map(name).collect();
    let mut do_this = vec![];
    let timed = |found: &StateBox| Some((found.exchange.as_ref()?.dead?, name(found)));
    let shortest = boxes.iter().filter_map(timed).min();
    if let (Some((least, place)), true) = (&shortest, boxes.iter().all(|one| timed(one).is_some()))
    {
        do_this.push(format!(
            "only a keepalive more often than every {} helps, the timer of {place}: qualify=yes with a \
             qualifyfreqok below half of it",
            seconds(*least)
        ));
    } else {
        do_this.push(
            "read the timer of each: iax2-natcheck nat hops PROVIDER --reflector HOST".into(),
        );
    }
    do_this.push(
        "make the inner router a bridge (or an access point), so that one NAT is left; or ask the \
         carrier for a public address"
            .into(),
    );
    do_this.push(
        "a port that is to be reached from outside must be forwarded on every one of them".into(),
    );
    Some(Finding {
        id: FindingId::DoubleNat,
        severity: Severity::Warning,
        title: format!("{} NATs in a row: {}", boxes.len(), names.join(", then ")),
        because: boxes
            .iter()
            .map(|found| found.because.clone())
            .chain(told_and_seen(evidence))
            .collect(),
        do_this,
    })
}

/// The same where the router's own word alone shows the second NAT.
fn behind(evidence: &Evidence) -> Option<Finding> {
    let fact = told_and_seen(evidence)?;
    let gateway = evidence.port_mapping.as_ref()?.gateway;
    let router = gateway.map_or_else(|| "the router".into(), |gateway| gateway.to_string());
    Some(Finding {
        id: FindingId::DoubleNat,
        severity: Severity::Warning,
        title: format!("Two NATs in a row: {router}, then one behind it"),
        because: vec![fact],
        do_this: vec![
            "read the timer of each: iax2-natcheck nat hops PROVIDER --reflector HOST".into(),
            "make the inner router a bridge (or an access point), so that one NAT is left; or ask the \
             carrier for a public address"
                .into(),
            "a mapping or a forward on the router alone does not let anybody in".into(),
        ],
    })
}

/// As the owner may know it.
fn name(found: &StateBox) -> String {
    match found.address {
        Some(address) => format!("{address} (hop {})", found.hop),
        None => format!("hop {}", found.hop),
    }
}

/// Why the question of `nat hops` is open, where it is.
pub(super) fn open(evidence: &Evidence) -> Option<Parts> {
    if !boxes(evidence).is_empty() || no_box(evidence) {
        return None;
    }
    let reflector =
        "name a reflector with two addresses: iax2-natcheck serve --bind A:P --alternate B:Q";
    let (fact, remedy) = match &evidence.hops {
        Some(hops) if hops.server.is_none() => ("no reflector answered", reflector),
        None => ("no reflector was asked", reflector),
        Some(hops) if hops.distance.is_none() => (
            "the reflector is farther than 30 hops, or packets with a low time to live are dropped",
            "name a reflector that is nearer: --reflector HOST",
        ),
        Some(hops) if hops.timers.is_empty() => (
            "the place of the outermost filter did not show: the mapping depends on the destination, \
             anybody is let in, or the reflector has one address",
            reflector,
        ),
        Some(_) => (
            "the timers that were read are not proven to be those of single boxes",
            "measure longer: --max-lifetime 10m",
        ),
    };
    Some((
        "Which box on the way keeps state was not found out",
        vec![fact.into()],
        vec![remedy.into()],
    ))
}

/// Nothing stands between: the reflector is the next hop.
fn no_box(evidence: &Evidence) -> bool {
    evidence
        .hops
        .as_ref()
        .is_some_and(|hops| hops.distance == Some(1))
}

/// The boxes in one sentence.
pub(super) fn sentence(evidence: &Evidence) -> String {
    let boxes = boxes(evidence);
    let [found] = boxes.as_slice() else {
        return "No router stands between this host and the reflector.".into();
    };
    let keeps = match found.exchange.as_ref() {
        Some(ShapeLifetime {
            dead: Some(dead), ..
        }) => format!(", which keeps an exchange for {}", seconds(*dead)),
        Some(ShapeLifetime {
            alive: Some(alive), ..
        }) => format!(", which keeps an exchange for {} at least", seconds(*alive)),
        _ => String::new(),
    };
    format!("One box keeps state: {}{keeps}.", name(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{edge, healthy, local, outlived},
        probe::evidence::{HopTimer, Mapper, PortMappingEvidence},
    };

    fn timer_of(hop: u8, edge: ShapeLifetime, is_own: bool) -> HopTimer {
        HopTimer { hop, edge, is_own }
    }

    fn way(second: &str, outermost: Option<u8>, timers: Vec<HopTimer>) -> Evidence {
        Evidence {
            hops: Some(HopsEvidence {
                local: Some(local("192.168.1.10:40300")),
                distance: Some(4),
                back: Some(4),
                routers: vec![
                    (1, "192.168.1.1".parse().ok()),
                    (2, second.parse().ok()),
                    (3, None),
                ],
                outermost,
                timers,
                ..HopsEvidence::default()
            }),
            ..healthy()
        }
    }

    fn hops_of(evidence: &Evidence) -> Vec<(u8, Option<u64>)> {
        let of = |found: &StateBox| {
            let dead = found.exchange.as_ref().and_then(|edge| edge.dead);
            (found.hop, dead.map(|dead| dead.as_secs()))
        };
        boxes(evidence).iter().map(of).collect()
    }

    #[test]
    fn boxes_are_those_that_are_proven() {
        let both = vec![
            timer_of(1, edge(119, 120), true),
            timer_of(2, edge(34, 35), true),
        ];
        let second = vec![
            timer_of(1, edge(34, 35), false),
            timer_of(2, edge(34, 35), true),
        ];
        let first = vec![
            timer_of(1, edge(34, 35), true),
            timer_of(2, outlived(300), false),
        ];
        let rows = [
            (
                "one by its filter",
                way("203.0.113.9", Some(1), vec![]),
                vec![(1, Some(65))],
            ),
            (
                "two by timers",
                way("203.0.113.9", Some(2), both),
                vec![(1, Some(120)), (2, Some(35))],
            ),
            (
                "one timer is not the box's own",
                way("10.0.0.1", Some(2), second),
                vec![(2, Some(35))],
            ),
            (
                "one outlives",
                way("10.0.0.1", None, first),
                vec![(1, Some(35))],
            ),
            (
                "a carrier's network",
                way("100.64.0.1", Some(2), vec![]),
                vec![(1, None), (2, None)],
            ),
            (
                "a private network behind",
                way("10.0.0.1", Some(2), vec![]),
                vec![(2, None)],
            ),
            (
                "not shared space",
                way("100.128.0.1", Some(2), vec![]),
                vec![(2, None)],
            ),
            ("nothing known", way("100.64.0.1", None, vec![]), vec![]),
        ];
        for (name, evidence, expected) in rows {
            assert_eq!(hops_of(&evidence), expected, "{name}");
            assert_eq!(finding(&evidence).is_some(), expected.len() > 1, "{name}");
            assert_eq!(open(&evidence).is_some(), expected.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_router_that_names_another_address_stands_before_a_nat() {
        let mapper = |told: &str| Mapper {
            answered: true,
            external: told.parse().ok(),
            ..Mapper::default()
        };
        for (upnp, pcp, expected) in [
            ("198.51.100.7", "198.51.100.7", None),
            ("100.64.0.2", "100.64.0.2", Some("RFC 6598")),
            ("10.1.2.3", "10.1.2.3", Some("a private address")),
            ("192.0.2.9", "192.0.2.9", Some("is 192.0.2.9 and")),
            ("0.0.0.0", "0.0.0.0", None),
            // They contradict each other.
            ("100.64.0.2", "198.51.100.7", None),
        ] {
            let evidence = Evidence {
                port_mapping: Some(PortMappingEvidence {
                    gateway: "192.168.1.1".parse().ok(),
                    upnp: mapper(upnp),
                    pcp: mapper(pcp),
                    ..PortMappingEvidence::default()
                }),
                ..healthy()
            };
            let found = finding(&evidence);
            let because = found.as_ref().map(|found| found.because[0].as_str());
            assert_eq!(because.is_some(), expected.is_some(), "{upnp} {pcp}");
            if let (Some(because), Some(expected)) = (because, expected) {
                assert!(because.contains(expected), "{because}");
                assert!(because.ends_with("198.51.100.7"), "{because}");
            }
        }
    }

    #[test]
    fn the_shortest_timer_is_the_one_to_stay_below() {
        let timers = vec![
            timer_of(1, edge(119, 120), true),
            timer_of(2, edge(34, 35), true),
        ];
        let found = finding(&way("100.64.0.1", Some(2), timers)).unwrap();
        assert_eq!(
            found.title,
            "2 NATs in a row: 192.168.1.1 (hop 1), then 100.64.0.1 (hop 2)"
        );
        assert!(found.do_this[0].contains("every 35 s") && found.do_this[0].contains("100.64.0.1"));
    }
}
