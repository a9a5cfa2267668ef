//! What passes between the port of a PBX and its providers, seen on the wire by a filter that runs in
//! the kernel. Nothing is sent, and nothing is kept from anybody.
//!
//! Every full frame is handed over, and of media one packet in [`SAMPLE`]: enough to tell that a
//! call carries audio, and little enough not to be felt.

use std::{net::SocketAddr, os::fd::AsRawFd as _};

use nix::{
    errno::Errno,
    sys::socket::{LinkAddr, recvfrom},
};
use socket2::SockFilter;

use crate::{
    os::{
        OsError,
        packet_filter::{
            self, INCOMING, JUMP_EQUAL, JUMP_SET, LOAD_BYTE, LOAD_BYTE_INDEXED, LOAD_WORD, NEXT,
            OUTGOING, PACKET_TYPE, RANDOM, RETURN, Step, assembled, by_version, udp4, udp6,
        },
        readable::Readable,
    },
    wire::link::{LinkType, Udp},
};

/// Of this many packets of media one is seen, on average.
pub const SAMPLE: u32 = 32;
/// The bit of the first octet that a full frame has (RFC 5456 §8.1.1).
const FULL: u32 = 0x80;
/// The largest packet of a full frame that can be.
const SNAP: usize = 2048;

/// Which way a packet passed this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It left.
    Out,
    /// It came in.
    In,
}

/// One datagram that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed<'a> {
    /// The number of the interface.
    pub link: u32,
    /// Which way.
    pub way: Way,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Listens on every interface of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Capture {
    socket: Readable,
    packet: Vec<u8>,
}

impl Capture {
    /// Begins to listen for UDP from or to `port`. Must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// [`OsError::NotPermitted`] without `CAP_NET_RAW`.
    pub fn open(port: u16) -> Result<Self, OsError> {
        const WHAT: &str = "packets of the PBX's port cannot be watched";
        let socket = packet_filter::listen(&filter(port), WHAT)?;
        let socket =
            Readable::new(socket).map_err(|source| OsError::Netlink { what: WHAT, source })?;
        Ok(Self {
            socket,
            packet: vec![0; SNAP],
        })
    }

    /// Waits for the next datagram. May be given up at any time.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel ends it.
    pub async fn next(&mut self) -> Result<Passed<'_>, OsError> {
        let failed = |source| OsError::Netlink {
            what: "packets of the PBX's port cannot be read",
            source,
        };
        let (socket, packet) = (&self.socket, &mut self.packet);
        let received = socket.read(|| {
            loop {
                match recvfrom::<LinkAddr>(socket.as_raw_fd(), packet) {
                    Ok((length, Some(from))) => {
                        let octets = packet.get(..length).unwrap_or_default();
                        if matches!(Udp::read(LinkType::Raw, octets), Ok(Some(_))) {
                            let link = u32::try_from(from.ifindex()).unwrap_or_default();
                            return Ok((length, link, u32::from(from.pkttype())));
                        }
                    }
                    // An interface that goes down is told once; the others go on.
                    Ok((_, None)) | Err(Errno::ENETDOWN | Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
        let (length, link, kind) = received.await.map_err(failed)?;
        let octets = self.packet.get(..length).unwrap_or_default();
        let unreadable = || failed(Errno::EBADMSG.into());
        let udp = Udp::read(LinkType::Raw, octets)
            .ok()
            .flatten()
            .ok_or_else(unreadable)?;
        Ok(Passed {
            link,
            way: if kind == OUTGOING { Way::Out } else { Way::In },
            source: udp.source,
            destination: udp.destination,
            payload: udp.payload,
        })
    }
}

/// Lets through UDP from or to `port` that left or came in: full frames, and a sample of the rest.
fn filter(port: u16) -> Vec<SockFilter> {
    use Step::{At, Do, If};
    let mut steps = vec![
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, OUTGOING, "ours", NEXT),
        If(JUMP_EQUAL, INCOMING, NEXT, "drop"),
        At("ours"),
    ];
    steps.extend(by_version());
    steps.extend(udp4(port));
    steps.extend([
        Do(LOAD_BYTE_INDEXED, 8),
        If(JUMP_SET, FULL, "take", "media"),
    ]);
    steps.extend(udp6(port));
    steps.extend([
        Do(LOAD_BYTE, 48),
        If(JUMP_SET, FULL, "take", NEXT),
        At("media"),
        Do(LOAD_WORD, RANDOM),
        If(JUMP_SET, SAMPLE - 1, "drop", NEXT),
        At("take"),
        Do(RETURN, u32::try_from(SNAP).unwrap_or(u32::MAX)),
        At("drop"),
        Do(RETURN, 0),
    ]);
    assembled(&steps)
}
