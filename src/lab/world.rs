//! A simulated internet with one counted clock: sites with clients behind zero, one or more NATs,
//! servers, and links with faults between them.
//!
//! Time never passes by itself: [`World::step`] jumps to the next arrival or deadline. A world
//! built the same way, from the same seeds, always runs the same way.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use crate::{
    lab::{
        link::{Link, LinkConfig},
        nat::{Nat, NatConfig},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, Unreachable},
    types::LocalAddr,
};

mod host;
mod packet;
mod station;
mod way;

use host::{Host, Role};
use packet::{Due, Packet};
pub use station::Station;
use station::{Node, Observed};
use way::Site;

/// How often things may happen at one instant before the world takes it for a loop.
const STEPS_AT_ONE_INSTANT: u32 = 100_000;

/// The time to live of a datagram that asks for none.
const DEFAULT_TTL: u8 = 64;

/// Where clients live: the NATs in front of them, and the link to the internet.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// The NATs, the one nearest to the clients first. Without any, the clients have public
    /// addresses.
    pub nats: Vec<NatConfig>,
    /// Between the outermost NAT and the servers.
    pub link: LinkConfig,
    /// How many routers that translate nothing lie beyond the outermost NAT.
    pub hops: u8,
    /// ICMP errors reach the clients.
    pub icmp: bool,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self {
            nats: Vec::new(),
            link: LinkConfig::default(),
            hops: 0,
            icmp: true,
        }
    }
}

/// Names a site of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteId(usize);

/// What became of the datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent by machines.
    pub sent: u64,
    /// Handed to machines.
    pub delivered: u64,
    /// Lost on a link.
    pub lost: u64,
    /// Dropped by a NAT on the way out: quota, no port, no hairpinning.
    pub refused: u64,
    /// Dropped by a NAT on the way in: no mapping, or filtered.
    pub filtered: u64,
    /// Their time to live ran out.
    pub expired: u64,
    /// No socket or no host at their destination.
    pub unclaimed: u64,
}

/// The simulated internet. See the [module](self).
pub struct World {
    now: Instant,
    hosts: Vec<Host>,
    sites: Vec<Site>,
    /// Who listens on the public addresses.
    servers: BTreeMap<SocketAddr, (usize, SocketKey)>,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    steps_now: u32,
    traffic: Traffic,
}

impl World {
    /// An empty world whose clock stands at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            now: start,
            hosts: Vec::new(),
            sites: Vec::new(),
            servers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            steps_now: 0,
            traffic: Traffic::default(),
        }
    }

    /// Adds a site.
    pub fn site(&mut self, config: SiteConfig) -> SiteId {
        self.sites.push(Site {
            nats: config.nats.into_iter().map(Nat::new).collect(),
            link: Link::new(config.link),
            hops: config.hops,
            icmp: config.icmp,
            clients: BTreeMap::new(),
        });
        SiteId(self.sites.len() - 1)
    }

    /// Adds a client host at `address`. Its sockets open when the first datagram leaves from their
    /// key, on ports 40000 and up.
    pub fn client<M: Machine + 'static>(
        &mut self,
        site: SiteId,
        address: IpAddr,
        machine: M,
    ) -> Station<M> {
        self.host(Role::client(site.0, address), machine)
    }

    /// Adds a server host whose sockets are open on these public addresses.
    pub fn server<M: Machine + 'static>(
        &mut self,
        sockets: impl IntoIterator<Item = (SocketKey, SocketAddr)>,
        machine: M,
    ) -> Station<M> {
        let sockets: BTreeMap<SocketKey, SocketAddr> = sockets.into_iter().collect();
        for (key, address) in &sockets {
            self.servers.insert(*address, (self.hosts.len(), *key));
        }
        self.host(Role::Server { sockets }, machine)
    }

    /// Binds a client's socket to a port of the caller's choice, if it is not open yet.
    pub fn bind<M: Machine>(&mut self, client: &Station<M>, key: SocketKey, port: u16) {
        if let Some(Role::Client { ports, .. }) =
            self.hosts.get_mut(client.index).map(|host| &mut host.role)
        {
            ports.insert(key, port);
        }
    }

    /// Gives a client a second address: the socket of the key `distance` above another's has it, and the
    /// same port where that other one is open.
    pub fn siblings<M: Machine>(&mut self, client: &Station<M>, ip: IpAddr, distance: u32) {
        if let Some(Role::Client { siblings, .. }) =
            self.hosts.get_mut(client.index).map(|host| &mut host.role)
        {
            *siblings = Some((ip, distance));
        }
    }

    /// Lets a client have this many sockets and no more; from then on its host refuses to send
    /// ([`Unreachable::NoSocket`]).
    pub fn limit_sockets<M: Machine>(&mut self, client: &Station<M>, limit: usize) {
        if let Some(Role::Client { most, .. }) =
            self.hosts.get_mut(client.index).map(|host| &mut host.role)
        {
            *most = limit;
        }
    }

    /// Changes the link of a site from now on.
    pub fn set_link(&mut self, site: SiteId, config: LinkConfig) {
        if let Some(site) = self.sites.get_mut(site.0) {
            site.link = Link::new(config);
        }
    }

    /// The NAT at this place of a site, 0 being the one nearest to the clients.
    pub fn nat(&mut self, site: SiteId, place: usize) -> Option<&mut Nat> {
        self.sites.get_mut(site.0)?.nats.get_mut(place)
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What became of the datagrams so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Runs until the clock shows `deadline`.
    ///
    /// # Panics
    ///
    /// As [`World::step`].
    pub fn run_until(&mut self, deadline: Instant) {
        self.run_until_done(deadline, || false);
    }

    /// Runs until `done` says so, asked after each step, or else until the clock shows `deadline`.
    /// Returns whether `done` said so.
    ///
    /// # Panics
    ///
    /// As [`World::step`].
    pub fn run_until_done(&mut self, deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
        loop {
            if done() {
                return true;
            }
            if !self.step(deadline) {
                self.now = self.now.max(deadline);
                return done();
            }
        }
    }

    /// Jumps to the next arrival or deadline, if it lies no later than `limit`, and lets it happen.
    /// Returns whether anything happened.
    ///
    /// # Panics
    ///
    /// If things keep happening at one instant: a machine that breaks the drain law would spin for
    /// ever. The message lists the deadlines and their reasons.
    pub fn step(&mut self, limit: Instant) -> bool {
        self.settle();
        let arrival = self.queue.peek().map(|Reverse(due)| due.at);
        let deadline = self.deadlines().map(|(at, _, _)| at).min();
        let Some(next) = arrival.into_iter().chain(deadline).min() else {
            return false;
        };
        if next > limit {
            return false;
        }
        if next > self.now {
            self.now = next;
            self.steps_now = 0;
        }
        self.count_step();
        if arrival.is_some_and(|at| at <= self.now) {
            if let Some(Reverse(due)) = self.queue.pop() {
                self.arrive(due.arrival);
            }
        } else {
            let late: Vec<Rc<dyn Node>> = self
                .hosts
                .iter()
                .filter(|host| host.deadline.is_some_and(|(at, _)| at <= self.now))
                .map(|host| Rc::clone(&host.node))
                .collect();
            for node in late {
                node.handle_timeout(self.now);
            }
        }
        self.settle();
        true
    }

    fn host<M: Machine + 'static>(&mut self, role: Role, machine: M) -> Station<M> {
        let observed = Rc::new(RefCell::new(Observed::new(machine)));
        let node = Rc::<RefCell<Observed<M>>>::clone(&observed);
        self.hosts.push(Host::new(node, role));
        Station {
            index: self.hosts.len() - 1,
            observed,
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = (Instant, usize, &'static str)> {
        self.hosts.iter().enumerate().filter_map(|(index, host)| {
            let (at, reason) = host.deadline?;
            Some((at, index, reason))
        })
    }

    fn count_step(&mut self) {
        self.steps_now += 1;
        if self.steps_now > STEPS_AT_ONE_INSTANT {
            let deadlines: Vec<String> = self
                .deadlines()
                .map(|(at, index, reason)| {
                    let ahead = at.saturating_duration_since(self.now);
                    format!("host {index}: {reason} in {ahead:?}")
                })
                .collect();
            panic!(
                "{STEPS_AT_ONE_INSTANT} steps at one instant, {} packets under way, deadlines: [{}]",
                self.queue.len(),
                deadlines.join(", ")
            );
        }
    }

    /// Obeys the drain law for every host that something happened to: sends what it wants to send,
    /// takes its events, and reads its deadline again.
    fn settle(&mut self) {
        for index in 0..self.hosts.len() {
            let Some(node) = self.hosts.get(index).map(|host| Rc::clone(&host.node)) else {
                return;
            };
            if !node.take_touched() {
                continue;
            }
            while let Some(transmit) = node.poll_transmit() {
                self.count_step();
                self.traffic.sent += 1;
                self.send(index, &*node, transmit);
            }
            node.collect_events(self.now);
            if let Some(host) = self.hosts.get_mut(index) {
                host.deadline = node.poll_timeout();
            }
        }
    }

    fn send(&mut self, index: usize, node: &dyn Node, transmit: Transmit) {
        let key = transmit.socket;
        let Some(host) = self.hosts.get_mut(index) else {
            return;
        };
        let site = match &host.role {
            Role::Client { site, .. } => Some(*site),
            Role::Server { .. } => None,
        };
        let Some((source, fresh)) = host.socket(key) else {
            let refusal = Input::Unreachable {
                socket: key,
                peer: transmit.peer,
                cause: Unreachable::NoSocket,
                reporter: None,
            };
            node.handle_input(refusal, self.now);
            return;
        };
        let packet = Packet {
            source,
            destination: transmit.peer.get(),
            ttl: transmit.ttl.unwrap_or(DEFAULT_TTL),
            payload: transmit.payload,
            origin: (index, key),
            asked: transmit.peer,
        };
        let Some(site) = site else {
            self.cross(None, &packet);
            return;
        };
        if fresh {
            if let Some(site) = self.sites.get_mut(site) {
                site.clients.insert(source, (index, key));
            }
            let opened = Input::Opened {
                socket: key,
                local: LocalAddr::new(source),
            };
            node.handle_input(opened, self.now);
        }
        self.climb(site, packet);
    }
}

#[cfg(test)]
mod tests;
