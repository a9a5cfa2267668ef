//! Floor 3: what this host tells about itself, its Asterisk, and its part as a router.

pub mod asterisk;
pub mod capture;
pub mod conntrack;
pub mod gateway;
pub mod hold;
pub mod host;
pub mod inject;
pub mod leak;
pub mod nat_rules;
pub mod neighbour;
mod netlink;
mod packet_filter;
mod program;
mod readable;
pub mod route;
pub mod sysctl;
pub mod systemd;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// What can go wrong between this program and its host.
#[derive(Debug, thiserror::Error)]
pub enum OsError {
    /// There is no such program.
    #[error("cannot ask Asterisk: there is no program {}; run this on the PBX itself, or name the program's path", program.display())]
    NoProgram {
        /// The program.
        program: PathBuf,
    },
    /// The program cannot be started.
    #[error("cannot ask Asterisk: {} does not start: {source}", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// No Asterisk runs.
    #[error("cannot ask Asterisk: it is not running; start it, or run without --asterisk")]
    NotRunning,
    /// Asterisk runs, but this user may not talk to it.
    #[error(
        "cannot ask Asterisk: this user may not use its control socket; run as root or as the user asterisk"
    )]
    NotAllowed,
    /// Asterisk runs without IAX2.
    #[error(
        "Asterisk does not know `{command}`: chan_iax2 is not loaded; load it with `module load chan_iax2.so`"
    )]
    NoIax2 {
        /// The command.
        command: String,
    },
    /// Asterisk did not answer in time.
    #[error("Asterisk did not answer `{command}` within {}", humantime::format_duration(*limit))]
    Timeout {
        /// The command.
        command: String,
        /// How long was waited.
        limit: Duration,
    },
    /// Asterisk answered, but not as any version known to us does.
    #[error(
        "cannot read what Asterisk answers to `{command}`, line {line}: {what}; please report it with your version of Asterisk"
    )]
    Unreadable {
        /// The command.
        command: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Asterisk refused the command.
    #[error("Asterisk refused `{command}`: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// What it said, in one line.
        answer: String,
    },
    /// The kernel keeps this from the user.
    #[error("{what}: this needs root, or CAP_NET_ADMIN; run it with sudo")]
    NotPermitted {
        /// What was not possible.
        what: &'static str,
    },
    /// The kernel tracks no connections.
    #[error(
        "{what}: this kernel tracks no connections, so it translates no addresses either; run this on the router that does, or load nf_conntrack_netlink"
    )]
    NoConntrack {
        /// What was not possible.
        what: &'static str,
    },
    /// The kernel refused for another reason.
    #[error("{what}: {source}")]
    Netlink {
        /// What was not possible.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The manager interface cannot be reached, or the session has ended.
    #[error(
        "cannot ask Asterisk by its manager interface at {address}: {source}; see that it runs, and that manager.conf says enabled=yes and that address"
    )]
    Manager {
        /// Where it should be.
        address: SocketAddr,
        /// The host's reason.
        source: io::Error,
    },
    /// The manager interface does not take the user.
    #[error(
        "Asterisk's manager interface at {address} refuses the user {user}: {answer}; compare the secret with manager.conf, and its permit lines with this host"
    )]
    ManagerLogin {
        /// Where it is.
        address: SocketAddr,
        /// The user.
        user: String,
        /// Asterisk's words.
        answer: String,
    },
    /// A packet has no way.
    #[error("no packet can be sent to {to}: {what}; see `ip route get {to}`")]
    NoWay {
        /// Where it should go.
        to: IpAddr,
        /// What is missing.
        what: &'static str,
    },
    /// The program nft cannot be started.
    #[error("packets cannot be held: nft does not start ({source}); install nftables")]
    NoNft {
        /// The host's reason.
        source: io::Error,
    },
    /// The kernel does not hold packets.
    #[error(
        "packets cannot be held: {what}; this needs root or CAP_NET_ADMIN, and nf_tables in the kernel"
    )]
    NotHeld {
        /// What is wrong.
        what: &'static str,
    },
}
