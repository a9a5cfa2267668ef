//! Which of the host's addresses a peer spoke to, for a server that listens on all of them: it has to answer from
//! there, or the NAT before the peer, and the peer itself, take the answer for a stranger's.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use nix::{
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{ControlMessage, ControlMessageOwned},
};

/// How many peers are remembered in each of two generations.
const MANY: usize = 16_384;

/// What is remembered, of a bounded number of peers.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    /// The address that the first peer spoke to; on most hosts all do.
    usual: Option<IpAddr>,
    /// The peers that spoke to another, those of late and those before.
    young: HashMap<SocketAddr, IpAddr>,
    old: HashMap<SocketAddr, IpAddr>,
}

impl OwnAddresses {
    /// Notes that `peer` spoke to `own`.
    pub(super) fn note(&mut self, peer: SocketAddr, own: IpAddr) {
        if *self.usual.get_or_insert(own) == own {
            if !self.is_simple() {
                self.young.remove(&peer);
                self.old.remove(&peer);
            }
            return;
        }
        if self.young.len() >= MANY && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(peer, own);
    }

    /// What to answer `peer` from; `None` leaves it to the routes.
    pub(super) fn towards(&self, peer: SocketAddr) -> Option<IpAddr> {
        if self.is_simple() {
            return self.usual;
        }
        let noted = self.young.get(&peer).or_else(|| self.old.get(&peer));
        noted.copied().or(self.usual)
    }

    /// Forgets an address that the host has no longer.
    pub(super) fn forget(&mut self, own: IpAddr) {
        self.usual = self.usual.filter(|usual| *usual != own);
        self.young.retain(|_, other| *other != own);
        self.old.retain(|_, other| *other != own);
    }

    fn is_simple(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

/// An address as a control message wants it (`ip(7)`, `ipv6(7)`): the interface is left to the routes.
pub(super) enum Source {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl From<IpAddr> for Source {
    fn from(own: IpAddr) -> Self {
        match own {
            IpAddr::V4(own) => Self::V4(in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr {
                    s_addr: u32::from_ne_bytes(own.octets()),
                },
                ipi_addr: in_addr { s_addr: 0 },
            }),
            IpAddr::V6(own) => Self::V6(in6_pktinfo {
                ipi6_addr: in6_addr {
                    s6_addr: own.octets(),
                },
                ipi6_ifindex: 0,
            }),
        }
    }
}

impl Source {
    /// The control message.
    pub(super) const fn control(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// The address that a datagram was sent to, from what came with it.
pub(super) fn spoken_to(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let octets = info.ipi_spec_dst.s_addr.to_ne_bytes();
            Some(IpAddr::from(octets))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> SocketAddr {
        let [.., high, middle, low] = number.to_be_bytes();
        SocketAddr::from(([10, high, middle, low], 4569))
    }

    #[test]
    fn each_peer_is_answered_from_where_it_asked() {
        let [first, second] = ["198.51.100.1", "198.51.100.2"].map(|ip| ip.parse().unwrap());
        let mut own = OwnAddresses::default();
        assert_eq!(own.towards(peer(1)), None);
        own.note(peer(1), first);
        own.note(peer(2), second);
        assert_eq!(own.towards(peer(1)), Some(first));
        assert_eq!(own.towards(peer(2)), Some(second));
        own.note(peer(2), first);
        assert_eq!(own.towards(peer(2)), Some(first), "it asks elsewhere now");
        own.note(peer(2), second);
        own.forget(first);
        assert_eq!(own.towards(peer(1)), None);
        assert_eq!(own.towards(peer(2)), Some(second));
    }

    #[test]
    fn a_flood_of_peers_fills_two_generations_and_no_more() {
        let [first, second] = ["198.51.100.1", "198.51.100.2"].map(|ip| ip.parse().unwrap());
        let mut own = OwnAddresses::default();
        own.note(peer(0), first);
        for number in 1..=3 * MANY {
            own.note(peer(number), second);
        }
        assert!(own.young.len() + own.old.len() <= 2 * MANY);
        assert_eq!(own.towards(peer(3 * MANY)), Some(second));
        assert_eq!(own.towards(peer(2 * MANY)), Some(second));
        assert_eq!(own.towards(peer(1)), Some(first), "forgotten");
    }
}
