//! What a capture shows: its registrations and calls, a few lines each.

use std::fmt::Write as _;

use crate::report::{
    model::{
        Measurements, Number,
        seen::{
            Binding, Capture, Ladder, SeenAudio, SeenCall, SeenPokes, SeenRegistration, Translated,
        },
    },
    text::wrap,
};

/// As many of a kind are shown; the others are counted.
const SHOWN: usize = 20;
/// Columns of the left and the right margin of a ladder.
const ARROW: usize = 46;

/// The rows of everything a capture shows.
pub(super) fn rows(measured: &Measurements) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(seen) = &measured.capture {
        rows.push(("capture", capture(seen)));
        rows.extend(seen.lost.iter().map(|lost| ("", lost.clone())));
    }
    if let Some(seen) = &measured.registrations {
        rows.extend(listed("registrations", seen, registration));
    }
    if let Some(seen) = &measured.bindings {
        rows.extend(listed("bindings", seen, binding));
    }
    if let Some(seen) = &measured.qualify {
        rows.extend(listed("qualify", seen, pokes));
    }
    if let Some(seen) = &measured.calls_seen {
        rows.extend(listed("calls", seen, call));
    }
    if let Some(seen) = &measured.translations {
        rows.extend(translations(seen));
    }
    rows
}

/// The first of a list, the others counted.
fn listed<T>(
    name: &'static str,
    all: &[T],
    words: impl Fn(&T) -> String,
) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&'static str, String)> =
        all.iter().take(SHOWN).map(|one| ("", words(one))).collect();
    if let Some(first) = rows.first_mut() {
        first.0 = name;
    }
    match all.len().saturating_sub(SHOWN) {
        0 => {}
        more => rows.push(("", format!("and {more} more; --json lists all"))),
    }
    rows
}

fn capture(seen: &Capture) -> String {
    let mut words = format!(
        "{}: {} packets, {} datagrams of IAX2 ({} full, {} mini, {} trunk frames)",
        seen.sources.join(", "),
        seen.packets,
        seen.datagrams,
        seen.full_frames,
        seen.mini_frames,
        seen.trunk_frames
    );
    if let (Some(first), Some(last)) = (seen.first_at, seen.last_at) {
        // Writing to a string does not fail; so below.
        let _ = write!(words, ", {first} to {last}");
    }
    for (count, what) in [
        (seen.invals, "INVALs"),
        (seen.malformed, "datagrams that are no frame"),
        (seen.stray, "full frames of no dialogue that is known"),
        (
            seen.stray_audio,
            "packets of audio of no call that is known",
        ),
    ] {
        if count > 0 {
            let _ = write!(words, ", {count} {what}");
        }
    }
    words
}

/// One registration in a line.
#[must_use]
pub fn registration(seen: &SeenRegistration) -> String {
    let mut words = format!(
        "{} s, frame {}: {} from {} with {}: {}",
        seen.at_s,
        seen.frame,
        seen.user.as_deref().unwrap_or("no account"),
        seen.client,
        seen.registrar,
        seen.state.as_deref().unwrap_or("not decided here")
    );
    if let Some(apparent) = seen.apparent_address.filter(|it| *it != seen.client) {
        let _ = write!(words, " as {apparent}");
    }
    if let Some(refresh) = seen.refresh_s {
        let _ = write!(words, ", refresh {refresh} s");
    }
    if let Some(method) = &seen.auth {
        let _ = write!(words, ", {method}");
    }
    if let Some(cause) = &seen.cause {
        let _ = write!(words, ", \"{cause}\"");
    }
    if let Some(code) = seen.cause_code {
        let _ = write!(words, ", cause code {code}");
    }
    let _ = match seen.elapsed_ms {
        Some(elapsed) => write!(words, ", {elapsed} ms"),
        None => write!(words, ", {} requests", seen.requests),
    };
    if seen.retransmissions > 0 {
        let _ = write!(words, ", {} sent again", seen.retransmissions);
    }
    words
}

fn binding(seen: &Binding) -> String {
    let mut words = format!(
        "{} at {}: {} registrations from {} s to {} s",
        seen.user.as_deref().unwrap_or("no account"),
        seen.apparent_address,
        seen.registrations,
        seen.first_s,
        seen.last_s
    );
    if let Some(gap) = seen.longest_gap_s {
        let _ = write!(words, ", longest gap {gap} s");
    }
    words.push_str(match seen.kept {
        Some(true) => ", kept",
        Some(false) => ", not kept: it ran out",
        None => "",
    });
    words
}

fn pokes(seen: &SeenPokes) -> String {
    let mut words = format!(
        "{} → {}: {} of {} POKEs answered",
        seen.from, seen.to, seen.answered, seen.sent
    );
    if let Some(trip) = seen.rtt_ms {
        let _ = write!(words, ", {trip} ms at least");
    }
    words
}

/// One call in a line.
#[must_use]
pub fn call(seen: &SeenCall) -> String {
    let mut words = format!(
        "{}. {} s, frame {}: {}",
        seen.call, seen.at_s, seen.frame, seen.caller
    );
    if let Some(user) = &seen.user {
        let _ = write!(words, " ({user})");
    }
    let _ = write!(words, " → {}", seen.callee);
    if let Some(called) = &seen.called {
        let _ = write!(words, " to {called}");
    }
    let _ = write!(words, ": {}", seen.outcome.as_deref().unwrap_or("goes on"));
    if seen.began_before {
        words.push_str(", begun before the capture");
    }
    if let Some(by) = &seen.ended_by {
        let _ = write!(words, ", ended by the {by}");
    }
    if let Some(cause) = &seen.cause {
        let _ = write!(words, " (\"{cause}\")");
    }
    if let Some(code) = seen.cause_code {
        let _ = write!(words, ", cause {code}");
    }
    if let Some(setup) = seen.setup_ms {
        let _ = write!(words, "; accepted after {setup} ms");
    }
    if let Some(answer) = seen.answer_ms {
        let _ = write!(words, ", answered after {answer} ms");
    }
    if let Some(duration) = seen.duration_s {
        let _ = write!(words, ", {duration} s long");
    }
    if let Some(codec) = &seen.codec {
        let _ = write!(words, ", {codec}");
    }
    words.push_str(match seen.encrypted.as_str() {
        "opened" => ", encrypted and read with the secret",
        "sealed" => ", encrypted",
        _ => "",
    });
    if seen.caller_audio.packets + seen.callee_audio.packets > 0 {
        let _ = write!(
            words,
            "; audio of the caller {}, of the callee {}",
            audio(&seen.caller_audio),
            audio(&seen.callee_audio)
        );
    }
    for (who, digits) in [
        ("caller", &seen.caller_digits),
        ("callee", &seen.callee_digits),
    ] {
        if let Some(digits) = digits {
            let _ = write!(words, "; digits of the {who}: {digits}");
        }
    }
    if seen.retransmissions > 0 {
        let _ = write!(words, "; {} frames sent again", seen.retransmissions);
    }
    if seen.vnaks > 0 {
        let _ = write!(words, "; {} VNAKs", seen.vnaks);
    }
    words
}

fn audio(seen: &SeenAudio) -> String {
    let mut words = format!("{} packets", seen.packets);
    if let Some(lost) = seen.lost.filter(|lost| *lost > 0) {
        let _ = write!(words, ", {lost} lost");
    }
    if seen.reordered > 0 {
        let _ = write!(words, ", {} out of order", seen.reordered);
    }
    if seen.duplicated > 0 {
        let _ = write!(words, ", {} twice", seen.duplicated);
    }
    if let Some(jitter) = seen.jitter_ms {
        let _ = write!(
            words,
            ", jitter {} ms",
            Number::new((jitter.get() * 10.0).round() / 10.0)
        );
    }
    words
}

fn translations(seen: &Translated) -> Vec<(&'static str, String)> {
    let mut rows = vec![(
        "NAT",
        format!(
            "{} datagrams seen on both sides, {} dropped on the way out, {} on the way in, {} rewritten",
            seen.matched, seen.dropped_outward, seen.dropped_inward, seen.rewritten
        ),
    )];
    rows.extend(seen.mappings.iter().take(SHOWN).map(|of| {
        (
            "",
            format!(
                "{} ↔ {} towards {}: {} out, {} in, frames {} to {} outside",
                of.inner, of.outer, of.peer, of.sent, of.received, of.frame, of.last_frame
            ),
        )
    }));
    rows.extend(
        seen.dropped
            .iter()
            .take(SHOWN)
            .map(|words| ("", format!("dropped: {words}"))),
    );
    rows
}

/// The messages of a call between two lines.
pub(super) fn ladder(seen: &Ladder) -> Vec<String> {
    let (left, right) = (seen.left.to_string(), seen.right.to_string());
    let room = (ARROW + 2).saturating_sub(wrap::width(&left) + wrap::width(&right));
    let mut lines = vec![
        format!("call {}", seen.call),
        format!("{:>21}{left}{}{right}", "", " ".repeat(room)),
    ];
    for rung in &seen.rungs {
        let what: String = rung.what.chars().take(ARROW - 6).collect();
        let dashes = (ARROW - 4).saturating_sub(wrap::width(&what));
        let (before, behind) = ("─".repeat(dashes / 2), "─".repeat(dashes - dashes / 2));
        let arrow = if rung.rightward {
            format!("│{before} {what} {behind}▶│")
        } else {
            format!("│◀{before} {what} {behind}│")
        };
        lines.push(format!(
            "{:>10} {:>9} {arrow}",
            rung.frame,
            rung.at_s.to_string()
        ));
    }
    if let Some(more) = seen.more {
        lines.push(format!("{:>21}and {more} more", ""));
    }
    lines
}
