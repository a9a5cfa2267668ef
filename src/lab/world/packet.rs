//! What is under way in a world, and when it is due.

use std::{
    cmp::Ordering,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use crate::{
    proto::contract::{SocketKey, Unreachable},
    types::PeerAddr,
};

/// A datagram with its addresses as they are at this place of its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) ttl: u8,
    pub(super) payload: Vec<u8>,
    /// The host and the socket that sent it, for ICMP errors.
    pub(super) origin: (usize, SocketKey),
    /// Where its sender sent it.
    pub(super) asked: PeerAddr,
}

/// What arrives.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A datagram for a public address.
    Server(Packet),
    /// A datagram for the site with this index, in front of this many of its NATs.
    Descend(usize, usize, Packet),
    /// An ICMP error.
    Error {
        host: usize,
        socket: SocketKey,
        peer: PeerAddr,
        cause: Unreachable,
        reporter: Option<IpAddr>,
    },
}

/// An arrival with its instant; among equals the one sent first comes first.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) serial: u64,
    pub(super) arrival: Arrival,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}
