//! A host: its machine, and the sockets it has.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use super::station::Node;
use crate::proto::contract::SocketKey;

/// The first port that a client's sockets get, each one more than the last.
const FIRST_PORT: u16 = 40_000;

/// A machine with its sockets.
pub(super) struct Host {
    pub(super) node: Rc<dyn Node>,
    pub(super) role: Role,
    /// As read after the machine was last touched.
    pub(super) deadline: Option<(Instant, &'static str)>,
}

impl Host {
    pub(super) fn new(node: Rc<dyn Node>, role: Role) -> Self {
        Self {
            node,
            role,
            deadline: None,
        }
    }

    /// The address of a socket and whether this call opened it; `None` where the host has no socket
    /// for the key.
    pub(super) fn socket(&mut self, key: SocketKey) -> Option<(SocketAddr, bool)> {
        match &mut self.role {
            Role::Server { sockets } => Some((*sockets.get(&key)?, false)),
            Role::Client {
                address,
                sockets,
                ports,
                next,
                most,
                siblings,
                ..
            } => {
                if let Some(socket) = sockets.get(&key) {
                    return Some((*socket, false));
                }
                if sockets.len() >= *most {
                    return None;
                }
                let (address, elder) = match siblings {
                    Some((ip, distance)) if key.0 / 2 < *distance && key.0 >= *distance => {
                        (&*ip, sockets.get(&SocketKey(key.0 - *distance)))
                    }
                    _ => (&*address, None),
                };
                if let Some(elder) = elder {
                    let socket = SocketAddr::new(*address, elder.port());
                    sockets.insert(key, socket);
                    return Some((socket, true));
                }
                let port = if let Some(port) = ports.get(&key) {
                    *port
                } else {
                    let free = (*next..=u16::MAX)
                        .find(|port| !ports.values().any(|chosen| chosen == port))?;
                    *next = free.checked_add(1)?;
                    free
                };
                let socket = SocketAddr::new(*address, port);
                sockets.insert(key, socket);
                Some((socket, true))
            }
        }
    }
}

/// On which side of the NATs a host is.
pub(super) enum Role {
    Client {
        site: usize,
        address: IpAddr,
        sockets: BTreeMap<SocketKey, SocketAddr>,
        /// Ports that were chosen for sockets, open or not.
        ports: BTreeMap<SocketKey, u16>,
        /// The next port for a socket without a chosen one.
        next: u16,
        /// How many sockets the host may have.
        most: usize,
        /// The sockets from this key to below twice it have another address, and the port of the one whose key
        /// is that much lower.
        siblings: Option<(IpAddr, u32)>,
    },
    Server {
        sockets: BTreeMap<SocketKey, SocketAddr>,
    },
}

impl Role {
    pub(super) fn client(site: usize, address: IpAddr) -> Self {
        Self::Client {
            site,
            address,
            sockets: BTreeMap::new(),
            ports: BTreeMap::new(),
            next: FIRST_PORT,
            most: usize::MAX,
            siblings: None,
        }
    }
}
