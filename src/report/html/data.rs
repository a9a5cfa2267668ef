//! Everything that a report holds, key by key, folded up: also what this version knows nothing of.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::report::model::Report;

/// As deep as a report may nest before the rest is shown as JSON.
const DEPTH: usize = 6;

/// What the head of the page and its findings have shown already.
const SHOWN: [&str; 11] = [
    "schema_version",
    "tool",
    "command",
    "started_at",
    "finished_at",
    "host",
    "provider",
    "verdict",
    "summary",
    "interrupted",
    "findings",
];

/// A section for every other key of the report, and for every part of its measurements.
pub(super) fn sections(report: &Report) -> Markup {
    // A report is an object with strings for keys, so nothing of this can fail.
    let whole = serde_json::to_value(report).unwrap_or_default();
    let parts: Vec<(&String, &Value)> = whole
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !SHOWN.contains(&key.as_str()))
        .flat_map(|(key, value)| match value.as_object() {
            Some(measurements) if key == "measurements" => measurements.iter().collect(),
            _ => vec![(key, value)],
        })
        .collect();
    html! {
        @if !parts.is_empty() {
            h2 { "All data" }
            @for (name, value) in parts {
                details.data {
                    summary { code { (name) } }
                    (tree(value, DEPTH))
                }
            }
        }
    }
}

fn tree(value: &Value, depth: usize) -> Markup {
    match value {
        Value::Array(items) if depth > 0 => list(items, depth),
        Value::Object(object) if depth > 0 && !object.is_empty() => html! {
            ul {
                @for (key, value) in object {
                    li {
                        code { (key) } ": "
                        (tree(value, depth - 1))
                    }
                }
            }
        },
        other => scalar(other),
    }
}

/// Objects become the rows of a table, where all of them are such.
fn list(items: &[Value], depth: usize) -> Markup {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    if objects.is_empty() || objects.len() < items.len() {
        return html! {
            @if items.is_empty() { "none" }
            @else { ul { @for item in items { li { (tree(item, depth - 1)) } } } }
        };
    }
    let columns: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for column in &columns { th { (column) } } } }
                tbody {
                    @for object in objects {
                        tr {
                            @for column in &columns {
                                td { @if let Some(value) = object.get(*column) { (tree(value, depth - 1)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn scalar(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Null => code { "null" },
            Value::Bool(true) => "yes",
            Value::Bool(false) => "no",
            Value::String(text) => (text),
            other => (other.to_string()),
        }
    }
}
