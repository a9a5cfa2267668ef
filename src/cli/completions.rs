//! `completions SHELL`.

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::{
    args::{Cli, CompletionsArgs},
    output,
};

/// Prints the completions.
///
/// # Errors
///
/// Where stdout cannot be written.
pub(crate) fn run(args: &CompletionsArgs) -> Result<u8> {
    let mut script = vec![];
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    let script = String::from_utf8(script).context("the completions are not UTF-8")?;
    output::print(&script)?;
    Ok(0)
}
