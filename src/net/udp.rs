//! One UDP socket: where it is opened, what it sends with which time to live, and what ICMP says
//! about what it sent.
//!
//! No socket sets `SO_REUSEADDR` or `SO_REUSEPORT`: with these, the last of two programs on a port
//! gets all datagrams and the first one none.

use std::{
    fmt,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    cmsg_space,
    libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, sock_extended_err, sockaddr_in6},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
        recvmsg, sendmsg, setsockopt,
        sockopt::{self, Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    net::{
        NetError,
        batch::{self, Inbox},
        own_address::{OwnAddresses, Source},
        port_owner::port_owner,
    },
    proto::contract::{Transmit, Unreachable},
    types::{LocalAddr, PeerAddr},
};

/// What a server asks the kernel to hold while the machine is busy, in octets; the kernel may grant
/// less.
const SERVER_BUFFER: usize = 4 << 20;

type Bind = dyn Fn(SocketAddr) -> io::Result<StdSocket> + Send + Sync;

/// Where sockets are opened: on this host, or in a network namespace of a virtual network.
#[derive(Clone)]
pub struct Ground(Arc<Bind>);

impl Ground {
    /// The network of this process.
    #[must_use]
    pub fn host() -> Self {
        Self::new(bind_here)
    }

    /// The network in which `bind` opens sockets. It binds exactly the address it is given, as
    /// [`bind_here`] does.
    pub fn new(bind: impl Fn(SocketAddr) -> io::Result<StdSocket> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bind))
    }

    /// Opens a socket bound to `local`; port 0 takes any free one. ICMP errors about what it sends
    /// are collected from now on.
    ///
    /// # Errors
    ///
    /// [`NetError::InUse`] with the process that has the port, [`NetError::NotLocal`], or
    /// [`NetError::Open`].
    pub fn open(&self, local: SocketAddr) -> Result<StdSocket, NetError> {
        self.prepare(local).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => NetError::InUse {
                local,
                owner: port_owner(local),
            },
            io::ErrorKind::AddrNotAvailable => NetError::NotLocal { local },
            _ => NetError::Open { local, source },
        })
    }

    fn prepare(&self, local: SocketAddr) -> io::Result<StdSocket> {
        let socket = (self.0)(local)?;
        socket.set_nonblocking(true)?;
        match local {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(socket)
    }

    /// The address that a socket bound to `local` sends from towards `peer`. An unspecified address
    /// becomes the one that the host's routes choose, and stays as it is where they choose none.
    #[must_use]
    pub fn local_towards(&self, local: SocketAddr, peer: PeerAddr) -> LocalAddr {
        let chosen = || {
            let throw_away = (self.0)(SocketAddr::new(local.ip(), 0)).ok()?;
            throw_away.connect(peer.get()).ok()?;
            Some(throw_away.local_addr().ok()?.ip())
        };
        let ip = Some(local.ip())
            .filter(|ip| !ip.is_unspecified())
            .or_else(chosen)
            .unwrap_or_else(|| local.ip());
        LocalAddr::new(SocketAddr::new(ip, local.port()))
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ground")
    }
}

/// Opens a UDP socket in the network namespace of the calling thread. An IPv6 socket takes no IPv4.
///
/// # Errors
///
/// What `socket` and `bind` of the host say.
pub fn bind_here(local: SocketAddr) -> io::Result<StdSocket> {
    let socket = RawSocket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// The unspecified address of the family of `peer`, with port 0.
#[must_use]
pub fn any_towards(peer: PeerAddr) -> SocketAddr {
    match peer.get() {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Asks for a receive buffer that bursts from many clients fit into.
pub(super) fn widen(socket: &StdSocket) {
    if let Err(error) = SockRef::from(socket).set_recv_buffer_size(SERVER_BUFFER) {
        tracing::debug!(%error, "the receive buffer stays as it is");
    }
}

/// What ICMP said about a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Where the datagram was going.
    pub(super) peer: PeerAddr,
    /// What the error says.
    pub(super) cause: Unreachable,
    /// Who sent it.
    pub(super) reporter: Option<IpAddr>,
}

/// A socket that the event loop watches.
#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    /// What peers spoke to, where it listens on all addresses and answers.
    own: Option<Mutex<OwnAddresses>>,
}

impl Socket {
    /// Hands the socket to the reactor of the running tokio runtime. That of a server answers from the address
    /// that it was asked at.
    pub(super) fn watch(socket: StdSocket, is_a_servers: bool) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let own = if is_a_servers && local.ip().is_unspecified() {
            match local {
                SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
            }
            Some(Mutex::default())
        } else {
            None
        };
        let udp = UdpSocket::from_std(socket)?;
        Ok(Self { udp, own })
    }

    /// The address to answer this peer from; `None` leaves it to the routes.
    fn own_towards(&self, peer: SocketAddr) -> Option<IpAddr> {
        let own = self.own.as_ref()?.lock();
        own.unwrap_or_else(PoisonError::into_inner).towards(peer)
    }

    fn note(&self, inbox: &Inbox) {
        let Some(own) = &self.own else {
            return;
        };
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, local) in inbox.spoken_to() {
            own.note(peer, local);
        }
    }

    /// Forgets the address that could not be sent from.
    fn forget(&self, local: IpAddr) {
        if let Some(own) = &self.own {
            own.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .forget(local);
        }
    }

    /// The port that it is bound to.
    pub(super) fn port(&self) -> Option<u16> {
        self.udp.local_addr().ok().map(|local| local.port())
    }

    /// Waits until a datagram or an error is there.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.udp
            .ready(Interest::READABLE | Interest::ERROR)
            .await
            .map(drop)
    }

    /// Takes the datagrams that are there, some at least, else fails with `WouldBlock`; another error stands
    /// for an ICMP error, which [`Socket::refusal`] tells.
    pub(super) fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let fill = || Ok(inbox.fill(self.udp.as_raw_fd())?);
        let came = self.udp.try_io(Interest::READABLE, fill)?;
        self.note(inbox);
        Ok(came)
    }

    /// Sends datagrams to one peer that are equally long, by one system call; where the host does not do that,
    /// none is sent.
    pub(super) fn send_run(&self, run: &[Transmit]) -> io::Result<()> {
        let own = run
            .first()
            .and_then(|first| self.own_towards(first.peer.get()));
        Ok(batch::send_run(self.udp.as_raw_fd(), run, own)?)
    }

    /// Sends one datagram now.
    ///
    /// The system call is made whatever the reactor believes: it has not heard of a fresh socket,
    /// and would have us wait a turn. A pending ICMP error about an earlier datagram makes the call
    /// fail once; the next try sends.
    pub(super) fn send(&self, payload: &[u8], peer: SocketAddr, ttl: Option<u8>) -> io::Result<()> {
        let mut result = self.send_once(payload, peer, ttl);
        for _ in 0..2 {
            match &result {
                Err(nix::Error::EAGAIN | nix::Error::EMSGSIZE) | Ok(()) => break,
                Err(_) => result = self.send_once(payload, peer, ttl),
            }
        }
        result.map_err(io::Error::from)
    }

    fn send_once(&self, payload: &[u8], peer: SocketAddr, ttl: Option<u8>) -> nix::Result<()> {
        let hops = ttl.map(i32::from);
        let own = self.own_towards(peer);
        let source = own.map(Source::from);
        let mut control = vec![];
        control.extend(hops.as_ref().map(|hops| match peer {
            SocketAddr::V4(_) => ControlMessage::Ipv4Ttl(hops),
            SocketAddr::V6(_) => ControlMessage::Ipv6HopLimit(hops),
        }));
        control.extend(source.as_ref().map(Source::control));
        let sent = sendmsg(
            self.udp.as_raw_fd(),
            &[IoSlice::new(payload)],
            &control,
            MsgFlags::empty(),
            Some(&SockaddrStorage::from(peer)),
        );
        if let (Err(nix::Error::EINVAL | nix::Error::EADDRNOTAVAIL), Some(own)) = (sent, own) {
            self.forget(own);
        }
        sent.map(drop)
    }

    /// Takes an ICMP error from the queue; `None` when it is empty. Errors that say nothing about
    /// reachability are passed over, and so are those that this host raised itself: they were told
    /// when the datagram was sent.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        loop {
            let queued = self.udp.try_io(Interest::ERROR, || Ok(self.next_queued()?));
            if let Some(refusal) = queued.ok()? {
                return Some(refusal);
            }
        }
    }

    fn next_queued(&self) -> nix::Result<Option<Refusal>> {
        let mut control = cmsg_space!(sock_extended_err, sockaddr_in6);
        let mut payload = [0; 1];
        let mut slices = [IoSliceMut::new(&mut payload)];
        let message = recvmsg::<SockaddrStorage>(
            self.udp.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
        )?;
        let Some(peer) = message.address.as_ref().and_then(socket_address) else {
            return Ok(None);
        };
        let refusal = message.cmsgs()?.find_map(|control| {
            let (error, reporter) = match control {
                ControlMessageOwned::Ipv4RecvErr(error, from) => {
                    (error, from.map(|from| SockaddrIn::from(from).ip().into()))
                }
                ControlMessageOwned::Ipv6RecvErr(error, from) => {
                    (error, from.map(|from| SockaddrIn6::from(from).ip().into()))
                }
                _ => return None,
            };
            Some(Refusal {
                peer: PeerAddr::new(peer),
                cause: icmp_cause(error.ee_origin, error.ee_type, error.ee_code)?,
                reporter,
            })
        });
        Ok(refusal)
    }
}

pub(super) fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || {
        storage
            .as_sockaddr_in()
            .map(|v4| (v4.ip(), v4.port()).into())
    };
    let v6 = || {
        storage
            .as_sockaddr_in6()
            .map(|v6| (v6.ip(), v6.port()).into())
    };
    v4().or_else(v6)
}

/// What an ICMP error says about the way (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1; RFC 4443
/// §3 for IPv6).
fn icmp_cause(origin: u8, kind: u8, code: u8) -> Option<Unreachable> {
    match (origin, kind, code) {
        (SO_EE_ORIGIN_ICMP, 3, 0 | 5 | 6 | 11) | (SO_EE_ORIGIN_ICMP6, 1, 0 | 2) => {
            Some(Unreachable::Network)
        }
        (SO_EE_ORIGIN_ICMP, 3, 1 | 7 | 8 | 12) | (SO_EE_ORIGIN_ICMP6, 1, 3) => {
            Some(Unreachable::Host)
        }
        (SO_EE_ORIGIN_ICMP, 3, 2 | 3) | (SO_EE_ORIGIN_ICMP6, 1, 4) => Some(Unreachable::Port),
        (SO_EE_ORIGIN_ICMP, 3, 4) | (SO_EE_ORIGIN_ICMP6, 2, _) => Some(Unreachable::TooBig),
        (SO_EE_ORIGIN_ICMP, 3, 9 | 10 | 13..=15) | (SO_EE_ORIGIN_ICMP6, 1, 1 | 5 | 6) => {
            Some(Unreachable::Prohibited)
        }
        (SO_EE_ORIGIN_ICMP, 11, _) | (SO_EE_ORIGIN_ICMP6, 3, _) => Some(Unreachable::TimeExceeded),
        _ => None,
    }
}

/// What it means that this host refused to send.
pub(super) fn send_cause(error: &io::Error) -> Unreachable {
    match error.raw_os_error().map(nix::Error::from_raw) {
        Some(nix::Error::EPERM | nix::Error::EACCES) => Unreachable::Prohibited,
        Some(nix::Error::EMSGSIZE) => Unreachable::TooBig,
        Some(nix::Error::EHOSTUNREACH | nix::Error::EHOSTDOWN) => Unreachable::Host,
        // EINVAL: a socket bound to a loopback address has no route off this host.
        Some(nix::Error::ENETUNREACH | nix::Error::ENETDOWN | nix::Error::EINVAL) => {
            Unreachable::Network
        }
        Some(nix::Error::ECONNREFUSED) => Unreachable::Port,
        _ => Unreachable::NoSocket,
    }
}
