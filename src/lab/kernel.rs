//! Virtual networks in the kernel: real sockets and real netfilter, in network namespaces that
//! vanish with the last reference to them.
//!
//! [`enter`] comes first and gives an ordinary user the rights that are needed. A [`Namespace`] is
//! one host; [`Namespace::connect`] lays a cable between two. [`NatLab`] is the whole way from a
//! client through its routers to a server. A socket stays in the namespace that it was opened in,
//! so one process can hold both ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getgid, getuid},
};

use super::error::LabError;

mod namespace;
mod nat_lab;
mod program;

pub use namespace::{Guest, Namespace};
pub use nat_lab::NatLab;

/// The bit of `CAP_NET_ADMIN` in a capability set (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;
/// The bit of `CAP_SYS_ADMIN`.
const CAP_SYS_ADMIN: u32 = 21;

/// Where the rights to build networks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The process had them (root).
    Held,
    /// A user namespace of its own, in which it is root; outside it has gained nothing.
    UserNamespace,
}

/// Makes sure that this process may build virtual networks. Without the rights of root it moves
/// into a new user and network namespace: from then on it is cut off from the host's network.
///
/// # Errors
///
/// [`LabError::Threads`] where the process has more than one thread and lacks the rights;
/// [`LabError::UserNamespace`] or [`LabError::IdentityMap`] where the kernel or a container
/// refuses; [`LabError::MissingProgram`] without `ip`.
pub fn enter() -> Result<Rights, LabError> {
    let rights = if has_rights() {
        Rights::Held
    } else {
        enter_user_namespace()?;
        Rights::UserNamespace
    };
    // A security module may let the process in and give it no rights there.
    match (Namespace::new("trial"), rights) {
        (Ok(_), _) => Ok(rights),
        (Err(LabError::Namespace { source, .. }), Rights::UserNamespace) => {
            Err(LabError::UserNamespace { source })
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether the effective capabilities hold what is needed.
fn has_rights() -> bool {
    let needed = (1_u64 << CAP_NET_ADMIN) | (1 << CAP_SYS_ADMIN);
    effective_capabilities().is_some_and(|held| held & needed == needed)
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn enter_user_namespace() -> Result<(), LabError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(LabError::Threads { threads });
    }
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|error| {
        LabError::UserNamespace {
            source: error.into(),
        }
    })?;
    // An ordinary user may map its group only after giving up setgroups (user_namespaces(7)).
    write_map("setgroups", "deny")?;
    write_map("uid_map", &format!("0 {user} 1"))?;
    write_map("gid_map", &format!("0 {group} 1"))
}

fn write_map(name: &str, content: &str) -> Result<(), LabError> {
    let file: PathBuf = Path::new("/proc/self").join(name);
    fs::write(&file, content).map_err(|source| LabError::IdentityMap { file, source })
}
