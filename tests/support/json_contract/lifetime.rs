//! The keys of `measurements.lifetime`.

use super::{
    Key,
    Kind::{Count, Flag, List, Number, Object, Text, Word},
    Need::{OrAbsent, OrEither, OrNull, Required},
};

/// Every key of `measurements.lifetime`, and that itself.
pub(super) const KEYS: &[Key] = &[
    ("measurements", "lifetime", OrAbsent, Object),
    (
        "measurements.lifetime",
        "method",
        Required,
        Word(&["reflector", "stun", "drift", "sibling", "qualify", "token"]),
    ),
    (
        "measurements.lifetime",
        "confidence",
        Required,
        Word(&["direct", "inferred", "lower-bound"]),
    ),
    ("measurements.lifetime", "one_way", OrAbsent, Object),
    ("measurements.lifetime", "exchange", OrAbsent, Object),
    ("measurements.lifetime", "stream", OrAbsent, Object),
    ("measurements.lifetime.one_way", "alive_s", OrNull, Number),
    ("measurements.lifetime.one_way", "dead_s", OrEither, Number),
    ("measurements.lifetime.exchange", "alive_s", OrNull, Number),
    ("measurements.lifetime.exchange", "dead_s", OrEither, Number),
    ("measurements.lifetime.stream", "alive_s", OrNull, Number),
    ("measurements.lifetime.stream", "dead_s", OrEither, Number),
    ("measurements.lifetime", "inbound_refreshes", OrNull, Flag),
    ("measurements.lifetime", "refreshed_by", OrAbsent, Object),
    (
        "measurements.lifetime.refreshed_by",
        "outbound",
        OrNull,
        Flag,
    ),
    ("measurements.lifetime.refreshed_by", "inval", OrNull, Flag),
    (
        "measurements.lifetime.refreshed_by",
        "low_ttl",
        Required,
        List,
    ),
    (
        "measurements.lifetime.refreshed_by.low_ttl",
        "[]",
        Required,
        Object,
    ),
    (
        "measurements.lifetime.refreshed_by.low_ttl[]",
        "ttl",
        Required,
        Count,
    ),
    (
        "measurements.lifetime.refreshed_by.low_ttl[]",
        "refreshes",
        OrNull,
        Flag,
    ),
    (
        "measurements.lifetime.refreshed_by",
        "ended_by_icmp_error",
        OrNull,
        Flag,
    ),
    ("measurements.lifetime", "busy", OrAbsent, Object),
    ("measurements.lifetime.busy", "alive_s", Required, Number),
    ("measurements.lifetime.busy", "dead_s", OrEither, Number),
    ("measurements.lifetime", "elapsed_s", Required, Number),
    ("measurements.lifetime", "longest_s", Required, Number),
    ("measurements.lifetime", "mappings", Required, Count),
    ("measurements.lifetime", "controls", Required, Object),
    ("measurements.lifetime.controls", "sent", Required, Count),
    (
        "measurements.lifetime.controls",
        "received",
        Required,
        Count,
    ),
    ("measurements.lifetime", "alike", OrAbsent, List),
    ("measurements.lifetime.alike", "[]", Required, Text),
];
