//! The ways out of this host, asked from `ip`: which interface leads to the provider, and whether its
//! address stays.

use std::{fs, net::Ipv4Addr, path::Path};

use serde_json::Value;

use super::{answer, program};
use crate::{
    os::OsError,
    probe::router::{Router, Setting, Uplink},
    wire::firewall::Prefix,
};

/// Programs that fetch an address by DHCP.
const DHCP_CLIENTS: [&str; 4] = ["dhclient", "dhcpcd", "udhcpc", "dhcpcanon"];

/// Where the kernel says how long it keeps a UDP mapping.
const UDP_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";

/// What this host knows of itself as a router: the interface `wan`, or the one that leads to `peer`,
/// or the one of the default route. Interfaces of `translated` lead out too: rules translate what
/// leaves by them.
///
/// # Errors
///
/// [`OsError::NoProgram`] without `ip`, [`OsError::FirewallRefused`] where it does not answer,
/// [`OsError::NoUplink`] where no interface leads out, or several do and nothing says which is meant.
pub fn router(
    wan: Option<&str>,
    peer: Option<Ipv4Addr>,
    translated: &[String],
) -> Result<Router, OsError> {
    let interfaces = ask(&["-j", "-4", "address", "show"])?;
    let routes = ask(&["-j", "-4", "route", "show", "default"])?;
    let wan = match (wan, peer) {
        (Some(wan), _) => wan.to_owned(),
        (None, Some(peer)) => {
            let way = ask(&["-j", "-4", "route", "get", &peer.to_string()])?;
            let device = way.first().and_then(|route| text(route, "dev"));
            device
                .ok_or(OsError::NoUplink { several: vec![] })?
                .to_owned()
        }
        (None, None) => default_interface(&routes)?,
    };
    let mut others: Vec<String> = routes
        .iter()
        .filter_map(|route| text(route, "dev"))
        .map(str::to_owned)
        .collect();
    others.extend(translated.iter().cloned());
    others.retain(|name| *name != wan);
    others.sort_unstable();
    others.dedup();
    let lans = lans(&interfaces, |name| {
        name == wan || others.iter().any(|other| other == name)
    });
    Ok(Router {
        wan: uplink(&wan, &interfaces, &routes),
        others: others
            .iter()
            .map(|name| uplink(name, &interfaces, &routes))
            .collect(),
        lans,
        udp_timeout_s: fs::read_to_string(UDP_TIMEOUT)
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    })
}

fn ask(arguments: &[&str]) -> Result<Vec<Value>, OsError> {
    let path = program("ip").ok_or(OsError::NoIp)?;
    let said = answer(&path, arguments)?;
    if said.trim().is_empty() {
        return Ok(vec![]);
    }
    serde_json::from_str(&said).map_err(|error| OsError::FirewallUnreadable {
        program: path,
        what: format!("no JSON: {error}"),
    })
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// The interface of the default route that the kernel takes.
fn default_interface(routes: &[Value]) -> Result<String, OsError> {
    let metric = |route: &Value| route.get("metric").and_then(Value::as_u64).unwrap_or(0);
    let best = routes.iter().map(metric).min();
    let mut names: Vec<String> = routes
        .iter()
        .filter(|route| Some(metric(route)) == best)
        .filter_map(|route| text(route, "dev"))
        .map(str::to_owned)
        .collect();
    names.dedup();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(OsError::NoUplink { several: names }),
    }
}

/// The private networks of the interfaces that do not lead out.
fn lans(interfaces: &[Value], leads_out: impl Fn(&str) -> bool) -> Vec<Prefix> {
    let mut lans: Vec<Prefix> = interfaces
        .iter()
        .filter(|interface| text(interface, "ifname").is_some_and(|name| !leads_out(name)))
        .flat_map(|interface| {
            interface
                .get("addr_info")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        })
        .filter_map(|address| {
            let length = address.get("prefixlen").and_then(Value::as_u64)?;
            Prefix::of(
                text(address, "local")?.parse().ok()?,
                length.try_into().ok()?,
            )
        })
        .filter(|prefix| prefix.is_private())
        .collect();
    lans.sort_unstable();
    lans.dedup();
    lans
}

fn uplink(name: &str, interfaces: &[Value], routes: &[Value]) -> Uplink {
    let interface = interfaces
        .iter()
        .find(|interface| text(interface, "ifname") == Some(name));
    let present = Path::new("/sys/class/net").join(name).exists() || interface.is_some();
    let address = interface
        .and_then(|interface| interface.get("addr_info"))
        .and_then(Value::as_array)
        .and_then(|addresses| {
            addresses
                .iter()
                .find(|address| text(address, "scope") == Some("global"))
        });
    let Some(address) = address else {
        return Uplink {
            because: vec![format!("{name} has no address now")],
            present: Some(present),
            ..Uplink::named(name)
        };
    };
    let by_dhcp = routes
        .iter()
        .any(|route| text(route, "dev") == Some(name) && text(route, "protocol") == Some("dhcp"));
    let (setting, because) = setting(name, address, by_dhcp, dhcp_client(name));
    Uplink {
        interface: name.to_owned(),
        address: text(address, "local").and_then(|local| local.parse().ok()),
        setting,
        because,
        present: Some(present),
    }
}

/// Whether an address stays, by all that tells.
fn setting(
    name: &str,
    address: &Value,
    by_dhcp: bool,
    client: Option<String>,
) -> (Setting, Vec<String>) {
    let local = text(address, "local").unwrap_or_default();
    // The kernel's word for "for ever" (IFA_CACHEINFO).
    let lifetime = address
        .get("valid_life_time")
        .and_then(Value::as_u64)
        .filter(|seconds| *seconds < u32::MAX.into());
    if let Some(seconds) = lifetime {
        return (
            Setting::Dynamic,
            vec![format!("{local} on {name} is lent for {seconds} s more")],
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
    if let Some(peer) = text(address, "address") {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_static_only_where_nothing_speaks_against_it() {
        let plain =
            json!({"local": "198.51.100.7", "prefixlen": 24, "valid_life_time": 4_294_967_295_u64});
        let lent = json!({"local": "198.51.100.7", "dynamic": true, "valid_life_time": 3600});
        let peer = json!({"local": "198.51.100.7", "address": "198.51.100.1", "valid_life_time": 4_294_967_295_u64});
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
        let routes = [
            json!({"dev": "eth1", "metric": 200}),
            json!({"dev": "ppp0"}),
        ];
        assert_eq!(default_interface(&routes).unwrap(), "ppp0");
        let equal = [json!({"dev": "eth1"}), json!({"dev": "ppp0"})];
        let error = default_interface(&equal).unwrap_err().to_string();
        assert!(
            error.contains("eth1, ppp0") && error.contains("--wan"),
            "{error}"
        );
        assert!(default_interface(&[]).is_err());
    }

    #[test]
    fn the_networks_behind_are_private_ones_that_lead_nowhere() {
        let interfaces = [
            json!({"ifname": "lan0", "addr_info": [{"local": "192.168.1.1", "prefixlen": 24}]}),
            json!({"ifname": "eth1", "addr_info": [{"local": "192.168.100.2", "prefixlen": 24}]}),
            json!({"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]}),
        ];
        let lans = lans(&interfaces, |name| name == "eth1");
        assert_eq!(lans, ["192.168.1.0/24".parse().unwrap()]);
    }
}
