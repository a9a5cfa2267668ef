//! Floor 3: UDP sockets, the one event loop, names, and the router's port mappings.

mod batch;
pub mod clock;
pub mod drive;
pub mod open_files;
mod own_address;
pub mod poke;
pub mod port_mapping;
pub mod port_owner;
pub mod resolve;
pub mod sockets;
pub mod stop;
pub mod udp;

use std::{io, net::SocketAddr};

use port_owner::Owner;

/// What can go wrong between this host and its network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address and port are taken.
    #[error("UDP {local} is already in use by {}; stop it, or choose another local port", by_whom(owner.as_ref()))]
    InUse {
        /// What was to be bound.
        local: SocketAddr,
        /// Who has it, where this process may see that.
        owner: Option<Owner>,
    },
    /// The address is none of this host's.
    #[error(
        "cannot bind UDP {local}: this host has no such address; choose one that `ip address` lists"
    )]
    NotLocal {
        /// What was to be bound.
        local: SocketAddr,
    },
    /// Any other reason why a socket could not be opened.
    #[error("cannot open UDP {local}: {source}")]
    Open {
        /// What was to be bound.
        local: SocketAddr,
        /// The host's reason.
        source: io::Error,
    },
    /// The limit of open files is too low and may not be raised.
    #[error(
        "{needed} sockets need more open files than the hard limit of {hard}; raise it (`ulimit -Hn`, LimitNOFILE=) or ask for fewer sockets"
    )]
    OpenFiles {
        /// How many sockets are wanted.
        needed: u64,
        /// The hard limit.
        hard: u64,
    },
    /// What should name a host does not.
    #[error(
        "`{text}` names no host: {why}; write HOST or HOST:PORT, and IPv6 as [2001:db8::1]:4569"
    )]
    NoTarget {
        /// What the user wrote.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name has no address, or the DNS did not tell.
    #[error(
        "cannot find the address of {name}: {reason}; check the spelling and the DNS of this host"
    )]
    Unresolved {
        /// The name.
        name: String,
        /// What the resolver says.
        reason: String,
    },
    /// The DNS says that the host does not offer the service (RFC 2782, target `.`).
    #[error(
        "the DNS of {name} says that it offers no {service}; ask the provider for the right name, or give a port"
    )]
    NoService {
        /// The name.
        name: String,
        /// The SRV label, `_iax._udp`.
        service: &'static str,
    },
    /// The host refused something that every host grants.
    #[error("cannot {what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// The host's reason.
        source: io::Error,
    },
}

fn by_whom(owner: Option<&Owner>) -> String {
    owner.map_or_else(
        || "a process that this user may not see".to_owned(),
        |owner| format!("{} (process {})", owner.name, owner.pid),
    )
}
