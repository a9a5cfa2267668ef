//! The boxes on the way: those that keep state, the router that maps ports, and what it is.

use crate::report::model::{Device, Edge, Gone, Hops, Mapper, NatHop, PortMapping};

pub(super) fn port_mapping(seen: &PortMapping) -> Vec<(&'static str, String)> {
    let spoken: Vec<&str> = [
        ("UPnP", seen.upnp),
        ("NAT-PMP", seen.nat_pmp),
        ("PCP", seen.pcp),
    ]
    .into_iter()
    .filter_map(|(name, is_spoken)| is_spoken.then_some(name))
    .collect();
    let router = seen
        .gateway
        .map_or_else(|| "the router".into(), |gateway| gateway.to_string());
    let mut words = match spoken.as_slice() {
        [] => format!("{router} speaks neither UPnP nor NAT-PMP nor PCP"),
        spoken => format!("{router} speaks {}", spoken.join(", ")),
    };
    if let Some(external) = seen.external_address {
        words.push_str(", its public address is ");
        words.push_str(&external.to_string());
    }
    let mut rows = vec![("port mapping", words)];
    rows.extend(seen.protocols.iter().map(|protocol| ("", mapper(protocol))));
    rows.extend(
        seen.device
            .iter()
            .map(|device| ("", format!("calls itself {device}"))),
    );
    rows
}

fn mapper(protocol: &Mapper) -> String {
    let name = match protocol.name.as_str() {
        "upnp" => "UPnP",
        "nat_pmp" => "NAT-PMP",
        "pcp" => "PCP",
        other => other,
    };
    let mapping = match (protocol.mapping_made, protocol.mapping_removed) {
        (true, Some(true)) => "made a mapping for the test and removed it",
        (true, _) => "made a mapping for the test and did not confirm that it is gone",
        (false, _) => "made no mapping",
    };
    match &protocol.refused {
        Some(why) => format!("{name} {mapping}: {why}"),
        None => format!("{name} {mapping}"),
    }
}

pub(super) fn device(device: &Device) -> String {
    let who = match device.by.as_str() {
        "user" => "as you say",
        "upnp" => "as it says itself over UPnP",
        other => other,
    };
    let sure = match device.confidence.as_str() {
        "verified" => "its settings are verified",
        "secondary" => "its settings are as others report them",
        _ => "its settings are not verified",
    };
    format!("{} {}, {who}; {sure}", device.vendor, device.product)
}

pub(super) fn hops(seen: &Hops) -> Vec<(&'static str, String)> {
    let mut way = match seen.distance {
        Some(distance) => format!("the reflector is {distance} hops away"),
        None => "how far the reflector is, is not known".into(),
    };
    if !seen.routers.is_empty() {
        let routers = seen.routers.iter().map(|router| match router {
            Some(address) => address.to_string(),
            None => "?".into(),
        });
        way = format!("{way}: {}", routers.collect::<Vec<_>>().join(", "));
    }
    let mut rows = vec![("hops", way)];
    rows.extend(seen.nats.iter().map(|nat| ("", nat_hop(nat))));
    rows
}

fn nat_hop(nat: &NatHop) -> String {
    let place = match nat.address {
        Some(address) => format!("hop {}, {address}", nat.hop),
        None => format!("hop {}", nat.hop),
    };
    let keeps = Edge {
        alive_s: nat.alive_s,
        dead_s: nat.exchange_s,
    };
    match (nat.alive_s, nat.exchange_s) {
        (None, Gone::Unknown) => format!("{place} keeps state"),
        _ => format!("{place} keeps state; after an exchange: {}", edge(&keeps)),
    }
}

pub(in crate::report) fn edge(edge: &Edge) -> String {
    match (edge.alive_s, edge.dead_s) {
        (Some(alive), Gone::After(dead)) => format!("alive at {alive} s, gone at {dead} s"),
        (None, Gone::After(dead)) => format!("gone at {dead} s"),
        (Some(alive), Gone::Outlived) => format!("still alive at {alive} s, the longest tried"),
        (Some(alive), Gone::Unknown) => format!("alive at {alive} s, its end not known"),
        (None, _) => "not known".into(),
    }
}
