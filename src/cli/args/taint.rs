//! The options of `taint`.

use std::time::Duration;

use clap::Args;

use iax2_natcheck::net::resolve::Target;

use super::value;

/// Which entries to look at, how long, and what to do about them.
#[derive(Debug, Args)]
pub(crate) struct TaintArgs {
    /// Look at entries to or from this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
          default_value = "4569")]
    pub(crate) port: u16,
    /// Only entries with this host; with --local-port, the provider to ask
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) peer: Option<Target>,
    /// Look for this long who keeps an entry alive, and what leaves on the wire; 0s does not look
    #[arg(long, value_name = "DURATION", value_parser = value::any_duration, default_value = "1s")]
    pub(crate) look: Duration,
    /// Delete the tainted entries, and no other
    #[arg(long)]
    pub(crate) fix: bool,
    /// Wait this long for the next packet of a flow whose entry was deleted
    #[arg(long, value_name = "DURATION", value_parser = value::any_duration, default_value = "5s")]
    pub(crate) wait: Duration,
    /// With --fix: show what would be deleted, and delete nothing
    #[arg(long, requires = "fix")]
    pub(crate) dry_run: bool,
    /// Go on watching, a line for each entry whose state changes, until stopped
    #[arg(long, conflicts_with = "local_port")]
    pub(crate) follow: bool,
    /// On a host behind the router: ask --peer from this port, which is the PBX's, and from fresh
    /// ones
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
          requires = "peer", conflicts_with_all = ["fix", "dry_run"])]
    pub(crate) local_port: Option<u16>,
}
