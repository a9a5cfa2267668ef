//! The networks worth showing, each described once and had in the kernel or in process.
//!
//! Timers are those of real routers shortened about fivefold, so that a demonstration ends soon; the
//! refresh that the provider grants is shortened with them.

use std::{net::Ipv4Addr, time::Duration};

use super::network::{Network, Ports, Router, SECOND_SERVER, SERVER};
use crate::proto::registration::reregister_after;

/// The name of the scenario that is shown when none is asked for.
pub const DEFAULT: &str = "short-timeout";

/// A network with a provider on it, and what a diagnosis should find there.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is wrong there, in a sentence.
    pub summary: &'static str,
    /// The client, its routers, the server.
    pub network: Network,
    /// The refresh that the provider grants. Asterisk registers again at 5/6 of it.
    pub refresh: Duration,
    /// The account.
    pub user: &'static str,
    /// Its secret; it opens nothing outside the scenario.
    pub secret: &'static str,
    /// The longest idle time that a measurement of lifetimes has to try.
    pub max_lifetime: Duration,
    /// The ids of the findings that a diagnosis comes to, in alphabetical order.
    pub findings: &'static [&'static str],
    /// The part of the time in which calls reach the client.
    pub reachable: f64,
}

impl Scenario {
    /// The provider's address.
    #[must_use]
    pub fn server(&self) -> Ipv4Addr {
        self.network.servers.first().copied().unwrap_or(SERVER)
    }

    /// The provider's second address, for experiments that need two.
    #[must_use]
    pub fn second_server(&self) -> Ipv4Addr {
        let mut servers = self.network.servers.iter();
        servers.nth(1).copied().unwrap_or(SECOND_SERVER)
    }

    /// How often a client registers again: 5/6 of the refresh, as Asterisk does.
    #[must_use]
    pub const fn cycle(&self) -> Duration {
        reregister_after(self.refresh)
    }
}

/// The scenario with this name.
#[must_use]
pub fn find(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// All scenarios, in the order of a list.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let sound = Router::masquerade(12, 13);
    let with_ports = |ports, router| Router { ports, ..router };
    let base = Scenario {
        name: "healthy",
        summary: "a NAT that keeps mappings longer than the PBX is silent",
        network: Network::behind([sound]),
        refresh: Duration::from_secs(12),
        user: "demo",
        secret: "demonstration",
        max_lifetime: Duration::from_secs(14),
        findings: &[],
        reachable: 1.0,
    };
    vec![
        base.clone(),
        Scenario {
            name: DEFAULT,
            summary: "a NAT that forgets the mapping between two registrations: calls get lost in the gap",
            network: Network::behind([Router::masquerade(6, 11)]),
            max_lifetime: Duration::from_secs(13),
            findings: &["short-mapping-timeout"],
            reachable: 0.6,
            ..base.clone()
        },
        Scenario {
            name: "symmetric",
            summary: "a NAT that shows another port to each server",
            network: Network::behind([with_ports(Ports::Random, sound)]),
            findings: &["inconsistent-nat"],
            ..base.clone()
        },
        Scenario {
            name: "random-port",
            summary: "a NAT that shows another port after each silence, so that the registered one is wrong",
            network: Network::behind([with_ports(Ports::FullyRandom, Router::masquerade(6, 12))]),
            findings: &["inconsistent-nat", "short-mapping-timeout"],
            reachable: 0.6,
            ..base.clone()
        },
        Scenario {
            name: "double-nat",
            summary: "two NATs in a row, the home router's and the carrier's, both of them sound",
            network: Network::behind([Router::masquerade(13, 14), sound]),
            findings: &["double-nat"],
            ..base.clone()
        },
        Scenario {
            name: "lossy",
            summary: "a sound NAT on a line that loses one packet in ten each way",
            network: Network {
                loss_percent: 10,
                ..Network::behind([sound])
            },
            ..base
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_list() {
        let names: Vec<&str> = all().iter().map(|scenario| scenario.name).collect();
        assert_eq!(
            names,
            [
                "healthy",
                "short-timeout",
                "symmetric",
                "random-port",
                "double-nat",
                "lossy"
            ]
        );
        assert!(find(DEFAULT).is_some() && find("no-such").is_none());
    }

    #[test]
    fn what_is_promised_follows_from_the_timers() {
        for scenario in all() {
            let shortest = scenario.network.routers.iter().map(|router| router.timeout);
            let open = shortest.min().unwrap().as_secs_f64();
            let fraction = (open / scenario.cycle().as_secs_f64()).min(1.0);
            assert!(
                (fraction - scenario.reachable).abs() < 1e-9,
                "{}",
                scenario.name
            );
            let short = scenario.findings.contains(&"short-mapping-timeout");
            assert_eq!(short, fraction < 1.0, "{}", scenario.name);
        }
    }

    #[test]
    fn every_edge_lies_within_the_sweep() {
        for scenario in all() {
            let shortest = scenario.network.routers.iter().map(|router| router.stream);
            assert!(shortest.min().unwrap() < scenario.max_lifetime);
        }
    }
}
