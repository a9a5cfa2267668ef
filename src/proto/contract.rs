//! The contract of every machine: five verbs, driven by one event loop.
//!
//! A machine never reads a clock, a socket or a random source. It is told what happened and when
//! ([`Machine::handle_input`], [`Machine::handle_timeout`]) and is asked what it wants
//! ([`Machine::poll_transmit`], [`Machine::poll_event`], [`Machine::poll_timeout`]).
//!
//! *The drain law*: after any `handle_*`, take transmits and events until both are empty, then read
//! the deadline again. After `handle_timeout(now)` the deadline lies later than `now`, so that no
//! driver can spin. Calls come in the order of their `now`.

use std::{net::IpAddr, time::Instant};

use crate::types::{LocalAddr, PeerAddr};

/// Names one UDP socket of the machine's host.
///
/// A client's driver opens the socket when the first datagram leaves from its key, each on a port
/// of its own, and answers with [`Input::Opened`] before anything else arrives on it. A server's
/// sockets are open before the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey(pub u32);

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket it leaves from.
    pub socket: SocketKey,
    /// Where it goes.
    pub peer: PeerAddr,
    /// The UDP payload.
    pub payload: Vec<u8>,
    /// The IP time to live (hop limit); `None` leaves the host's default.
    pub ttl: Option<u8>,
}

/// One thing that happened to a machine's sockets.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The driver opened the socket, and this is its address.
    Opened {
        /// The socket.
        socket: SocketKey,
        /// What it is bound to; the address is unspecified where the host has not chosen one yet.
        local: LocalAddr,
    },
    /// A datagram arrived.
    Datagram {
        /// The socket it arrived on.
        socket: SocketKey,
        /// The address it came from, as this host sees it.
        source: PeerAddr,
        /// The UDP payload.
        payload: &'a [u8],
    },
    /// An ICMP error about a datagram of ours arrived, or the host refused to send it.
    Unreachable {
        /// The socket the datagram left from.
        socket: SocketKey,
        /// Where the datagram was going.
        peer: PeerAddr,
        /// What the error says.
        cause: Unreachable,
        /// Who sent the error, where that is known.
        reporter: Option<IpAddr>,
    },
}

/// Why a datagram could not be delivered (RFC 792, RFC 1122 §3.2.2.1, RFC 4443 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unreachable {
    /// Nothing listens on the port.
    Port,
    /// The host does not answer on its last link, or no such host.
    Host,
    /// No route to the network.
    Network,
    /// A filter on the way forbids it.
    Prohibited,
    /// The time to live ran out on the way.
    TimeExceeded,
    /// The datagram is larger than a link on the way takes.
    TooBig,
    /// This host has no socket to send it from: the limit of open files or ports is reached, or the
    /// local port is in use.
    NoSocket,
}

impl Unreachable {
    /// The words for a report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port unreachable",
            Self::Host => "host unreachable",
            Self::Network => "network unreachable",
            Self::Prohibited => "administratively prohibited",
            Self::TimeExceeded => "time to live exceeded",
            Self::TooBig => "datagram too big",
            Self::NoSocket => "no local socket to send from",
        }
    }
}

/// A state machine over UDP datagrams. See the [module](self) for the law of its use.
pub trait Machine {
    /// What it reports, in the past tense.
    type Event;

    /// Takes one input.
    fn handle_input(&mut self, input: Input<'_>, now: Instant);

    /// Lets time pass up to `now`; a spurious call changes nothing.
    fn handle_timeout(&mut self, now: Instant);

    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The next instant at which [`Machine::handle_timeout`] is due, and what for.
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;
}

/// The earlier of two deadlines.
#[must_use]
pub fn earlier(
    a: Option<(Instant, &'static str)>,
    b: Option<(Instant, &'static str)>,
) -> Option<(Instant, &'static str)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
