//! A network described once: a client, its routers, a server. [`NatLab`](super::kernel::NatLab)
//! builds it in the kernel, [`Network::site`] in process.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    link::{Faults, LinkConfig},
    nat::{Mapping, NatConfig, PortAllocation, Timers},
    world::SiteConfig,
};
use crate::probe::behaviour::Dependence;

/// The client's first address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// Another address of the client's LAN.
pub const SIBLING: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
/// The outermost router's address on the internet, or the client's where there is no router.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The server's address on the link to the outermost router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The server's first address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The server's second address.
pub const SECOND_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A client, the routers in front of it, and a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The client's addresses. They are 192.168.1.0/24 addresses behind a router, and what they
    /// are does not matter without one: the client is then 198.51.100.7.
    pub clients: Vec<Ipv4Addr>,
    /// The routers, the one nearest to the client first; none, one or two.
    pub routers: Vec<Router>,
    /// The server's addresses.
    pub servers: Vec<Ipv4Addr>,
    /// How many packets of a hundred are lost between the outermost router and the server, each way.
    pub loss_percent: u8,
}

impl Network {
    /// One client and one server with two addresses, behind these routers, nothing lost.
    #[must_use]
    pub fn behind(routers: impl IntoIterator<Item = Router>) -> Self {
        Self {
            clients: vec![CLIENT],
            routers: routers.into_iter().collect(),
            servers: vec![SERVER, SECOND_SERVER],
            loss_percent: 0,
        }
    }

    /// The address that a client's machine has: in process, and in the kernel.
    #[must_use]
    pub fn client(&self) -> Ipv4Addr {
        match self.routers.first() {
            Some(_) => self.clients.first().copied().unwrap_or(CLIENT),
            None => PUBLIC,
        }
    }

    /// The links of the way, from the client's on: the address at the near end, the address at the
    /// end towards the server, and the length of their prefix.
    #[must_use]
    pub fn links(&self) -> Vec<(Ipv4Addr, Ipv4Addr, u8)> {
        let lan = (self.client(), Ipv4Addr::new(192, 168, 1, 1), 24);
        // RFC 6598 addresses between a subscriber and a carrier's NAT.
        let carrier = (
            Ipv4Addr::new(100, 64, 0, 2),
            Ipv4Addr::new(100, 64, 0, 1),
            10,
        );
        let mut links: Vec<_> = [lan, carrier]
            .into_iter()
            .take(self.routers.len())
            .collect();
        links.push((PUBLIC, GATEWAY, 24));
        links
    }

    /// The same in process: the NATs and the link, with the random choices of this seed. The
    /// client's machine goes to [`Network::client`].
    #[must_use]
    pub fn site(&self, seed: u64) -> SiteConfig {
        let links = self.links();
        let pairs = links.iter().zip(links.iter().skip(1));
        let nats = self.routers.iter().zip(pairs).zip(seed..);
        let faults = Faults {
            loss: f64::from(self.loss_percent) / 100.0,
            ..Faults::NONE
        };
        SiteConfig {
            nats: nats
                .map(|((router, ((_, inside, _), (outside, _, _))), seed)| {
                    router.simulated((*inside).into(), (*outside).into(), seed)
                })
                .collect(),
            link: LinkConfig::both(faults, seed),
            ..SiteConfig::default()
        }
    }
}

/// A Linux router that hides a network behind its outer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    /// The rule that translates.
    pub rule: SourceNat,
    /// How that rule picks ports.
    pub ports: Ports,
    /// `nf_conntrack_udp_timeout`, whole seconds.
    pub timeout: Duration,
    /// `nf_conntrack_udp_timeout_stream`, whole seconds.
    pub stream: Duration,
}

impl Router {
    /// Plain masquerade with these timers, in seconds.
    #[must_use]
    pub const fn masquerade(timeout_s: u64, stream_s: u64) -> Self {
        Self {
            rule: SourceNat::Masquerade,
            ports: Ports::Kept,
            timeout: Duration::from_secs(timeout_s),
            stream: Duration::from_secs(stream_s),
        }
    }

    /// Its ruleset: source NAT on the interface `wan`, which has the address `outside`, and a
    /// firewall that lets nothing in from there that nobody asked for.
    #[must_use]
    pub fn ruleset(&self, outside: Ipv4Addr) -> String {
        let target = match self.rule {
            SourceNat::Masquerade => "masquerade".to_owned(),
            SourceNat::Snat => format!("snat to {outside}"),
        };
        let flags = match self.ports {
            Ports::Kept => "",
            Ports::Random => " random",
            Ports::FullyRandom => " fully-random",
            Ports::Persistent => " persistent",
        };
        let mut rules = format!(
            "table ip lab {{\n\
             chain nat {{ type nat hook postrouting priority srcnat; oifname \"wan\" {target}{flags}; }}\n"
        );
        for hook in ["input", "forward"] {
            // Formatting into a string does not fail.
            let _ = writeln!(
                rules,
                "chain {hook} {{ type filter hook {hook} priority filter; \
                 ct state established,related accept; iifname \"wan\" drop; }}"
            );
        }
        rules + "}\n"
    }

    /// What it does, as the simulator is told it.
    #[must_use]
    pub fn simulated(&self, inside: IpAddr, outside: IpAddr, seed: u64) -> NatConfig {
        let linux = NatConfig {
            timers: Timers::linux(self.timeout, self.stream),
            inside: Some(inside),
            seed,
            ..NatConfig::linux(outside)
        };
        match self.ports {
            Ports::Kept | Ports::Persistent => linux,
            // The kernel draws a port for each new flow.
            Ports::Random | Ports::FullyRandom => NatConfig {
                mapping: Mapping::Translate(Dependence::AddressAndPortDependent),
                port_allocation: PortAllocation::Random,
                ..linux
            },
        }
    }
}

/// The statement of nft that translates the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceNat {
    /// `masquerade`: to whatever address the interface has.
    Masquerade,
    /// `snat to` the address.
    Snat,
}

/// How ports are picked: the flag of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// No flag: the port is kept where it is free.
    Kept,
    /// `random`.
    Random,
    /// `fully-random`.
    FullyRandom,
    /// `persistent`.
    Persistent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_addressed_from_the_client_to_the_server() {
        let router = Router::masquerade(30, 120);
        let ends = |routers: &[Router]| {
            let network = Network::behind(routers.iter().copied());
            let links = network.links().into_iter();
            links
                .map(|(near, far, prefix)| format!("{near} {far}/{prefix}"))
                .collect::<Vec<_>>()
        };
        let wan = "198.51.100.7 198.51.100.1/24";
        let lan = "192.168.1.10 192.168.1.1/24";
        assert_eq!(ends(&[]), [wan]);
        assert_eq!(ends(&[router]), [lan, wan]);
        let carrier = "100.64.0.2 100.64.0.1/10";
        assert_eq!(ends(&[router, router]), [lan, carrier, wan]);
    }

    #[test]
    fn each_simulated_nat_has_its_own_addresses_and_seed() {
        let network = Network::behind([Router::masquerade(13, 14), Router::masquerade(6, 12)]);
        let site = network.site(9);
        let nats: Vec<String> = site
            .nats
            .iter()
            .map(|nat| {
                let timers = (nat.timers.exchange, nat.timers.stream);
                format!("{:?} {:?} {timers:?} {}", nat.inside, nat.pool, nat.seed)
            })
            .collect();
        assert_eq!(
            nats,
            [
                "Some(192.168.1.1) [100.64.0.2] (13s, 14s) 9",
                "Some(100.64.0.1) [198.51.100.7] (6s, 12s) 10"
            ]
        );
        assert!(Network::behind([]).site(0).nats.is_empty());
    }

    #[test]
    fn rules_say_what_was_asked_for() {
        let router = Router {
            rule: SourceNat::Snat,
            ports: Ports::FullyRandom,
            ..Router::masquerade(30, 120)
        };
        let rules = router.ruleset(PUBLIC);
        assert!(rules.contains("oifname \"wan\" snat to 198.51.100.7 fully-random;"));
        assert!(rules.contains("hook input") && rules.contains("hook forward"));
    }
}
