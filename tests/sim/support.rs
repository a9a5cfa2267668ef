//! A provider with two addresses, and worlds to put it in.

use std::{
    collections::{BTreeMap, VecDeque},
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
        contract::{Input, Machine, SocketKey, Transmit},
        endpoint::{EndpointConfig, Profile},
        registrar::RegistrarConfig,
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
    types::PeerAddr,
    wire::iax2::{command::Command, frame::Frame},
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
                switchboard: None,
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
    far_site(world, nats, loss, number, 0)
}

/// The same with so many routers behind the NATs.
pub(crate) fn far_site(
    world: &mut World,
    nats: Vec<NatConfig>,
    loss: f64,
    number: u64,
    hops: u8,
) -> SiteId {
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
        },
        hops,
        ..SiteConfig::default()
    })
}

/// A machine, and every datagram that it sent or was given.
pub(crate) struct Tapped<M> {
    pub(crate) machine: M,
    pub(crate) log: Vec<Seen>,
    waiting: VecDeque<Transmit>,
}

/// A datagram at a tap.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: bool,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    pub(crate) fn command(&self) -> Option<Command> {
        match Frame::decode(&self.payload) {
            Ok(Frame::Full(frame)) => frame.command(),
            _ => None,
        }
    }
}

impl<M: Machine> Tapped<M> {
    pub(crate) fn new(machine: M) -> Self {
        let mut tapped = Self {
            machine,
            log: Vec::new(),
            waiting: VecDeque::new(),
        };
        tapped.listen();
        tapped
    }

    /// Takes what the machine wants to send as soon as it wants to, so that the order is known.
    fn listen(&mut self) {
        while let Some(transmit) = self.machine.poll_transmit() {
            self.log.push(Seen {
                sent: true,
                payload: transmit.payload.clone(),
            });
            self.waiting.push_back(transmit);
        }
    }
}

impl<M: Machine> Machine for Tapped<M> {
    type Event = M::Event;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram { payload, .. } = input {
            self.log.push(Seen {
                sent: false,
                payload: payload.to_vec(),
            });
        }
        self.machine.handle_input(input, now);
        self.listen();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
        self.listen();
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.listen();
        self.waiting.pop_front()
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.machine.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.machine.poll_timeout()
    }
}
