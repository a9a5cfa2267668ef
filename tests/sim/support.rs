//! A provider with two addresses, and worlds to put it in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::{
    lab::{
        link::{Faults, LinkConfig},
        nat::NatConfig,
        world::{SiteConfig, SiteId, World},
    },
    probe::provider::{Provider, ProviderConfig},
    proto::{
        account::Account,
        contract::SocketKey,
        endpoint::{EndpointConfig, Profile},
        registrar::RegistrarConfig,
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
    types::PeerAddr,
};

pub(crate) const SERVER: &str = "203.0.113.1:4569";
pub(crate) const EXTERNAL: &str = "198.51.100.7";
pub(crate) const CLIENT: &str = "192.168.1.10";

pub(crate) fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(text.parse().unwrap())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn seed(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// A1:P1, A1:P2, A2:P1, A2:P2.
pub(crate) fn sockets() -> BTreeMap<SocketKey, SocketAddr> {
    (0..)
        .map(SocketKey)
        .zip(
            [
                "203.0.113.1:4569",
                "203.0.113.1:4570",
                "203.0.113.2:4569",
                "203.0.113.2:4570",
            ]
            .map(|address| address.parse().unwrap()),
        )
        .collect()
}

pub(crate) fn provider(
    accounts: Vec<Account>,
    sockets: &BTreeMap<SocketKey, SocketAddr>,
    number: u64,
    now: Instant,
) -> Provider {
    provider_with_key([9; 16], accounts, sockets, number, now)
}

/// A provider whose tokens are made with this key.
pub(crate) fn provider_with_key(
    key: [u8; 16],
    accounts: Vec<Account>,
    sockets: &BTreeMap<SocketKey, SocketAddr>,
    number: u64,
    now: Instant,
) -> Provider {
    let key = TokenKey::new(key);
    let clock = WallClock {
        at: now,
        says: SystemTime::UNIX_EPOCH + seconds(1_795_000_000),
    };
    Provider::new(
        ProviderConfig {
            endpoint: EndpointConfig {
                registrar: Some(RegistrarConfig {
                    accounts,
                    tokens: Tokens::for_calls(key.clone(), clock),
                    clock,
                    retry: RetryPolicy::QUICK,
                    seed: seed(number + 1),
                }),
                profile: Profile::Asterisk,
                seed: seed(number + 2),
            },
            tokens: Tokens::for_probes(key, clock),
            sockets: sockets
                .iter()
                .map(|(key, address)| (*key, PeerAddr::new(*address)))
                .collect(),
            seed: seed(number + 3),
        },
        now,
    )
}

/// A site behind these NATs, on a line with this loss each way and 5 ms of delay.
pub(crate) fn site(world: &mut World, nats: Vec<NatConfig>, loss: f64, number: u64) -> SiteId {
    let faults = Faults {
        loss,
        delay: Duration::from_millis(5),
        ..Faults::default()
    };
    world.site(SiteConfig {
        nats,
        link: LinkConfig {
            outbound: faults,
            inbound: faults,
            seed: number,
            ..LinkConfig::default()
        },
        ..SiteConfig::default()
    })
}
