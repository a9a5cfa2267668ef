//! `report FILE`: renders a saved report again. `report diff` compares two, `report schema` prints the
//! contract.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use iax2_natcheck::report::{
    Report,
    diff::{self, Diff},
    json, schema, status,
};

use crate::cli::{
    args::{Common, Format, ReportArgs, ReportCommand},
    output,
};

/// Reads the report, renders it, and gives its status.
///
/// # Errors
///
/// Where the file cannot be read, is no report, or the output cannot be written.
pub(crate) fn run(args: &ReportArgs, common: &Common) -> Result<u8> {
    match (&args.other, &args.file) {
        (Some(ReportCommand::Diff { before, after }), _) => compare(before, after, common),
        (Some(ReportCommand::Schema), _) => {
            output::write(&schema::render(), common)?;
            Ok(0)
        }
        (None, Some(file)) => {
            let report = read(file)?;
            output::report(&report, common)?;
            Ok(status(&report))
        }
        (None, None) => bail!("report needs a FILE; give one that --json --output FILE wrote"),
    }
}

/// Says what differs, with the status of the second report.
fn compare(before: &Path, after: &Path, common: &Common) -> Result<u8> {
    if (before, after) == (Path::new("-"), Path::new("-")) {
        bail!("one of the two reports may be stdin, the other has to be a file");
    }
    let (before, after) = (read(before)?, read(after)?);
    let diff = Diff::of(&before, &after);
    let text = match common.format() {
        Format::Text => diff::render(&diff),
        Format::Json => json::pretty(&diff),
        Format::Jsonl | Format::Html | Format::Nagios | Format::Prometheus => {
            bail!("report diff knows text and JSON alone; use --format text or json")
        }
    };
    if common.html.is_some() {
        bail!("report diff makes no page; use report FILE --html FILE for each of the two");
    }
    output::write(&text, common)?;
    Ok(status(&after))
}

fn read(file: &Path) -> Result<Report> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text).map(|_| text);
        ("stdin".into(), read)
    } else {
        (file.display().to_string(), fs::read_to_string(file))
    };
    let text = text.with_context(|| {
        format!("{name} cannot be read; give a file that --json --output FILE wrote")
    })?;
    json::read(&text).map_err(|error| anyhow!("{name} {error}"))
}
