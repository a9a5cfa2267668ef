//! Floor 3: UDP sockets, the one event loop, and names.

pub mod clock;
pub mod drive;
pub mod open_files;
pub mod port_owner;
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
