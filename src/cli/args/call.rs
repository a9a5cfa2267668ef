//! The options of `call`.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, Args, ValueEnum};
use iax2_natcheck::{net::resolve::Target, wire::iax2::format::Formats};

use super::{ProviderArgs, value};

/// Whom to call, how often, and what to do there.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
    /// The extension: best one that echoes, as 600 of `serve`
    #[arg(value_name = "EXTENSION")]
    pub(crate) extension: String,
    /// How many calls to place
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = HEADING)]
    pub(crate) calls: u32,
    /// How many of them at once, at most
    #[arg(long, value_name = "M", default_value = "10",
          value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = HEADING)]
    pub(crate) concurrent: u32,
    /// How long to talk; 10s unless given, 3s in a burst
    #[arg(long, value_name = "DURATION", value_parser = value::duration, help_heading = HEADING)]
    pub(crate) duration: Option<Duration>,
    /// How long to let it ring
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "30s",
          help_heading = HEADING)]
    pub(crate) ring: Duration,
    /// What the extension does with audio, where that is known
    #[arg(long, value_enum, default_value = "any", help_heading = HEADING)]
    pub(crate) expect: Expect,
    /// Encrypt the call (AES-128), or place none; trunk frames cannot be encrypted
    #[arg(long, conflicts_with = "trunk", help_heading = HEADING)]
    pub(crate) encrypt: bool,
    /// Place the calls once more with their audio in trunk frames, and compare
    #[arg(long, help_heading = HEADING)]
    pub(crate) trunk: bool,
    /// The codecs to offer, the preferred one first: ulaw,alaw unless given
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::codec,
          help_heading = HEADING)]
    pub(crate) codec: Vec<Formats>,
    /// Send these DTMF digits once the call is up
    #[arg(long, value_name = "DIGITS", value_parser = value::digits, help_heading = HEADING)]
    pub(crate) dtmf: Option<String>,
    /// The caller's number to show
    #[arg(long, value_name = "NUMBER", help_heading = HEADING)]
    pub(crate) caller: Option<String>,
    /// The context to dial into, where the account may choose
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) context: Option<String>,
    /// Write what is heard to this file; for one call
    #[arg(long, value_name = "FILE.wav", conflicts_with = "trunk", help_heading = HEADING)]
    pub(crate) record: Option<PathBuf>,
    /// The line whose capacity is asked for, such as 1mbit
    #[arg(long, value_name = "RATE", value_parser = value::rate, help_heading = HEADING)]
    pub(crate) uplink: Option<u64>,
    /// The provider is yours: place calls faster than 200 a minute
    ///
    /// A provider keeps each call number for a minute after its call; who takes more than he has
    /// cuts off all his customers.
    #[arg(long, help_heading = HEADING)]
    pub(crate) i_own_it: bool,
}

/// What an extension does with audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expect {
    /// Returns what it hears
    Echo,
    /// Plays a tone or an announcement
    Sound,
    /// Not known
    Any,
}

/// The options of every command that asks a provider, as they are for a call: the provider must be named, and
/// those that say nothing about a call are not shown.
pub(super) fn of_a_call(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "provider" => Arg::new("provider")
            .value_name("PROVIDER")
            .help("The provider: a name (SRV _iax._udp is honoured) or an address, port 4569 unless given")
            .value_parser(clap::value_parser!(Target))
            .required(true),
        "asterisk" | "callback" | "echo" | "hairpin" | "inbound" | "max_lifetime" | "method" | "refresh"
        | "sibling" | "sockets" => arg.hide(true),
        "user" => arg
            .help("The account to call as; nothing is registered")
            .long_help(None),
        "allow_plaintext" => {
            arg.help("Send the secret in clear where the callee offers nothing better")
        }
        "local_port" => arg.help("Send from this port; any free one unless given"),
        "reflector" => arg.help(
            "A host outside that runs iax2-natcheck serve, to see with whether the external port changes",
        ),
        "stun" => arg.help("A STUN server to see it with; may be given again"),
        _ => arg,
    }
}

const HEADING: &str = "Call options";
