//! A report as it may be shown: without characters of strangers that move a cursor or turn a text around.
//!
//! Names and causes from the network are written out where they are read. A saved report is the word of whoever
//! saved it, and so is what a console or a router's description says; so each rendering for people begins here.

use std::borrow::Cow;

use serde_json::Value;

use crate::{report::model::Report, types::is_printable};

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
        Value::String(text) => written_out(text).map(|clean| *text = clean).is_some(),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| clean(item) | any),
        Value::Object(members) => {
            let keys: Vec<String> = members
                .keys()
                .filter(|key| written_out(key).is_some())
                .cloned()
                .collect();
            let renamed = !keys.is_empty();
            for key in keys {
                if let (Some(new), Some(member)) = (written_out(&key), members.remove(&key)) {
                    members.insert(new, member);
                }
            }
            members
                .values_mut()
                .fold(renamed, |any, member| clean(member) | any)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn written_out(text: &str) -> Option<String> {
    let stays = |character: char| character == '\n' || is_printable(character);
    if text.chars().all(stays) {
        return None;
    }
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if stays(character) {
            clean.push(character);
        } else {
            clean.extend(character.escape_default());
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{fixture, html, text};

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
        for shown in [text::render(&report, false), html::render(&report)] {
            let bad = |c: char| c != '\n' && !is_printable(c);
            assert!(!shown.contains(bad), "{shown:?}");
            assert!(shown.contains("a\\u{1b}[2Jb\\u{9b}c\\u{202e}d"), "{shown}");
        }
    }
}
