//! Packets that leave this router with a private source: caught on the wire by a filter that runs in
//! the kernel, after NAT has done what it does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{LinkAddr, recvfrom},
};
use socket2::SockFilter;

use crate::{
    os::{
        OsError,
        packet_filter::{
            self, AND, JUMP_EQUAL, LOAD_BYTE, LOAD_WORD, NEXT, OUTGOING, PACKET_TYPE, RETURN, Step,
            assembled, by_version, udp4, udp6,
        },
    },
    wire::link::{LinkType, Udp},
};

/// A flow that was seen leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// The number of the interface it left by.
    pub link: u32,
    /// Its source as it left.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
}

/// Listens for packets of UDP from or to one port that leave with a private source.
#[derive(Debug)]
pub struct Leaks {
    socket: OwnedFd,
    seen: BTreeMap<Leak, u32>,
}

/// More than the header of any packet that is looked at.
const SNAP: usize = 256;

impl Leaks {
    /// Begins to listen on every interface.
    ///
    /// # Errors
    ///
    /// [`OsError::NotPermitted`] without `CAP_NET_RAW`.
    pub fn open(port: u16) -> Result<Self, OsError> {
        const WHAT: &str = "packets on the wire cannot be watched";
        Ok(Self {
            socket: packet_filter::listen(&filter(port), WHAT)?,
            seen: BTreeMap::new(),
        })
    }

    /// Takes what has been seen, without waiting.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel ends it.
    pub fn take(&mut self, port: u16) -> Result<(), OsError> {
        let mut packet = [0; SNAP];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut packet) {
                Ok((length, Some(from))) => {
                    let octets = packet.get(..length).unwrap_or_default();
                    if let Some(leak) = leak(octets, &from, port) {
                        *self.seen.entry(leak).or_default() += 1;
                    }
                }
                Ok((_, None)) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => {
                    return Err(OsError::Netlink {
                        what: "packets on the wire cannot be read",
                        source: error.into(),
                    });
                }
            }
        }
    }

    /// What has left, and how many packets of it.
    pub fn seen(&self) -> impl Iterator<Item = (Leak, u32)> {
        self.seen.iter().map(|(leak, packets)| (*leak, *packets))
    }
}

fn leak(octets: &[u8], from: &LinkAddr, port: u16) -> Option<Leak> {
    if u32::from(from.pkttype()) != OUTGOING {
        return None;
    }
    // A packet that is longer than what was taken of it is still whole in its headers.
    let (source, destination) = match Udp::read(LinkType::Raw, octets) {
        Ok(udp) => udp.map(|udp| (udp.source, udp.destination))?,
        Err(_) => headers(octets)?,
    };
    (source.port() == port || destination.port() == port).then_some(Leak {
        link: u32::try_from(from.ifindex()).ok()?,
        source,
        destination,
    })
}

/// Addresses and ports of a packet whose end is missing.
fn headers(octets: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination, ports): (IpAddr, IpAddr, usize) = match octets.first()? >> 4 {
        4 => {
            let address = |at: usize| octets.get(at..)?.first_chunk::<4>().copied();
            let length = usize::from(octets.first()? & 0x0f) * 4;
            (address(12)?.into(), address(16)?.into(), length)
        }
        6 => {
            let address = |at: usize| octets.get(at..)?.first_chunk::<16>().copied();
            (address(8)?.into(), address(24)?.into(), 40)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?));
    Some((
        SocketAddr::new(source, port(ports)?),
        SocketAddr::new(destination, port(ports + 2)?),
    ))
}

/// Lets through what goes out, is UDP from or to `port`, and has a source of RFC 1918, 4193 or 6598.
fn filter(port: u16) -> Vec<SockFilter> {
    use Step::{At, Do, If};
    let mut steps = vec![
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, OUTGOING, NEXT, "drop"),
    ];
    steps.extend(by_version());
    steps.extend(udp4(port));
    steps.extend([
        Do(LOAD_WORD, 12),
        Do(AND, 0xff00_0000),
        If(JUMP_EQUAL, 0x0a00_0000, "take", NEXT),
        Do(LOAD_WORD, 12),
        Do(AND, 0xfff0_0000),
        If(JUMP_EQUAL, 0xac10_0000, "take", NEXT),
        Do(LOAD_WORD, 12),
        Do(AND, 0xffff_0000),
        If(JUMP_EQUAL, 0xc0a8_0000, "take", NEXT),
        Do(LOAD_WORD, 12),
        Do(AND, 0xffc0_0000),
        If(JUMP_EQUAL, 0x6440_0000, "take", "drop"),
    ]);
    steps.extend(udp6(port));
    steps.extend([
        Do(LOAD_BYTE, 8),
        Do(AND, 0xfe),
        If(JUMP_EQUAL, 0xfc, "take", "drop"),
        At("take"),
        Do(RETURN, u32::try_from(SNAP).unwrap_or(u32::MAX)),
        At("drop"),
        Do(RETURN, 0),
    ]);
    assembled(&steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_packet_still_tells_addresses_and_ports() {
        let mut packet = vec![0x46, 0, 0, 200];
        packet.extend([0; 8]);
        packet.extend([192, 168, 1, 10, 203, 0, 113, 1]);
        packet.extend([1, 1, 1, 1]); // an option
        packet.extend([0x11, 0xd9, 0x11, 0xda]);
        let (source, destination) = headers(&packet).unwrap();
        assert_eq!(source, "192.168.1.10:4569".parse().unwrap());
        assert_eq!(destination, "203.0.113.1:4570".parse().unwrap());
        assert_eq!(headers(&packet[..25]), None);
        assert_eq!(headers(&[]), None);
    }
}
