//! Floor 6: arguments, progress, output, exit status. Each command parses, calls the library and
//! renders.

pub(crate) mod analyze;
pub(crate) mod args;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod exit;
pub(crate) mod logging;
pub(crate) mod man;
pub(crate) mod nat;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod register;
pub(crate) mod report;
pub(crate) mod runtime;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod snat;
pub(crate) mod survey;
pub(crate) mod taint;

use std::ffi::OsString;

use anyhow::Result;
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
pub(crate) fn run(cli: &Cli, progress: &Progress) -> Result<u8> {
    let common = &cli.common;
    match &cli.command {
        Command::Check(args) => check::run(args, common, progress),
        Command::Demo(args) => demo::run(args, common, progress),
        Command::Register(args) => register::run(args, common, progress),
        Command::Call(args) => call::run(args, common, progress),
        Command::Nat { experiment } => nat::run(experiment, common, progress),
        Command::Taint(args) => taint::run(args, common, progress),
        Command::Serve(args) => serve::run(args, common),
        Command::Snat(args) => snat::run(args, common),
        Command::Analyze(args) => analyze::run(args, common, progress),
        Command::Report(args) => report::run(args, common),
        Command::Devices(args) => devices::run(args, common),
        Command::Man => man::run(),
        Command::Completions(args) => completions::run(args),
    }
}
