//! A call to the registered socket, in a survey that moves the account's binding or loses it.

use std::collections::BTreeMap;

use iax2_natcheck::{
    check::callback::arrives,
    lab::{
        link::{Faults, LinkConfig},
        nat::{NatConfig, PortAllocation, Timers},
        world::World,
    },
    probe::{
        evidence::Evidence,
        lifetime::unaided::{SIBLINGS, Unaided},
        survey::{REGISTRATION_SOCKET, Survey, SurveyConfig, SweepPlan, UnaidedPlan},
    },
    proto::{account::Account, auth::Credentials, contract::SocketKey},
};

use crate::{
    exchange::Exchange,
    support::{CLIENT, EXTERNAL, SERVER, ip, peer, seconds, seed, site},
};

/// What is found with a call to 609 behind a NAT with this timer, where the registrar grants 12 s and the line
/// goes away between these seconds.
fn called_back(
    unaided: Option<Unaided>,
    ports: PortAllocation,
    timer: u64,
    outage: Option<(u64, u64)>,
) -> Evidence {
    let account = Account {
        refresh: seconds(12),
        ..Account::new("alice", "s3cret")
    };
    let exchange = Exchange::new(vec![account], &[]);
    let start = exchange.now;
    let mut world = World::new(start);
    let nat = NatConfig {
        timers: Timers::linux(seconds(timer), seconds(timer * 2)),
        port_allocation: ports,
        ..NatConfig::linux(ip(EXTERNAL))
    };
    let site = site(&mut world, vec![nat], 0.0, 3);
    let sockets = BTreeMap::from([(SocketKey(0), SERVER.parse().unwrap())]);
    let _provider = world.server(sockets, exchange.provider);
    let credentials = Credentials::with_secret("alice", "s3cret");
    let config = SurveyConfig {
        credentials: Some(credentials.clone()),
        refresh: seconds(12),
        callback: Some("609".to_owned()),
        sweep: unaided.map(|method| SweepPlan {
            longest: seconds(8),
            unaided: Some(UnaidedPlan {
                method: Some(method),
                sibling: true,
                credentials,
            }),
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(peer(SERVER), seed(3))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    world.bind(&client, REGISTRATION_SOCKET, 4569);
    world.siblings(&client, ip("192.168.1.11"), SIBLINGS);
    if let Some((from, to)) = outage {
        world.run_until(start + seconds(from));
        world.set_link(site, LinkConfig::both(Faults::BLOCKED, 1));
        world.run_until(start + seconds(to));
        world.set_link(site, LinkConfig::both(Faults::NONE, 1));
    }
    let ended = world.run_until_done(start + seconds(120), || client.machine().is_finished());
    assert!(ended, "{unaided:?}: the survey does not end");
    client.machine().evidence()
}

#[test]
fn the_call_comes_once_the_binding_is_back() {
    for (method, ports) in [
        (Unaided::Drift, PortAllocation::Random),
        (Unaided::Sibling, PortAllocation::PreservingOrRandom),
        (Unaided::Qualify, PortAllocation::PreservingOrRandom),
        (Unaided::Token, PortAllocation::Random),
    ] {
        for (timer, expected) in [(60, true), (5, false)] {
            let evidence = called_back(Some(method), ports, timer, None);
            assert!(evidence.lifetime.is_some(), "{method:?}: nothing measured");
            let callback = evidence.callback.unwrap();
            assert_eq!(
                arrives(&callback),
                Some(expected),
                "{method:?}: {callback:?}"
            );
        }
    }
}

/// A renewal that fails opens nothing: no call after it is a control for the one that was lost.
#[test]
fn a_registration_that_is_lost_leaves_the_question_open() {
    let kept = PortAllocation::PreservingOrRandom;
    let evidence = called_back(None, kept, 5, Some((10, 60)));
    assert_eq!(evidence.registration.unwrap().renewals.failed, 1);
    let callback = evidence.callback.unwrap();
    assert_eq!(callback.late.as_ref().unwrap().arrived, Some(false));
    assert_eq!(callback.control, None);
    assert_eq!(arrives(&callback), None);
}
