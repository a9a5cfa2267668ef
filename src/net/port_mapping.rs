//! Asks the router for port mappings, by every protocol that it may speak, on request only: a mapping of
//! one free UDP port is made for the test and removed again.
//!
//! This is no machine of the event loop: `UPnP` goes over HTTP, and what was made has to be removed even
//! where the rest is stopped.
//!
//! The port is bound here while the mapping exists, so that nobody else is reached through it. Where the
//! removal fails the mapping ends by itself: it is made for a minute, which some routers make two.

mod datagrams;
mod upnp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{
    net::udp::{Ground, bind_here},
    probe::evidence::PortMappingEvidence,
    types::PeerAddr,
};

/// For how long a mapping is asked for, in seconds.
const LIFETIME_S: u32 = 60;

/// Where a router is asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The router.
    gateway: IpAddr,
    /// This host's address on the way to it.
    client: IpAddr,
    /// The port that is mapped for the test.
    port: u16,
}

/// Finds out what the router at `gateway` speaks. `nonce` names the mapping that PCP makes. It takes
/// a few seconds, and should not be cut short: what it made is removed at its end.
pub async fn look(gateway: Option<Ipv4Addr>, nonce: [u8; 12]) -> PortMappingEvidence {
    let mut evidence = PortMappingEvidence {
        gateway: gateway.map(IpAddr::V4),
        ..PortMappingEvidence::default()
    };
    let Some(gateway) = gateway.map(IpAddr::V4) else {
        return evidence;
    };
    let router = PeerAddr::new(SocketAddr::new(gateway, crate::wire::port_mapping::PORT));
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let client = Ground::host().local_towards(any, router).get().ip();
    // Each protocol has a port of its own: a router may not map one twice.
    let ports: Vec<_> = (0..3)
        .filter_map(|_| bind_here(SocketAddr::new(client, 0)).ok())
        .collect();
    let asked: Vec<Asked> = ports
        .iter()
        .filter_map(|socket| {
            Some(Asked {
                gateway,
                client,
                port: socket.local_addr().ok()?.port(),
            })
        })
        .collect();
    let [first, second, third] = asked.as_slice() else {
        return evidence;
    };
    let (nat_pmp, pcp, (upnp, device)) = tokio::join!(
        datagrams::nat_pmp(*first),
        datagrams::pcp(*second, nonce),
        upnp::look(*third)
    );
    evidence.nat_pmp = nat_pmp;
    evidence.pcp = pcp;
    evidence.upnp = upnp;
    evidence.device = device;
    evidence
}
