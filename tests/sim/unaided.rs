//! Lifetimes that the registrar alone tells of: the truth, or nothing.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    lab::{
        nat::{Mapping, NatConfig, PortAllocation, Timers},
        world::World,
    },
    probe::{
        behaviour::Shape,
        evidence::{Inapplicable, LifetimeEvidence, ShapeLifetime},
        lifetime::unaided::{SIBLINGS, Unaided, UnaidedConfig, UnaidedLifetime},
    },
    proto::{account::Account, auth::Credentials, reliable::RetryPolicy},
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site, sockets};

const SIBLING: &str = "192.168.1.11";

fn nat(timer: u64, ports: PortAllocation) -> NatConfig {
    NatConfig {
        timers: Timers::linux(seconds(timer), seconds(timer * 2)),
        port_allocation: ports,
        ..NatConfig::linux(ip(EXTERNAL))
    }
}

/// What a measurement up to 45 s finds, and how long it takes.
fn measured(
    method: Unaided,
    nat: NatConfig,
    qualify: Option<Duration>,
    loss: f64,
    number: u64,
) -> (LifetimeEvidence, Duration) {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![nat], loss, number);
    let account = Account {
        qualify,
        ..Account::new("alice", "s3cret")
    };
    let sockets = sockets();
    let server = provider(vec![account], &sockets, number, start);
    let _server = world.server(sockets, server);
    let config = UnaidedConfig {
        method,
        registrar: peer(SERVER),
        credentials: Credentials::with_secret("alice", "s3cret"),
        refresh: seconds(60),
        retry: RetryPolicy::QUICK,
        first_socket: 16,
        longest: seconds(45),
        budget: 512,
        seed: seed(number),
    };
    let client = world.client(site, ip(CLIENT), UnaidedLifetime::new(config, start));
    world.siblings(&client, ip(SIBLING), SIBLINGS);
    let ended = world.run_until_done(start + seconds(600), || client.machine().is_finished());
    assert!(ended, "{method:?} does not end");
    let evidence = client.machine().evidence();
    (evidence, world.now() - start)
}

fn exchange(evidence: &LifetimeEvidence) -> ShapeLifetime {
    let mut shapes = evidence.shapes.iter();
    let found = shapes.find(|(shape, _)| *shape == Shape::Exchange);
    found.map(|(_, shape)| shape.clone()).unwrap_or_default()
}

fn edge(evidence: &LifetimeEvidence) -> (Option<u64>, Option<u64>) {
    let exchange = exchange(evidence);
    (
        exchange.alive.map(|alive| alive.as_secs()),
        exchange.dead.map(|dead| dead.as_secs()),
    )
}

const FITTING: [(Unaided, PortAllocation); 3] = [
    (Unaided::Drift, PortAllocation::Random),
    (Unaided::Sibling, PortAllocation::PreservingOrRandom),
    (Unaided::Sibling, PortAllocation::Preserving),
];

#[test]
fn the_timer_is_found_to_the_second_where_the_method_fits() {
    for (method, ports) in FITTING {
        for (number, timer) in (1..).zip([2, 3, 6, 20, 35, 44]) {
            let (evidence, took) = measured(method, nat(timer, ports), None, 0.0, number);
            let expected = (Some(timer - 1), Some(timer));
            assert_eq!(edge(&evidence), expected, "{method:?} {ports:?} {timer} s");
            assert_eq!(evidence.inapplicable, None);
            assert!(took <= seconds(timer + 6), "{method:?} {timer} s: {took:?}");
        }
    }
}

#[test]
fn a_line_that_loses_packets_costs_answers_and_makes_no_wrong_ones() {
    let mut found = 0;
    let mut runs = 0;
    for (method, ports) in FITTING {
        for number in 100..150 {
            let timer = 3 + number % 30;
            let (evidence, _) = measured(method, nat(timer, ports), None, 0.1, number);
            let exchange = exchange(&evidence);
            let row = format!("{method:?} {ports:?} {timer} s, seed {number}: {exchange:?}");
            let timer = seconds(timer);
            assert!(exchange.alive.is_none_or(|alive| alive < timer), "{row}");
            assert!(exchange.dead.is_none_or(|dead| dead >= timer), "{row}");
            let narrow = exchange.dead.zip(exchange.alive);
            found += u32::from(narrow.is_some_and(|(dead, alive)| dead <= alive + seconds(3)));
            runs += 1;
        }
    }
    assert!(found * 10 >= runs * 9, "{found} of {runs}");
}

#[test]
fn a_nat_that_outlives_all_is_called_so_only_where_that_is_known() {
    let (drift, _) = measured(
        Unaided::Drift,
        nat(90, PortAllocation::Random),
        None,
        0.0,
        5,
    );
    assert_eq!(edge(&drift), (None, None));
    assert_eq!(drift.inapplicable, Some(Inapplicable::NoChange));
    let ports = PortAllocation::PreservingOrRandom;
    let (sibling, _) = measured(Unaided::Sibling, nat(90, ports), None, 0.0, 5);
    assert_eq!(edge(&sibling), (Some(45), None));
    assert!(exchange(&sibling).outlived);
}

#[test]
fn a_method_that_does_not_fit_finds_nothing() {
    let kept = PortAllocation::PreservingOrRandom;
    let rows = [
        (Unaided::Drift, kept, Inapplicable::PortKept),
        (
            Unaided::Sibling,
            PortAllocation::Random,
            Inapplicable::SiblingMoved,
        ),
        (Unaided::Token, kept, Inapplicable::NoChange),
    ];
    for (method, ports, why) in rows {
        let (evidence, took) = measured(method, nat(6, ports), None, 0.0, 8);
        assert_eq!(edge(&evidence), (None, None), "{method:?}");
        assert_eq!(evidence.inapplicable, Some(why), "{method:?}");
        assert!(took <= seconds(13), "{method:?}: {took:?}");
    }
}

/// A firewall has timers too, and shows none of them by its ports.
#[test]
fn without_a_nat_no_port_tells() {
    for method in [Unaided::Drift, Unaided::Sibling] {
        let firewall = NatConfig {
            mapping: Mapping::None,
            ..nat(6, PortAllocation::Preserving)
        };
        let (evidence, _) = measured(method, firewall, None, 0.0, 9);
        assert_eq!(edge(&evidence), (None, None), "{method:?}");
        assert!(evidence.inapplicable.is_some(), "{method:?}");
    }
}

#[test]
fn a_token_finds_timers_below_ten_seconds() {
    for timer in [2, 5, 7] {
        let nat = nat(timer, PortAllocation::Random);
        let (evidence, _) = measured(Unaided::Token, nat, None, 0.0, timer);
        assert_eq!(edge(&evidence), (Some(timer - 1), Some(timer)));
    }
}

/// What arrives is proven, and what does not arrive is nothing.
#[test]
fn pokes_prove_a_lower_bound() {
    let kept = PortAllocation::PreservingOrRandom;
    for (timer, every, alive) in [
        (30, Some(20), Some(20)),
        (15, Some(20), None),
        (30, None, None),
    ] {
        let qualify = every.map(seconds);
        let (evidence, _) = measured(Unaided::Qualify, nat(timer, kept), qualify, 0.0, 3);
        let exchange = exchange(&evidence);
        let seen = exchange.alive.map(|alive| alive.as_secs_f64().round());
        assert_eq!(seen, alive.map(f64::from), "{timer} s, every {every:?} s");
        assert_eq!((exchange.dead, exchange.outlived), (None, false));
        let silent = alive.is_none().then_some(Inapplicable::Silent);
        assert_eq!(evidence.inapplicable, silent);
    }
}

/// Nobody is asked hundreds of times as an account that is refused.
#[test]
fn refusals_end_it() {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![nat(6, PortAllocation::Random)], 0.0, 1);
    let sockets = sockets();
    let server = provider(vec![Account::new("alice", "other")], &sockets, 1, start);
    let _server = world.server(sockets, server);
    let config = UnaidedConfig {
        method: Unaided::Drift,
        registrar: peer(SERVER),
        credentials: Credentials::with_secret("alice", "s3cret"),
        refresh: seconds(60),
        retry: RetryPolicy::QUICK,
        first_socket: 16,
        longest: seconds(300),
        budget: 512,
        seed: seed(1),
    };
    let client = world.client(site, ip(CLIENT), UnaidedLifetime::new(config, start));
    assert!(world.run_until_done(start + seconds(60), || client.machine().is_finished()));
    let evidence = client.machine().evidence();
    assert_eq!(evidence.inapplicable, Some(Inapplicable::NotRegistered));
    assert!(world.traffic().sent < 300, "{:?}", world.traffic());
}
