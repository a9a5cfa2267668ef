//! The whole way from a client through its routers to a server, in the kernel.

use std::net::Ipv4Addr;

use super::namespace::Namespace;
use crate::lab::{
    error::LabError,
    network::{GATEWAY, Network, Router},
};

/// A client, the routers in front of it, and a server with several addresses:
///
/// ```text
/// client ── lan ▸ router ▸ wan ── (lan ▸ carrier ▸ wan) ── server
/// .10    192.168.1.1   100.64.0.2  100.64.0.1  198.51.100.7  203.0.113.1, …
/// ```
///
/// Everything vanishes when this and the sockets inside are dropped.
#[derive(Debug)]
pub struct NatLab {
    client: Namespace,
    routers: Vec<Namespace>,
    server: Namespace,
}

impl NatLab {
    /// Builds it.
    ///
    /// # Errors
    ///
    /// [`LabError::TooManyRouters`]; else whatever a step says, see [`Namespace`].
    pub fn new(network: &Network) -> Result<Self, LabError> {
        if network.routers.len() > 2 {
            return Err(LabError::TooManyRouters {
                routers: network.routers.len(),
            });
        }
        let labels = ["router", "carrier"];
        let routers = network.routers.iter().zip(labels);
        let lab = Self {
            client: Namespace::new("client")?,
            routers: routers
                .map(|(_, label)| Namespace::new(label))
                .collect::<Result<_, _>>()?,
            server: Namespace::new("server")?,
        };
        lab.lay_cables(network)?;
        let outer_links = network.links().into_iter().skip(1);
        let routers = network.routers.iter().zip(&lab.routers);
        for ((router, namespace), (outside, _, _)) in routers.zip(outer_links) {
            configure(namespace, router, outside)?;
        }
        lab.lose(network.loss_percent)?;
        Ok(lab)
    }

    /// The client's host.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The routers, the one nearest to the client first; each has the interfaces `lan` and `wan`.
    #[must_use]
    pub fn routers(&self) -> &[Namespace] {
        &self.routers
    }

    /// The server's host.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    fn lay_cables(&self, network: &Network) -> Result<(), LabError> {
        let hosts: Vec<&Namespace> = [&self.client]
            .into_iter()
            .chain(&self.routers)
            .chain([&self.server])
            .collect();
        let neighbours = hosts.iter().zip(hosts.iter().skip(1)).enumerate();
        for ((index, (near, far)), (near_address, far_address, prefix)) in
            neighbours.zip(network.links())
        {
            let near_interface = if index == 0 { "eth0" } else { "wan" };
            let far_interface = if index == self.routers.len() {
                "eth0"
            } else {
                "lan"
            };
            near.connect(near_interface, far, far_interface)?;
            near.address(near_interface, near_address.into(), prefix)?;
            far.address(far_interface, far_address.into(), prefix)?;
            near.default_route(far_address.into())?;
        }
        if !self.routers.is_empty() {
            for address in network.clients.iter().skip(1) {
                self.client.address("eth0", (*address).into(), 24)?;
            }
        }
        for address in network
            .servers
            .iter()
            .filter(|address| **address != GATEWAY)
        {
            self.server.address("lo", (*address).into(), 32)?;
        }
        Ok(())
    }

    /// Loses packets on the last link, where no conntrack has seen or will see them: on arrival at
    /// the server, and on arrival at the outermost router before anything else looks.
    fn lose(&self, percent: u8) -> Result<(), LabError> {
        if percent == 0 {
            return Ok(());
        }
        let (outermost, interface) = match self.routers.last() {
            Some(router) => (router, "wan"),
            None => (&self.client, "eth0"),
        };
        for (host, interface) in [(outermost, interface), (&self.server, "eth0")] {
            host.nft(&format!(
                "table ip loss {{\nchain arrival {{\n\
                 type filter hook prerouting priority -400\n\
                 iifname \"{interface}\" meta l4proto udp numgen random mod 100 < {percent} drop\n\
                 }}\n}}\n"
            ))?;
        }
        Ok(())
    }
}

/// Makes a namespace the router that was described.
fn configure(namespace: &Namespace, router: &Router, outside: Ipv4Addr) -> Result<(), LabError> {
    namespace.forward()?;
    // The rules first: conntrack's settings appear with the first rule that needs it.
    namespace.nft(&router.ruleset(outside))?;
    namespace.udp_timeouts(router.timeout.as_secs(), router.stream.as_secs())
}
