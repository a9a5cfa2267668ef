//! The way of a packet: out through the NATs of its site, across the internet, in through others.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    World,
    host::Role,
    packet::{Arrival, Due, Packet},
};
use crate::{
    lab::{
        link::{Direction, Link},
        nat::Nat,
    },
    proto::contract::{Input, SocketKey, Unreachable},
    types::PeerAddr,
};

/// How long a packet takes from one server to another.
const BACKBONE_DELAY: Duration = Duration::from_millis(5);

/// A site as it runs.
pub(super) struct Site {
    pub(super) nats: Vec<Nat>,
    pub(super) link: Link,
    pub(super) hops: u8,
    pub(super) icmp: bool,
    /// The open sockets of its clients, by their own addresses.
    pub(super) clients: BTreeMap<SocketAddr, (usize, SocketKey)>,
}

impl World {
    /// Takes a packet from a client through the NATs of its site.
    pub(super) fn climb(&mut self, index: usize, mut packet: Packet) {
        let now = self.now;
        let Some(site) = self.sites.get_mut(index) else {
            return;
        };
        if !site.nats.is_empty() && site.clients.contains_key(&packet.destination) {
            self.queue(now, Arrival::Descend(index, 0, packet));
            return;
        }
        for (place, nat) in site.nats.iter_mut().enumerate() {
            if packet.ttl <= 1 {
                nat.outbound_dying(packet.source, packet.destination, now);
                let reporter = nat.config().inside;
                self.traffic.expired += 1;
                self.report(
                    index,
                    &packet,
                    Unreachable::TimeExceeded,
                    reporter,
                    Some(now),
                );
                return;
            }
            let Some(external) = nat.outbound(packet.source, packet.destination, now) else {
                self.traffic.refused += 1;
                return;
            };
            packet.source = external;
            packet.ttl -= 1;
            if nat.owns(packet.destination.ip()) {
                self.queue(now, Arrival::Descend(index, place + 1, packet));
                return;
            }
        }
        self.cross(Some(index), &packet);
    }

    /// Sends a packet across the internet, over the link of the site it comes from or goes to.
    pub(super) fn cross(&mut self, from_site: Option<usize>, packet: &Packet) {
        let to_site = self.site_of(packet.destination);
        let hops: u8 = [from_site, to_site]
            .into_iter()
            .flatten()
            .filter_map(|index| self.sites.get(index))
            .fold(0, |hops, site| hops.saturating_add(site.hops));
        let mut delays = vec![Duration::ZERO];
        for (index, direction) in [
            (from_site, Direction::Outbound),
            (to_site, Direction::Inbound),
        ] {
            if let Some(site) = index.and_then(|index| self.sites.get_mut(index)) {
                delays = delays
                    .into_iter()
                    .flat_map(|delay| site.link.pass(direction).map(move |more| delay + more))
                    .collect();
            }
        }
        if from_site.is_none() && to_site.is_none() {
            delays = vec![BACKBONE_DELAY];
        }
        if delays.is_empty() {
            self.traffic.lost += 1;
            return;
        }
        if packet.ttl <= hops {
            self.traffic.expired += 1;
            if let Some(index) = from_site {
                self.report(index, packet, Unreachable::TimeExceeded, None, None);
            }
            return;
        }
        let ttl = packet.ttl - hops;
        for delay in delays {
            let packet = Packet {
                ttl,
                ..packet.clone()
            };
            let arrival = match to_site.and_then(|index| Some((index, self.sites.get(index)?))) {
                Some((index, site)) => Arrival::Descend(index, site.nats.len(), packet),
                None => Arrival::Server(packet),
            };
            self.queue(self.now + delay, arrival);
        }
    }

    /// Lets happen what was under way.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Server(packet) => match self.servers.get(&packet.destination).copied() {
                Some((index, key)) => self.deliver(index, key, &packet),
                None => self.unclaimed(&packet),
            },
            Arrival::Descend(index, places, packet) => self.descend(index, places, packet),
            Arrival::Error {
                host,
                socket,
                peer,
                cause,
                reporter,
            } => {
                let error = Input::Unreachable {
                    socket,
                    peer,
                    cause,
                    reporter,
                };
                if let Some(host) = self.hosts.get(host) {
                    host.node.handle_input(error, self.now);
                }
            }
        }
    }

    /// Takes a packet inwards through the first `places` NATs of a site, outermost first.
    fn descend(&mut self, index: usize, places: usize, mut packet: Packet) {
        let Some(site) = self.sites.get_mut(index) else {
            return;
        };
        for nat in site.nats.iter_mut().take(places).rev() {
            let Some(inner) = nat.inbound(packet.source, packet.destination, self.now) else {
                self.traffic.filtered += 1;
                return;
            };
            packet.destination = inner;
            if packet.ttl <= 1 {
                self.traffic.expired += 1;
                return;
            }
            packet.ttl -= 1;
        }
        match site.clients.get(&packet.destination).copied() {
            Some((host, key)) => self.deliver(host, key, &packet),
            None => self.traffic.unclaimed += 1,
        }
    }

    fn deliver(&mut self, index: usize, socket: SocketKey, packet: &Packet) {
        self.traffic.delivered += 1;
        let input = Input::Datagram {
            socket,
            source: PeerAddr::new(packet.source),
            payload: &packet.payload,
        };
        if let Some(host) = self.hosts.get(index) {
            host.node.handle_input(input, self.now);
        }
    }

    /// No socket at a public address: a host that exists answers with an ICMP error.
    fn unclaimed(&mut self, packet: &Packet) {
        self.traffic.unclaimed += 1;
        let address = packet.destination.ip();
        let host_exists = self.servers.keys().any(|server| server.ip() == address);
        let site = self.hosts.get(packet.origin.0).map(|host| &host.role);
        if let (true, Some(Role::Client { site, .. })) = (host_exists, site) {
            self.report(*site, packet, Unreachable::Port, Some(address), None);
        }
    }

    /// Sends an ICMP error to the client that the packet came from: over the link, unless `at` says
    /// when it arrives.
    fn report(
        &mut self,
        index: usize,
        packet: &Packet,
        cause: Unreachable,
        reporter: Option<IpAddr>,
        at: Option<Instant>,
    ) {
        let Some(site) = self.sites.get_mut(index) else {
            return;
        };
        let at = at.or_else(|| Some(self.now + site.link.pass(Direction::Inbound).next()?));
        let (true, Some(at)) = (site.icmp, at) else {
            return;
        };
        let (host, socket) = packet.origin;
        let error = Arrival::Error {
            host,
            socket,
            peer: packet.asked,
            cause,
            reporter,
        };
        self.queue(at, error);
    }

    /// The site that a public address belongs to.
    fn site_of(&self, address: SocketAddr) -> Option<usize> {
        self.sites.iter().position(|site| match site.nats.last() {
            Some(nat) => nat.owns(address.ip()),
            None => site.clients.contains_key(&address),
        })
    }

    fn queue(&mut self, at: Instant, arrival: Arrival) {
        self.serial += 1;
        self.queue.push(Reverse(Due {
            at,
            serial: self.serial,
            arrival,
        }));
    }
}
