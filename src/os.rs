//! Floor 3: what this host tells about itself, its Asterisk, and its part as a router.

pub mod asterisk;
pub mod capture;
pub mod capture_file;
pub mod capture_ring;
pub mod conntrack;
pub mod firewall;
pub mod gateway;
pub mod hold;
pub mod host;
pub mod inject;
pub mod leak;
pub mod live_capture;
pub mod neighbour;
mod netlink;
mod packet_filter;
pub mod privileges;
mod program;
mod readable;
pub mod rollback;
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
    /// There is no such interface.
    #[error(
        "there is no interface {name} on this host; `ip link` lists them, and any stands for all"
    )]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The kernel refused for another reason.
    #[error("{what}: {source}")]
    Netlink {
        /// What was not possible.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No program of a packet filter is there.
    #[error(
        "cannot read the rules in force: there is no iptables-save and no nft; run this on the router, or give --rules FILE"
    )]
    NoFirewall,
    /// A program of the network does not answer.
    #[error("{} says: {said}", program.display())]
    FirewallRefused {
        /// The program.
        program: PathBuf,
        /// Its words, in one line.
        said: String,
    },
    /// A program of the network answers in a form that is not known.
    #[error(
        "cannot read what {} writes: {what}; please report it with its version", program.display()
    )]
    FirewallUnreadable {
        /// The program.
        program: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No interface leads out, or several do.
    #[error(
        "cannot tell which interface leads to the provider: {}; give --wan",
        one_of(several)
    )]
    NoUplink {
        /// Those that might be meant.
        several: Vec<String>,
    },
    /// The kernel does not let root become somebody else.
    #[error("the rights of root cannot be given up ({source}); it goes on as root")]
    StillRoot {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The way back cannot be kept.
    #[error("nothing was changed: the way back cannot be kept below /run ({source}); run as root")]
    Rollback {
        /// The host's reason.
        source: io::Error,
    },
    /// An earlier change waits for its confirmation.
    #[error(
        "nothing was changed: an earlier change waits for its confirmation; give it with snat --confirm, or wait until it is taken back ({} goes then)", file.display()
    )]
    ChangePending {
        /// The way back from it.
        file: PathBuf,
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

fn one_of(names: &[String]) -> String {
    if names.is_empty() {
        "there is no default route".to_owned()
    } else {
        format!("{} have default routes alike", names.join(", "))
    }
}
