//! The JSON report against its contract: every key, its type and its words.

mod agree;
mod calls;
mod schema;
mod seen;
mod snat;
mod taint;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use serde_json::{Map, Value};

/// What a key holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    /// A whole number of 0 or more.
    Count,
    /// A number of 0 or more.
    Number,
    Flag,
    /// `192.0.2.1:4569` or `[2001:db8::1]:4569`.
    Address,
    /// `192.0.2.1` or `2001:db8::1`.
    Host,
    Ip,
    /// The same, or null.
    IpOrNull,
    /// RFC 3339, UTC.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
    Object,
    /// Every item is of the kind of the path with `[]` behind it.
    List,
    /// A text that may be empty.
    Any,
}

/// The path of its object, its name, whether it is needed, and what it holds.
type Key = (&'static str, &'static str, Need, Kind);

/// Whether a key must be there, and may be null.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Need {
    Required,
    /// There, and null where it was not measured.
    OrNull,
    /// Absent where it was not measured.
    OrAbsent,
    /// Absent or null, which differ.
    OrEither,
}

use Kind::{Address, Any, Count, Flag, Host, Ip, IpOrNull, List, Number, Object, Text, Time, Word};
use Need::{OrAbsent, OrEither, OrNull, Required};

const DEPENDENCE: Kind = Word(&[
    "none",
    "endpoint-independent",
    "address-dependent",
    "address-and-port-dependent",
    "unknown",
]);
const STATE: Kind = Word(&[
    "registered",
    "released",
    "rejected",
    "token-refused",
    "auth-unsupported",
    "timeout",
]);

/// Every key but those of the calls and of tainted flows.
const KEYS: &[Key] = &[
    ("", "schema_version", Required, Count),
    ("", "tool", Required, Object),
    ("tool", "name", Required, Word(&["iax2-natcheck"])),
    (
        "tool",
        "version",
        Required,
        Word(&[env!("CARGO_PKG_VERSION")]),
    ),
    (
        "",
        "command",
        Required,
        Word(&[
            "check",
            "demo",
            "register",
            "call",
            "nat mapping",
            "nat filtering",
            "nat hops",
            "nat lifetime",
            "nat hairpin",
            "snat",
            "taint",
            "analyze",
        ]),
    ),
    ("", "started_at", Required, Time),
    ("", "finished_at", Required, Time),
    ("", "host", Required, Object),
    ("host", "os", Required, Text),
    ("host", "kernel", Required, Text),
    ("host", "local_address", OrNull, Address),
    // `taint` and `analyze` ask nobody.
    ("", "provider", OrAbsent, Object),
    ("provider", "name", Required, Text),
    ("provider", "address", Required, Address),
    ("provider", "user", OrNull, Text),
    (
        "",
        "verdict",
        Required,
        Word(&["ok", "warning", "critical", "unknown"]),
    ),
    ("", "summary", Required, Text),
    ("", "interrupted", OrAbsent, Flag),
    ("", "findings", Required, List),
    ("findings", "[]", Required, Object),
    ("findings[]", "id", Required, Text),
    (
        "findings[]",
        "severity",
        Required,
        Word(&["warning", "critical", "unknown"]),
    ),
    ("findings[]", "title", Required, Text),
    ("findings[]", "because", Required, List),
    ("findings[].because", "[]", Required, Text),
    ("findings[]", "do_this", Required, List),
    ("findings[].do_this", "[]", Required, Text),
    ("", "measurements", Required, Object),
    ("measurements", "reachability", OrAbsent, Object),
    ("measurements.reachability", "sent", Required, Count),
    ("measurements.reachability", "received", Required, Count),
    ("measurements.reachability", "rtt_ms", OrNull, Object),
    ("measurements.reachability.rtt_ms", "min", Required, Number),
    (
        "measurements.reachability.rtt_ms",
        "median",
        Required,
        Number,
    ),
    ("measurements.reachability.rtt_ms", "max", Required, Number),
    (
        "measurements.reachability",
        "call_token_required",
        OrNull,
        Flag,
    ),
    ("measurements.reachability", "icmp", OrAbsent, Text),
    (
        "measurements.reachability",
        "answered_from",
        OrAbsent,
        Address,
    ),
    ("measurements", "reflector", OrAbsent, Object),
    ("measurements.reflector", "sent", Required, Count),
    ("measurements.reflector", "received", Required, Count),
    ("measurements.reflector", "rtt_ms", OrNull, Object),
    ("measurements.reflector.rtt_ms", "min", Required, Number),
    ("measurements.reflector.rtt_ms", "median", Required, Number),
    ("measurements.reflector.rtt_ms", "max", Required, Number),
    (
        "measurements.reflector",
        "call_token_required",
        OrNull,
        Flag,
    ),
    ("measurements.reflector", "icmp", OrAbsent, Text),
    ("measurements.reflector", "answered_from", OrAbsent, Address),
    ("measurements", "registration", OrAbsent, Object),
    ("measurements.registration", "state", Required, STATE),
    (
        "measurements.registration",
        "auth",
        OrNull,
        Word(&["none", "plaintext", "md5", "rsa"]),
    ),
    ("measurements.registration", "refresh_s", OrNull, Count),
    (
        "measurements.registration",
        "reregister_after_s",
        OrNull,
        Count,
    ),
    (
        "measurements.registration",
        "apparent_address",
        OrNull,
        Address,
    ),
    ("measurements.registration", "elapsed_ms", OrNull, Number),
    ("measurements.registration", "cause", OrAbsent, Text),
    ("measurements.registration", "cause_code", OrAbsent, Count),
    ("measurements", "asterisk", OrAbsent, Object),
    ("measurements.asterisk", "user", Required, Text),
    ("measurements.asterisk", "state", Required, Text),
    ("measurements.asterisk", "refresh_s", Required, Count),
    ("measurements.asterisk", "perceived", OrNull, Address),
    ("measurements", "mapping", OrAbsent, Object),
    ("measurements.mapping", "behaviour", OrNull, DEPENDENCE),
    ("measurements.mapping", "nat", OrNull, Flag),
    ("measurements.mapping", "port_preserved", OrNull, Flag),
    (
        "measurements.mapping",
        "port_allocation",
        OrAbsent,
        Word(&["preserved", "sequential", "random"]),
    ),
    ("measurements.mapping", "parity_preserved", OrAbsent, Flag),
    (
        "measurements.mapping",
        "pooling",
        OrAbsent,
        Word(&["paired", "arbitrary"]),
    ),
    ("measurements.mapping", "stable_under_load", OrAbsent, Flag),
    ("measurements.mapping", "unopened", OrAbsent, Count),
    ("measurements.mapping", "observations", Required, List),
    ("measurements.mapping.observations", "[]", Required, Object),
    (
        "measurements.mapping.observations[]",
        "local",
        Required,
        Address,
    ),
    (
        "measurements.mapping.observations[]",
        "peer",
        Required,
        Address,
    ),
    (
        "measurements.mapping.observations[]",
        "mapped",
        Required,
        Address,
    ),
    (
        "measurements.mapping.observations[]",
        "at_s",
        Required,
        Number,
    ),
    (
        "measurements.mapping.observations[]",
        "via",
        Required,
        Word(&["reflector", "stun", "registrar"]),
    ),
    ("measurements.mapping", "unanswered", OrAbsent, List),
    ("measurements.mapping.unanswered", "[]", Required, Address),
    ("measurements", "filtering", OrAbsent, Object),
    ("measurements.filtering", "behaviour", Required, DEPENDENCE),
    ("measurements.filtering", "peer", OrAbsent, Address),
    (
        "measurements.filtering",
        "via",
        OrAbsent,
        Word(&["reflector", "stun"]),
    ),
    ("measurements.filtering", "other_address", OrAbsent, Flag),
    ("measurements.filtering", "other_port", OrAbsent, Flag),
    ("measurements.filtering", "controls", OrAbsent, Object),
    ("measurements.filtering.controls", "sent", Required, Count),
    (
        "measurements.filtering.controls",
        "received",
        Required,
        Count,
    ),
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
    ("measurements", "other_family", OrAbsent, Object),
    ("measurements.other_family", "address", Required, Address),
    ("measurements.other_family", "sent", Required, Count),
    ("measurements.other_family", "received", Required, Count),
    ("measurements.other_family", "nat", OrNull, Flag),
    ("measurements.other_family", "behaviour", OrNull, DEPENDENCE),
    ("measurements.other_family", "filtering", OrNull, DEPENDENCE),
    ("measurements.mapping", "neighbours", OrAbsent, Object),
    ("measurements.mapping.neighbours", "port", Required, Count),
    (
        "measurements.mapping.neighbours",
        "first",
        Required,
        Address,
    ),
    (
        "measurements.mapping.neighbours",
        "first_keeps_port",
        Required,
        Flag,
    ),
    (
        "measurements.mapping.neighbours",
        "first_stays",
        OrNull,
        Flag,
    ),
    (
        "measurements.mapping.neighbours",
        "second",
        Required,
        Address,
    ),
    (
        "measurements.mapping.neighbours",
        "second_keeps_port",
        Required,
        Flag,
    ),
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
    ("measurements", "callback", OrAbsent, Object),
    ("measurements.callback", "extension", Required, Text),
    ("measurements.callback", "arrives", OrNull, Flag),
    ("measurements.callback", "late", OrNull, Object),
    ("measurements.callback.late", "after_s", Required, Number),
    ("measurements.callback.late", "arrived", OrNull, Flag),
    ("measurements.callback.late", "took_ms", OrNull, Number),
    ("measurements.callback", "control", OrAbsent, Object),
    ("measurements.callback.control", "after_s", Required, Number),
    ("measurements.callback.control", "arrived", OrNull, Flag),
    ("measurements.callback.control", "took_ms", OrNull, Number),
    ("measurements", "calls", OrAbsent, Object),
    ("measurements", "payload", OrAbsent, Object),
    ("measurements.payload", "rewritten", OrNull, Flag),
    ("measurements.payload", "compared", Required, Count),
    ("measurements.payload", "octets", Required, Count),
    ("measurements", "inbound", OrAbsent, Object),
    ("measurements.inbound", "address", Required, Address),
    ("measurements.inbound", "from", OrAbsent, Address),
    ("measurements.inbound", "answered", OrNull, Flag),
    ("measurements", "hops", OrAbsent, Object),
    ("measurements.hops", "nats", Required, List),
    ("measurements.hops.nats", "[]", Required, Object),
    ("measurements.hops.nats[]", "hop", Required, Count),
    ("measurements.hops.nats[]", "address", OrNull, Ip),
    ("measurements.hops.nats[]", "exchange_s", OrEither, Number),
    ("measurements.hops.nats[]", "alive_s", OrAbsent, Number),
    ("measurements.hops", "distance", OrAbsent, Count),
    ("measurements.hops", "outermost", OrAbsent, Count),
    ("measurements.hops", "routers", OrAbsent, List),
    ("measurements.hops.routers", "[]", Required, IpOrNull),
    ("measurements", "reachable", OrAbsent, Object),
    ("measurements.reachable", "fraction", Required, Number),
    ("measurements.reachable", "open_s", OrNull, Number),
    ("measurements.reachable", "cycle_s", Required, Number),
    ("measurements", "hairpin", OrAbsent, Object),
    ("measurements.hairpin", "supported", OrNull, Flag),
    ("measurements.hairpin", "external_source", OrAbsent, Flag),
    ("measurements.hairpin", "sent", Required, Count),
    ("measurements", "port_mapping", OrAbsent, Object),
    ("measurements.port_mapping", "upnp", Required, Flag),
    ("measurements.port_mapping", "nat_pmp", Required, Flag),
    ("measurements.port_mapping", "pcp", Required, Flag),
    ("measurements.port_mapping", "gateway", OrAbsent, Host),
    (
        "measurements.port_mapping",
        "external_address",
        OrAbsent,
        Host,
    ),
    ("measurements.port_mapping", "device", OrAbsent, Text),
    ("measurements.port_mapping", "protocols", OrAbsent, List),
    (
        "measurements.port_mapping.protocols",
        "[]",
        Required,
        Object,
    ),
    (
        "measurements.port_mapping.protocols[]",
        "name",
        Required,
        Word(&["upnp", "nat_pmp", "pcp"]),
    ),
    (
        "measurements.port_mapping.protocols[]",
        "external_address",
        OrNull,
        Host,
    ),
    (
        "measurements.port_mapping.protocols[]",
        "mapping_made",
        Required,
        Flag,
    ),
    (
        "measurements.port_mapping.protocols[]",
        "mapping_removed",
        OrAbsent,
        Flag,
    ),
    (
        "measurements.port_mapping.protocols[]",
        "refused",
        OrAbsent,
        Text,
    ),
    ("measurements", "device", OrAbsent, Object),
    ("measurements.device", "vendor", Required, Text),
    ("measurements.device", "product", Required, Text),
    (
        "measurements.device",
        "by",
        Required,
        Word(&["user", "upnp"]),
    ),
    (
        "measurements.device",
        "confidence",
        Required,
        Word(&["verified", "secondary", "unverified"]),
    ),
];

/// Panics with all that is wrong with a report.
pub fn validate(report: &Value) {
    let mut wrong = vec![];
    match report {
        Value::Object(object) => look("", object, &mut wrong),
        _ => wrong.push("the report is no object".to_owned()),
    }
    schema::agree(report, &mut wrong);
    if wrong.is_empty() {
        agree::agree(report, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}\n{report:#}", wrong.join("\n"));
}

fn keys() -> impl Iterator<Item = Key> {
    let parts = taint::KEYS.iter().chain(snat::KEYS).chain(seen::KEYS);
    KEYS.iter().chain(parts).copied().chain(calls::keys())
}

fn look(path: &str, object: &Map<String, Value>, wrong: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    for (_, name, need, kind) in keys().filter(|(parent, ..)| *parent == path) {
        known.insert(name);
        let place = join(path, name);
        match object.get(name) {
            None if matches!(need, OrAbsent | OrEither) => {}
            None => wrong.push(format!("{place} is missing")),
            Some(Value::Null) if matches!(need, OrNull | OrEither) => {}
            Some(value) => {
                if !fits(value, kind) {
                    wrong.push(format!("{place} is {value}, not {kind:?}"));
                }
                descend(&place, value, wrong);
            }
        }
    }
    for name in object.keys().filter(|name| !known.contains(name.as_str())) {
        wrong.push(format!("{} is no key of the contract", join(path, name)));
    }
}

fn descend(place: &str, value: &Value, wrong: &mut Vec<String>) {
    match value {
        Value::Object(object) => look(place, object, wrong),
        Value::Array(items) => {
            let rule = keys().find(|(parent, name, ..)| *parent == place && *name == "[]");
            let Some((.., kind)) = rule else {
                wrong.push(format!("{place} is a list of nothing known"));
                return;
            };
            for item in items {
                if !fits(item, kind) {
                    wrong.push(format!("{place}[] has {item}, not {kind:?}"));
                }
                descend(&format!("{place}[]"), item, wrong);
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn fits(value: &Value, kind: Kind) -> bool {
    let text = value.as_str();
    match kind {
        Text => text.is_some_and(|text| !text.trim().is_empty()),
        Count => value.is_u64(),
        Number => value.as_f64().is_some_and(|number| number >= 0.0),
        Flag => value.is_boolean(),
        Address => text.is_some_and(|text| {
            let read = text.parse::<SocketAddr>();
            read.is_ok_and(|address| address.to_string() == text && address.port() != 0)
        }),
        Host => text.is_some_and(|text| {
            let read = text.parse::<IpAddr>();
            read.is_ok_and(|ip| ip.to_string() == text)
        }),
        Ip => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        IpOrNull => value.is_null() || fits(value, Ip),
        Time => {
            text.is_some_and(|text| text.ends_with('Z') && humantime::parse_rfc3339(text).is_ok())
        }
        Any => text.is_some(),
        Word(words) => text.is_some_and(|text| words.contains(&text)),
        Object => value.is_object(),
        List => value.is_array(),
    }
}
