//! A report as it may be shown: without characters of strangers that move a cursor or turn a text around.
//!
//! Names and causes from the network are written out where they are read. A saved report is the word of whoever
//! saved it, and so is what a console or a router's description says; so each rendering but JSON begins here, and JSON, which must
//! give back what it was given, escapes them as it may.

use std::borrow::Cow;

use serde_json::Value;

use crate::{report::model::Report, types};

/// The report with each such character written out, as `\u{1b}`; lines stay lines.
pub(super) fn printable(report: &Report) -> Cow<'_, Report> {
    let Ok(mut value) = serde_json::to_value(report) else {
        return Cow::Borrowed(report);
    };
    if !clean(&mut value) {
        return Cow::Borrowed(report);
    }
    serde_json::from_value(value).map_or(Cow::Borrowed(report), Cow::Owned)
}

/// Whether anything had to be written out.
fn clean(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match types::printable(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(clean) => {
                *text = clean;
                true
            }
        },
        Value::Array(items) => items.iter_mut().fold(false, |any, item| clean(item) | any),
        Value::Object(members) => {
            let keys: Vec<(String, String)> = members
                .keys()
                .filter_map(|key| match types::printable(key) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(clean) => Some((key.clone(), clean)),
                })
                .collect();
            let renamed = !keys.is_empty();
            for (key, clean) in keys {
                if let Some(member) = members.remove(&key) {
                    members.insert(clean, member);
                }
            }
            members
                .values_mut()
                .fold(renamed, |any, member| clean(member) | any)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{fixture, html, json, nagios, prometheus, text};
    use crate::types::is_printable;

    #[test]
    fn what_is_harmless_is_not_copied() {
        assert!(matches!(printable(&fixture("critical")), Cow::Borrowed(_)));
    }

    #[test]
    fn strangers_move_no_cursor_and_turn_no_text() {
        let mut report = fixture("critical");
        report.findings[0].title = "a\u{1b}[2Jb\u{9b}c\u{202e}d\u{2066}e".into();
        report.summary = Some("x\u{7f}\ty".into());
        if let Some(registration) = &mut report.measurements.registration {
            registration.state = "\u{1b}]0;z\u{7}".into();
        }
        if let Some(provider) = &mut report.provider {
            provider.name = "p\u{1b}[2J\u{2028}".into();
        }
        report.findings[0].id = "i\u{9b}\u{61c}".into();
        let bad = |c: char| c != '\n' && !is_printable(c);
        for shown in [text::render(&report, false), html::render(&report)] {
            assert!(!shown.contains(bad), "{shown:?}");
            assert!(shown.contains("a\\u{1b}[2Jb\\u{9b}c\\u{202e}d"), "{shown}");
        }
        let line = nagios::render(&report);
        assert!(!line.contains(bad), "{line:?}");
        assert!(line.contains("[i\\u{9b}\\u{61c}]"), "{line}");
        let metrics = prometheus::render(&report);
        assert!(!metrics.contains(bad), "{metrics:?}");
        assert!(
            metrics.contains(r#"provider="p\\u{1b}[2J\\u{2028}""#),
            "{metrics}"
        );
        for told in [json::render(&report), json::line(&report)] {
            assert!(!told.contains(bad), "{told:?}");
            assert_eq!(json::read(&told).unwrap(), report);
        }
    }
}
