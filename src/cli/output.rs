//! Where a report goes: stdout, or a file that is replaced at once or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use iax2_natcheck::report::{Report, html, json, nagios, prometheus, text};

use crate::cli::{
    args::{Common, Format},
    logging::no_colour,
};

/// Renders a report as asked, and writes it where asked.
///
/// # Errors
///
/// Where it cannot be written. A reader of stdout that went away is no error.
pub(crate) fn report(report: &Report, common: &Common) -> Result<()> {
    page(report, common)?;
    let rendered = match common.format() {
        Format::Text => {
            let colours = common.output.is_none() && io::stdout().is_terminal() && !no_colour();
            text::render(report, colours)
        }
        Format::Json => json::render(report),
        Format::Jsonl => json::line(report),
        Format::Html => html::render(report),
        Format::Nagios => nagios::render(report),
        Format::Prometheus => prometheus::render(report),
    };
    write(&rendered, common)
}

/// Writes a report as a page, where one is asked for beside the rest.
///
/// # Errors
///
/// Where it cannot be written.
pub(crate) fn page(report: &Report, common: &Common) -> Result<()> {
    match &common.html {
        Some(path) => html(path, &html::render(report)),
        None => Ok(()),
    }
}

/// Writes a page of HTML.
///
/// # Errors
///
/// Where it cannot be written.
pub(crate) fn html(path: &Path, page: &str) -> Result<()> {
    replace(path, page.as_bytes()).with_context(|| cannot(path, "--html"))
}

/// Writes where asked.
///
/// # Errors
///
/// Where it cannot be written. A reader of stdout that went away is no error.
pub(crate) fn write(text: &str, common: &Common) -> Result<()> {
    match &common.output {
        Some(path) => replace(path, text.as_bytes()).with_context(|| cannot(path, "--output")),
        None => print(text),
    }
}

fn cannot(path: &Path, option: &str) -> String {
    format!(
        "{} cannot be written; give {option} a file in a directory that you may write to",
        path.display()
    )
}

/// Writes to stdout.
///
/// # Errors
///
/// Where stdout cannot be written. A reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("stdout cannot be written; send it to a file with space left")
        }
        _ => Ok(()),
    }
}

/// Replaces the content of a file at once, keeping its permissions: a reader sees the old or the
/// new one whole. A device or a pipe is written to as it stands.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&target).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return OpenOptions::new()
            .write(true)
            .open(&target)?
            .write_all(content);
    }
    let beside = beside(&target)?;
    let written =
        write_beside(&beside, content, before.as_ref()).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A name of our own in the directory of `target`.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(target.with_file_name(hidden))
}

fn write_beside(beside: &Path, content: &[u8], before: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = File::create_new(beside)?;
    if let Some(before) = before {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let link = directory.path().join("link.json");
        symlink(&path, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_device_stays_a_device() {
        replace(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(replace(Path::new("/nonexistent/report.json"), b"x").is_err());
        assert!(replace(Path::new("/"), b"x").is_err());
    }
}
