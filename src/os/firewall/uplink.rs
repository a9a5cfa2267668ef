//! The ways out of this host: which interface leads to the provider, and whether its address stays.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    os::{
        OsError,
        route::{Address, Link, Passing, Route, Routing},
        sysctl,
    },
    probe::router::{Router, Setting, Uplink},
    wire::firewall::Prefix,
};

/// Programs that fetch an address by DHCP.
const DHCP_CLIENTS: [&str; 4] = ["dhclient", "dhcpcd", "udhcpc", "dhcpcanon"];

/// What this host knows of itself as a router: the interface `wan`, or the one that leads to `peer`,
/// or the one of the default route. Interfaces of `translated` lead out too: rules translate what
/// leaves by them.
///
/// # Errors
///
/// [`OsError::Netlink`] where the kernel does not tell, [`OsError::NoUplink`] where no interface
/// leads out, or several do and nothing says which is meant.
pub fn router(
    wan: Option<&str>,
    peer: Option<Ipv4Addr>,
    translated: &[String],
) -> Result<Router, OsError> {
    let mut routing = Routing::open()?;
    let host = Host {
        links: routing.links()?,
        addresses: routing.addresses()?,
        defaults: routing
            .routes()?
            .into_iter()
            .filter(|route| route.is_default() && route.is_main())
            .filter(|route| route.destination.0.is_ipv4())
            .collect(),
    };
    let wan = match (wan, peer) {
        (Some(wan), _) => wan.to_owned(),
        (None, Some(peer)) => {
            let way = routing.way(peer.into(), Passing::default())?;
            way.and_then(|way| host.name(way.link))
                .ok_or(OsError::NoUplink { several: vec![] })?
        }
        (None, None) => host.default_interface()?,
    };
    let mut others: Vec<String> = host
        .defaults
        .iter()
        .flat_map(|route| &route.links)
        .filter_map(|link| host.name(*link))
        .collect();
    others.extend(translated.iter().cloned());
    others.retain(|name| *name != wan);
    others.sort_unstable();
    others.dedup();
    let lans = host.lans(|name| name == wan || others.iter().any(|other| other == name));
    Ok(Router {
        wan: host.uplink(&wan),
        others: others.iter().map(|name| host.uplink(name)).collect(),
        lans,
        udp_timeout_s: sysctl::timers().map(|timers| timers.udp.as_secs()),
    })
}

/// What the kernel says.
struct Host {
    links: Vec<Link>,
    addresses: Vec<Address>,
    /// The default routes of IPv4.
    defaults: Vec<Route>,
}

impl Host {
    fn name(&self, index: u32) -> Option<String> {
        let link = self.links.iter().find(|link| link.index == index)?;
        Some(link.name.clone())
    }

    /// The interface of the default route that the kernel takes.
    fn default_interface(&self) -> Result<String, OsError> {
        let best = self.defaults.iter().map(|route| route.metric).min();
        let mut names: Vec<String> = self
            .defaults
            .iter()
            .filter(|route| Some(route.metric) == best)
            .flat_map(|route| &route.links)
            .filter_map(|link| self.name(*link))
            .collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [name] => Ok(name.clone()),
            _ => Err(OsError::NoUplink { several: names }),
        }
    }

    /// The addresses of IPv4 that others may know, each with the name of its interface.
    fn addresses(&self) -> impl Iterator<Item = (String, Ipv4Addr, &Address)> {
        self.addresses
            .iter()
            .filter_map(|address| match address.ip {
                IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_link_local() => {
                    Some((self.name(address.link)?, ip, address))
                }
                _ => None,
            })
    }

    /// The private networks of the interfaces that do not lead out.
    fn lans(&self, leads_out: impl Fn(&str) -> bool) -> Vec<Prefix> {
        let mut lans: Vec<Prefix> = self
            .addresses()
            .filter(|(name, ..)| !leads_out(name))
            .filter_map(|(_, ip, address)| Prefix::of(ip, address.prefix))
            .filter(|prefix| prefix.is_private())
            .collect();
        lans.sort_unstable();
        lans.dedup();
        lans
    }

    fn uplink(&self, name: &str) -> Uplink {
        let link = self.links.iter().find(|link| link.name == name);
        let address = self.addresses().find(|(of, ..)| of == name);
        let Some((_, ip, address)) = address else {
            return Uplink {
                because: vec![format!("{name} has no address now")],
                present: Some(link.is_some()),
                ..Uplink::named(name)
            };
        };
        let by_dhcp = self
            .defaults
            .iter()
            .any(|route| route.by_dhcp && route.links.contains(&address.link));
        let (setting, because) = setting(name, address, by_dhcp, dhcp_client(name));
        Uplink {
            interface: name.to_owned(),
            address: Some(ip),
            setting,
            because,
            present: Some(true),
        }
    }
}

/// Whether an address stays, by all that tells.
fn setting(
    name: &str,
    address: &Address,
    by_dhcp: bool,
    client: Option<String>,
) -> (Setting, Vec<String>) {
    let local = address.ip;
    if let Some(left) = address.valid {
        return (
            Setting::Dynamic,
            vec![format!(
                "{local} on {name} is lent for {} s more",
                left.as_secs()
            )],
        );
    }
    if by_dhcp {
        return (
            Setting::Dynamic,
            vec![format!("the default route over {name} comes from DHCP")],
        );
    }
    if let Some(client) = client {
        return (Setting::Dynamic, vec![format!("{client} runs for {name}")]);
    }
    if let Some(peer) = address.peer {
        // PPP says nothing of whether the provider will give the same address again.
        return (
            Setting::Unknown,
            vec![format!(
                "{name} is a point-to-point link ({local}, peer {peer}), and PPP does not tell whether \
                 the address is always the same"
            )],
        );
    }
    (
        Setting::Static,
        vec![format!(
            "{local} on {name} has no end, no peer, and no DHCP client beside it"
        )],
    )
}

/// A DHCP client that runs for an interface, or for all of them.
fn dhcp_client(interface: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let words: Vec<String> = command
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .filter(|word| !word.is_empty())
            .collect();
        is_client_for(&words, interface)
    })
}

fn is_client_for(words: &[String], interface: &str) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let name = program.rsplit('/').next()?;
    let name = name.trim_end_matches(':');
    let known = DHCP_CLIENTS.contains(&name);
    let named = arguments
        .iter()
        .any(|word| word == interface || *word == format!("-i{interface}"));
    let all = name == "dhcpcd"
        && arguments
            .iter()
            .all(|word| word.starts_with('-') || word.starts_with('['));
    (known && (named || all)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PPP0: u32 = 2;
    const ETH1: u32 = 3;
    const LAN0: u32 = 4;
    const LO: u32 = 1;

    fn address(link: u32, ip: &str, prefix: u8) -> Address {
        Address {
            link,
            ip: ip.parse().unwrap(),
            prefix,
            peer: None,
            valid: None,
        }
    }

    fn default_by(links: &[u32], metric: u32) -> Route {
        Route {
            destination: (Ipv4Addr::UNSPECIFIED.into(), 0),
            links: links.to_vec(),
            metric,
            table: 254,
            by_dhcp: false,
        }
    }

    fn host(defaults: Vec<Route>) -> Host {
        let link = |index, name: &str| Link {
            index,
            name: name.to_owned(),
            up: true,
            point_to_point: index == PPP0,
            loopback: index == LO,
        };
        Host {
            links: vec![
                link(LO, "lo"),
                link(PPP0, "ppp0"),
                link(ETH1, "eth1"),
                link(LAN0, "lan0"),
            ],
            addresses: vec![
                address(LO, "127.0.0.1", 8),
                address(ETH1, "192.168.100.2", 24),
                address(LAN0, "192.168.1.1", 24),
                address(LAN0, "169.254.7.7", 16),
                address(LAN0, "fd00::1", 64),
            ],
            defaults,
        }
    }

    #[test]
    fn an_address_is_static_only_where_nothing_speaks_against_it() {
        let plain = address(ETH1, "198.51.100.7", 24);
        let lent = Address {
            valid: Some(Duration::from_secs(3600)),
            ..plain.clone()
        };
        let peer = Address {
            peer: "198.51.100.1".parse().ok(),
            ..plain.clone()
        };
        let client = || Some("udhcpc".to_owned());
        let rows = [
            (&plain, false, None, Setting::Static, "no end"),
            (&lent, false, None, Setting::Dynamic, "lent for 3600 s"),
            (&plain, true, None, Setting::Dynamic, "from DHCP"),
            (&plain, false, client(), Setting::Dynamic, "udhcpc runs"),
            (&peer, false, None, Setting::Unknown, "point-to-point"),
        ];
        for (address, by_dhcp, client, expected, words) in rows {
            let (setting, because) = setting("eth1", address, by_dhcp, client);
            assert_eq!(setting, expected);
            assert!(because[0].contains(words), "{because:?}");
        }
    }

    #[test]
    fn dhcp_clients_are_told_by_their_arguments() {
        let client = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            is_client_for(&words, "eth1")
        };
        assert_eq!(
            client("/sbin/udhcpc -p /var/run/x -i eth1").as_deref(),
            Some("udhcpc")
        );
        assert_eq!(client("dhclient -4 eth1").as_deref(), Some("dhclient"));
        assert_eq!(client("dhcpcd: [manager] [ip4]").as_deref(), Some("dhcpcd"));
        assert_eq!(client("dhclient -4 eth0"), None);
        assert_eq!(client("vi dhclient eth1"), None);
    }

    #[test]
    fn the_default_route_with_the_least_metric_is_the_way() {
        let of = |defaults| host(defaults).default_interface();
        let both = vec![default_by(&[ETH1], 200), default_by(&[PPP0], 0)];
        assert_eq!(of(both).unwrap(), "ppp0");
        for equal in [
            vec![default_by(&[PPP0], 0), default_by(&[ETH1], 0)],
            vec![default_by(&[PPP0, ETH1], 0)],
        ] {
            let error = of(equal).unwrap_err().to_string();
            assert!(
                error.contains("eth1, ppp0") && error.contains("--wan"),
                "{error}"
            );
        }
        assert!(of(vec![]).is_err());
    }

    #[test]
    fn the_networks_behind_are_private_ones_that_lead_nowhere() {
        let lans = host(vec![]).lans(|name| name == "eth1");
        assert_eq!(lans, ["192.168.1.0/24".parse().unwrap()]);
    }

    #[test]
    fn a_way_out_is_there_or_not_and_has_an_address_or_not() {
        let host = host(vec![]);
        let seen = |name: &str| {
            let uplink = host.uplink(name);
            (uplink.present, uplink.address.map(|ip| ip.to_string()))
        };
        assert_eq!(seen("eth1"), (Some(true), Some("192.168.100.2".into())));
        assert_eq!(seen("ppp0"), (Some(true), None));
        assert_eq!(seen("ppp9"), (Some(false), None));
    }
}
