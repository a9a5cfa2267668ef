//! The world: clocks, routes, sockets, faults.

use std::time::Duration;

use super::*;
use crate::{
    lab::{link::Faults, nat::Timers},
    probe::behaviour::Dependence,
    types::PeerAddr,
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const KEY: SocketKey = SocketKey(0);

/// Sends datagrams at set times and reports every input.
struct Script {
    sends: Vec<(Instant, Transmit)>,
    due: Vec<Transmit>,
    seen: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Opened(SocketKey, String),
    Got(SocketKey, String, String),
    Error(Unreachable, Option<IpAddr>),
}

impl Script {
    fn new(start: Instant, sends: &[(Duration, u32, &str, Option<u8>, &str)]) -> Self {
        let sends = sends.iter().map(|(after, key, peer, ttl, text)| {
            let transmit = Transmit {
                socket: SocketKey(*key),
                peer: PeerAddr::new(peer.parse().unwrap()),
                payload: text.as_bytes().to_vec(),
                ttl: *ttl,
            };
            (start + *after, transmit)
        });
        Self {
            sends: sends.collect(),
            due: Vec::new(),
            seen: Vec::new(),
        }
    }
}

impl Machine for Script {
    type Event = Seen;

    fn handle_input(&mut self, input: Input<'_>, _now: Instant) {
        self.seen.push(match input {
            Input::Opened { socket, local } => Seen::Opened(socket, local.to_string()),
            Input::Datagram {
                socket,
                source,
                payload,
            } => Seen::Got(
                socket,
                source.to_string(),
                String::from_utf8_lossy(payload).into_owned(),
            ),
            Input::Unreachable {
                cause, reporter, ..
            } => Seen::Error(cause, reporter),
        });
    }

    fn handle_timeout(&mut self, now: Instant) {
        let (due, later) = self.sends.drain(..).partition(|(at, _)| *at <= now);
        self.sends = later;
        self.due
            .extend(Vec::into_iter(due).map(|(_, transmit)| transmit));
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        (!self.due.is_empty()).then(|| self.due.remove(0))
    }

    fn poll_event(&mut self) -> Option<Seen> {
        (!self.seen.is_empty()).then(|| self.seen.remove(0))
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let next = self.sends.iter().map(|(at, _)| *at).min()?;
        Some((next, "next send"))
    }
}

/// Tells every sender the address it was seen with, after as many milliseconds as the payload says.
#[derive(Default)]
struct Mirror {
    replies: Vec<(Instant, Transmit)>,
    due: Vec<Transmit>,
}

impl Machine for Mirror {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram {
            socket,
            source,
            payload,
        } = input
        {
            let text = String::from_utf8_lossy(payload);
            let mut words = text.split(' ');
            let millis: u64 = words.next().unwrap().parse().unwrap();
            let reply = Transmit {
                socket,
                peer: source,
                payload: source.to_string().into_bytes(),
                ttl: words.next().map(|ttl| ttl.parse().unwrap()),
            };
            self.replies
                .push((now + Duration::from_millis(millis), reply));
            self.handle_timeout(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let (due, later) = self.replies.drain(..).partition(|(at, _)| *at <= now);
        self.replies = later;
        self.due
            .extend(Vec::into_iter(due).map(|(_, transmit)| transmit));
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        (!self.due.is_empty()).then(|| self.due.remove(0))
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let next = self.replies.iter().map(|(at, _)| *at).min()?;
        Some((next, "reply"))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn home() -> NatConfig {
    NatConfig {
        inside: Some(ip("192.168.1.1")),
        ..NatConfig::linux(ip("198.51.100.7"))
    }
}

fn carrier_chain() -> Vec<NatConfig> {
    vec![
        NatConfig {
            inside: Some(ip("192.168.1.1")),
            ..NatConfig::linux(ip("100.64.0.2"))
        },
        NatConfig {
            inside: Some(ip("100.64.0.1")),
            timers: Timers::flat(10 * SECOND),
            ..NatConfig::linux(ip("198.51.100.7"))
        },
    ]
}

fn behind(nats: Vec<NatConfig>) -> SiteConfig {
    SiteConfig {
        nats,
        ..SiteConfig::default()
    }
}

/// Runs a script behind a site, with a mirror on two addresses and two ports, for six minutes.
fn run(
    site: SiteConfig,
    sends: &[(Duration, u32, &str, Option<u8>, &str)],
) -> (Vec<(Duration, Seen)>, Traffic) {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(site);
    let client = world.client(site, ip("192.168.1.10"), Script::new(start, sends));
    let addresses = ["203.0.113.1:4569", "203.0.113.1:4570", "203.0.113.2:4569"];
    let sockets = (0..)
        .map(SocketKey)
        .zip(addresses.map(|a| a.parse().unwrap()));
    world.server(sockets, Mirror::default());
    world.run_until(start + 360 * SECOND);
    assert_eq!(world.now(), start + 360 * SECOND);
    let events = client.take_events();
    let events = events.into_iter().map(|(at, seen)| (at - start, seen));
    (events.collect(), world.traffic())
}

fn got(seen: &[(Duration, Seen)]) -> Vec<(u32, String)> {
    let got = seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Got(key, _, text) => Some((key.0, text.clone())),
        Seen::Opened(..) | Seen::Error(..) => None,
    });
    got.collect()
}

#[test]
fn a_socket_opens_before_its_first_answer_and_keeps_its_port() {
    let (seen, traffic) = run(
        behind(vec![home()]),
        &[
            (SECOND, 0, "203.0.113.1:4569", None, "0"),
            (2 * SECOND, 0, "203.0.113.2:4569", None, "0"),
            (2 * SECOND, 1, "203.0.113.1:4569", None, "0"),
        ],
    );
    let expected = [
        (SECOND, Seen::Opened(KEY, "192.168.1.10:40000".into())),
        (
            SECOND + 10 * MS,
            Seen::Got(KEY, "203.0.113.1:4569".into(), "198.51.100.7:40000".into()),
        ),
        (
            2 * SECOND,
            Seen::Opened(SocketKey(1), "192.168.1.10:40001".into()),
        ),
        (
            2 * SECOND + 10 * MS,
            Seen::Got(KEY, "203.0.113.2:4569".into(), "198.51.100.7:40000".into()),
        ),
        (
            2 * SECOND + 10 * MS,
            Seen::Got(
                SocketKey(1),
                "203.0.113.1:4569".into(),
                "198.51.100.7:40001".into(),
            ),
        ),
    ];
    assert_eq!(seen, expected);
    assert_eq!((traffic.sent, traffic.delivered), (6, 6));
}

#[test]
fn late_answers_find_the_mapping_alive_or_dead() {
    let (seen, traffic) = run(
        behind(vec![home()]),
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "29000"),
            (Duration::ZERO, 1, "203.0.113.1:4569", None, "29989"),
            (Duration::ZERO, 2, "203.0.113.1:4569", None, "29990"),
        ],
    );
    let keys: Vec<u32> = got(&seen).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [0, 1], "the way there and back takes 10 ms");
    assert_eq!(traffic.filtered, 1);
}

#[test]
fn two_nats_show_the_outer_address_and_die_with_the_shorter_timer() {
    let (seen, _) = run(
        behind(carrier_chain()),
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "9000"),
            (Duration::ZERO, 1, "203.0.113.1:4569", None, "11000"),
        ],
    );
    assert_eq!(got(&seen), [(0, "198.51.100.7:40000".to_owned())]);
}

#[test]
fn a_low_ttl_refreshes_the_nats_it_reaches() {
    // The carrier forgets after 10 s. A packet of TTL 1 every 4 s reaches only the home router; one
    // of TTL 2 reaches the carrier too.
    for (ttl, reporter, alive) in [(1, "192.168.1.1", false), (2, "100.64.0.1", true)] {
        let (seen, traffic) = run(
            behind(carrier_chain()),
            &[
                (Duration::ZERO, 0, "203.0.113.1:4569", None, "12000"),
                (4 * SECOND, 0, "203.0.113.1:4569", Some(ttl), "0"),
                (8 * SECOND, 0, "203.0.113.1:4569", Some(ttl), "0"),
            ],
        );
        assert_eq!(!got(&seen).is_empty(), alive, "TTL {ttl}");
        let error = Seen::Error(Unreachable::TimeExceeded, Some(ip(reporter)));
        assert_eq!(seen.iter().filter(|(_, seen)| *seen == error).count(), 2);
        assert_eq!(traffic.expired, 2);
    }
}

#[test]
fn a_server_with_a_low_ttl_refreshes_the_outer_nat_only() {
    let home = NatConfig {
        timers: Timers::flat(10 * SECOND),
        ..NatConfig::linux(ip("100.64.0.2"))
    };
    let carrier = home_with_timer(10);
    let (seen, traffic) = run(
        behind(vec![home, carrier]),
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "5000 1"),
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "12000"),
        ],
    );
    // The carrier was refreshed at 5 s and lets the answer at 12 s in; the home router, not reached
    // by the first, does not.
    assert!(got(&seen).is_empty());
    assert_eq!((traffic.expired, traffic.filtered), (1, 1));
}

fn home_with_timer(seconds: u64) -> NatConfig {
    NatConfig {
        timers: Timers::flat(Duration::from_secs(seconds)),
        ..home()
    }
}

#[test]
fn routers_beyond_the_nat_use_up_the_ttl_too() {
    let site = SiteConfig {
        hops: 3,
        ..behind(vec![home()])
    };
    let (seen, _) = run(
        site,
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", Some(4), "0"),
            (Duration::ZERO, 1, "203.0.113.1:4569", Some(5), "0"),
        ],
    );
    assert_eq!(got(&seen).len(), 1);
    assert_eq!(got(&seen)[0].0, 1);
}

#[test]
fn a_closed_port_answers_with_icmp_and_no_host_with_silence() {
    let sends = [
        (Duration::ZERO, 0, "203.0.113.1:9", None, "0"),
        (Duration::ZERO, 0, "203.0.113.77:4569", None, "0"),
    ];
    let (seen, traffic) = run(behind(vec![home()]), &sends);
    let error = Seen::Error(Unreachable::Port, Some(ip("203.0.113.1")));
    assert_eq!(seen[1..], [(10 * MS, error)]);
    assert_eq!(traffic.unclaimed, 2);
    let silent = SiteConfig {
        icmp: false,
        ..behind(vec![home()])
    };
    assert_eq!(run(silent, &sends).0.len(), 1);
}

#[test]
fn without_a_nat_the_client_is_seen_as_it_is() {
    let (seen, _) = run(
        SiteConfig::default(),
        &[(Duration::ZERO, 0, "203.0.113.1:4569", None, "300000")],
    );
    assert_eq!(got(&seen), [(0, "192.168.1.10:40000".to_owned())]);
}

#[test]
fn loss_is_the_same_for_the_same_seed() {
    let outcome = |seed| {
        let faults = Faults {
            loss: 0.1,
            ..Faults::NONE
        };
        let site = SiteConfig {
            link: LinkConfig::both(faults, seed),
            ..behind(vec![home()])
        };
        let sends: Vec<_> = (0..200)
            .map(|i| (i * 100 * MS, 0, "203.0.113.1:4569", None, "0"))
            .collect();
        run(site, &sends)
    };
    let (_, traffic) = outcome(1);
    assert!((15..70).contains(&traffic.lost), "{traffic:?}");
    assert_eq!(outcome(1), outcome(1));
    assert_ne!(outcome(1), outcome(2));
}

#[test]
fn a_blocked_direction_loses_what_goes_that_way() {
    let site = SiteConfig {
        link: LinkConfig {
            inbound: Faults::BLOCKED,
            ..LinkConfig::default()
        },
        ..behind(vec![home()])
    };
    let (seen, traffic) = run(site, &[(Duration::ZERO, 0, "203.0.113.1:4569", None, "0")]);
    assert!(got(&seen).is_empty());
    assert_eq!((traffic.sent, traffic.delivered, traffic.lost), (2, 1, 1));
}

#[test]
fn neighbours_meet_inside_and_by_hairpin() {
    let start = Instant::now();
    let heard = |nat: NatConfig, to: &str| {
        let mut world = World::new(start);
        let site = world.site(behind(vec![nat]));
        let opener = Script::new(start, &[(Duration::ZERO, 0, "203.0.113.1:4569", None, "0")]);
        let first = world.client(site, ip("192.168.1.10"), opener);
        world.bind(&first, KEY, 4569);
        let caller = Script::new(start, &[(SECOND, 0, to, None, "hello")]);
        world.client(site, ip("192.168.1.11"), caller);
        world.run_until(start + 2 * SECOND);
        let events = first.take_events().into_iter();
        events.map(|(_, seen)| seen).next_back().unwrap()
    };
    let got = |source: &str| Seen::Got(KEY, source.into(), "hello".into());
    assert_eq!(
        heard(home(), "192.168.1.10:4569"),
        got("192.168.1.11:40000")
    );
    let hairpin = NatConfig::rfc4787(ip("198.51.100.7"));
    assert_eq!(
        heard(hairpin, "198.51.100.7:4569"),
        got("198.51.100.7:40000")
    );
    assert!(matches!(
        heard(home(), "198.51.100.7:4569"),
        Seen::Opened(..)
    ));
}

#[test]
fn a_host_without_sockets_left_refuses() {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(behind(vec![home()]));
    let script = Script::new(
        start,
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "0"),
            (Duration::ZERO, 1, "203.0.113.1:4569", None, "0"),
        ],
    );
    let client = world.client(site, ip("192.168.1.10"), script);
    world.limit_sockets(&client, 1);
    world.run_until(start + SECOND);
    let refused = Seen::Error(Unreachable::NoSocket, None);
    assert!(client.events().iter().any(|(_, seen)| *seen == refused));
}

#[test]
fn the_network_can_change_under_way() {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(behind(vec![home()]));
    let to = "203.0.113.1:4569";
    let script = Script::new(
        start,
        &[
            (Duration::ZERO, 0, to, None, "0"),
            (SECOND, 0, to, None, "0"),
        ],
    );
    let client = world.client(site, ip("192.168.1.10"), script);
    world.server([(KEY, to.parse().unwrap())], Mirror::default());
    let answered = || client.events().len() == 2;
    assert!(world.run_until_done(start + SECOND / 2, answered));
    assert_eq!(world.now(), start + 10 * MS);
    let nat = world.nat(site, 0).unwrap();
    nat.renumber(vec![ip("198.51.100.99")]);
    world.run_until(start + 2 * SECOND);
    let events = client.take_events();
    let last = Seen::Got(KEY, to.into(), "198.51.100.99:40000".into());
    assert_eq!(events.last().unwrap().1, last);
    world.set_link(site, LinkConfig::both(Faults::BLOCKED, 0));
    let again = Script::new(world.now(), &[(SECOND, 0, to, None, "0")]);
    *client.machine_mut() = again;
    world.run_until(start + 5 * SECOND);
    assert!(client.events().is_empty() && world.traffic().lost == 1);
}

#[test]
#[should_panic(expected = "host 0: always due in 0ns")]
fn a_machine_that_spins_is_found() {
    struct Spinner(Instant);
    impl Machine for Spinner {
        type Event = ();
        fn handle_input(&mut self, _: Input<'_>, _: Instant) {}
        fn handle_timeout(&mut self, _: Instant) {}
        fn poll_transmit(&mut self) -> Option<Transmit> {
            None
        }
        fn poll_event(&mut self) -> Option<()> {
            None
        }
        fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
            Some((self.0, "always due"))
        }
    }
    let start = Instant::now();
    let mut world = World::new(start);
    world.server([], Spinner(start));
    world.run_until(start + SECOND);
}

#[test]
fn symmetric_nats_show_a_port_for_each_peer() {
    let nat = NatConfig {
        mapping: crate::lab::nat::Mapping::Translate(Dependence::AddressAndPortDependent),
        port_allocation: crate::lab::nat::PortAllocation::Random,
        ..home()
    };
    let (seen, _) = run(
        behind(vec![nat]),
        &[
            (Duration::ZERO, 0, "203.0.113.1:4569", None, "0"),
            (SECOND, 0, "203.0.113.1:4570", None, "0"),
            (2 * SECOND, 0, "203.0.113.2:4569", None, "0"),
        ],
    );
    let ports: std::collections::BTreeSet<String> =
        got(&seen).into_iter().map(|(_, text)| text).collect();
    assert_eq!(ports.len(), 3);
}

#[test]
fn six_hundred_sockets_for_five_minutes() {
    let sends: Vec<_> = (0..600)
        .flat_map(|key| {
            let at = u64::from(key) * 10;
            [0, 2200, 60_000, 290_000].map(|more| {
                (
                    Duration::from_millis(at + more),
                    key,
                    "203.0.113.1:4569",
                    None,
                    "1000",
                )
            })
        })
        .collect();
    let (seen, traffic) = run(behind(carrier_chain()), &sends);
    assert_eq!(got(&seen).len(), 2400);
    assert_eq!((traffic.sent, traffic.delivered), (4800, 4800));
}
