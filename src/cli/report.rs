//! `report FILE`: renders a saved report again.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result};
use iax2_natcheck::report::{json, status};

use crate::cli::{
    args::{Common, ReportArgs},
    output,
};

/// Reads the report, renders it, and gives its status.
///
/// # Errors
///
/// Where the file cannot be read, is no report, or the output cannot be written.
pub(crate) fn run(args: &ReportArgs, common: &Common) -> Result<u8> {
    let (name, text) = if args.file == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text).map(|_| text);
        ("stdin".into(), read)
    } else {
        (
            args.file.display().to_string(),
            fs::read_to_string(&args.file),
        )
    };
    let text = text.with_context(|| {
        format!("{name} cannot be read; give a file that --json --output FILE wrote")
    })?;
    let report = json::read(&text).map_err(|error| anyhow::anyhow!("{name} {error}"))?;
    output::report(&report, common)?;
    Ok(status(&report))
}
