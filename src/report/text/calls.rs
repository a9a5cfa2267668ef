//! Test calls, a few lines.

use crate::report::{
    model::calls::{Attempt, Callback, Calls, Carriers, FarEnd, Media, Wire},
    text::measured::{tenth, took},
};

/// The rows: a name, and what was measured.
pub(super) fn rows(calls: &Calls) -> Vec<(&'static str, String)> {
    let mut rows = vec![("calls", tally(calls))];
    rows.extend(set_up(calls).map(|words| ("", words)));
    rows.extend(
        calls
            .failures
            .iter()
            .take(3)
            .map(|failure| ("", format!("call {}: {}", failure.call, failure.what))),
    );
    if let Some(media) = &calls.media {
        rows.push(("audio", packets(media)));
        rows.extend(ways(media).map(|words| ("", words)));
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

/// Whether a call reached the account.
pub(super) fn callback(callback: &Callback) -> String {
    let told = |attempt: &Attempt| {
        let arrived = match attempt.arrived {
            Some(true) => "arrived",
            Some(false) => "did not arrive",
            None => "was not taken by the provider",
        };
        format!(
            "a call {:.1} s after a registration {arrived}",
            attempt.after_s.get()
        )
    };
    let mut words: Vec<String> = callback
        .late
        .iter()
        .chain(&callback.control)
        .map(told)
        .collect();
    match (callback.arrives, &callback.late) {
        (None, None) => words.push("no call was placed to the account".into()),
        (None, Some(_)) => words.push(format!(
            "whether calls arrive is not known: does {} ring this account?",
            callback.extension
        )),
        (Some(_), _) => {}
    }
    words.join(", ")
}

fn tally(calls: &Calls) -> String {
    let to = calls
        .extension
        .as_ref()
        .map_or_else(String::new, |to| format!(" to {to}"));
    let mut words = vec![match (calls.attempted, calls.answered, calls.completed) {
        (1, 0, _) => format!("1{to}: not answered"),
        (1, _, 0) => format!("1{to}: answered"),
        (1, _, _) => format!("1{to}: answered, came to its planned end"),
        (attempted, answered, completed) => {
            format!("{attempted}{to}: {answered} answered, {completed} came to their planned end")
        }
    }];
    match (calls.pattern.as_deref(), &calls.pattern_because) {
        (Some("none"), _) => words.push("no failure".into()),
        (Some(pattern), Some(why)) => words.push(format!("failures: {pattern} ({why})")),
        (Some(pattern), None) => words.push(format!("failures: {pattern}")),
        (None, why) => words.extend(why.clone()),
    }
    if calls.invals > 0 {
        words.push(format!("{} INVAL", calls.invals));
    }
    words.join(", ")
}

fn set_up(calls: &Calls) -> Option<String> {
    let mut words = vec![];
    if let Some(codec) = &calls.codec {
        words.push(codec.clone());
    }
    if calls.encrypted == Some(true) {
        words.push("encrypted".into());
    }
    match &calls.auth {
        Some(method) => words.push(format!("authentication {method}")),
        // A call that was never accepted may have been challenged, and we had no answer.
        None if calls.setup_ms.is_some() => words.push("no challenge".into()),
        None => {}
    }
    if calls.call_token == Some(true) {
        words.push("call token".into());
    }
    // That it was answered stands above.
    let told: Vec<&str> = calls
        .progress
        .iter()
        .map(String::as_str)
        .filter(|word| !matches!(*word, "answer" | "stop tones"))
        .collect();
    if !told.is_empty() {
        words.push(format!("the far end told of {}", told.join(", ")));
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
    if let Some(again @ 1..) = calls.retransmissions {
        words.push(format!("{again} frames sent again"));
    }
    (!words.is_empty()).then(|| words.join(", "))
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

fn ways(media: &Media) -> Option<String> {
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
    if let Some(late @ 1..) = media.returned_out_of_order {
        words.push(format!("{late} of our packets came back after a later one"));
    }
    if let Some(Carriers {
        trunk: trunk @ 1.., ..
    }) = media.carriers
    {
        words.push(format!("{trunk} packets came in trunk frames"));
    }
    // A report of somebody else's may say nothing of all this.
    media.carriers.map(|_| words.join(", "))
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
