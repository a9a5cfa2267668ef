//! Floor 6: arguments, progress, output, exit status. Each command parses, calls the library and
//! renders.

pub(crate) mod args;
pub(crate) mod completions;
pub(crate) mod exit;
pub(crate) mod logging;
pub(crate) mod man;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod report;
#[expect(dead_code, reason = "read by the commands that talk to a provider")]
pub(crate) mod secret;

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::Parser;

pub(crate) use args::Cli;
use args::Command;
use progress::Progress;

/// Reads the command line.
///
/// # Errors
///
/// What clap says: a mistake, or a request for help or version.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line)
}

/// Runs the command and gives its exit status.
///
/// # Errors
///
/// What went wrong, in one sentence.
pub(crate) fn run(cli: &Cli, _progress: &Progress) -> Result<u8> {
    match &cli.command {
        Command::Report(args) => report::run(args, &cli.common),
        Command::Man => man::run(),
        Command::Completions(args) => completions::run(args),
        Command::Check(_)
        | Command::Demo(_)
        | Command::Register(_)
        | Command::Nat { .. }
        | Command::Serve(_) => {
            bail!("this build has no engine for that command; use a released one")
        }
    }
}
