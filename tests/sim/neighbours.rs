//! Two hosts that send from one port: who keeps it is what the NAT was told to do.

use std::time::Instant;

use iax2_natcheck::{
    check::neighbours::neighbours,
    lab::{
        nat::{Mapping, NatConfig, PortAllocation, Scope},
        world::World,
    },
    probe::{
        behaviour::Dependence,
        lifetime::unaided::SIBLINGS,
        survey::{Experiment, Survey, SurveyConfig},
    },
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site, sockets};

/// Whether the first and the second keep the port, and whether the first stays.
fn survey(nat: NatConfig, loss: f64) -> Option<(bool, bool, Option<bool>)> {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![nat], loss, 5);
    let sockets = sockets();
    let machine = provider(vec![], &sockets, 5, start);
    let _server = world.server(sockets, machine);
    let config = SurveyConfig {
        sweep: None,
        sibling: true,
        beside: [Experiment::Neighbours].into(),
        ..SurveyConfig::new(peer(SERVER), seed(5))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    world.siblings(&client, ip("192.168.1.11"), SIBLINGS);
    let ended = world.run_until_done(start + seconds(60), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    let seen = neighbours(&client.machine().evidence())?;
    let (first, second) = seen.keep();
    Some((first, second, seen.first_stays))
}

#[test]
fn the_first_comer_keeps_the_port_where_anybody_does() {
    let linux = || NatConfig::linux(ip(EXTERNAL));
    let preserving = NatConfig {
        port_allocation: PortAllocation::Preserving,
        port_scope: Scope::PerMapping,
        ..linux()
    };
    let random = NatConfig {
        mapping: Mapping::Translate(Dependence::AddressAndPortDependent),
        port_allocation: PortAllocation::Random,
        ..linux()
    };
    let two = NatConfig {
        pool: vec![ip(EXTERNAL), ip("198.51.100.8")],
        ..linux()
    };
    let none = NatConfig {
        mapping: Mapping::None,
        ..linux()
    };
    let rows = [
        ("linux", linux(), Some((true, false, Some(true)))),
        ("the next port", preserving, Some((true, false, Some(true)))),
        ("random", random, Some((false, false, Some(true)))),
        ("an address each", two, Some((true, true, Some(true)))),
    ];
    for (name, nat, expected) in rows {
        for loss in [0.0, 0.1] {
            assert_eq!(survey(nat.clone(), loss), expected, "{name}, loss {loss}");
        }
    }
    assert_eq!(survey(none, 0.0), None);
}
