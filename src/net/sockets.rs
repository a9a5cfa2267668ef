//! The sockets of one machine, by key: opened on demand for a client, before the start for a
//! server.

use std::{
    collections::BTreeMap,
    fmt, future, io,
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    pin::Pin,
    sync::Arc,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::{
    net::{
        NetError,
        udp::{Ground, Socket, any_towards, widen},
    },
    proto::contract::SocketKey,
    types::{LocalAddr, PeerAddr},
};

/// The key of a client's first socket: the one that a chosen local port belongs to.
pub const FIRST: SocketKey = SocketKey(0);

type Waiting = Pin<Box<dyn Future<Output = Option<SocketKey>> + Send>>;

/// The sockets of one machine. They stay open between two drives, and close when this is dropped.
pub struct Sockets {
    ground: Ground,
    bind: Option<IpAddr>,
    on_demand: bool,
    /// The sockets of some keys have another address; see [`Sockets::with_siblings`].
    siblings: Option<(IpAddr, u32)>,
    /// Bound, not yet watched: the reactor is known only once the machine is driven.
    bound: BTreeMap<SocketKey, StdSocket>,
    open: BTreeMap<SocketKey, Arc<Socket>>,
    /// One future for each open socket, done when the socket has something: waking costs the same
    /// whether four sockets are open or two thousand.
    waiting: FuturesUnordered<Waiting>,
    dropped: u64,
}

impl Sockets {
    /// A client's sockets, none of them open yet, each to be bound to a free port of `bind`, or of
    /// whatever address the routes choose.
    #[must_use]
    pub fn client(ground: Ground, bind: Option<IpAddr>) -> Self {
        Self {
            ground,
            bind,
            on_demand: true,
            siblings: None,
            bound: BTreeMap::new(),
            open: BTreeMap::new(),
            waiting: FuturesUnordered::new(),
            dropped: 0,
        }
    }

    /// Binds a client's first socket to `local` at once, so that a port in use is told before
    /// anything is sent. An unspecified address must be of the family of the machine's peer.
    ///
    /// # Errors
    ///
    /// [`NetError::InUse`], [`NetError::NotLocal`] or [`NetError::Open`].
    pub fn with_first(mut self, local: SocketAddr) -> Result<Self, NetError> {
        self.bound.insert(FIRST, self.ground.open(local)?);
        Ok(self)
    }

    /// Gives a client a second address: the socket of the key `distance` above another's is bound to `ip`
    /// and, where that other one is open, to the same port. Keys of twice the distance and above are nobody's
    /// siblings.
    #[must_use]
    pub const fn with_siblings(mut self, ip: IpAddr, distance: u32) -> Self {
        self.siblings = Some((ip, distance));
        self
    }

    /// A server's sockets: the first of `locals` gets key 0, the next key 1, and so on. No other is
    /// ever opened.
    ///
    /// # Errors
    ///
    /// [`NetError::InUse`], [`NetError::NotLocal`] or [`NetError::Open`] about the first address that
    /// cannot be bound; none stays bound then.
    pub fn server(ground: Ground, locals: &[SocketAddr]) -> Result<Self, NetError> {
        let mut sockets = Self::client(ground, None);
        sockets.on_demand = false;
        for (key, local) in (0..).map(SocketKey).zip(locals) {
            let socket = sockets.ground.open(*local)?;
            widen(&socket);
            sockets.bound.insert(key, socket);
        }
        Ok(sockets)
    }

    /// What the sockets that have been bound up front and not yet driven are bound to.
    ///
    /// # Errors
    ///
    /// [`NetError::Host`] where the host does not tell.
    pub fn bound(&self) -> Result<Vec<(SocketKey, LocalAddr)>, NetError> {
        self.bound
            .iter()
            .map(|(key, socket)| Ok((*key, LocalAddr::new(local(socket)?))))
            .collect()
    }

    /// Whether these are a server's.
    pub(super) const fn are_a_servers(&self) -> bool {
        !self.on_demand
    }

    /// How many datagrams were given up because the host's send buffer stayed full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// Hands the sockets of a server to the reactor.
    pub(super) fn start(&mut self) -> Result<(), NetError> {
        if !self.on_demand {
            for (key, socket) in std::mem::take(&mut self.bound) {
                self.watch(key, socket)?;
            }
        }
        Ok(())
    }

    /// The socket of `key`, if it is open.
    pub(super) fn get(&self, key: SocketKey) -> Option<Arc<Socket>> {
        self.open.get(&key).map(Arc::clone)
    }

    /// Opens the socket of `key` for what is to be sent to `peer`.
    pub(super) fn open(
        &mut self,
        key: SocketKey,
        peer: PeerAddr,
    ) -> Result<(Arc<Socket>, LocalAddr), NetError> {
        let mut wanted = any_towards(peer);
        if let Some(ip) = self.bind {
            wanted.set_ip(ip);
        }
        if let Some((ip, distance)) = self.siblings {
            let elder = key.0.checked_sub(distance);
            if let Some(elder) = elder.filter(|elder| *elder < distance) {
                wanted.set_ip(ip);
                let elder = self.open.get(&SocketKey(elder));
                wanted.set_port(elder.and_then(|elder| elder.port()).unwrap_or(0));
            } else if wanted.ip().is_unspecified() {
                // A socket on every address would hold the port of its sibling too.
                wanted.set_ip(self.ground.local_towards(wanted, peer).get().ip());
            }
        }
        if !self.on_demand {
            let source = io::Error::other("a server opens no further sockets");
            return Err(NetError::Open {
                local: wanted,
                source,
            });
        }
        let socket = match self.bound.remove(&key) {
            Some(socket) => socket,
            None => self.ground.open(wanted)?,
        };
        let local = self.ground.local_towards(local(&socket)?, peer);
        Ok((self.watch(key, socket)?, local))
    }

    fn watch(&mut self, key: SocketKey, socket: StdSocket) -> Result<Arc<Socket>, NetError> {
        let socket =
            Socket::watch(socket, self.are_a_servers()).map_err(|source| NetError::Host {
                what: "watch a UDP socket",
                source,
            })?;
        let socket = Arc::new(socket);
        self.open.insert(key, Arc::clone(&socket));
        self.arm(key, Arc::clone(&socket));
        Ok(socket)
    }

    fn arm(&self, key: SocketKey, socket: Arc<Socket>) {
        self.waiting.push(Box::pin(
            async move { socket.ready().await.ok().map(|()| key) },
        ));
    }

    /// Whether nothing can ever arrive.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for a socket that has a datagram or an error. It is watched further at once, so that
    /// whatever the caller leaves there is told again.
    pub(super) async fn ready(&mut self) -> (SocketKey, Arc<Socket>) {
        loop {
            match self.waiting.next().await {
                Some(Some(key)) => {
                    if let Some(socket) = self.get(key) {
                        self.arm(key, Arc::clone(&socket));
                        return (key, socket);
                    }
                }
                Some(None) => {}
                None => future::pending().await,
            }
        }
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets")
            .field("open", &self.open.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

fn local(socket: &StdSocket) -> Result<SocketAddr, NetError> {
    socket.local_addr().map_err(|source| NetError::Host {
        what: "read the address of a UDP socket",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sibling_has_its_address_and_the_port_of_the_other() {
        let second: IpAddr = "127.0.0.2".parse().unwrap();
        let peer = PeerAddr::new("127.0.0.1:4569".parse().unwrap());
        let mut sockets = Sockets::client(Ground::host(), None).with_siblings(second, 1000);
        let (_, own) = sockets.open(SocketKey(16), peer).unwrap();
        let (_, sibling) = sockets.open(SocketKey(1016), peer).unwrap();
        assert_eq!(own.get().ip().to_string(), "127.0.0.1");
        assert_eq!(sibling.get(), SocketAddr::new(second, own.get().port()));
        // Alone, it has any free port.
        let (_, alone) = sockets.open(SocketKey(1017), peer).unwrap();
        assert_eq!(alone.get().ip(), second);
        assert_ne!(alone.get().port(), sibling.get().port());
        let (_, beyond) = sockets.open(SocketKey(2000), peer).unwrap();
        assert_eq!(beyond.get().ip().to_string(), "127.0.0.1");
    }
}
