//! How long a survey takes on a path of 50 ms, by the counted clock.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    lab::{
        link::{Faults, LinkConfig},
        nat::{Mapping, NatConfig, PortAllocation, Timers},
        world::{SiteConfig, World},
    },
    probe::{
        behaviour::Dependence,
        survey::{Experiment, Survey, SurveyConfig, SweepPlan},
    },
    proto::{account::Account, auth::Credentials},
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, sockets};

/// What `nat lifetime` asks.
fn lifetimes_alone(config: SurveyConfig) -> SurveyConfig {
    SurveyConfig {
        credentials: None,
        hairpin: false,
        mapping: false,
        beside: [Experiment::Hops, Experiment::Busy, Experiment::Refreshes].into(),
        ..config
    }
}

/// How long a survey takes behind these NATs.
fn took(
    nats: Vec<NatConfig>,
    sweep: Option<SweepPlan>,
    change: fn(SurveyConfig) -> SurveyConfig,
) -> Duration {
    let start = Instant::now();
    let mut world = World::new(start);
    let faults = Faults {
        delay: Duration::from_millis(25),
        ..Faults::NONE
    };
    let site = world.site(SiteConfig {
        nats,
        link: LinkConfig::both(faults, 1),
        hops: 9,
        ..SiteConfig::default()
    });
    let sockets = sockets();
    let machine = provider(vec![Account::new("alice", "s3cret")], &sockets, 1, start);
    let _server = world.server(sockets, machine);
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        hairpin: true,
        sweep,
        ..SurveyConfig::new(peer(SERVER), seed(1))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(change(config), start));
    let ended = world.run_until_done(start + seconds(1200), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    world.now() - start
}

fn kinds(udp: u64, stream: u64) -> Vec<(String, Vec<NatConfig>)> {
    let linux = NatConfig {
        timers: Timers::linux(seconds(udp), seconds(stream)),
        ..NatConfig::linux(ip(EXTERNAL))
    };
    let home = NatConfig {
        inside: Some(ip("192.168.1.1")),
        timers: Timers::linux(seconds(400), seconds(400)),
        ..NatConfig::linux(ip("100.64.0.2"))
    };
    let mut kinds = vec![("two".to_owned(), vec![home, linux.clone()])];
    for filtering in [
        Dependence::EndpointIndependent,
        Dependence::AddressDependent,
        Dependence::AddressAndPortDependent,
    ] {
        for mapping in [
            Mapping::Translate(Dependence::EndpointIndependent),
            Mapping::Translate(Dependence::AddressAndPortDependent),
        ] {
            let nat = NatConfig {
                mapping,
                filtering,
                port_allocation: PortAllocation::Random,
                ..linux.clone()
            };
            kinds.push((format!("{mapping:?} {filtering:?}"), vec![nat]));
        }
    }
    kinds
}

#[test]
fn all_but_lifetimes_is_over_in_ten_seconds() {
    for (name, nats) in kinds(30, 120) {
        let took = took(nats, None, |config| config);
        println!("{name}: {took:?}");
        assert!(took <= seconds(10), "{name}: {took:?}");
    }
}

#[test]
fn lifetimes_take_as_long_as_the_longest_timer() {
    let rows = [(30, 120), (30, 30), (60, 180), (12, 40), (120, 120)];
    for (udp, stream) in rows {
        for (name, nats) in kinds(udp, stream) {
            let plan = || {
                Some(SweepPlan {
                    longest: seconds(300),
                    ..SweepPlan::default()
                })
            };
            let longest = udp.max(stream);
            // Beyond 130 s the steps are 2 % of the time, and an end shows at the third one behind it.
            let steps = seconds(if longest > 130 { longest * 6 / 100 } else { 0 });
            let check = took(nats.clone(), plan(), |config| config);
            let alone = took(nats, plan(), lifetimes_alone);
            println!("{name} {udp}/{stream}: check {check:?}, lifetimes alone {alone:?}");
            assert!(check <= seconds(longest + 8) + steps, "{name}: {check:?}");
            assert!(alone <= seconds(longest + 5) + steps, "{name}: {alone:?}");
        }
    }
}
