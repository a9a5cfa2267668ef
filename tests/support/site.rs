//! A client behind kernel NATs, and real servers beyond them.

use std::{
    io,
    net::Ipv4Addr,
    process::{Child, Command},
};

use iax2_natcheck::lab::{
    kernel::{Namespace, NatLab},
    network::{CLIENT, Network, Router, SIBLING},
};

use super::{process::Running, tool};

/// Where the provider is.
pub const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Where a reflector or a STUN server is.
pub const REFLECTOR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Its second address.
pub const ALTERNATE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
/// Where the reflector listens; its alternate port is the next.
pub const REFLECTOR_PORT: u16 = 4570;

/// The network of a test.
pub struct Site {
    lab: NatLab,
}

impl Site {
    /// A client behind these routers, the nearest first.
    pub fn behind(routers: impl IntoIterator<Item = Router>) -> Self {
        Self::of(Network::behind(routers))
    }

    /// The same of a network described in full but for its servers.
    pub fn of(network: Network) -> Self {
        let network = Network {
            servers: vec![PROVIDER, REFLECTOR, ALTERNATE],
            ..network
        };
        Self {
            lab: NatLab::new(&network).unwrap(),
        }
    }

    /// The same, and the client's host has a second address in its LAN.
    pub fn with_sibling(routers: impl IntoIterator<Item = Router>) -> Self {
        Self::of(Network {
            clients: vec![CLIENT, SIBLING],
            ..Network::behind(routers)
        })
    }

    /// The namespaces.
    pub fn lab(&self) -> &NatLab {
        &self.lab
    }

    /// Starts commands on the client's host.
    pub fn near(&self) -> impl Fn(&mut Command) -> io::Result<Child> {
        inside(self.lab.client())
    }

    /// Starts commands on the servers' host.
    pub fn far(&self) -> impl Fn(&mut Command) -> io::Result<Child> {
        inside(self.lab.server())
    }

    /// A reflector of ours on two addresses and two ports, without accounts.
    pub fn reflector(&self) -> Running {
        let line = format!(
            "--bind {REFLECTOR}:{REFLECTOR_PORT} --alternate {ALTERNATE}:{}",
            REFLECTOR_PORT + 1
        );
        tool::serve(&line, &self.far())
    }
}

/// Starts commands in a namespace.
pub fn inside(namespace: &Namespace) -> impl Fn(&mut Command) -> io::Result<Child> {
    move |command| {
        namespace
            .run(|| command.spawn())
            .map_err(io::Error::other)?
    }
}
