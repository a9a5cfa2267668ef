//! The report as one line of a monitoring plug-in, with performance data.

use std::fmt::Write;

use crate::report::{
    headline,
    model::{Edge, Number, Report},
    printable::printable,
};

/// Renders a report as `IAX2 STATE - sentence | performance data` and a newline.
///
/// Performance data are `label=value[unit];warn;crit;min;max`; what was not measured is left out.
#[must_use]
pub fn render(report: &Report) -> String {
    let report = &*printable(report);
    let mut line = format!(
        "IAX2 {} - {}",
        report.verdict.as_str(),
        plain(headline(report))
    );
    if let Some(worst) = report.findings.first() {
        // Writing to a string does not fail; so below.
        let _ = write!(line, " [{}", plain(&worst.id));
        for other in report.findings.iter().skip(1) {
            let _ = write!(line, ", {}", plain(&other.id));
        }
        line.push(']');
    }
    let data = performance(report);
    if !data.is_empty() {
        let _ = write!(line, " | {}", data.join(" "));
    }
    line.push('\n');
    line
}

fn performance(report: &Report) -> Vec<String> {
    let measured = &report.measurements;
    let mut data = vec![];
    if let Some(reach) = &measured.reachability {
        if let Some(rtt) = &reach.rtt_ms {
            data.push(format!("rtt={}ms;;;0", rtt.median));
        }
        data.push(format!("answered={};;;0;{}", reach.received, reach.sent));
    }
    if let Some(calls) = &measured.calls {
        data.push(format!(
            "calls_completed={};;;0;{}",
            calls.completed, calls.attempted
        ));
        if let Some(audio) = &calls.audio {
            data.push(format!("mos={};;;1;4.5", audio.mos));
            data.push(format!("loss={}%;;;0;100", audio.loss_percent));
        }
        if let Some(delay) = calls.media.as_ref().and_then(|media| media.delay_ms) {
            data.push(format!("audio_delay={}ms;;;0", delay.median));
        }
    }
    if let Some(fraction) = measured.reachable.and_then(|reachable| reachable.fraction) {
        let percent = Number::new(fraction.get() * 100.0);
        data.push(format!("reachable={percent}%;100:;95:;0;100"));
    }
    if let Some(cycle) = measured.reachable.and_then(|reachable| reachable.cycle_s) {
        data.push(format!("cycle={cycle}s;;;0"));
    }
    if let Some(taint) = &measured.taint
        && let Some(table) = taint.table
    {
        // The table tells that it is a router that was looked at.
        let tainted = taint
            .entries
            .iter()
            .filter(|entry| entry.kind != "healthy" && !entry.deleted)
            .count();
        data.push(format!("tainted={tainted};;~:0;0"));
        data.push(format!("conntrack={};;;0;{}", table.entries, table.most));
    }
    if let Some(lifetime) = &measured.lifetime {
        for (label, edge) in [
            ("one_way", &lifetime.one_way),
            ("exchange", &lifetime.exchange),
            ("stream", &lifetime.stream),
        ] {
            data.extend(edge.iter().flat_map(|edge| ends(label, edge)));
        }
    }
    data
}

fn ends(label: &str, edge: &Edge) -> impl Iterator<Item = String> {
    [("alive", edge.alive_s), ("dead", edge.dead_s.seconds())]
        .into_iter()
        .filter_map(|(end, seconds)| Some(format!("{label}_{end}={}s;;;0", seconds?)))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The text without what has a meaning of its own in such a line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '|' => '/',
            '\n' => ' ',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn one_line_with_performance_data() {
        assert_eq!(
            render(&fixture("critical")),
            "IAX2 CRITICAL - The NAT forgets the mapping 30 s after a registration; the next one \
             comes after 50 s [short-mapping-timeout] | rtt=10.1ms;;;0 answered=10;;;0;10 \
             calls_completed=20;;;0;20 reachable=60%;100:;95:;0;100 cycle=50s;;;0 one_way_alive=29s;;;0 one_way_dead=30s;;;0 \
             exchange_alive=29s;;;0 exchange_dead=30s;;;0 stream_alive=119s;;;0 \
             stream_dead=120s;;;0\n"
        );
        assert_eq!(
            render(&fixture("unreachable")),
            "IAX2 CRITICAL - No call can come or go: the provider does not answer. \
             [provider-unreachable] | answered=0;;;0;10\n"
        );
    }

    #[test]
    fn the_separator_and_new_lines_stay_out_of_the_text() {
        let mut broken = fixture("critical");
        broken.summary = Some("a|b\nc".into());
        let line = render(&broken);
        assert!(line.starts_with("IAX2 CRITICAL - a/b c ["));
        assert_eq!(line.matches('|').count(), 1);
        assert_eq!(line.matches('\n').count(), 1);
    }
}
