//! Packets that leave this router with a private source: caught on the wire by a filter that runs in
//! the kernel, after NAT has done what it does.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket},
};
use socket2::{SockFilter, SockRef};

use crate::{
    os::{
        OsError,
        packet_filter::{
            AND, INDEX_IP_HEADER, JUMP_EQUAL, JUMP_SET, LOAD_BYTE, LOAD_HALF, LOAD_HALF_INDEXED,
            LOAD_WORD, PACKET_TYPE, RETURN, SHIFT_RIGHT, Step, assembled,
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
/// A packet of this host's own or one that it passes on (`PACKET_OUTGOING`, packet(7)).
const OUTGOING: u32 = 4;

impl Leaks {
    /// Begins to listen on every interface.
    ///
    /// # Errors
    ///
    /// [`OsError::NotPermitted`] without `CAP_NET_RAW`.
    pub fn open(port: u16) -> Result<Self, OsError> {
        const WHAT: &str = "packets on the wire cannot be watched";
        let open = || -> io::Result<OwnedFd> {
            // Without a link-layer header: PPP has none, Ethernet has.
            let socket = socket(
                AddressFamily::Packet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )?;
            SockRef::from(&socket).attach_filter(&filter(port))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| match error.raw_os_error() {
            Some(nix::libc::EPERM | nix::libc::EACCES) => OsError::NotPermitted { what: WHAT },
            _ => OsError::Netlink {
                what: WHAT,
                source: error,
            },
        })?;
        let mut leaks = Self {
            socket,
            seen: BTreeMap::new(),
        };
        // What came in before the filter was there is anything.
        leaks.take(port)?;
        leaks.seen.clear();
        Ok(leaks)
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
    let port = u32::from(port);
    let steps = [
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, OUTGOING, "out", "drop"),
        At("out"),
        Do(LOAD_BYTE, 0),
        Do(SHIFT_RIGHT, 4),
        If(JUMP_EQUAL, 4, "v4", "not v4"),
        At("not v4"),
        If(JUMP_EQUAL, 6, "v6", "drop"),
        At("v4"),
        Do(LOAD_BYTE, 9),
        If(JUMP_EQUAL, 17, "udp", "drop"),
        At("udp"),
        Do(LOAD_HALF, 6),
        If(JUMP_SET, 0x1fff, "drop", "first fragment"),
        At("first fragment"),
        Do(INDEX_IP_HEADER, 0),
        Do(LOAD_HALF_INDEXED, 0),
        If(JUMP_EQUAL, port, "source", "other port"),
        At("other port"),
        Do(LOAD_HALF_INDEXED, 2),
        If(JUMP_EQUAL, port, "source", "drop"),
        At("source"),
        Do(LOAD_WORD, 12),
        Do(AND, 0xff00_0000),
        If(JUMP_EQUAL, 0x0a00_0000, "take", "not 10/8"),
        At("not 10/8"),
        Do(LOAD_WORD, 12),
        Do(AND, 0xfff0_0000),
        If(JUMP_EQUAL, 0xac10_0000, "take", "not 172.16/12"),
        At("not 172.16/12"),
        Do(LOAD_WORD, 12),
        Do(AND, 0xffff_0000),
        If(JUMP_EQUAL, 0xc0a8_0000, "take", "not 192.168/16"),
        At("not 192.168/16"),
        Do(LOAD_WORD, 12),
        Do(AND, 0xffc0_0000),
        If(JUMP_EQUAL, 0x6440_0000, "take", "drop"),
        At("v6"),
        Do(LOAD_BYTE, 6),
        If(JUMP_EQUAL, 17, "udp6", "drop"),
        At("udp6"),
        Do(LOAD_HALF, 40),
        If(JUMP_EQUAL, port, "source6", "other port6"),
        At("other port6"),
        Do(LOAD_HALF, 42),
        If(JUMP_EQUAL, port, "source6", "drop"),
        At("source6"),
        Do(LOAD_BYTE, 8),
        Do(AND, 0xfe),
        If(JUMP_EQUAL, 0xfc, "take", "drop"),
        At("take"),
        Do(RETURN, u32::try_from(SNAP).unwrap_or(u32::MAX)),
        At("drop"),
        Do(RETURN, 0),
    ];
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
