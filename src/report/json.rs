//! The report as JSON, and back.

use std::{borrow::Cow, fmt::Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    report::model::{Report, SCHEMA_VERSION},
    types::is_printable,
};

/// Why a saved report cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The text is no report.
    #[error("is no report of this program ({0}); save one with --json --output FILE")]
    Malformed(#[from] serde_json::Error),
    /// The report follows another contract.
    #[error(
        "has schema_version {found}, and this program reads {SCHEMA_VERSION}; use the version of \
         the program that wrote it"
    )]
    Version {
        /// What the report says.
        found: u32,
    },
}

/// The key that every version of the contract has.
#[derive(Deserialize)]
struct Versioned {
    schema_version: u32,
}

/// Renders a report as JSON, indented, with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// Renders a report, or another part of the contract, as JSON on one line, for a file of many.
#[must_use]
pub fn line<T: Serialize>(value: &T) -> String {
    // The same holds here.
    let mut text = escaped(&serde_json::to_string(value).unwrap_or_default()).into_owned();
    text.push('\n');
    text
}

/// Renders any other part of the contract as [`render`] does.
#[must_use]
pub fn pretty<T: Serialize>(value: &T) -> String {
    // Every map of the model has strings for keys, which is all that can fail here.
    let mut text = escaped(&serde_json::to_string_pretty(value).unwrap_or_default()).into_owned();
    text.push('\n');
    text
}

/// JSON without anything raw that moves a cursor or turns a text around: such a character can only stand inside of a
/// string, where an escape says the same.
fn escaped(json: &str) -> Cow<'_, str> {
    let stays = |character: char| character == '\n' || is_printable(character);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if stays(character) {
            clean.push(character);
        } else {
            // All of them are in the Basic Multilingual Plane. Writing to a string does not fail.
            let _ = write!(clean, "\\u{:04x}", u32::from(character));
        }
    }
    Cow::Owned(clean)
}

/// Reads a saved report; keys this version does not know are kept.
///
/// # Errors
///
/// [`ReadError`] where the text is no report, or one of another schema version.
pub fn read(text: &str) -> Result<Report, ReadError> {
    let Versioned { schema_version } = serde_json::from_str(text)?;
    if schema_version != SCHEMA_VERSION {
        return Err(ReadError::Version {
            found: schema_version,
        });
    }
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{model::Gone, status};

    const CRITICAL: &str = include_str!("../../tests/data/reports/critical.json");

    #[test]
    fn the_report_of_the_contract_survives_reading_and_writing() {
        let report = read(CRITICAL).unwrap();
        assert_eq!(status(&report), 2);
        let again: serde_json::Value = serde_json::from_str(&render(&report)).unwrap();
        let before: serde_json::Value = serde_json::from_str(CRITICAL).unwrap();
        assert_eq!(numbers_as_doubles(again), numbers_as_doubles(before));
    }

    /// 31.0 and 31 are one number, kept apart by the parser.
    fn numbers_as_doubles(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) => Value::from(number.as_f64().unwrap()),
            Value::Array(items) => items.into_iter().map(numbers_as_doubles).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (key, numbers_as_doubles(value)))
                .collect(),
            other => other,
        }
    }

    #[test]
    fn null_outlived_and_absent_is_not_known() {
        for (json, gone) in [
            (r#"{"alive_s":300,"dead_s":null}"#, Gone::Outlived),
            (r#"{"alive_s":300}"#, Gone::Unknown),
            (r#"{"alive_s":29,"dead_s":30}"#, Gone::After(30.0.into())),
        ] {
            let edge: crate::report::model::Edge = serde_json::from_str(json).unwrap();
            assert_eq!(edge.dead_s, gone);
            assert_eq!(serde_json::to_string(&edge).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_report_is_named() {
        let rows = [
            ("", "is no report of this program (EOF"),
            ("{}", "missing field `schema_version`"),
            (r#"{"schema_version": 2}"#, "has schema_version 2"),
            (r#"{"schema_version": 1}"#, "missing field `tool`"),
        ];
        for (text, words) in rows {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains('\n'));
        }
    }
}
