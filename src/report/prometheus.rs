//! The report as metrics in the text format of Prometheus, for the textfile collector of its node exporter.
//!
//! Every metric is a gauge that begins with `iax2_natcheck_`; what was not measured has none.

use std::{fmt::Write, time::UNIX_EPOCH};

use crate::report::{
    model::{Edge, Number, Report, Severity, Verdict},
    printable::printable,
    status,
};

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, f64);

/// Renders a report as metrics.
#[must_use]
pub fn render(report: &Report) -> String {
    let report = &*printable(report);
    let mut text = String::new();
    for (name, help, samples) in metrics(report) {
        if samples.is_empty() {
            continue;
        }
        // Writing to a string does not fail; so below.
        let _ = writeln!(text, "# HELP iax2_natcheck_{name} {help}");
        let _ = writeln!(text, "# TYPE iax2_natcheck_{name} gauge");
        for (labels, value) in samples {
            let mut labels = labels;
            labels.insert(0, ("provider", provider(report)));
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = writeln!(text, "iax2_natcheck_{name}{{{}}} {value}", labels.join(","));
        }
    }
    text
}

/// The provider as the user named it; nothing where nobody was asked.
fn provider(report: &Report) -> String {
    let provider = report.provider.as_ref();
    provider.map_or_else(String::new, |provider| provider.name.clone())
}

/// What a label's value may hold.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn metrics(report: &Report) -> Vec<(&'static str, &'static str, Vec<Sample>)> {
    let measured = &report.measurements;
    let finished = report.finished_at.0.duration_since(UNIX_EPOCH);
    let reachable = measured.reachable.as_ref();
    vec![
        (
            "status",
            "Verdict: 0 ok, 1 warning, 2 critical, 3 unknown.",
            one(f64::from(status(report))),
        ),
        (
            "verdict",
            "1 for the verdict of the report, 0 for the others.",
            verdicts(report.verdict),
        ),
        (
            "finding",
            "1 for each finding of the report.",
            findings(report),
        ),
        (
            "finished_timestamp_seconds",
            "When the report was finished.",
            finished.map_or_else(|_| vec![], |since| one(since.as_secs_f64().floor())),
        ),
        (
            "reachable_ratio",
            "Share of the time in which calls can come in.",
            number(reachable.and_then(|it| it.fraction)),
        ),
        (
            "registration_interval_seconds",
            "From one registration to the next.",
            number(reachable.and_then(|it| it.cycle_s)),
        ),
        (
            "mapping_alive_seconds",
            "Longest idle time after which a mapping was proven alive.",
            edges(report, |edge| edge.alive_s),
        ),
        (
            "mapping_gone_seconds",
            "Shortest idle time after which a mapping was proven gone.",
            edges(report, |edge| edge.dead_s.seconds()),
        ),
        ("pokes", "POKEs of the check.", pokes(report)),
        (
            "round_trip_seconds",
            "Round trip of POKEs, the middle one.",
            round_trips(report),
        ),
        ("calls", "Test calls by how far they came.", calls(report)),
        (
            "call_mos",
            "Mean opinion score of the test calls (ITU-T G.107).",
            number(
                measured
                    .calls
                    .as_ref()
                    .and_then(|it| Some(it.audio.as_ref()?.mos)),
            ),
        ),
        (
            "conntrack_entries",
            "Entries in the router's table of connections, and the most there can be.",
            table(report),
        ),
        (
            "tainted_entries",
            "Entries of the router's table that send packets with a wrong source.",
            tainted(report),
        ),
    ]
}

fn one(value: f64) -> Vec<Sample> {
    vec![(vec![], value)]
}

fn number(value: Option<Number>) -> Vec<Sample> {
    value.map_or_else(Vec::new, |value| one(value.get()))
}

fn verdicts(verdict: Verdict) -> Vec<Sample> {
    [
        (Verdict::Ok, "ok"),
        (Verdict::Warning, "warning"),
        (Verdict::Critical, "critical"),
        (Verdict::Unknown, "unknown"),
    ]
    .into_iter()
    .map(|(each, word)| {
        let value = f64::from(u8::from(each == verdict));
        (vec![("verdict", word.to_owned())], value)
    })
    .collect()
}

fn findings(report: &Report) -> Vec<Sample> {
    report
        .findings
        .iter()
        .map(|found| {
            let severity = match found.severity {
                Severity::Unknown => "unknown",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            };
            let labels = vec![("id", found.id.clone()), ("severity", severity.to_owned())];
            (labels, 1.0)
        })
        .collect()
}

fn edges(report: &Report, end: impl Fn(&Edge) -> Option<Number>) -> Vec<Sample> {
    let Some(lifetime) = &report.measurements.lifetime else {
        return vec![];
    };
    [
        ("one_way", &lifetime.one_way),
        ("exchange", &lifetime.exchange),
        ("stream", &lifetime.stream),
    ]
    .into_iter()
    .filter_map(|(shape, edge)| {
        let seconds = end(edge.as_ref()?)?;
        Some((vec![("traffic", shape.to_owned())], seconds.get()))
    })
    .collect()
}

/// Who was asked with POKEs.
fn asked(
    report: &Report,
) -> impl Iterator<Item = (&'static str, &crate::report::model::Reachability)> {
    [
        ("provider", &report.measurements.reachability),
        ("reflector", &report.measurements.reflector),
    ]
    .into_iter()
    .filter_map(|(peer, reach)| Some((peer, reach.as_ref()?)))
}

fn pokes(report: &Report) -> Vec<Sample> {
    asked(report)
        .flat_map(|(peer, reach)| {
            [("sent", reach.sent), ("answered", reach.received)].map(|(state, count)| {
                let labels = vec![("peer", peer.to_owned()), ("state", state.to_owned())];
                (labels, f64::from(count))
            })
        })
        .collect()
}

fn round_trips(report: &Report) -> Vec<Sample> {
    asked(report)
        .filter_map(|(peer, reach)| {
            let median = reach.rtt_ms?.median.get();
            let seconds = (median * 1000.0).round() / 1_000_000.0;
            Some((vec![("peer", peer.to_owned())], seconds))
        })
        .collect()
}

fn calls(report: &Report) -> Vec<Sample> {
    let Some(calls) = &report.measurements.calls else {
        return vec![];
    };
    [
        ("attempted", calls.attempted),
        ("answered", calls.answered),
        ("completed", calls.completed),
    ]
    .into_iter()
    .map(|(state, count)| (vec![("state", state.to_owned())], f64::from(count)))
    .collect()
}

#[allow(clippy::cast_precision_loss)] // a table of 2^53 entries is none
fn table(report: &Report) -> Vec<Sample> {
    let table = report
        .measurements
        .taint
        .as_ref()
        .and_then(|taint| taint.table);
    table.map_or_else(Vec::new, |table| {
        [("used", table.entries), ("limit", table.most)]
            .map(|(state, count)| (vec![("state", state.to_owned())], count as f64))
            .into()
    })
}

/// Told only where the table of a router was looked at.
#[allow(clippy::cast_precision_loss)] // the same
fn tainted(report: &Report) -> Vec<Sample> {
    let taint = report.measurements.taint.as_ref();
    taint
        .filter(|taint| taint.table.is_some())
        .map_or_else(Vec::new, |taint| {
            let entries = taint.entries.iter();
            let wrong = entries.filter(|entry| entry.kind != "healthy" && !entry.deleted);
            one(wrong.count() as f64)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_was_measured_is_there_and_nothing_else() {
        insta::assert_snapshot!("critical.prom", render(&fixture("critical")));
        let unreachable = render(&fixture("unreachable"));
        assert!(!unreachable.contains("reachable_ratio"), "{unreachable}");
        assert!(!unreachable.contains("round_trip"), "{unreachable}");
        assert!(unreachable.contains("state=\"answered\"} 0\n"));
    }

    #[test]
    fn a_name_cannot_add_a_metric() {
        let mut broken = fixture("critical");
        broken.provider.as_mut().unwrap().name = "a\"} 1\nevil{b=\"\\".into();
        let text = render(&broken);
        assert!(text.contains(r#"provider="a\"} 1\nevil{b=\"\\""#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")));
    }
}
