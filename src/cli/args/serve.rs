//! The options of `serve`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use iax2_natcheck::proto::switchboard::fault::Fault;

use super::value;

/// Where to listen, for whom, and how to behave.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Listen here, port 4569 unless given; may be given again
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = value::listen,
          default_value = "127.0.0.1:4569")]
    pub(crate) bind: Vec<SocketAddr>,
    /// A second address and port of this host, so that kinds of NAT can be told apart
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = value::listen)]
    pub(crate) alternate: Option<SocketAddr>,
    /// The accounts, in TOML; without it POKEs and probes are answered, and nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// A file with the key of the tokens, shared by several servers
    #[arg(long, value_name = "FILE")]
    pub(crate) token_key_file: Option<PathBuf>,
    /// Whose habits to follow where they differ
    #[arg(long, value_enum, default_value = "asterisk")]
    pub(crate) profile: Profile,
    /// Do this wrong in calls, to see what it looks like; may be given again: drop=N, other-port,
    /// silence, silence-after-answer, inval, naked-reject, cause=N, no-stop-tones, wrap=full,
    /// wrap=mini, retry=10, retry=2, one-way, deaf-trunk
    #[arg(long, value_name = "NAME", requires = "users")]
    pub(crate) fault: Vec<Fault>,
}

/// Whose habits a server follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Asterisk's
    Asterisk,
    /// RFC 5456 to the letter
    Rfc,
}
