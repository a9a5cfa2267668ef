//! The options of every command that talks to a provider.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use iax2_natcheck::{
    check::devices::Device, net::resolve::Target, probe::lifetime::unaided::Unaided,
};

use super::value;

/// Whom to ask, as whom, and how.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own on the command line
pub(crate) struct ProviderArgs {
    /// The provider: a name (SRV _iax._udp is honoured) or an address, port 4569 unless given
    ///
    /// With --asterisk it may be left out where Asterisk registers with one provider only.
    #[arg(value_name = "PROVIDER", required_unless_present = "asterisk")]
    pub(crate) provider: Option<Target>,
    /// The account to register with; registering moves the account's binding to this host
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) user: Option<String>,
    /// A file with the account's secret; `-` is stdin; else the environment's `IAX2_SECRET`
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) secret_file: Option<PathBuf>,
    /// A PEM file with the account's RSA private key
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) rsa_key: Option<PathBuf>,
    /// Send the secret in clear where the registrar offers nothing better
    #[arg(long, help_heading = HEADING)]
    pub(crate) allow_plaintext: bool,
    /// Send from this port, any free one unless given; check then also tells whether the flow of
    /// this very port is dead at the NAT
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
          help_heading = HEADING)]
    pub(crate) local_port: Option<u16>,
    /// Send from this address
    #[arg(long, value_name = "ADDRESS", help_heading = HEADING)]
    pub(crate) bind: Option<IpAddr>,
    /// A host outside that runs iax2-natcheck serve, to time mappings with; unless given, the
    /// provider is asked whether it is one
    #[arg(long, value_name = "HOST[:PORT]", help_heading = HEADING)]
    pub(crate) reflector: Option<Target>,
    /// A STUN server to see mappings with, and to time them where it speaks RFC 5780; may be given
    /// again
    #[arg(long, value_name = "HOST[:PORT]", help_heading = HEADING)]
    pub(crate) stun: Vec<Target>,
    /// Ask for this refresh, and judge by it instead of the one that is granted
    #[arg(long, value_name = "DURATION", value_parser = value::refresh, help_heading = HEADING)]
    pub(crate) refresh: Option<Duration>,
    /// The longest idle time to try; the measurement lasts about as long
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "5m",
          help_heading = HEADING)]
    pub(crate) max_lifetime: Duration,
    /// Time mappings with the registrar alone, where nobody outside answers late
    ///
    /// It registers about once for each second of idle time and once more to look, from ports of its own,
    /// which moves the account's binding; at the end it registers again from the first port. The ways
    /// differ in the NATs they work with.
    #[arg(long, value_enum, requires = "user", conflicts_with = "asterisk", help_heading = HEADING)]
    pub(crate) method: Option<Method>,
    /// A second address of this host in the same LAN: who keeps a port that two hosts send from? Also for
    /// --method sibling and auto
    #[arg(long, value_name = "ADDRESS", help_heading = HEADING)]
    pub(crate) sibling: Option<IpAddr>,
    /// Mappings in flight at once; each takes a local port and an open file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000),
          default_value = "512", help_heading = HEADING)]
    pub(crate) sockets: u32,
    /// The router or firewall in front of the PBX, by words that no other box in `devices` has: advice
    /// then names its own settings
    #[arg(long, value_name = "WORDS", value_parser = value::device, help_heading = HEADING)]
    pub(crate) device: Option<&'static Device>,
    /// Send packets to our own public address, too; there are firewalls that take that for an attack
    #[arg(long, help_heading = HEADING)]
    pub(crate) hairpin: bool,
    /// Wait until it is known what keeps a mapping open, too; without it, that is told where it is known before
    /// the longest timer is
    #[arg(long, help_heading = HEADING)]
    pub(crate) who_refreshes: bool,
    /// Ask the router for port mappings, too, by UPnP, NAT-PMP and PCP; what is made for the test is
    /// removed again
    #[arg(long, help_heading = HEADING)]
    pub(crate) port_mapping: bool,
    /// Place three test calls to this extension, which echoes what it hears
    #[arg(long, value_name = "EXTENSION", help_heading = HEADING)]
    pub(crate) echo: Option<String>,
    /// Shortly before the account registers again, call this extension, which rings the account:
    /// does the call arrive?
    #[arg(long, value_name = "EXTENSION", requires = "user", conflicts_with = "asterisk",
          help_heading = HEADING)]
    pub(crate) callback: Option<String>,
    /// The PBX takes calls on this UDP port of the public address from hosts that it does not register with:
    /// complain where none of them gets in
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..),
          help_heading = HEADING)]
    pub(crate) inbound: Option<u16>,
    /// On the PBX itself: take account, refresh and state from the running Asterisk, and register
    /// nothing
    #[arg(long, conflicts_with_all = ["secret_file", "rsa_key"], help_heading = HEADING)]
    pub(crate) asterisk: bool,
}

/// How mappings are timed with the registrar alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// What the NAT allows: drift, sibling with --sibling, else qualify
    Auto,
    /// Each port registers twice; a NAT that draws ports shows another one once it has forgotten
    Drift,
    /// The same port of --sibling registers; a NAT that keeps ports gives it away once it has forgotten
    Sibling,
    /// The registrar's own POKEs that come through: a lower bound, where it qualifies its peers
    Qualify,
    /// A call token kept for up to 9 s; a NAT that draws ports, and no secret, needed
    Token,
}

impl Method {
    /// The same for the survey; `None` is what the NAT allows.
    pub(crate) const fn unaided(self) -> Option<Unaided> {
        match self {
            Self::Auto => None,
            Self::Drift => Some(Unaided::Drift),
            Self::Sibling => Some(Unaided::Sibling),
            Self::Qualify => Some(Unaided::Qualify),
            Self::Token => Some(Unaided::Token),
        }
    }
}

/// Where these options stand in the help.
pub(crate) const HEADING: &str = "Provider options";
