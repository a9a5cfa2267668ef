//! Test calls, a few lines.

use crate::report::{
    model::calls::{Calls, FarEnd, Media, Wire},
    text::measured::{tenth, took},
};

/// The rows: a name, and what was measured.
pub(super) fn rows(calls: &Calls) -> Vec<(&'static str, String)> {
    let mut rows = vec![("calls", tally(calls))];
    let set_up = set_up(calls);
    if !set_up.is_empty() {
        rows.push(("", set_up));
    }
    rows.extend(
        calls
            .failures
            .iter()
            .take(3)
            .map(|failure| ("", format!("call {}: {}", failure.call, failure.what))),
    );
    if let Some(media) = &calls.media {
        rows.push(("audio", packets(media)));
        rows.push(("", ways(media)));
    }
    if let Some(audio) = &calls.audio {
        rows.push((
            "",
            format!(
                "R {}, MOS {} where the listener is {}: {} ms from mouth to ear, {} % lost",
                tenth(audio.r_factor),
                tenth(audio.mos),
                if audio.listener == "here" {
                    "here"
                } else {
                    "at the far end"
                },
                tenth(audio.one_way_ms),
                tenth(audio.loss_percent)
            ),
        ));
    }
    if let Some(buffer) = &calls.jitter_buffer {
        rows.push((
            "",
            format!(
                "a jitter buffer of {} ms is late for 1 % of the packets: maxjitterbuffer={}, jittertargetextra={}",
                buffer.depth_ms, buffer.maxjitterbuffer, buffer.jittertargetextra
            ),
        ));
    }
    if let Some(report) = &calls.far_end {
        rows.push(("far end", far_end(report)));
    }
    if let Some(dtmf) = &calls.dtmf {
        let received = if dtmf.received.is_empty() {
            "none"
        } else {
            &dtmf.received
        };
        let sent = if dtmf.sent.is_empty() {
            "none"
        } else {
            &dtmf.sent
        };
        rows.push(("DTMF", format!("sent {sent}, received {received}")));
    }
    rows.extend(
        calls
            .texts
            .iter()
            .map(|text| ("text", format!("\"{text}\""))),
    );
    if let Some(wire) = &calls.wire {
        rows.push(("on the wire", on_the_wire(wire)));
    }
    rows
}

fn tally(calls: &Calls) -> String {
    let mut words = vec![match (calls.attempted, calls.answered, calls.completed) {
        (1, 0, _) => format!("1 to {}: not answered", calls.extension),
        (1, _, 0) => format!("1 to {}: answered", calls.extension),
        (1, _, _) => format!(
            "1 to {}: answered, came to its planned end",
            calls.extension
        ),
        (attempted, answered, completed) => format!(
            "{attempted} to {}: {answered} answered, {completed} came to their planned end",
            calls.extension
        ),
    }];
    if !calls.progress.is_empty() {
        words.push(format!("the far end told: {}", calls.progress.join(", ")));
    }
    words.push(match calls.pattern.as_deref() {
        Some("none") => "no failure".into(),
        Some(pattern) => format!("failures: {pattern} ({})", calls.pattern_because),
        None => calls.pattern_because.clone(),
    });
    if calls.invals > 0 {
        words.push(format!("{} INVAL", calls.invals));
    }
    words.join(", ")
}

fn set_up(calls: &Calls) -> String {
    let mut words = vec![];
    if let Some(codec) = &calls.codec {
        words.push(codec.clone());
    }
    if calls.encrypted {
        words.push("encrypted".into());
    }
    match &calls.auth {
        Some(method) => words.push(format!("authentication {method}")),
        // A call that was never accepted may have been challenged, and we had no answer.
        None if calls.setup_ms.is_some() => words.push("no challenge".into()),
        None => {}
    }
    if calls.call_token {
        words.push("call token".into());
    }
    if let Some(setup) = &calls.setup_ms {
        words.push(format!("accepted after {}", took(setup.median)));
    }
    if let Some(answer) = &calls.answer_ms {
        words.push(format!("answered after {}", took(answer.median)));
    }
    if let Some(rtt) = &calls.rtt_ms {
        words.push(format!("round trip {}", took(rtt.median)));
    }
    if calls.retransmissions > 0 {
        words.push(format!("{} frames sent again", calls.retransmissions));
    }
    words.join(", ")
}

fn packets(media: &Media) -> String {
    let mut words = vec![format!(
        "{} packets sent, {} received, {} lost, {} out of order, {} twice",
        media.sent, media.received, media.lost, media.reordered, media.duplicated
    )];
    if let Some(jitter) = media.jitter_ms {
        words.push(format!("jitter {}", took(jitter)));
    }
    if let Some(gap) = media.longest_gap_ms {
        words.push(format!("longest gap {}", took(gap)));
    }
    words.join(", ")
}

fn ways(media: &Media) -> String {
    let mut words = vec![
        match media.outbound {
            Some(true) => "the far end hears us",
            Some(false) => "the far end does not hear us",
            None => "whether the far end hears us is not known",
        }
        .to_owned(),
        match media.inbound {
            Some(true) => "we hear it",
            Some(false) => "we do not hear it",
            None => "whether we hear it is not known",
        }
        .to_owned(),
    ];
    if let Some(delay) = &media.delay_ms {
        words.push(format!(
            "our audio is back after {} ms (least {}, most {})",
            tenth(delay.median),
            tenth(delay.min),
            tenth(delay.max)
        ));
    }
    if media.returned_out_of_order > 0 {
        words.push(format!(
            "{} of our packets came back after a later one",
            media.returned_out_of_order
        ));
    }
    if media.carriers.trunk > 0 {
        words.push(format!(
            "{} packets came in trunk frames",
            media.carriers.trunk
        ));
    }
    words.join(", ")
}

fn far_end(report: &FarEnd) -> String {
    if !report.measured {
        return "not measured: it has no jitter buffer, and its reports are zeros".into();
    }
    format!(
        "received {} frames, lost {} ({} % lately), jitter {} ms, {} too late, {} out of order",
        report.received,
        report.lost,
        report.loss_percent,
        report.jitter_ms,
        report.dropped,
        report.out_of_order
    )
}

fn on_the_wire(wire: &Wire) -> String {
    let kilo = |bits: f64| (bits / 100.0).round() / 10.0;
    let mut words = vec![];
    if let Some(bits) = wire.plain_bps {
        words.push(format!("{} kbit/s a call each way", kilo(bits.get())));
    }
    if let Some(bits) = wire.trunked_bps {
        words.push(format!(
            "trunked {} kbit/s with {} at once",
            kilo(bits.get()),
            wire.trunked_at_once
        ));
    }
    if let (Some(line), Some(plain), Some(trunked)) = (
        wire.uplink_bps,
        wire.uplink_plain_calls,
        wire.uplink_trunked_calls,
    ) {
        #[allow(clippy::cast_precision_loss)] // a rate for people
        let line = kilo(line as f64);
        words.push(format!(
            "an uplink of {line} kbit/s carries {plain} calls plain, {trunked} trunked (computed, µ-law)"
        ));
    }
    words.push("IP packets; Ethernet, PPPoE and ATM add to that".into());
    words.join(", ")
}
