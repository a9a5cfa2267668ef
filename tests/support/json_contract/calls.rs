//! The keys of `measurements.calls`, and what holds between them.

use serde_json::Value;

use super::{
    Key,
    Kind::{self, Any, Count, Flag, List, Number, Object, Text, Word},
    Need::{self, OrAbsent, OrNull, Required},
};

const AT: &str = "measurements.calls";

/// The words for how a call failed.
const SIGNATURES: Kind = Word(&[
    "auto-congested",
    "token-missing",
    "token-refused",
    "rejected",
    "congested",
    "auth-unsupported",
    "not-encrypted",
    "no-codec",
    "invalidated",
    "raw-hangup",
    "call-state-lost",
    "frame-lost",
    "flow-lost",
    "path-lost",
    "silent",
    "stalled",
    "hangup-lost",
    "hung-up",
]);

/// Every key of an object: its name, whether it is needed, and what it holds.
type Rows = &'static [(&'static str, Need, Kind)];

/// Every object below `measurements.calls`, and that itself.
const OBJECTS: &[(&str, Rows)] = &[
    (
        "measurements.calls",
        &[
            ("extension", Required, Text),
            ("attempted", Required, Count),
            ("answered", Required, Count),
            ("completed", Required, Count),
            ("raw_hangups", Required, Count),
            ("invals", Required, Count),
            ("pattern", OrNull, Word(&["none", "random", "systematic"])),
            ("pattern_because", Required, Text),
            ("failure_rate", OrAbsent, Object),
            ("signatures", OrAbsent, Object),
            ("setup_ms", OrAbsent, Object),
            ("answer_ms", OrAbsent, Object),
            ("rtt_ms", OrAbsent, Object),
            ("lag_ms", OrAbsent, Object),
            ("codec", OrAbsent, Text),
            ("auth", OrAbsent, Word(&["plaintext", "md5", "rsa"])),
            ("encrypted", Required, Flag),
            ("call_token", Required, Flag),
            ("retransmissions", Required, Count),
            ("progress", OrAbsent, List),
            ("media", OrAbsent, Object),
            ("audio", OrAbsent, Object),
            ("jitter_buffer", OrAbsent, Object),
            ("far_end", OrAbsent, Object),
            ("dtmf", OrAbsent, Object),
            ("texts", OrAbsent, List),
            ("wire", OrAbsent, Object),
            ("failures", OrAbsent, List),
        ],
    ),
    (
        "measurements.calls.failure_rate",
        &[("low", Required, Number), ("high", Required, Number)],
    ),
    ("measurements.calls.setup_ms", SPREAD),
    ("measurements.calls.answer_ms", SPREAD),
    ("measurements.calls.rtt_ms", SPREAD),
    ("measurements.calls.lag_ms", SPREAD),
    (
        "measurements.calls.media",
        &[
            ("sent", Required, Count),
            ("received", Required, Count),
            ("lost", Required, Count),
            ("reordered", Required, Count),
            ("duplicated", Required, Count),
            ("jitter_ms", OrNull, Number),
            ("one_way", OrNull, Flag),
            ("outbound", OrAbsent, Flag),
            ("inbound", OrAbsent, Flag),
            ("returned", Required, Count),
            ("returned_out_of_order", Required, Count),
            ("lost_outbound", OrAbsent, Count),
            ("lost_inbound", Required, Count),
            ("gaps", Required, Count),
            ("longest_gap_ms", OrAbsent, Number),
            ("delay_ms", OrAbsent, Object),
            ("carriers", Required, Object),
        ],
    ),
    (
        "measurements.calls.media.delay_ms",
        &[
            ("min", Required, Number),
            ("median", Required, Number),
            ("p95", Required, Number),
            ("max", Required, Number),
        ],
    ),
    (
        "measurements.calls.media.carriers",
        &[
            ("full", Required, Count),
            ("mini", Required, Count),
            ("trunk", Required, Count),
        ],
    ),
    (
        "measurements.calls.audio",
        &[
            ("r_factor", Required, Number),
            ("mos", Required, Number),
            ("listener", Required, Word(&["here", "far-end"])),
            ("one_way_ms", Required, Number),
            ("loss_percent", Required, Number),
            ("burst_ratio", Required, Number),
            ("codec_ie", Required, Number),
            ("codec_bpl", OrNull, Number),
        ],
    ),
    (
        "measurements.calls.jitter_buffer",
        &[
            ("depth_ms", Required, Count),
            ("maxjitterbuffer", Required, Count),
            ("jittertargetextra", Required, Count),
            ("resyncthreshold", Required, Count),
        ],
    ),
    (
        "measurements.calls.far_end",
        &[
            ("measured", Required, Flag),
            ("received", Required, Count),
            ("lost", Required, Count),
            ("loss_percent", Required, Count),
            ("jitter_ms", Required, Count),
            ("delay_ms", Required, Count),
            ("dropped", Required, Count),
            ("out_of_order", Required, Count),
        ],
    ),
    // Nothing is an empty text here, and no text of a peer need be there.
    (
        "measurements.calls.dtmf",
        &[("sent", Required, Any), ("received", Required, Any)],
    ),
    ("measurements.calls.progress", &[("[]", Required, Text)]),
    ("measurements.calls.texts", &[("[]", Required, Any)]),
    (
        "measurements.calls.wire",
        &[
            ("plain_bps", OrNull, Number),
            ("trunked_bps", OrNull, Number),
            ("trunked_at_once", Required, Count),
            ("uplink_bps", OrAbsent, Count),
            ("uplink_plain_calls", OrAbsent, Count),
            ("uplink_trunked_calls", OrAbsent, Count),
        ],
    ),
    ("measurements.calls.failures", &[("[]", Required, Object)]),
    (
        "measurements.calls.failures[]",
        &[
            ("call", Required, Count),
            ("signature", Required, SIGNATURES),
            ("trunked", Required, Flag),
            ("after_s", OrNull, Number),
            ("what", Required, Text),
            ("control", OrAbsent, Object),
        ],
    ),
    (
        "measurements.calls.failures[].control",
        &[
            ("same_sent", Required, Count),
            ("same_received", Required, Count),
            ("fresh_sent", Required, Count),
            ("fresh_received", Required, Count),
        ],
    ),
];

const SPREAD: Rows = &[
    ("min", Required, Number),
    ("median", Required, Number),
    ("max", Required, Number),
];

/// Every key, in the form of the other tables. The names below `signatures` are the signatures
/// themselves.
pub(super) fn keys() -> impl Iterator<Item = Key> {
    let own = OBJECTS.iter().flat_map(|(path, rows)| {
        rows.iter()
            .map(|(name, need, kind)| (*path, *name, *need, *kind))
    });
    let Word(words) = SIGNATURES else {
        unreachable!()
    };
    let counts = words
        .iter()
        .map(|word| ("measurements.calls.signatures", *word, OrAbsent, Count));
    own.chain(counts)
}

/// What holds between the keys.
pub(super) fn agree(report: &Value, must: &mut dyn FnMut(bool, &str)) {
    let calls = &report["measurements"]["calls"];
    if calls.is_null() {
        return;
    }
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let attempted = count(&calls["attempted"]);
    let answered = count(&calls["answered"]);
    must(answered <= attempted, "more calls answered than placed");
    must(
        count(&calls["completed"]) <= answered,
        "more calls completed than answered",
    );
    must(
        count(&calls["invals"]) <= count(&calls["raw_hangups"]),
        "an INVAL is a raw hangup",
    );
    let failed: u64 = calls["signatures"]
        .as_object()
        .map_or(0, |all| all.values().map(count).sum());
    let listed = calls["failures"].as_array().map_or(0, Vec::len) as u64;
    must(listed == failed.min(50), "failures and signatures disagree");
    if report["interrupted"].is_null() {
        must(
            (failed == 0 && attempted > 0) == (calls["pattern"] == "none"),
            "the pattern is none where no call failed, and there alone",
        );
    }
    let rate = &calls["failure_rate"];
    if let (Some(low), Some(high)) = (rate["low"].as_f64(), rate["high"].as_f64()) {
        must(0.0 <= low && low <= high && high <= 1.0, "failure_rate");
    }
    let media = &calls["media"];
    if !media.is_null() {
        must(
            count(&media["returned"]) <= count(&media["sent"]),
            "more of our blocks came back than were sent",
        );
        let carriers = &media["carriers"];
        let carried = ["full", "mini", "trunk"].map(|name| count(&carriers[name]));
        must(
            carried.iter().sum::<u64>() >= count(&media["received"]),
            "packets came on no carrier",
        );
        let ways = [&media["inbound"], &media["outbound"]];
        if ways.iter().any(|way| **way == false) {
            must(media["one_way"] == true, "a dead way is one-way audio");
        }
        if media["one_way"] == false {
            must(
                ways.iter().all(|way| **way == true) || count(&media["returned"]) > 0,
                "both ways pass, it says, and nothing shows it",
            );
        }
    }
    for name in ["setup_ms", "answer_ms", "rtt_ms", "lag_ms"] {
        let spread = &calls[name];
        let parts = ["min", "median", "max"].map(|part| spread[part].as_f64().unwrap_or(0.0));
        must(parts.is_sorted(), &format!("{AT}.{name} is not in order"));
    }
    let far_end = &calls["far_end"];
    if far_end["measured"] == false {
        let zero = ["lost", "loss_percent", "jitter_ms", "dropped"]
            .iter()
            .all(|name| count(&far_end[name]) == 0);
        must(zero, "the far end measured nothing and tells of it");
    }
}
