//! Many datagrams a system call: `recvmmsg` on the way in, and on the way out one call for all that go to one
//! peer in a row and are equally long (UDP segmentation offload, `UDP_SEGMENT`). A server of many calls
//! spends most of its time in these calls.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::RawFd,
};

use nix::{
    cmsg_space,
    libc::in6_pktinfo,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg},
};

use crate::{
    net::{
        own_address::{Source, spoken_to},
        udp::socket_address,
    },
    proto::contract::Transmit,
};

/// Datagrams taken from one socket by one system call.
pub(super) const BATCH: usize = 64;
/// Octets kept of a datagram: no frame of IAX2 is longer (deployed peers read 4096), and what is cut off here
/// is nobody's.
const LARGEST: usize = 8192;
/// The kernel cuts one buffer into no more datagrams than this (`UDP_MAX_SEGMENTS` before Linux 6.9).
const MOST_SEGMENTS: usize = 64;
/// All of them together fit one IP packet.
const MOST_OCTETS: usize = 65_000;

/// Where datagrams are received to.
pub(super) struct Inbox {
    buffers: Vec<u8>,
    /// Length and source of what came, and the address it was sent to, where the socket tells that.
    came: Vec<(usize, SocketAddr, Option<IpAddr>)>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; BATCH * LARGEST],
            came: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what is there, at most [`BATCH`] datagrams; how many came.
    pub(super) fn fill(&mut self, socket: RawFd) -> nix::Result<usize> {
        self.came.clear();
        let mut headers =
            MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(cmsg_space!(in6_pktinfo)));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .chunks_exact_mut(LARGEST)
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        for message in recvmmsg(socket, &mut headers, slices.iter_mut(), flags, None)? {
            let source = message.address.as_ref().and_then(socket_address);
            // One without a source cannot be answered; its place stays, so that lengths and buffers agree.
            let source = source.unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
            let own = message
                .cmsgs()
                .ok()
                .and_then(|mut all| all.find_map(|control| spoken_to(&control)));
            self.came.push((message.bytes, source, own));
        }
        Ok(self.came.len())
    }

    /// What came at this place.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], SocketAddr)> {
        let (length, source, _) = *self.came.get(index)?;
        let buffer = self.buffers.chunks_exact(LARGEST).nth(index)?;
        Some((buffer.get(..length)?, source))
    }

    /// Who spoke to which address of this host, where the socket tells that.
    pub(super) fn spoken_to(&self) -> impl Iterator<Item = (SocketAddr, IpAddr)> {
        let known = |(_, source, own): &(_, _, Option<_>)| own.map(|own| (*source, own));
        self.came.iter().filter_map(known)
    }
}

/// How many datagrams at the beginning of `queue` leave by one system call: those of one socket to one peer
/// that are equally long, of which the last may be shorter.
pub(super) fn run_length(queue: &[Transmit]) -> usize {
    let Some(first) = queue.first().filter(|first| first.ttl.is_none()) else {
        return queue.len().min(1);
    };
    let length = first.payload.len();
    let alike = |next: &&Transmit| {
        next.socket == first.socket
            && next.peer == first.peer
            && next.ttl.is_none()
            && next.payload.len() == length
    };
    let most = MOST_SEGMENTS.min(MOST_OCTETS / length.max(1));
    queue.iter().take(most).take_while(alike).count().max(1)
}

/// Sends datagrams of one [`run_length`] by one system call, from an address of this host or the one that the
/// routes choose.
pub(super) fn send_run(socket: RawFd, run: &[Transmit], own: Option<IpAddr>) -> nix::Result<()> {
    let Some(first) = run.first() else {
        return Ok(());
    };
    let segment = u16::try_from(first.payload.len()).map_err(|_| nix::Error::EMSGSIZE)?;
    let slices: Vec<IoSlice<'_>> = run
        .iter()
        .map(|transmit| IoSlice::new(&transmit.payload))
        .collect();
    let source = own.map(Source::from);
    let mut control = vec![ControlMessage::UdpGsoSegments(&segment)];
    control.extend(source.as_ref().map(Source::control));
    sendmsg(
        socket,
        &slices,
        &control,
        MsgFlags::empty(),
        Some(&SockaddrStorage::from(first.peer.get())),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{proto::contract::SocketKey, types::PeerAddr};

    fn to(last: u8, length: usize) -> Transmit {
        Transmit {
            socket: SocketKey(0),
            peer: PeerAddr::new(([192, 0, 2, last], 4569).into()),
            payload: vec![last; length],
            ttl: None,
        }
    }

    #[test]
    fn a_run_has_one_peer_and_one_length() {
        let mut queue = vec![to(1, 164), to(1, 164), to(1, 164), to(1, 12), to(2, 12)];
        assert_eq!(run_length(&queue), 3);
        assert_eq!(run_length(&queue[3..]), 1);
        queue[1].ttl = Some(3);
        assert_eq!(run_length(&queue), 1);
        assert_eq!(
            run_length(&queue[1..]),
            1,
            "one with a time to live goes alone"
        );
        assert_eq!(run_length(&[]), 0);
        assert_eq!(run_length(&vec![to(1, 164); 200]), MOST_SEGMENTS);
        assert_eq!(run_length(&vec![to(1, 1240); 200]), 52);
        assert_eq!(run_length(&[to(1, 0), to(1, 0)]), 2);
    }
}
