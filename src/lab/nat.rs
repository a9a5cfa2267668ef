//! A NAT in process, described in the words of RFC 4787 and of the Linux kernel, and pure: the time
//! is an argument and chance comes from a seed.
//!
//! [`NatConfig::linux`] is what `masquerade` does. Every field can then be changed alone, to be the
//! NAT of another vendor.

use std::{net::IpAddr, time::Duration};

use crate::probe::behaviour::Dependence;

mod translate;

pub use translate::Nat;

/// How a NAT behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// How the external address depends on the destination (RFC 4787 §4.1).
    pub mapping: Mapping,
    /// Who may send in (RFC 4787 §5).
    pub filtering: Dependence,
    /// Which external port a mapping gets (RFC 4787 §4.2.1).
    pub port_allocation: PortAllocation,
    /// What an external port belongs to. [`Scope::PerFlow`] lets two inner hosts share one port as
    /// long as they talk to different remote endpoints (port overloading, RFC 4787 REQ-3; Linux).
    pub port_scope: Scope,
    /// How long an idle mapping or flow lives.
    pub timers: Timers,
    /// What a timer belongs to: each flow has its own (Linux), or the mapping has one (most other
    /// NATs).
    pub timer_scope: Scope,
    /// Outbound packets set the timer anew (RFC 4787 REQ-6).
    pub outbound_refreshes: bool,
    /// Inbound packets set the timer anew (RFC 4787 REQ-6a).
    pub inbound_refreshes: bool,
    /// The end of a mapping however busy it is, counted from its first packet.
    pub absolute_lifetime: Option<Duration>,
    /// The external addresses.
    pub pool: Vec<IpAddr>,
    /// How an inner host gets one of them (RFC 4787 §4.1).
    pub pooling: Pooling,
    /// The most mappings alive at once; a packet that needs one more is dropped (RFC 6888 REQ-4).
    pub max_mappings: Option<usize>,
    /// Inner hosts reach each other by their external addresses, and are seen with them (RFC 4787
    /// REQ-9a).
    pub hairpinning: bool,
    /// The router's address on its inner side, which its ICMP errors come from.
    pub inside: Option<IpAddr>,
    /// Where its random choices start.
    pub seed: u64,
}

impl NatConfig {
    /// The `masquerade` of Linux with its default timers, behind one external address.
    #[must_use]
    pub fn linux(external: IpAddr) -> Self {
        Self {
            mapping: Mapping::Translate(Dependence::EndpointIndependent),
            filtering: Dependence::AddressAndPortDependent,
            port_allocation: PortAllocation::PreservingOrRandom,
            port_scope: Scope::PerFlow,
            timers: Timers::linux(Duration::from_secs(30), Duration::from_secs(120)),
            timer_scope: Scope::PerFlow,
            outbound_refreshes: true,
            inbound_refreshes: true,
            absolute_lifetime: None,
            pool: vec![external],
            pooling: Pooling::Paired,
            max_mappings: None,
            hairpinning: false,
            inside: None,
            seed: 0,
        }
    }

    /// A NAT that meets every requirement of RFC 4787: endpoint-independent both ways, one timer of
    /// five minutes a mapping, hairpinning.
    #[must_use]
    pub fn rfc4787(external: IpAddr) -> Self {
        Self {
            filtering: Dependence::EndpointIndependent,
            port_scope: Scope::PerMapping,
            timers: Timers::flat(Duration::from_secs(300)),
            timer_scope: Scope::PerMapping,
            hairpinning: true,
            ..Self::linux(external)
        }
    }
}

/// Whether addresses are translated, and how that depends on the destination (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Not translated: a firewall that keeps state. Filtering and timers hold all the same.
    None,
    /// Translated.
    Translate(Dependence),
}

/// Which external port a new mapping gets (RFC 4787 §4.2.1). All of them keep to the class of the
/// inner port, below 1024 or not (REQ-3a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortAllocation {
    /// The inner port, or the next free one above it.
    Preserving,
    /// The inner port, or a random one where it is taken.
    PreservingOrRandom,
    /// A random port for each new mapping.
    Random,
}

/// What a timer or an external port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The inner endpoint, external endpoint and remote endpoint together: one entry of conntrack.
    PerFlow,
    /// The inner and the external endpoint, whatever the remote one.
    PerMapping,
}

/// How an inner host gets one of several external addresses (RFC 4787 §4.1, REQ-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The same for all its mappings.
    Paired,
    /// Any one for each mapping.
    Arbitrary,
}

/// How long an idle mapping or flow lives. It is dead from the instant on that lies a full timer
/// after the last packet that set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Before any packet came in.
    pub one_way: Duration,
    /// After packets both ways.
    pub exchange: Duration,
    /// After a packet of either direction that passed more than [`Timers::stream_after`] behind the
    /// first one and behind a first answer.
    pub stream: Duration,
    /// The age at which an exchange becomes a stream: 2 s in Linux since 5.0.
    pub stream_after: Duration,
}

impl Timers {
    /// The two timers of Linux, `nf_conntrack_udp_timeout` and `nf_conntrack_udp_timeout_stream`.
    #[must_use]
    pub const fn linux(timeout: Duration, stream: Duration) -> Self {
        Self {
            one_way: timeout,
            exchange: timeout,
            stream,
            stream_after: Duration::from_secs(2),
        }
    }

    /// One timer for all traffic.
    #[must_use]
    pub const fn flat(timer: Duration) -> Self {
        Self::linux(timer, timer)
    }
}
