//! Two reports compared: what got better, what got worse, and what cannot be told.
//!
//! A difference counts only where it is larger than what the measurement can tell apart, and something
//! that is not found any more counts as mended only where it was looked for.

mod measured;
mod text;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::report::{
    assemble::tool,
    model::{Finding, Report, SCHEMA_VERSION, Severity, Time, Tool, Verdict},
    printable::printable,
};

pub use text::render;

/// What the comparison of two reports says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The version of the contract.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// `report diff`.
    pub command: String,
    /// The first report.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// Why the two are hardly to be compared.
    pub remarks: Vec<String>,
    /// What got better.
    pub better: Vec<String>,
    /// What got worse.
    pub worse: Vec<String>,
    /// What is as wrong as before.
    pub still: Vec<String>,
    /// What is different, and neither better nor worse by itself.
    pub changed: Vec<String>,
    /// What the two reports do not tell.
    pub not_told: Vec<String>,
}

/// One of the two reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Its command.
    pub command: String,
    /// The provider as it was named.
    pub provider: Option<String>,
    /// When it was made.
    pub finished_at: Time,
    /// Its verdict.
    pub verdict: Verdict,
}

/// What a difference amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Better,
    Worse,
    Still,
    Changed,
    NotTold,
}

/// One difference, in words.
type Difference = (Way, String);

impl Diff {
    /// Compares two reports.
    #[must_use]
    pub fn of(before: &Report, after: &Report) -> Self {
        let (before, after) = (&*printable(before), &*printable(after));
        let mut diff = Self {
            schema_version: SCHEMA_VERSION,
            tool: tool(),
            command: "report diff".into(),
            before: side(before),
            after: side(after),
            remarks: remarks(before, after),
            better: vec![],
            worse: vec![],
            still: vec![],
            changed: vec![],
            not_told: vec![],
        };
        let differences = verdict(before.verdict, after.verdict)
            .into_iter()
            .chain(findings(before, after))
            .chain(measured::differences(
                &before.measurements,
                &after.measurements,
            ))
            .chain(coverage(before, after));
        for (way, words) in differences {
            match way {
                Way::Better => diff.better.push(words),
                Way::Worse => diff.worse.push(words),
                Way::Still => diff.still.push(words),
                Way::Changed => diff.changed.push(words),
                Way::NotTold => diff.not_told.push(words),
            }
        }
        diff
    }
}

fn side(report: &Report) -> Side {
    Side {
        command: report.command.clone(),
        provider: report
            .provider
            .as_ref()
            .map(|provider| provider.name.clone()),
        finished_at: report.finished_at,
        verdict: report.verdict,
    }
}

fn remarks(before: &Report, after: &Report) -> Vec<String> {
    let mut remarks = vec![];
    if before.command != after.command {
        remarks.push(format!(
            "the commands differ, {} and {}, and so may what was looked for",
            before.command, after.command
        ));
    }
    let address = |report: &Report| report.provider.as_ref().and_then(|it| it.address);
    if let (Some(first), Some(second)) = (address(before), address(after))
        && first != second
    {
        remarks.push(format!(
            "the providers have different addresses, {first} and {second}"
        ));
    }
    if after.finished_at < before.finished_at {
        remarks.push("the first report is the later one".into());
    }
    for (report, which) in [(before, "first"), (after, "second")] {
        if report.interrupted {
            remarks.push(format!("the {which} report was stopped before its end"));
        }
    }
    let method = |report: &Report| {
        let lifetime = report.measurements.lifetime.as_ref();
        lifetime.and_then(|lifetime| lifetime.method.clone())
    };
    if let (Some(first), Some(second)) = (method(before), method(after))
        && first != second
    {
        remarks.push(format!(
            "idle mappings were timed by different methods, {first} and {second}"
        ));
    }
    remarks
}

fn verdict(before: Verdict, after: Verdict) -> Option<Difference> {
    let weight = |verdict| match verdict {
        Verdict::Ok => Some(0),
        Verdict::Warning => Some(1),
        Verdict::Critical => Some(2),
        Verdict::Unknown => None,
    };
    let words = format!("verdict: {}, was {}", after.as_str(), before.as_str());
    match (weight(before), weight(after)) {
        (Some(first), Some(second)) if second < first => Some((Way::Better, words)),
        (Some(first), Some(second)) if second > first => Some((Way::Worse, words)),
        (None, Some(_)) | (Some(_), None) => Some((Way::NotTold, words)),
        _ => None,
    }
}

/// The parts that were measured.
fn parts(report: &Report) -> BTreeSet<String> {
    // A report is an object with strings for keys, so nothing of this can fail.
    let value = serde_json::to_value(&report.measurements).unwrap_or_default();
    let keys = value.as_object().into_iter().flatten();
    keys.map(|(key, _)| key.clone()).collect()
}

fn findings(before: &Report, after: &Report) -> Vec<Difference> {
    let (first, second) = (parts(before), parts(after));
    let was_looked_for = second.is_superset(&first) && !after.interrupted;
    let was_looked_for_before = first.is_superset(&second) && !before.interrupted;
    let mut differences = vec![];
    for old in &before.findings {
        let Some(new) = after.findings.iter().find(|new| new.id == old.id) else {
            differences.push(gone(old, was_looked_for));
            continue;
        };
        let words = format!("{} ({})", new.title, new.id);
        let weight = |severity| match severity {
            Severity::Unknown => 0,
            Severity::Warning => 1,
            Severity::Critical => 2,
        };
        differences.push(match weight(new.severity).cmp(&weight(old.severity)) {
            std::cmp::Ordering::Less => (Way::Better, format!("less grave: {words}")),
            std::cmp::Ordering::Equal => (Way::Still, words),
            std::cmp::Ordering::Greater => (Way::Worse, format!("graver: {words}")),
        });
    }
    for new in &after.findings {
        if before.findings.iter().all(|old| old.id != new.id) {
            differences.push(arisen(new, was_looked_for_before));
        }
    }
    differences
}

fn gone(old: &Finding, was_looked_for: bool) -> Difference {
    let words = format!("{} ({})", old.title, old.id);
    if old.severity == Severity::Unknown {
        (Way::Better, format!("no open question any more: {words}"))
    } else if was_looked_for {
        (Way::Better, format!("not found any more: {words}"))
    } else {
        let words = format!("not found, and perhaps not looked for any more: {words}");
        (Way::NotTold, words)
    }
}

fn arisen(new: &Finding, was_looked_for: bool) -> Difference {
    let words = format!("{} ({})", new.title, new.id);
    if new.severity == Severity::Unknown {
        (Way::NotTold, format!("an open question: {words}"))
    } else if was_looked_for {
        (Way::Worse, format!("new: {words}"))
    } else {
        let words = format!("found, and perhaps not looked for before: {words}");
        (Way::NotTold, words)
    }
}

/// What one of the two did not measure.
fn coverage(before: &Report, after: &Report) -> Vec<Difference> {
    let (first, second) = (parts(before), parts(after));
    let named = |keys: Vec<&String>| {
        let names: Vec<String> = keys.iter().map(|key| key.replace('_', " ")).collect();
        names.join(", ")
    };
    let mut differences = vec![];
    for (keys, words) in [
        (first.difference(&second).collect::<Vec<_>>(), "second"),
        (second.difference(&first).collect::<Vec<_>>(), "first"),
    ] {
        if !keys.is_empty() {
            let words = format!("the {words} report measured nothing of: {}", named(keys));
            differences.push((Way::NotTold, words));
        }
    }
    differences
}

#[cfg(test)]
mod tests;
