//! Several boxes in a row: where they stand and how long each keeps state is what they were configured with.

use std::time::Instant;

use iax2_natcheck::{
    check::{Context, FindingId, Judgement, Question, judge},
    lab::{
        nat::{Mapping, NatConfig, PortAllocation, Timers},
        world::World,
    },
    probe::{
        behaviour::Dependence,
        evidence::Evidence,
        survey::{Experiment, Survey, SurveyConfig, SweepPlan},
    },
};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, far_site, ip, peer, provider, seconds, seed, sockets,
};

/// A box: how long it keeps an exchange, and a change to the NAT of Linux.
type Spec = (u64, fn(&mut NatConfig));

fn plain(_: &mut NatConfig) {}

fn survey(specs: &[Spec], loss: f64, hops: u8, number: u64) -> (Evidence, Judgement) {
    let start = Instant::now();
    let mut world = World::new(start);
    let outsides = ["100.64.0.2", "10.9.0.2", EXTERNAL];
    let insides = ["192.168.1.1", "100.64.0.1", "10.9.0.1"];
    let last = specs.len() - 1;
    let nats = specs.iter().enumerate().map(|(place, (timer, change))| {
        let outside = if place == last {
            EXTERNAL
        } else {
            outsides[place]
        };
        let mut nat = NatConfig {
            timers: Timers::linux(seconds(*timer), seconds(timer * 4)),
            inside: Some(ip(insides[place])),
            seed: number + place as u64,
            ..NatConfig::linux(ip(outside))
        };
        change(&mut nat);
        nat
    });
    let site = far_site(&mut world, nats.collect(), loss, number, hops);
    let sockets = sockets();
    let machine = provider(vec![], &sockets, number, start);
    let _server = world.server(sockets, machine);
    let config = SurveyConfig {
        sweep: None,
        beside: [Experiment::Hops].into(),
        hop_timers: Some(SweepPlan {
            longest: seconds(130),
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(peer(SERVER), seed(number))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    let ended = world.run_until_done(start + seconds(1200), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    let context = Context {
        question: Question::Hops,
        provider: peer(SERVER),
        credentials: false,
        refresh: None,
        device: None,
    };
    let evidence = client.machine().evidence();
    let judgement = judge(&evidence, &context);
    (evidence, judgement)
}

fn found(judgement: &Judgement) -> Vec<(u8, Option<u64>)> {
    let boxes = judgement.boxes.iter();
    boxes
        .map(|found| {
            let dead = found.exchange.as_ref().and_then(|edge| edge.dead);
            (found.hop, dead.map(|dead| dead.as_secs()))
        })
        .collect()
}

fn expect(specs: &[Spec], loss: f64, expected: &[(u8, Option<u64>)]) {
    for number in 1..=2 {
        let (evidence, judgement) = survey(specs, loss, 2, number);
        assert_eq!(
            found(&judgement),
            expected,
            "loss {loss}: {:#?}",
            evidence.hops
        );
        let is_double = judgement
            .findings
            .iter()
            .any(|found| found.id == FindingId::DoubleNat);
        assert_eq!(is_double, expected.len() > 1);
    }
}

#[test]
fn each_box_is_timed_by_itself() {
    for loss in [0.0, 0.02] {
        for (home, carrier) in [(120, 35), (35, 120), (30, 30), (60, 10)] {
            let expected = [(1, Some(home)), (2, Some(carrier))];
            expect(&[(home, plain), (carrier, plain)], loss, &expected);
        }
    }
}

#[test]
fn one_box_is_one_and_three_are_three() {
    expect(&[(30, plain)], 0.0, &[(1, Some(30))]);
    let three = [(60, plain as fn(&mut NatConfig)), (35, plain), (90, plain)];
    let expected = [(1, Some(60)), (2, Some(35)), (3, Some(90))];
    expect(&three, 0.0, &expected);
}

/// What keeps the far box open does not work where inbound packets refresh nothing. Which of the two forgets
/// first does not show then, and no timer is told.
#[test]
fn a_box_that_cannot_be_kept_open_from_outside_hides_the_other() {
    let deaf = |nat: &mut NatConfig| nat.inbound_refreshes = false;
    expect(&[(120, plain), (35, deaf)], 0.0, &[(1, None), (2, None)]);
    // The one that forgets first is told all the same.
    expect(
        &[(30, plain), (60, deaf)],
        0.0,
        &[(1, Some(30)), (2, Some(60))],
    );
}

#[test]
fn where_the_filter_does_not_show_the_timers_tell() {
    let random = |nat: &mut NatConfig| {
        nat.mapping = Mapping::Translate(Dependence::AddressAndPortDependent);
        nat.port_allocation = PortAllocation::Random;
    };
    let (evidence, judgement) = survey(&[(40, plain), (20, random)], 0.0, 1, 7);
    let hops = evidence.hops.unwrap();
    assert_eq!(hops.outermost, None);
    assert_eq!(hops.distance, Some(4));
    assert_eq!(found(&judgement), [(1, Some(40)), (2, Some(20))]);
}
