//! The report as text of 80 columns: the verdict in one sentence, the findings, the measurements.

pub(super) mod boxes;
mod calls;
pub(super) mod measured;
mod refresh;
mod seen;
mod taint;
pub(super) mod wrap;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::report::{
    headline,
    model::{Finding, Report, Severity, Verdict},
    printable::printable,
};

pub use seen::{call as call_line, registration as registration_line};

/// Renders a report as text. Colours are ANSI escapes, and only there when asked for.
#[must_use]
pub fn render(report: &Report, colours: bool) -> String {
    let ink = Ink { colours };
    let report = &*printable(report);
    let mut lines = verdict(report, ink);
    lines.extend(about(report));
    for (index, found) in report.findings.iter().enumerate() {
        lines.push(String::new());
        lines.extend(finding(index + 1, found, ink));
    }
    let measured = measured::lines(&report.measurements);
    if !measured.is_empty() {
        lines.push(String::new());
        lines.push(ink.paint(Style::new().bold(), "measured"));
        lines.extend(measured);
    }
    if let Some(ladder) = &report.measurements.ladder {
        lines.push(String::new());
        lines.extend(seen::ladder(ladder));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Whether to paint.
#[derive(Clone, Copy)]
struct Ink {
    colours: bool,
}

impl Ink {
    fn paint(self, style: Style, text: &str) -> String {
        if self.colours {
            format!("{style}{text}{style:#}")
        } else {
            text.into()
        }
    }
}

fn verdict(report: &Report, ink: Ink) -> Vec<String> {
    let word = report.verdict.as_str();
    let colour = match report.verdict {
        Verdict::Ok => AnsiColor::Green,
        Verdict::Warning => AnsiColor::Yellow,
        Verdict::Critical => AnsiColor::Red,
        Verdict::Unknown => AnsiColor::Magenta,
    };
    let mut lines = wrap::paragraph(&format!("{word}: {}", headline(report)), "", "");
    if let Some(first) = lines.first_mut()
        && let Some(rest) = first.strip_prefix(word)
    {
        *first = ink.paint(colour.on_default().bold(), word) + rest;
    }
    lines
}

/// What the report is about.
fn about(report: &Report) -> Vec<String> {
    // Writing to a string does not fail.
    let mut words = report.command.clone();
    if let Some(provider) = &report.provider {
        words.push(' ');
        words.push_str(&provider.name);
        if let Some(address) = provider.address
            && address.to_string() != provider.name
        {
            let _ = write!(words, " ({address})");
        }
        if let Some(user) = &provider.user {
            let _ = write!(words, ", account {user}");
        }
    }
    let _ = write!(words, ", {}", report.finished_at);
    if report.command == "demo" {
        words.push_str(", times shortened to a fifth");
    }
    if report.interrupted {
        words.push_str(", stopped before its end");
    }
    wrap::paragraph(&words, "", "  ")
}

fn finding(number: usize, found: &Finding, ink: Ink) -> Vec<String> {
    let colour = match found.severity {
        Severity::Unknown => AnsiColor::Magenta,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Critical => AnsiColor::Red,
    };
    let severity = match found.severity {
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let mut lines: Vec<String> = wrap::paragraph(&found.title, &format!("{number}. "), "   ")
        .iter()
        .map(|line| ink.paint(Style::new().bold(), line))
        .collect();
    lines.push(format!(
        "   {}, {}",
        ink.paint(colour.on_default(), severity),
        found.id
    ));
    for (heading, items) in [("because", &found.because), ("do this", &found.do_this)] {
        if !items.is_empty() {
            lines.push(format!("   {heading}"));
            for item in items {
                lines.extend(wrap::item(item, "   - ", "     "));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_fixture_reads_well() {
        for name in ["critical", "ok", "unknown", "unreachable", "warning"] {
            let text = render(&fixture(name), false);
            for line in text.lines() {
                assert!(line.chars().count() <= wrap::COLUMNS, "{name}: {line}");
                assert_eq!(line.trim_end(), line, "{name}");
            }
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
            insta::assert_snapshot!(format!("{name}.txt"), text);
        }
    }

    #[test]
    fn colours_are_there_only_when_asked_for() {
        let report = fixture("critical");
        assert!(!render(&report, false).contains('\x1b'));
        let painted = render(&report, true);
        assert!(painted.starts_with("\x1b[1m\x1b[31mCRITICAL\x1b[0m: "));
    }
}
