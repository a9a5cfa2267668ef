//! What keeps a mapping open, and whether a busy one ends: what the survey finds is what the NATs were told to do.

use std::time::Instant;

use iax2_natcheck::{
    check::{Context, FindingId, Judgement, Question, judge},
    lab::{
        nat::{NatConfig, Timers},
        world::World,
    },
    probe::{
        evidence::Evidence,
        refresh::Trigger,
        survey::{Experiment, Survey, SurveyConfig, SweepPlan},
    },
};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, far_site, ip, peer, provider, seconds, seed, sockets,
};

fn survey(nats: Vec<NatConfig>, loss: f64, number: u64, waits: bool) -> (Evidence, Judgement) {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = far_site(&mut world, nats, loss, number, 2);
    let sockets = sockets();
    let machine = provider(vec![], &sockets, number, start);
    let _server = world.server(sockets, machine);
    let config = SurveyConfig {
        sweep: Some(SweepPlan {
            longest: seconds(150),
            ..SweepPlan::default()
        }),
        beside: [Experiment::Hops, Experiment::Busy, Experiment::Refreshes].into(),
        wait_for_refreshes: waits,
        ..SurveyConfig::new(peer(SERVER), seed(number))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    let ended = world.run_until_done(start + seconds(1200), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    let context = Context {
        question: Question::Lifetime,
        provider: peer(SERVER),
        credentials: false,
        refresh: None,
        device: None,
    };
    let evidence = client.machine().evidence();
    let judgement = judge(&evidence, &context);
    (evidence, judgement)
}

fn linux(udp: u64, stream: u64) -> NatConfig {
    NatConfig {
        timers: Timers::linux(seconds(udp), seconds(stream)),
        ..NatConfig::linux(ip(EXTERNAL))
    }
}

fn home(udp: u64, stream: u64) -> NatConfig {
    NatConfig {
        timers: Timers::linux(seconds(udp), seconds(stream)),
        inside: Some(ip("192.168.1.1")),
        ..NatConfig::linux(ip("100.64.0.2"))
    }
}

/// What each kind of packet of ours does: ordinary ones, INVAL, those that die at hop 1, 2 and 3.
fn found(evidence: &Evidence) -> [Option<bool>; 5] {
    let refresh = evidence.refresh.as_ref().expect("not looked at");
    [
        Trigger::Outbound,
        Trigger::Inval,
        Trigger::Dying(1),
        Trigger::Dying(2),
        Trigger::Dying(3),
    ]
    .map(|trigger| refresh.refreshes(trigger))
}

#[test]
fn what_keeps_a_mapping_open_is_told() {
    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);
    let deaf = |nat: NatConfig| NatConfig {
        outbound_refreshes: false,
        ..nat
    };
    let rows = [
        ("one NAT", vec![linux(30, 120)], [YES; 5]),
        ("a short timer", vec![linux(10, 60)], [YES; 5]),
        // What dies in the house keeps the carrier's NAT not open.
        (
            "the carrier forgets first",
            vec![home(120, 140), linux(20, 140)],
            [YES, YES, NO, YES, YES],
        ),
        (
            "the house forgets first",
            vec![home(20, 140), linux(120, 140)],
            [YES; 5],
        ),
        ("nothing refreshes", vec![deaf(linux(20, 100))], [NO; 5]),
    ];
    for (name, nats, expected) in rows {
        for (number, loss) in (1..).zip([0.0, 0.02, 0.1]) {
            let (evidence, _) = survey(nats.clone(), loss, number, false);
            assert_eq!(found(&evidence), expected, "{name}, loss {loss}");
            let refresh = evidence.refresh.unwrap();
            let dies = expected[2..].contains(&YES);
            assert_eq!(refresh.survived_errors > 0, dies, "{name}, loss {loss}");
        }
    }
}

/// One timer for all traffic: the answer is there after the sweep, and is waited for on request alone.
#[test]
fn a_flat_timer_needs_patience() {
    let flat = || vec![linux(30, 30)];
    let (evidence, _) = survey(flat(), 0.0, 1, false);
    assert_eq!(found(&evidence), [None; 5]);
    let (evidence, _) = survey(flat(), 0.0, 1, true);
    assert_eq!(found(&evidence), [Some(true); 5]);
}

#[test]
fn an_absolute_lifetime_is_told_and_none_is_made_up() {
    for (number, loss) in (1..).zip([0.0, 0.02, 0.1]) {
        for absolute in [None, Some(40), Some(62), Some(75)] {
            for inbound_refreshes in [true, false] {
                let nat = NatConfig {
                    absolute_lifetime: absolute.map(seconds),
                    inbound_refreshes,
                    ..linux(30, 120)
                };
                let (evidence, judgement) = survey(vec![nat], loss, number, false);
                let busy = evidence.busy.expect("not looked at");
                let told = judgement
                    .findings
                    .iter()
                    .any(|found| found.id == FindingId::AbsoluteLifetime);
                let row = format!("{absolute:?}, loss {loss}, {busy:?}");
                assert_eq!(told, absolute.is_some(), "{row}");
                if let Some(age) = absolute.map(seconds) {
                    assert!(busy.alive < Some(age) && busy.dead >= Some(age), "{row}");
                    let width = busy.dead.unwrap() - busy.alive.unwrap();
                    assert!(width <= seconds(if loss < 0.05 { 3 } else { 6 }), "{row}");
                } else {
                    assert_eq!(busy.dead, None, "{row}");
                    assert!(busy.alive >= Some(seconds(100)), "{row}");
                }
            }
        }
    }
}
