//! The table of a NAT and what each packet does to it.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Mapping, NatConfig, Pooling, PortAllocation, Scope};
use crate::probe::behaviour::Dependence;

/// A NAT with its table.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    mappings: BTreeMap<Key, Binding>,
    by_external: BTreeMap<SocketAddr, Vec<Key>>,
    paired: BTreeMap<IpAddr, IpAddr>,
    rng: StdRng,
}

impl Nat {
    /// A NAT with an empty table.
    #[must_use]
    pub fn new(config: NatConfig) -> Self {
        let rng = StdRng::seed_from_u64(config.seed);
        Self {
            config,
            mappings: BTreeMap::new(),
            by_external: BTreeMap::new(),
            paired: BTreeMap::new(),
            rng,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &NatConfig {
        &self.config
    }

    /// Whether this is one of its external addresses.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        self.config.pool.contains(&address)
    }

    /// A packet leaves: its source as the outside sees it, or `None` where the NAT drops it (no
    /// free port, quota reached, no hairpinning).
    pub fn outbound(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        if self.owns(destination.ip()) && !self.config.hairpinning {
            return None;
        }
        let key = self.key_for(source, destination, now);
        if !self.mappings.contains_key(&key) {
            self.open(key, destination, now)?;
        }
        let Self {
            config, mappings, ..
        } = self;
        let binding = mappings.get_mut(&key)?;
        match binding.flows.entry(destination) {
            Slot::Occupied(mut flow) => flow.get_mut().count(Direction::Outbound, now, config),
            Slot::Vacant(gap) => {
                gap.insert(Clock::start(now, config));
            }
        }
        binding.clock.count(Direction::Outbound, now, config);
        Some(binding.external)
    }

    /// A packet reaches the NAT from inside and dies there, its time to live used up. A flow that
    /// the table knows is refreshed, since Linux counts a packet before it looks at the time to
    /// live; a new flow leaves nothing. Returns whether it was known.
    pub fn outbound_dying(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> bool {
        let key = self.key_for(source, destination, now);
        let known = self
            .mappings
            .get(&key)
            .is_some_and(|binding| binding.flows.contains_key(&destination));
        if known {
            self.outbound(source, destination, now);
        }
        known
    }

    /// A packet arrives from outside: the inner endpoint it goes to, or `None` where no mapping or
    /// the filter lets it in. A packet that is not let in refreshes nothing (RFC 7857 §5).
    pub fn inbound(
        &mut self,
        from: SocketAddr,
        to_external: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        for key in self.by_external.get(&to_external)?.clone() {
            if !self.alive(key, now) {
                continue;
            }
            let Self {
                config, mappings, ..
            } = self;
            let binding = mappings.get_mut(&key)?;
            let Some(remote) = binding.admits(from, config.filtering) else {
                continue;
            };
            if let Some(flow) = binding.flows.get_mut(&remote) {
                flow.count(Direction::Inbound, now, config);
            }
            binding.clock.count(Direction::Inbound, now, config);
            return Some(key.internal);
        }
        None
    }

    /// How many mappings are alive.
    pub fn len(&mut self, now: Instant) -> usize {
        let keys: Vec<Key> = self.mappings.keys().copied().collect();
        keys.into_iter().filter(|key| self.alive(*key, now)).count()
    }

    /// Whether no mapping is alive.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        self.len(now) == 0
    }

    /// Forgets every mapping, as a reboot does.
    pub fn flush(&mut self) {
        self.mappings.clear();
        self.by_external.clear();
        self.paired.clear();
    }

    /// Takes other external addresses, as a reconnection does, and forgets every mapping.
    pub fn renumber(&mut self, pool: Vec<IpAddr>) {
        self.flush();
        self.config.pool = pool;
    }

    /// Plants a tainted entry: this one flow leaves with a source that answers do not find the way
    /// back to (the private address, a router's other address, an old one), for as long as its own
    /// packets keep the entry alive.
    pub fn taint(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        wrong_source: SocketAddr,
        now: Instant,
    ) {
        let key = Key::of_flow(source, destination);
        let binding = Binding {
            external: wrong_source,
            clock: Clock::start(now, &self.config),
            flows: BTreeMap::from([(destination, Clock::start(now, &self.config))]),
        };
        self.insert(key, binding);
    }

    /// The key of the mapping that this packet uses, with what is dead under it removed.
    fn key_for(&mut self, source: SocketAddr, destination: SocketAddr, now: Instant) -> Key {
        let dependence = match self.config.mapping {
            Mapping::None => Dependence::EndpointIndependent,
            Mapping::Translate(dependence) => dependence,
        };
        let (address, port) = match dependence {
            Dependence::EndpointIndependent => (None, None),
            Dependence::AddressDependent => (Some(destination.ip()), None),
            Dependence::AddressAndPortDependent => {
                (Some(destination.ip()), Some(destination.port()))
            }
        };
        let key = Key {
            internal: source,
            address,
            port,
        };
        // Where ports are shared by flow, the port that this host's other flows have may be in use
        // towards this very destination; that one flow then has a mapping of its own, as a tainted
        // flow has.
        let own = Key::of_flow(source, destination);
        if own != key && self.alive(own, now) {
            return own;
        }
        if !self.alive(key, now) {
            return key;
        }
        match self.mappings.get(&key).map(|binding| binding.external) {
            Some(external) if self.taken(external, destination, Some(key), now) => own,
            _ => key,
        }
    }

    /// Whether the mapping is alive; what is dead of it is removed.
    fn alive(&mut self, key: Key, now: Instant) -> bool {
        let Some(binding) = self.mappings.get_mut(&key) else {
            return false;
        };
        let alive = match self.config.timer_scope {
            Scope::PerMapping => now < binding.clock.expires,
            Scope::PerFlow => {
                binding.flows.retain(|_, flow| now < flow.expires);
                !binding.flows.is_empty()
            }
        };
        if !alive {
            self.forget(key);
        }
        alive
    }

    fn open(&mut self, key: Key, destination: SocketAddr, now: Instant) -> Option<()> {
        if let Some(most) = self.config.max_mappings
            && self.mappings.len() >= most
            && self.len(now) >= most
        {
            return None;
        }
        let external = match self.config.mapping {
            Mapping::None => key.internal,
            Mapping::Translate(_) => self.allocate(key.internal, destination, now)?,
        };
        let binding = Binding {
            external,
            clock: Clock::start(now, &self.config),
            flows: BTreeMap::new(),
        };
        self.insert(key, binding);
        Some(())
    }

    fn insert(&mut self, key: Key, binding: Binding) {
        self.forget(key);
        let keys = self.by_external.entry(binding.external).or_default();
        keys.push(key);
        self.mappings.insert(key, binding);
    }

    fn forget(&mut self, key: Key) {
        if let Some(binding) = self.mappings.remove(&key)
            && let Slot::Occupied(mut keys) = self.by_external.entry(binding.external)
        {
            keys.get_mut().retain(|other| *other != key);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }

    fn allocate(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        let address = self.pool_address(source.ip())?;
        let (low, high) = if source.port() < 1024 {
            (1, 1023)
        } else {
            (1024, u16::MAX)
        };
        let wanted = SocketAddr::new(address, source.port());
        let preserve = match self.config.port_allocation {
            PortAllocation::Preserving => true,
            PortAllocation::PreservingOrRandom => !self.taken(wanted, destination, None, now),
            PortAllocation::Random => false,
        };
        let start = if preserve {
            source.port()
        } else {
            self.rng.random_range(low..=high)
        };
        (start..=high)
            .chain(low..start)
            .map(|port| SocketAddr::new(address, port))
            .find(|external| !self.taken(*external, destination, None, now))
    }

    fn pool_address(&mut self, inner: IpAddr) -> Option<IpAddr> {
        let candidates: Vec<IpAddr> = self
            .config
            .pool
            .iter()
            .copied()
            .filter(|address| address.is_ipv4() == inner.is_ipv4())
            .collect();
        match self.config.pooling {
            Pooling::Paired => {
                let next = self.paired.len().checked_rem(candidates.len())?;
                let address = *self.paired.entry(inner).or_insert(*candidates.get(next)?);
                Some(address)
            }
            Pooling::Arbitrary if candidates.is_empty() => None,
            Pooling::Arbitrary => {
                let index = self.rng.random_range(0..candidates.len());
                candidates.get(index).copied()
            }
        }
    }

    /// Whether a mapping other than `own` stands in the way of using this external endpoint
    /// towards this destination.
    fn taken(
        &mut self,
        external: SocketAddr,
        destination: SocketAddr,
        own: Option<Key>,
        now: Instant,
    ) -> bool {
        let Some(keys) = self.by_external.get(&external) else {
            return false;
        };
        keys.clone().into_iter().any(|key| {
            Some(key) != own
                && self.alive(key, now)
                && match self.config.port_scope {
                    Scope::PerMapping => true,
                    Scope::PerFlow => self
                        .mappings
                        .get(&key)
                        .is_some_and(|binding| binding.flows.contains_key(&destination)),
                }
        })
    }
}

/// What a mapping is for: an inner endpoint, and as much of the destination as the mapping depends
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    internal: SocketAddr,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Key {
    /// The key of a mapping for one remote endpoint only.
    fn of_flow(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            internal: source,
            address: Some(destination.ip()),
            port: Some(destination.port()),
        }
    }
}

#[derive(Clone, Debug)]
struct Binding {
    external: SocketAddr,
    /// The timer of the mapping, heeded where timers are per mapping.
    clock: Clock,
    /// The remote endpoints sent to, each with its timer, heeded where timers are per flow.
    flows: BTreeMap<SocketAddr, Clock>,
}

impl Binding {
    /// The remote endpoint in whose name the filter lets a packet in: the sender itself, or else
    /// the nearest that was sent to.
    fn admits(&self, from: SocketAddr, filtering: Dependence) -> Option<SocketAddr> {
        if self.flows.contains_key(&from) {
            return Some(from);
        }
        let mut remotes = self.flows.keys().copied();
        match filtering {
            Dependence::EndpointIndependent => remotes.next(),
            Dependence::AddressDependent => remotes.find(|remote| remote.ip() == from.ip()),
            Dependence::AddressAndPortDependent => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Outbound,
    Inbound,
}

#[derive(Clone, Debug)]
struct Clock {
    created: Instant,
    replied: bool,
    expires: Instant,
}

impl Clock {
    fn start(now: Instant, config: &NatConfig) -> Self {
        let mut clock = Self {
            created: now,
            replied: false,
            expires: now,
        };
        clock.set(now + config.timers.one_way, config);
        clock
    }

    fn count(&mut self, direction: Direction, now: Instant, config: &NatConfig) {
        // Linux notes the first answer after it has set the timer for it, so that answer makes no
        // stream, however late it is.
        let stream = self.replied && now > self.created + config.timers.stream_after;
        let refreshes = match direction {
            Direction::Outbound => config.outbound_refreshes,
            Direction::Inbound => {
                self.replied = true;
                config.inbound_refreshes
            }
        };
        if refreshes {
            let timer = if stream {
                config.timers.stream
            } else if self.replied {
                config.timers.exchange
            } else {
                config.timers.one_way
            };
            self.set(now + timer, config);
        }
    }

    fn set(&mut self, expires: Instant, config: &NatConfig) {
        let end = config
            .absolute_lifetime
            .map(|lifetime| self.created + lifetime);
        self.expires = end.map_or(expires, |end| expires.min(end));
    }
}

#[cfg(test)]
mod tests;
