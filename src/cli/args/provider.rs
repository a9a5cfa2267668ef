//! The options of every command that talks to a provider.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;

use iax2_natcheck::net::resolve::Target;

use super::value;

/// Whom to ask, as whom, and how.
#[derive(Debug, Args)]
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
    /// Mappings in flight at once; each takes a local port and an open file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000),
          default_value = "512", help_heading = HEADING)]
    pub(crate) sockets: u32,
    /// On the PBX itself: take account, refresh and state from the running Asterisk, and register
    /// nothing
    #[arg(long, conflicts_with_all = ["secret_file", "rsa_key"], help_heading = HEADING)]
    pub(crate) asterisk: bool,
}

/// Where these options stand in the help.
pub(crate) const HEADING: &str = "Provider options";
