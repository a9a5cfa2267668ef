//! Lifetimes: what the sweep finds must be what the NAT was configured with.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::{
        nat::{NatConfig, Timers},
        world::World,
    },
    probe::{
        behaviour::Shape,
        evidence::LifetimeEvidence,
        lifetime::{Answerer, Lifetime, LifetimeConfig},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit},
    types::{MappedAddr, PeerAddr},
    wire::stun::{self, BindingSuccess},
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site, sockets};

struct Sweep {
    evidence: LifetimeEvidence,
    took: Duration,
}

fn sweep(nat: NatConfig, longest: u64, budget: usize, loss: f64, number: u64) -> Sweep {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![nat], loss, number);
    let sockets = sockets();
    let server = provider(Vec::new(), &sockets, number, start);
    let _server = world.server(sockets, server);
    let config = LifetimeConfig {
        answerer: Answerer::Reflector(peer(SERVER)),
        control: SocketKey(4),
        first_socket: 100,
        shapes: Shape::ALL.to_vec(),
        longest: seconds(longest),
        idles: Vec::new(),
        budget,
        isolation: None,
        lossy: loss > 0.0,
        seed: seed(number),
    };
    let client = world.client(site, ip(CLIENT), Lifetime::new(config, start));
    let ended = world.run_until_done(start + seconds(3000), || client.machine().is_finished());
    assert!(ended, "the sweep does not end");
    let evidence = client.machine().evidence().expect("nothing measured");
    Sweep {
        evidence,
        took: world.now() - start,
    }
}

fn edge(evidence: &LifetimeEvidence, wanted: Shape) -> (Option<u64>, Option<u64>) {
    let (_, lifetime) = evidence
        .shapes
        .iter()
        .find(|(shape, _)| *shape == wanted)
        .unwrap();
    (
        lifetime.alive.map(|d| d.as_secs()),
        lifetime.dead.map(|d| d.as_secs()),
    )
}

fn linux(udp: u64, stream: u64) -> NatConfig {
    NatConfig {
        timers: Timers::linux(seconds(udp), seconds(stream)),
        ..NatConfig::linux(ip(EXTERNAL))
    }
}

#[test]
fn linux_defaults_in_one_pass() {
    let Sweep { evidence, took } = sweep(linux(30, 120), 300, 512, 0.0, 1);
    assert_eq!(edge(&evidence, Shape::OneWay), (Some(29), Some(30)));
    assert_eq!(edge(&evidence, Shape::Exchange), (Some(29), Some(30)));
    assert_eq!(edge(&evidence, Shape::Stream), (Some(119), Some(120)));
    assert_eq!(evidence.inbound_refreshes, Some(true));
    assert!(took <= seconds(125), "{took:?}");
    assert!(evidence.mappings <= 512, "{}", evidence.mappings);
}

#[test]
fn many_timers_with_and_without_loss() {
    for (number, udp) in (100..).zip([3, 5, 10, 20, 35, 60, 65, 90]) {
        for loss in [0.0, 0.02, 0.1] {
            let Sweep { evidence, took } = sweep(linux(udp, udp + 7), 110, 512, loss, number);
            let expected = (Some(udp - 1), Some(udp));
            for shape in [Shape::OneWay, Shape::Exchange] {
                assert_eq!(
                    edge(&evidence, shape),
                    expected,
                    "{udp} s, {shape}, loss {loss}"
                );
            }
            assert_eq!(
                edge(&evidence, Shape::Stream),
                (Some(udp + 6), Some(udp + 7)),
                "{udp} {loss}"
            );
            if loss == 0.0 {
                assert!(took <= seconds(udp + 12), "{udp}: {took:?}");
            }
        }
    }
}

#[test]
fn without_inbound_refresh() {
    let nat = NatConfig {
        inbound_refreshes: false,
        ..linux(30, 40)
    };
    let Sweep { evidence, .. } = sweep(nat, 60, 512, 0.0, 7);
    assert_eq!(edge(&evidence, Shape::Exchange), (Some(29), Some(30)));
    assert_eq!(evidence.inbound_refreshes, Some(false));
}

#[test]
fn a_small_budget_takes_two_passes() {
    for budget in [30, 60, 120] {
        let Sweep { evidence, took } = sweep(linux(30, 120), 300, budget, 0.0, 3);
        assert_eq!(
            edge(&evidence, Shape::Exchange),
            (Some(29), Some(30)),
            "{budget}"
        );
        let (alive, dead) = edge(&evidence, Shape::Stream);
        assert!(
            alive < Some(120) && dead >= Some(120) && dead < Some(125),
            "{budget}: {alive:?} {dead:?}"
        );
        assert!(took < seconds(720), "{budget}: {took:?}");
    }
}

#[test]
fn nothing_expires() {
    let Sweep { evidence, .. } = sweep(linux(500, 600), 120, 512, 0.0, 4);
    let (_, lifetime) = &evidence.shapes[1];
    assert!(lifetime.outlived);
    assert_eq!(lifetime.dead, None);
    assert_eq!(evidence.inbound_refreshes, None);
}

/// A STUN server that may know RESPONSE-PORT.
struct StunServer {
    knows_response_port: bool,
    outbox: VecDeque<Transmit>,
}

impl Machine for StunServer {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, _now: Instant) {
        let Input::Datagram {
            socket,
            source,
            payload,
        } = input
        else {
            return;
        };
        let request = stun::parse(payload).unwrap();
        let mut target = source.get();
        if let Some(port) = request.response_port.filter(|_| self.knows_response_port) {
            target.set_port(port);
        }
        let success = BindingSuccess {
            transaction: request.transaction,
            mapped: MappedAddr::new(source.get()),
            response_origin: None,
            other_address: None,
        };
        self.outbox.push_back(Transmit {
            socket,
            peer: PeerAddr::new(target),
            payload: success.encode(),
            ttl: None,
        });
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

fn stun_sweep(knows_response_port: bool) -> Option<LifetimeEvidence> {
    const STUN: &str = "203.0.113.1:3478";
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![linux(10, 20)], 0.0, 8);
    let address: SocketAddr = STUN.parse().unwrap();
    let server = StunServer {
        knows_response_port,
        outbox: VecDeque::new(),
    };
    let _server = world.server(BTreeMap::from([(SocketKey(0), address)]), server);
    let config = LifetimeConfig {
        answerer: Answerer::Stun(peer(STUN)),
        control: SocketKey(4),
        first_socket: 100,
        shapes: Shape::ALL.to_vec(),
        longest: seconds(30),
        idles: Vec::new(),
        budget: 512,
        isolation: None,
        lossy: false,
        seed: seed(8),
    };
    let client = world.client(site, ip(CLIENT), Lifetime::new(config, start));
    let ended = world.run_until_done(start + seconds(300), || client.machine().is_finished());
    assert!(ended, "the sweep does not end");
    client.machine().evidence()
}

#[test]
fn a_stun_server_measures_only_what_it_proves_to_answer() {
    let evidence = stun_sweep(true).expect("nothing measured");
    assert_eq!(edge(&evidence, Shape::Exchange), (Some(9), Some(10)));
    assert_eq!(stun_sweep(false), None);
}
