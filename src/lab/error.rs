//! What can go wrong when a virtual network is built.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why a virtual network could not be built or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabError {
    /// A user namespace can be entered only by a process with one thread.
    #[error(
        "cannot enter a user namespace: this process has {threads} threads already; enter the lab before anything else starts one"
    )]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// The kernel or a container around this process refuses user namespaces.
    #[error(
        "this kernel does not let you make a user and network namespace ({source}): run as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    UserNamespace {
        /// What the kernel said.
        source: io::Error,
    },
    /// The identity map of the new user namespace could not be written.
    #[error(
        "the new user namespace takes no identity map: writing {} failed ({source}); run as root instead", file.display()
    )]
    IdentityMap {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A network namespace could not be made.
    #[error(
        "cannot make the network namespace `{namespace}` ({source}): run as root, or enter the lab first"
    )]
    Namespace {
        /// Its label.
        namespace: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A network namespace could not be entered.
    #[error("cannot enter the network namespace `{namespace}`: {source}")]
    Enter {
        /// Its label.
        namespace: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program that the lab needs is not installed.
    #[error(
        "the program `{program}` was not found in PATH, /usr/sbin or /sbin: install the package {package}"
    )]
    MissingProgram {
        /// Its name.
        program: &'static str,
        /// The package that has it in most distributions.
        package: &'static str,
    },
    /// A program did not do what it was told.
    #[error("in the network namespace `{namespace}`, `{command}` failed: {message}")]
    Program {
        /// The namespace's label.
        namespace: String,
        /// What it was told.
        command: String,
        /// What it said, or why it did not run.
        message: String,
    },
    /// A setting of the kernel could not be written.
    #[error(
        "in the network namespace `{namespace}`, the kernel setting {key} could not be written: {source}"
    )]
    Setting {
        /// The namespace's label.
        namespace: String,
        /// The setting, as `sysctl` names it.
        key: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket could not be bound.
    #[error(
        "in the network namespace `{namespace}`, no UDP socket could be bound to {address}: {source}"
    )]
    Bind {
        /// The namespace's label.
        namespace: String,
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// More routers in a row than there are addresses for.
    #[error("a lab has at most two routers in a row, not {routers}")]
    TooManyRouters {
        /// How many were asked for.
        routers: usize,
    },
}
