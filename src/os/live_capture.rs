//! Packets as they pass an interface: the kernel filters them, stamps them with the time, and counts those that it
//! lost.
//!
//! They are read from the IP header on, so that any kind of interface will do. This asks the kernel itself and not
//! `pnet::datalink`, which gives neither times nor losses.

use std::{
    io::IoSliceMut,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt},
};
use socket2::{SockFilter, SockRef};

use crate::{
    os::{
        OsError,
        packet_filter::{
            self, INDEX_IP_HEADER, INTERFACE, JUMP_EQUAL, JUMP_SET, LOAD_BYTE, LOAD_HALF,
            LOAD_HALF_INDEXED, LOAD_WORD, NEXT, OUTGOING, RETURN, Step, assembled, by_version,
        },
    },
    wire::{link::LinkType, pcap::Packet},
};

/// More than any packet has.
const SNAP: usize = 262_144;
/// Room in the kernel for packets that wait to be read.
const ROOM: usize = 16 * 1024 * 1024;

/// Listens on one interface, or on all.
#[derive(Debug)]
pub struct LiveCapture {
    socket: OwnedFd,
    buffer: Vec<u8>,
    dropped: u64,
}

impl LiveCapture {
    /// Begins to listen for UDP from or to these ports, fragments, and ICMP errors; the interface `any` stands for
    /// all.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_RAW`, or where there is no such interface.
    pub fn open(interface: &str, ports: &[u16]) -> Result<Self, OsError> {
        const WHAT: &str = "packets on the wire cannot be watched";
        let index = match interface {
            "any" => 0,
            name => nix::net::if_::if_nametoindex(name).map_err(|_| OsError::NoInterface {
                name: name.to_owned(),
            })?,
        };
        let socket = packet_filter::listen(&filter(index, ports), WHAT)?;
        // The system may grant less; what does not fit is counted.
        let _ = SockRef::from(&socket).set_recv_buffer_size(ROOM);
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .and_then(|()| setsockopt(&socket, sockopt::RxqOvfl, &1))
            .map_err(|error| OsError::Netlink {
                what: WHAT,
                source: error.into(),
            })?;
        Ok(Self {
            socket,
            buffer: vec![0; SNAP],
            dropped: 0,
        })
    }

    /// Packets that the kernel lost because they were not read in time.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next packet; `None` where none comes within `wait`.
    ///
    /// # Errors
    ///
    /// Where the interface is gone, or the kernel ends it.
    pub fn next_packet(&mut self, wait: Duration) -> Result<Option<Packet<'_>>, OsError> {
        let failed = |error: Errno| OsError::Netlink {
            what: "packets on the wire cannot be read",
            source: error.into(),
        };
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, wait) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut space = nix::cmsg_space!(nix::libc::timespec, u32);
        let mut time = None;
        let mut dropped = None;
        let (length, loops) = {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let flags = MsgFlags::MSG_TRUNC;
            let read = recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut space),
                flags,
            );
            let message = match read {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            for control in message.cmsgs().map_err(failed)? {
                match control {
                    ControlMessageOwned::ScmTimestampns(stamp) => {
                        time = Some(Duration::from(stamp));
                    }
                    ControlMessageOwned::RxqOvfl(count) => dropped = Some(count),
                    _ => {}
                }
            }
            // On loopback everything is there twice: as it leaves, and as it comes.
            let loops = message
                .address
                .as_ref()
                .is_some_and(|from| u32::from(from.pkttype()) == OUTGOING && is_loopback(from));
            (message.bytes, loops)
        };
        // The kernel counts in 32 bits.
        if let Some(count) = dropped {
            self.dropped = self.dropped.max(u64::from(count));
        }
        if loops {
            return Ok(None);
        }
        let now = || {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
        };
        Ok(Some(Packet {
            time: time.unwrap_or_else(now),
            link: LinkType::Raw,
            interface: 0,
            length,
            octets: self.buffer.get(..length.min(SNAP)).unwrap_or_default(),
        }))
    }
}

/// `ARPHRD_LOOPBACK` of `if_arp.h`.
fn is_loopback(from: &LinkAddr) -> bool {
    from.hatype() == 772
}

/// Lets through, of one interface or of all (0), UDP from or to these ports, fragments of it, and ICMP.
fn filter(interface: u32, ports: &[u16]) -> Vec<SockFilter> {
    use Step::{At, Do, If};
    let mut steps = vec![];
    if interface != 0 {
        steps.extend([
            Do(LOAD_WORD, INTERFACE),
            If(JUMP_EQUAL, interface, NEXT, "drop"),
        ]);
    }
    steps.extend(by_version());
    steps.extend([
        At("v4"),
        Do(LOAD_BYTE, 9),
        If(JUMP_EQUAL, 1, "take", NEXT),
        If(JUMP_EQUAL, 17, NEXT, "drop"),
        Do(LOAD_HALF, 6),
        If(JUMP_SET, 0x1fff, "take", NEXT),
        Do(INDEX_IP_HEADER, 0),
    ]);
    for (load, to_source, to_destination) in [(LOAD_HALF_INDEXED, 0, 2), (LOAD_HALF, 40, 42)] {
        if load == LOAD_HALF {
            steps.extend([
                Do(RETURN, 0),
                At("v6"),
                Do(LOAD_BYTE, 6),
                If(JUMP_EQUAL, 58, "take", NEXT),
                If(JUMP_EQUAL, 44, "take", NEXT),
                If(JUMP_EQUAL, 17, NEXT, "drop"),
            ]);
        }
        for at in [to_source, to_destination] {
            steps.push(Do(load, at));
            steps.extend(
                ports
                    .iter()
                    .map(|port| If(JUMP_EQUAL, u32::from(*port), "take", NEXT)),
            );
        }
    }
    steps.extend([
        At("drop"),
        Do(RETURN, 0),
        At("take"),
        Do(RETURN, u32::try_from(SNAP).unwrap_or(u32::MAX)),
    ]);
    assembled(&steps)
}
