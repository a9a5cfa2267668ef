//! The survey as a whole, where a reflector helps that is not the provider.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::{
        link::{Faults, LinkConfig},
        nat::{NatConfig, Timers},
        world::World,
    },
    probe::{
        behaviour::Shape,
        evidence::{Evidence, MappingSource, RegistrationState},
        survey::{Survey, SurveyConfig, SweepPlan},
    },
    proto::{account::Account, auth::Credentials, contract::SocketKey},
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site};

const REFLECTOR: &str = "203.0.113.2:4569";

/// Surveys a provider with a reflector beside it; the line goes away between these seconds.
fn survey(longest: u64, outage: Option<(u64, u64)>) -> Evidence {
    let start = Instant::now();
    let mut world = World::new(start);
    let nat = NatConfig {
        timers: Timers::linux(seconds(300), seconds(400)),
        ..NatConfig::linux(ip(EXTERNAL))
    };
    let site = site(&mut world, vec![nat], 0.0, 3);
    let at = |address: &str| -> BTreeMap<SocketKey, SocketAddr> {
        BTreeMap::from([(SocketKey(0), address.parse().unwrap())])
    };
    let accounts = vec![Account::new("alice", "s3cret")];
    let machine = provider(accounts, &at(SERVER), 3, start);
    let _provider = world.server(at(SERVER), machine);
    let machine = provider(Vec::new(), &at(REFLECTOR), 4, start);
    let _reflector = world.server(at(REFLECTOR), machine);
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        reflector: Some(peer(REFLECTOR)),
        sweep: Some(SweepPlan {
            shapes: vec![Shape::Exchange],
            longest: seconds(longest),
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(peer(SERVER), seed(3))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    if let Some((from, to)) = outage {
        world.run_until(start + seconds(from));
        world.set_link(site, LinkConfig::both(Faults::BLOCKED, 1));
        world.run_until(start + seconds(to));
        world.set_link(site, LinkConfig::both(Faults::NONE, 1));
    }
    let ended = world.run_until_done(start + seconds(600), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    client.machine().evidence()
}

#[test]
fn provider_and_reflector_look_at_the_same_sockets() {
    let evidence = survey(5, None);
    let observations = evidence.mapping.unwrap().observations;
    let local = evidence.registration.unwrap().local.unwrap();
    let count = |peer_name: &str, via: MappingSource, registration: bool| {
        let fitting = observations.iter().filter(|seen| {
            seen.peer == peer(peer_name) && seen.via == via && (seen.local == local) == registration
        });
        fitting.count()
    };
    assert_eq!(count(SERVER, MappingSource::Registrar, true), 1);
    assert_eq!(count(REFLECTOR, MappingSource::Reflector, true), 1);
    assert_eq!(count(SERVER, MappingSource::Reflector, true), 0);
    assert!(count(SERVER, MappingSource::Reflector, false) >= 1);
    assert!(count(REFLECTOR, MappingSource::Reflector, false) >= 1);
}

#[test]
fn a_renewal_that_meets_an_outage_is_made_again() {
    let registration = survey(100, Some((49, 58))).registration.unwrap();
    assert_eq!(registration.state, RegistrationState::Registered);
    assert_eq!(registration.refresh, Some(seconds(60)));
    assert_eq!(registration.renewals.failed_in_a_row, 1);
    assert!(registration.renewals.made >= 2);
    assert!(registration.apparent.len() >= 2);
    assert!(registration.elapsed < Duration::from_secs(1));
}
