//! Hairpinning: what is found is what the NAT does, whatever it maps, filters and loses.

use std::time::Instant;

use iax2_natcheck::{
    lab::{
        nat::{Mapping, NatConfig},
        world::World,
    },
    probe::{
        behaviour::Dependence,
        evidence::HairpinEvidence,
        hairpin::{Hairpin, HairpinConfig},
    },
    proto::contract::SocketKey,
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site, sockets};

fn found(nats: Vec<NatConfig>, client: &str, loss: f64, number: u64) -> HairpinEvidence {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, nats, loss, number);
    let sockets = sockets();
    let server = provider(Vec::new(), &sockets, number, start);
    let _server = world.server(sockets, server);
    let config = HairpinConfig {
        sockets: [SocketKey(5), SocketKey(6)],
        reflectors: vec![peer(SERVER)],
        stun: Vec::new(),
        seed: seed(number),
    };
    let client = world.client(site, ip(client), Hairpin::new(&config, start));
    let ended = world.run_until_done(start + seconds(10), || client.machine().is_finished());
    assert!(ended, "it does not end");
    *client.machine().evidence()
}

#[test]
fn what_is_found_is_what_the_nat_does() {
    let rfc = NatConfig::rfc4787(ip(EXTERNAL));
    for hairpinning in [true, false] {
        for filtering in [
            Dependence::EndpointIndependent,
            Dependence::AddressDependent,
            Dependence::AddressAndPortDependent,
        ] {
            for (loss, number) in [(0.0, 1), (0.1, 2), (0.1, 3)] {
                let nat = NatConfig {
                    hairpinning,
                    filtering,
                    ..rfc.clone()
                };
                let seen = found(vec![nat], CLIENT, loss, number);
                assert_eq!(
                    seen.supported,
                    Some(hairpinning),
                    "{filtering}, loss {loss}"
                );
                assert_eq!(seen.external_source, hairpinning.then_some(true));
                assert_eq!(seen.translated, Some(true));
            }
        }
    }
}

#[test]
fn without_a_nat_nothing_is_sent() {
    let firewall = NatConfig {
        mapping: Mapping::None,
        ..NatConfig::linux(ip(EXTERNAL))
    };
    for nats in [vec![], vec![firewall]] {
        let seen = found(nats, "198.51.100.7", 0.0, 4);
        assert_eq!((seen.supported, seen.sent), (None, 0));
        assert_eq!(seen.translated, Some(false));
    }
}

#[test]
fn where_nobody_tells_the_public_address_nothing_is_said() {
    let seen = found(vec![NatConfig::linux(ip(EXTERNAL))], CLIENT, 1.0, 5);
    assert_eq!((seen.supported, seen.translated), (None, None));
}
