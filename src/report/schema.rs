//! The contract of the JSON report as a JSON Schema (draft 2020-12).

use schemars::generate::SchemaSettings;

use crate::report::model::{Report, SCHEMA_VERSION};

/// The schema, indented, with a newline at its end.
///
/// It asks for what every report of this schema version has, and lets others stand beside it: keys are
/// added without a new version.
#[must_use]
pub fn render() -> String {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Report>();
    for (key, value) in [
        ("$id", format!("urn:iax2-natcheck:report:{SCHEMA_VERSION}")),
        (
            "title",
            format!("Report of iax2-natcheck, schema version {SCHEMA_VERSION}"),
        ),
    ] {
        schema.insert(key.to_owned(), value.into());
    }
    // Every map of a schema has strings for keys, which is all that can fail here.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
