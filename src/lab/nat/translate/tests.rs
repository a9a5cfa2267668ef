//! The NAT's behaviour, one story a test.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::lab::nat::Timers;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn linux() -> NatConfig {
    NatConfig::linux("198.51.100.7".parse().unwrap())
}

fn rfc4787() -> NatConfig {
    NatConfig::rfc4787("198.51.100.7".parse().unwrap())
}

fn pbx() -> SocketAddr {
    at("192.168.1.10:4569")
}

fn provider() -> SocketAddr {
    at("203.0.113.1:4569")
}

/// The external endpoints of one inner socket towards two ports of one address and another address.
fn mapped(config: NatConfig) -> [SocketAddr; 3] {
    let (mut nat, now) = (Nat::new(config), Instant::now());
    ["203.0.113.1:4569", "203.0.113.1:4570", "203.0.113.2:4569"]
        .map(|destination| nat.outbound(pbx(), at(destination), now).unwrap())
}

fn dependent(dependence: Dependence) -> NatConfig {
    NatConfig {
        mapping: Mapping::Translate(dependence),
        port_allocation: PortAllocation::Random,
        ..linux()
    }
}

#[test]
fn mapping_depends_on_what_it_is_told_to() {
    let [a, b, c] = mapped(dependent(Dependence::EndpointIndependent));
    assert!(a == b && b == c && a != pbx());
    let [a, b, c] = mapped(dependent(Dependence::AddressDependent));
    assert!(a == b && b != c);
    let [a, b, c] = mapped(dependent(Dependence::AddressAndPortDependent));
    assert!(a != b && b != c && a != c);
    assert_eq!(mapped(linux()), [at("198.51.100.7:4569"); 3]);
}

#[test]
fn without_translation_addresses_stay_and_the_filter_holds() {
    let now = Instant::now();
    let mut nat = Nat::new(NatConfig {
        mapping: Mapping::None,
        pool: Vec::new(),
        ..linux()
    });
    assert_eq!(nat.outbound(pbx(), provider(), now), Some(pbx()));
    assert_eq!(nat.inbound(provider(), pbx(), now + SECOND), Some(pbx()));
    assert_eq!(nat.inbound(at("203.0.113.9:4569"), pbx(), now), None);
    assert_eq!(nat.inbound(provider(), pbx(), now + 40 * SECOND), None);
}

#[test]
fn filtering_lets_in_who_was_sent_to() {
    let now = Instant::now();
    let let_in = |filtering| {
        let mut nat = Nat::new(NatConfig {
            filtering,
            ..linux()
        });
        let external = nat.outbound(pbx(), provider(), now).unwrap();
        ["203.0.113.1:4569", "203.0.113.1:4570", "203.0.113.2:4569"]
            .map(|from| nat.inbound(at(from), external, now).is_some())
    };
    assert_eq!(let_in(Dependence::EndpointIndependent), [true, true, true]);
    assert_eq!(let_in(Dependence::AddressDependent), [true, true, false]);
    assert_eq!(
        let_in(Dependence::AddressAndPortDependent),
        [true, false, false]
    );
}

#[test]
fn nothing_enters_before_something_left() {
    let mut nat = Nat::new(rfc4787());
    let external = at("198.51.100.7:4569");
    assert_eq!(nat.inbound(provider(), external, Instant::now()), None);
}

#[test]
fn an_exchange_lives_29_seconds_and_is_dead_at_30() {
    assert!(survives_exchange(linux(), 29 * SECOND));
    assert!(survives_exchange(linux(), 29_999 * MS));
    assert!(!survives_exchange(linux(), 30 * SECOND));
}

fn survives_exchange(config: NatConfig, idle: Duration) -> bool {
    let (mut nat, start) = (Nat::new(config), Instant::now());
    let external = nat.outbound(pbx(), provider(), start).unwrap();
    let answered = start + 20 * MS;
    nat.inbound(provider(), external, answered).unwrap();
    nat.inbound(provider(), external, answered + idle).is_some()
}

#[test]
fn a_packet_after_two_seconds_makes_a_stream() {
    let start = Instant::now();
    let survives = |last_packet: Duration, idle: Duration| {
        let mut nat = Nat::new(linux());
        let external = nat.outbound(pbx(), provider(), start).unwrap();
        nat.inbound(provider(), external, start + MS).unwrap();
        nat.outbound(pbx(), provider(), start + last_packet)
            .unwrap();
        nat.inbound(provider(), external, start + last_packet + idle)
            .is_some()
    };
    assert!(!survives(2 * SECOND, 30 * SECOND), "exactly 2 s is not yet");
    assert!(survives(2 * SECOND + MS, 30 * SECOND));
    assert!(survives(2 * SECOND + MS, 119 * SECOND));
    assert!(!survives(2 * SECOND + MS, 120 * SECOND));
}

#[test]
fn no_stream_without_an_answer_and_none_by_a_late_first_answer() {
    let (mut nat, start) = (Nat::new(linux()), Instant::now());
    let external = nat.outbound(pbx(), provider(), start).unwrap();
    nat.outbound(pbx(), provider(), start + 5 * SECOND).unwrap();
    let answered = start + 6 * SECOND;
    nat.inbound(provider(), external, answered).unwrap();
    assert_eq!(
        nat.inbound(provider(), external, answered + 30 * SECOND),
        None
    );
}

#[test]
fn unanswered_mappings_have_their_own_timer() {
    let config = NatConfig {
        timers: Timers {
            one_way: 10 * SECOND,
            ..linux().timers
        },
        ..linux()
    };
    assert!(survives_exchange(config.clone(), 29 * SECOND));
    let (mut nat, start) = (Nat::new(config), Instant::now());
    let external = nat.outbound(pbx(), provider(), start).unwrap();
    assert_eq!(
        nat.inbound(provider(), external, start + 10 * SECOND),
        None,
        "no answer came within ten seconds"
    );
}

#[test]
fn timers_belong_to_flows_or_to_the_mapping() {
    let start = Instant::now();
    let let_in = |timer_scope| {
        let mut nat = Nat::new(NatConfig {
            timer_scope,
            ..linux()
        });
        let external = nat.outbound(pbx(), provider(), start).unwrap();
        let other = at("203.0.113.2:4569");
        assert_eq!(
            nat.outbound(pbx(), other, start + 20 * SECOND),
            Some(external)
        );
        nat.inbound(provider(), external, start + 40 * SECOND)
            .is_some()
    };
    assert!(
        !let_in(Scope::PerFlow),
        "the other flow's packets do not help"
    );
    assert!(let_in(Scope::PerMapping));
}

#[test]
fn refresh_directions() {
    let start = Instant::now();
    let alive = |outbound_refreshes, inbound_refreshes| {
        let config = NatConfig {
            outbound_refreshes,
            inbound_refreshes,
            ..linux()
        };
        let by = |inward: bool| {
            let mut nat = Nat::new(config.clone());
            let external = nat.outbound(pbx(), provider(), start).unwrap();
            let busy = start + 20 * SECOND;
            if inward {
                nat.inbound(provider(), external, busy).unwrap();
            } else {
                nat.outbound(pbx(), provider(), busy).unwrap();
            }
            nat.inbound(provider(), external, start + 40 * SECOND)
                .is_some()
        };
        (by(false), by(true))
    };
    assert_eq!(alive(true, true), (true, true));
    assert_eq!(alive(true, false), (true, false));
    assert_eq!(alive(false, true), (false, true));
    assert_eq!(alive(false, false), (false, false));
}

#[test]
fn packets_that_the_filter_drops_refresh_nothing() {
    let (mut nat, start) = (Nat::new(linux()), Instant::now());
    let external = nat.outbound(pbx(), provider(), start).unwrap();
    let stranger = at("203.0.113.9:4569");
    assert_eq!(nat.inbound(stranger, external, start + 20 * SECOND), None);
    assert_eq!(nat.inbound(provider(), external, start + 30 * SECOND), None);
}

#[test]
fn an_absolute_lifetime_ends_busy_mappings() {
    let (mut nat, start) = (
        Nat::new(NatConfig {
            absolute_lifetime: Some(60 * SECOND),
            port_allocation: PortAllocation::Random,
            ..linux()
        }),
        Instant::now(),
    );
    let ports: Vec<u16> = (0..13)
        .map(|i| {
            let now = start + 5 * i * SECOND;
            nat.outbound(pbx(), provider(), now).unwrap().port()
        })
        .collect();
    assert!(ports[..12].iter().all(|port| *port == ports[0]));
    assert_ne!(ports[12], ports[0], "a new mapping after sixty seconds");
}

#[test]
fn random_ports_are_fresh_for_each_mapping_and_the_same_for_a_seed() {
    let ports = |seed| {
        let mut nat = Nat::new(NatConfig {
            seed,
            ..dependent(Dependence::EndpointIndependent)
        });
        let start = Instant::now();
        (0..20)
            .map(|i| {
                let now = start + 31 * i * SECOND;
                nat.outbound(pbx(), provider(), now).unwrap().port()
            })
            .collect::<Vec<u16>>()
    };
    assert_eq!(ports(1), ports(1));
    assert_ne!(ports(1), ports(2));
    let distinct: BTreeSet<u16> = ports(1).into_iter().collect();
    assert!(distinct.len() > 18 && distinct.iter().all(|port| *port >= 1024));
}

#[test]
fn a_preserving_nat_gives_the_same_port_after_expiry() {
    let (mut nat, start) = (Nat::new(linux()), Instant::now());
    let before = nat.outbound(pbx(), provider(), start);
    assert_eq!(nat.outbound(pbx(), provider(), start + 60 * SECOND), before);
}

#[test]
fn a_taken_port_goes_to_the_next_or_to_a_random_one() {
    let now = Instant::now();
    let second = |port_allocation, port_scope| {
        let mut nat = Nat::new(NatConfig {
            port_allocation,
            port_scope,
            ..linux()
        });
        nat.outbound(pbx(), provider(), now).unwrap();
        let sibling = at("192.168.1.11:4569");
        ["203.0.113.1:4569", "203.0.113.2:4569"]
            .map(|to| nat.outbound(sibling, at(to), now).unwrap().port())
    };
    assert_eq!(
        second(PortAllocation::Preserving, Scope::PerMapping),
        [4570, 4570]
    );
    // Two PBXs behind Linux: the second gets one other port and keeps it towards a second server.
    let [a, b] = second(PortAllocation::PreservingOrRandom, Scope::PerFlow);
    assert!(a == b && a != 4569 && a >= 1024);
}

#[test]
fn hosts_share_a_port_towards_different_remotes_when_ports_are_per_flow() {
    let now = Instant::now();
    let sibling = at("192.168.1.11:4569");
    let other = at("203.0.113.2:4569");
    let mut nat = Nat::new(linux());
    let shared = nat.outbound(pbx(), provider(), now).unwrap();
    assert_eq!(nat.outbound(sibling, other, now), Some(shared));
    assert_eq!(nat.inbound(provider(), shared, now), Some(pbx()));
    assert_eq!(nat.inbound(other, shared, now), Some(sibling));
    // Where they meet, the later one gets another port for that flow, and keeps it.
    let apart = nat.outbound(sibling, provider(), now).unwrap();
    assert_ne!(apart, shared);
    assert_eq!(nat.outbound(sibling, provider(), now + SECOND), Some(apart));
    assert_eq!(nat.inbound(provider(), apart, now), Some(sibling));
    assert_eq!(nat.inbound(provider(), shared, now), Some(pbx()));
}

#[test]
fn the_class_of_the_port_is_kept() {
    let mut nat = Nat::new(dependent(Dependence::EndpointIndependent));
    let external = nat
        .outbound(at("192.168.1.10:500"), provider(), Instant::now())
        .unwrap();
    assert!(external.port() < 1024, "{external}");
}

#[test]
fn pooling_is_paired_or_arbitrary() {
    let now = Instant::now();
    let addresses = |pooling| {
        let mut nat = Nat::new(NatConfig {
            pool: vec![
                "198.51.100.7".parse().unwrap(),
                "198.51.100.8".parse().unwrap(),
            ],
            pooling,
            ..linux()
        });
        let mut of = |host: &str| {
            (0..40)
                .map(|i| {
                    let source = SocketAddr::new(host.parse().unwrap(), 5000 + i);
                    nat.outbound(source, provider(), now).unwrap().ip()
                })
                .collect::<BTreeSet<IpAddr>>()
        };
        (of("192.168.1.10"), of("192.168.1.11"))
    };
    let (first, second) = addresses(Pooling::Paired);
    assert!(first.len() == 1 && second.len() == 1 && first != second);
    let (first, second) = addresses(Pooling::Arbitrary);
    assert!(first.len() == 2 && second.len() == 2);
}

#[test]
fn a_quota_refuses_new_mappings_until_old_ones_die() {
    let (mut nat, start) = (
        Nat::new(NatConfig {
            max_mappings: Some(3),
            ..linux()
        }),
        Instant::now(),
    );
    let mut open = |port, now| {
        nat.outbound(SocketAddr::new(pbx().ip(), port), provider(), now)
            .is_some()
    };
    assert!((5000..5003).all(|port| open(port, start)));
    assert!(!open(5003, start + SECOND));
    assert!(open(5000, start + SECOND), "a mapping that lives goes on");
    assert!(open(5003, start + 30 * SECOND), "two of three have died");
    assert_eq!(nat.len(start + 30 * SECOND), 2);
}

#[test]
fn hairpinning_shows_the_external_source() {
    let now = Instant::now();
    let sibling = at("192.168.1.11:4569");
    let mut nat = Nat::new(rfc4787());
    let external = nat.outbound(pbx(), provider(), now).unwrap();
    let seen = nat.outbound(sibling, external, now).unwrap();
    assert_eq!(seen.ip(), external.ip());
    assert_eq!(nat.inbound(seen, external, now), Some(pbx()));
    let mut without = Nat::new(linux());
    let external = without.outbound(pbx(), provider(), now).unwrap();
    assert_eq!(without.outbound(sibling, external, now), None);
}

#[test]
fn a_dying_packet_refreshes_a_flow_but_makes_none() {
    let (mut nat, start) = (Nat::new(linux()), Instant::now());
    assert!(!nat.outbound_dying(pbx(), provider(), start));
    assert!(nat.is_empty(start));
    let external = nat.outbound(pbx(), provider(), start).unwrap();
    assert!(nat.outbound_dying(pbx(), provider(), start + 20 * SECOND));
    let from = nat.inbound(provider(), external, start + 49 * SECOND);
    assert_eq!(from, Some(pbx()));
}

#[test]
fn a_reboot_and_a_new_address_forget_everything() {
    let (mut nat, now) = (Nat::new(linux()), Instant::now());
    let external = nat.outbound(pbx(), provider(), now).unwrap();
    nat.flush();
    assert_eq!(nat.inbound(provider(), external, now), None);
    nat.outbound(pbx(), provider(), now).unwrap();
    nat.renumber(vec!["198.51.100.99".parse().unwrap()]);
    assert_eq!(nat.inbound(provider(), external, now), None);
    let renewed = nat.outbound(pbx(), provider(), now);
    assert_eq!(renewed, Some(at("198.51.100.99:4569")));
}

#[test]
fn a_tainted_flow_is_wrong_until_it_is_silent_long_enough() {
    let (mut nat, start) = (Nat::new(linux()), Instant::now());
    nat.taint(pbx(), provider(), pbx(), start);
    let mut source = |port, second| {
        let source = SocketAddr::new(pbx().ip(), port);
        nat.outbound(source, provider(), start + second * SECOND)
    };
    let right = |port| Some(SocketAddr::new("198.51.100.7".parse().unwrap(), port));
    assert_eq!(source(4569, 10), Some(pbx()));
    assert_eq!(source(4570, 10), right(4570), "another port is sound");
    assert_eq!(source(4569, 39), Some(pbx()), "retries keep it alive");
    assert_eq!(source(4569, 69), right(4569));
}

#[test]
fn a_taint_replaces_the_mapping_there_was() {
    let (mut nat, now) = (
        Nat::new(dependent(Dependence::AddressAndPortDependent)),
        Instant::now(),
    );
    let external = nat.outbound(pbx(), provider(), now).unwrap();
    nat.taint(pbx(), provider(), pbx(), now);
    assert_eq!(nat.outbound(pbx(), provider(), now), Some(pbx()));
    assert_eq!(nat.inbound(provider(), external, now), None);
    nat.taint(pbx(), provider(), pbx(), now);
    assert_eq!((nat.len(now), nat.by_external.len()), (1, 1));
}

#[test]
fn two_nats_die_with_the_shorter_timer() {
    let start = Instant::now();
    let carrier = NatConfig {
        timers: Timers::flat(5 * SECOND),
        ..linux()
    };
    let home = NatConfig::linux("100.64.0.2".parse().unwrap());
    let delivered = |idle: Duration| {
        let (mut home, mut carrier) = (Nat::new(home.clone()), Nat::new(carrier.clone()));
        let between = home.outbound(pbx(), provider(), start).unwrap();
        let external = carrier.outbound(between, provider(), start).unwrap();
        let inner = carrier.inbound(provider(), external, start + idle)?;
        home.inbound(provider(), inner, start + idle)
    };
    assert_eq!(delivered(4 * SECOND), Some(pbx()));
    assert_eq!(delivered(5 * SECOND), None);
}

#[test]
fn an_empty_pool_translates_nothing() {
    let mut nat = Nat::new(NatConfig {
        pool: Vec::new(),
        ..linux()
    });
    assert_eq!(nat.outbound(pbx(), provider(), Instant::now()), None);
}
