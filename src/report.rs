//! Floor 5: what the user reads.
//!
//! [`model`] is the contract: the JSON report as its own types. [`assemble`] fills it from evidence
//! and judgement; [`text`], [`html`], [`json`], [`nagios`] and [`prometheus`] render it and compute
//! nothing. [`schema`] is the contract for programs, [`diff`] compares two reports, and [`devices`] is
//! the same for the knowledge base.

pub mod assemble;
pub mod devices;
pub mod diff;
pub mod html;
pub mod json;
pub mod model;
pub mod nagios;
mod printable;
pub mod prometheus;
pub mod schema;
pub mod script;
pub mod snat;
pub mod text;

pub use model::Report;

/// The exit status that belongs to a report: 0 ok, 1 warning, 2 critical, 3 unknown, as the
/// monitoring plug-ins have it.
#[must_use]
pub const fn status(report: &Report) -> u8 {
    match report.verdict {
        model::Verdict::Ok => 0,
        model::Verdict::Warning => 1,
        model::Verdict::Critical => 2,
        model::Verdict::Unknown => 3,
    }
}

/// The sentence that stands for the whole report: its summary, or where an older report has none,
/// its first finding.
fn headline(report: &Report) -> &str {
    report
        .summary
        .as_deref()
        .or_else(|| report.findings.first().map(|found| found.title.as_str()))
        .unwrap_or("Nothing wrong was found.")
}

/// A report that was saved for the tests.
#[cfg(test)]
fn fixture(name: &str) -> Report {
    let path = format!(
        "{}/tests/data/reports/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    json::read(&std::fs::read_to_string(path).unwrap()).unwrap()
}
