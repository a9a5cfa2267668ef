//! `config`: the commented sample of a configuration.

use anyhow::Result;
use iax2_natcheck::config::watch::SAMPLE;

use crate::cli::output;

/// Prints it.
///
/// # Errors
///
/// Where stdout cannot be written.
pub(crate) fn run() -> Result<u8> {
    output::print(SAMPLE)?;
    Ok(0)
}
