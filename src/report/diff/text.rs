//! A comparison as text of 80 columns.

use crate::report::{
    diff::{Diff, Side},
    text::wrap,
};

/// Renders a comparison: what it amounts to, the two reports, and the differences.
#[must_use]
pub fn render(diff: &Diff) -> String {
    let mut lines = wrap::paragraph(&sum(diff), "", "");
    lines.extend(side("before", &diff.before));
    lines.extend(side("after", &diff.after));
    for (heading, items) in [
        ("beware", &diff.remarks),
        ("better", &diff.better),
        ("worse", &diff.worse),
        ("still wrong", &diff.still),
        ("changed", &diff.changed),
        ("not told", &diff.not_told),
    ] {
        if !items.is_empty() {
            lines.push(String::new());
            lines.push(heading.into());
            for item in items {
                lines.extend(wrap::paragraph(item, "   - ", "     "));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sum(diff: &Diff) -> String {
    let head = match (diff.better.is_empty(), diff.worse.is_empty()) {
        (false, true) => "BETTER",
        (true, false) => "WORSE",
        (false, false) => "BETTER AND WORSE",
        (true, true) if diff.not_told.is_empty() => "THE SAME",
        (true, true) => "NOT TOLD",
    };
    let first = diff.better.iter().chain(&diff.worse).next();
    let rest = first.or(diff.not_told.first()).map_or_else(
        || "no difference that the measurements can tell".to_owned(),
        Clone::clone,
    );
    format!("{head}: {rest}.")
}

fn side(name: &str, side: &Side) -> Vec<String> {
    let provider = side
        .provider
        .as_ref()
        .map_or_else(String::new, |provider| format!(" {provider}"));
    let words = format!(
        "{}{provider}, {}, {}",
        side.command,
        side.finished_at,
        side.verdict.as_str()
    );
    wrap::paragraph(&words, &format!("{name:<8}"), &" ".repeat(8))
}
