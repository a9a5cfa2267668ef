//! Can both sides hear each other, as far as the place of the capture tells?

#![allow(
    clippy::similar_names,
    reason = "caller and callee are the words of the field"
)]

use std::time::Duration;

use super::NAMED;
use crate::{
    check::{Finding, FindingId, Severity, calls::pattern::wilson, seconds},
    proto::media::emodel::{self, Codec, Inputs},
    trace::{
        call::{Call, Side},
        media::Media,
        traced::Traced,
    },
};

/// A call that is shorter says nothing about its audio.
const ENOUGH: Duration = Duration::from_secs(3);
/// The end that is heard has to have sent so many packets.
const HEARD: u32 = 100;
/// As many packets make a share of loss.
const SHARE: u32 = 250;
/// "Many users dissatisfied" begins below this (G.107 Annex B), "nearly all" below the other.
const POOR: f64 = 3.6;
const BAD: f64 = 2.6;
/// More than such a share of the packets out of order is worth a word, and no fewer than so many.
const DISORDER: f64 = 0.01;
const DISORDERED: u32 = 5;

/// What is wrong.
pub(super) fn findings(traced: &Traced) -> Vec<Finding> {
    [one_way(traced), poor(traced), reordered(traced)]
        .into_iter()
        .flatten()
        .collect()
}

const SIDES: [Side; 2] = [Side::Caller, Side::Callee];

fn one_way(traced: &Traced) -> Option<Finding> {
    let dead: Vec<(&Call, Side)> = traced
        .calls
        .iter()
        .filter_map(|call| Some((call, silent_side(call)?)))
        .collect();
    let (_, side) = *dead.first()?;
    let mut because: Vec<String> = dead
        .iter()
        .take(NAMED)
        .map(|(call, _)| {
            let [caller, callee] = call.media;
            format!(
                "call {}, {}: {} packets of audio from the caller and {} from the callee pass here in {}",
                call.id,
                call.answered.unwrap_or(call.first),
                caller.packets(),
                callee.packets(),
                seconds(rounded(talk(call)))
            )
        })
        .collect();
    if dead.len() > NAMED {
        because.push(format!("{} such calls in all", dead.len()));
    }
    because.push("both ends were heard by their full frames after the answer".into());
    Some(Finding {
        id: FindingId::OneWayAudio,
        severity: Severity::Critical,
        title: format!(
            "No audio of the {} passes here, and that of the other side does",
            name(side)
        ),
        because,
        do_this: vec![
            "capture nearer to the silent end: that tells whether it sends nothing (codec, an extension \
             that only listens) or loses it on the way"
                .into(),
            "signalling and audio share one flow: look for trunk=yes on one side alone, and for filters by \
             packet size"
                .into(),
        ],
    })
}

/// How long both could have talked.
fn talk(call: &Call) -> Duration {
    let begin = call.answered.unwrap_or(call.first);
    let end = call
        .ended
        .or(call.last[0])
        .or(call.last[1])
        .unwrap_or(begin);
    end.since(&begin)
}

/// Which side is silent though it was there. Where neither is heard, nobody may have had anything to say.
fn silent_side(call: &Call) -> Option<Side> {
    let up = call.answered.is_some() || (call.began_before && call.media.iter().any(is_long));
    let there = SIDES.iter().all(|side| {
        let heard = call.last[side.index()];
        let begin = call.answered.unwrap_or(call.first);
        heard.is_some_and(|heard| heard.since(&begin) > Duration::ZERO)
    });
    if !up || !there || talk(call) < ENOUGH || call.moved.is_some() || call.transferred {
        return None;
    }
    let [caller, callee] = call.media.map(|media| media.packets());
    match (caller, callee) {
        (0, heard) if heard >= HEARD => Some(Side::Caller),
        (heard, 0) if heard >= HEARD => Some(Side::Callee),
        _ => None,
    }
}

fn is_long(media: &Media) -> bool {
    media.packets() >= HEARD
}

fn poor(traced: &Traced) -> Option<Finding> {
    let mut worst: Option<(f64, String)> = None;
    let mut count = 0;
    for call in &traced.calls {
        for side in SIDES {
            let media = &call.media[side.index()];
            let Some((mos, kindest)) = heard(call, media) else {
                continue;
            };
            if kindest >= POOR {
                continue;
            }
            count += 1;
            if worst.as_ref().is_none_or(|(least, _)| kindest < *least) {
                let words = format!(
                    "call {}, audio of the {}: {} of {} packets lost before here, jitter {} ms, MOS {mos:.1} \
                     by ITU-T G.107",
                    call.id,
                    name(side),
                    media.lost,
                    media.packets() + media.lost,
                    media.jitter().unwrap_or_default().as_millis()
                );
                worst = Some((kindest, words));
            }
        }
    }
    let (kindest, words) = worst?;
    let mut because = vec![words];
    if count > 1 {
        because.push(format!("{count} such streams in all, this is the worst"));
    }
    Some(Finding {
        id: FindingId::PoorAudio,
        severity: if kindest < BAD {
            Severity::Critical
        } else {
            Severity::Warning
        },
        title: "Audio is lost before it passes here".into(),
        because,
        do_this: vec![
            "mend the line between the end that talks and the place of this capture, or take fewer calls at \
             once on it"
                .into(),
        ],
    })
}

/// What a listener here would hear, and that with the least loss that the count is compatible with.
fn heard(call: &Call, media: &Media) -> Option<(f64, f64)> {
    let all = media.packets() + media.lost;
    if !media.is_timed() || media.untimed > 0 || all < SHARE {
        return None;
    }
    let codec = Codec::of(call.format, false)?;
    let trip = call.round_trips.iter().flatten().sum();
    let loss = f64::from(media.lost) / f64::from(all);
    let inputs = Inputs {
        one_way: emodel::mouth_to_ear(trip, media.jitter().unwrap_or_default()),
        codec,
        loss_percent: loss * 100.0,
        burst_ratio: emodel::burst_ratio(
            media.packets().into(),
            media.lost.into(),
            media.gaps.into(),
        )
        .unwrap_or(1.0),
        advantage: 0.0,
    };
    let (least, _) = wilson(media.lost as usize, all as usize)?;
    let kindest = Inputs {
        loss_percent: least * 100.0,
        ..inputs
    };
    Some((
        emodel::estimate(&inputs)?.mos,
        emodel::estimate(&kindest)?.mos,
    ))
}

fn reordered(traced: &Traced) -> Option<Finding> {
    let streams: Vec<(&Call, Side, &Media)> = traced
        .calls
        .iter()
        .flat_map(|call| SIDES.map(|side| (call, side, &call.media[side.index()])))
        .filter(|(_, _, media)| {
            media.reordered >= DISORDERED
                && f64::from(media.reordered) > DISORDER * f64::from(media.packets())
        })
        .collect();
    if streams.is_empty() {
        return None;
    }
    let facts = streams.iter().take(NAMED).map(|(call, side, media)| {
        format!(
            "call {}, audio of the {}: {} of {} packets behind a later one",
            call.id,
            name(*side),
            media.reordered,
            media.packets()
        )
    });
    Some(Finding {
        id: FindingId::ReorderedPackets,
        severity: Severity::Warning,
        title: "Packets of audio overtake each other before they pass here".into(),
        because: facts.collect(),
        do_this: vec![
            "jitterbuffer=yes on the side that listens; look for load sharing over several lines"
                .into(),
        ],
    })
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Callee => "callee",
    }
}

/// To a tenth of a second.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}
