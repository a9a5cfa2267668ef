//! A line for each frame.

use iax2_natcheck::{
    trace::{mark::Seen, pairing::Matched, traced::Belongs},
    wire::iax2::show::Show,
};

/// One frame.
pub(super) fn line(seen: &Seen<'_>, belongs: Belongs, json: bool) -> String {
    let dialogue = match belongs {
        Belongs::Call(call) => format!("call {call}"),
        Belongs::Registration(attempt) => format!("registration {attempt}"),
        Belongs::Flow | Belongs::Nowhere => String::new(),
    };
    let what = Show(seen.payload).to_string();
    if json {
        let line = serde_json::json!({
            "frame": seen.mark.number(),
            "time_s": seen.mark.time().as_secs_f64(),
            "source": seen.source.to_string(),
            "destination": seen.destination.to_string(),
            "dialogue": (!dialogue.is_empty()).then_some(dialogue),
            "what": what,
        });
        return format!("{line}\n");
    }
    let (_, time) = time_of(seen);
    let dialogue = match dialogue.as_str() {
        "" => String::new(),
        words => format!(" [{words}]"),
    };
    format!(
        "{} {time} {} → {}{dialogue} {what}\n",
        seen.mark.number(),
        seen.source,
        seen.destination
    )
}

/// One datagram that was seen on both sides of a NAT.
pub(super) fn translated(matched: &Matched, json: bool) -> String {
    let way = if matched.outward { "out" } else { "in" };
    if json {
        let line = serde_json::json!({
            "lan_frame": matched.lan.number(),
            "wan_frame": matched.wan.number(),
            "way": way,
            "inner": matched.inner.to_string(),
            "outer": matched.outer.to_string(),
            "peer": matched.peer.to_string(),
            "rewritten": matched.rewritten,
        });
        return format!("{line}\n");
    }
    let rewritten = if matched.rewritten {
        ", content rewritten"
    } else {
        ""
    };
    format!(
        "inside {} outside {}: {way}, {} is {} towards {}{rewritten}\n",
        matched.lan, matched.wan, matched.inner, matched.outer, matched.peer
    )
}

/// The number and the time of day.
fn time_of(seen: &Seen<'_>) -> (u32, String) {
    let words = seen.mark.to_string();
    let time = words
        .split_once(" at ")
        .map_or(words.as_str(), |(_, time)| time)
        .to_owned();
    (seen.mark.number(), time)
}
