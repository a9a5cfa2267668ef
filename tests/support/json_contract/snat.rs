//! The keys of `snat`: `rules` and `measurements.router`.

use serde_json::Value;

use super::{
    Key,
    Kind::{Flag, List, Object, Text, Word},
    Need::{OrAbsent, OrNull, Required},
};

/// Every key of `rules` and of `measurements.router`, and these themselves.
pub(super) const KEYS: &[Key] = &[
    ("measurements", "router", OrAbsent, Object),
    ("measurements.router", "wan", Required, Text),
    ("measurements.router", "address", OrNull, Text),
    ("measurements.router", "static", OrNull, Flag),
    ("measurements.router", "others", Required, List),
    ("measurements.router.others", "[]", Required, Text),
    ("measurements.router", "lans", Required, List),
    ("measurements.router.lans", "[]", Required, Text),
    ("measurements.router", "notes", Required, List),
    ("measurements.router.notes", "[]", Required, Text),
    ("measurements.router", "refused", Required, List),
    ("measurements.router.refused", "[]", Required, Object),
    ("measurements.router.refused[]", "what", Required, Text),
    ("measurements.router.refused[]", "why", Required, Text),
    ("", "rules", OrAbsent, List),
    ("rules", "[]", Required, Object),
    ("rules[]", "title", Required, Text),
    ("rules[]", "command", Required, Text),
    ("rules[]", "undo", OrNull, Text),
    ("rules[]", "prevents", Required, List),
    (
        "rules[].prevents",
        "[]",
        Required,
        Word(&[
            "wrong-source-masquerade",
            "null-binding",
            "stale-source",
            "wrong-uplink",
        ]),
    ),
    ("rules[]", "why", Required, Text),
    ("rules[]", "file", OrAbsent, Text),
];

/// What must be so between its parts and the rest of a report.
pub(super) fn agree(report: &Value, must: &mut dyn FnMut(bool, &str)) {
    let asked = report["provider"].is_object();
    must(
        match report["command"].as_str() {
            Some("snat" | "analyze") => !asked,
            Some("taint") => true,
            _ => asked,
        },
        "every command but snat, analyze and taint asks a provider",
    );
    must(
        (report["command"] == "snat") == report["rules"].is_array(),
        "snat alone proposes rules",
    );
}
