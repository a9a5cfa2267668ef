//! The published JSON Schema, by a validator that is not ours.

use std::sync::LazyLock;

use iax2_natcheck::report::schema;
use jsonschema::Validator;
use serde_json::Value;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&schema::render()).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).unwrap()
});

/// Tells everything in which a report departs from the schema.
pub fn agree(report: &Value, wrong: &mut Vec<String>) {
    for error in VALIDATOR.iter_errors(report) {
        wrong.push(format!("the schema: {} {error}", error.instance_path()));
    }
}
