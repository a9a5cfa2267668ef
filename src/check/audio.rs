//! Can both sides hear each other, and how well?

use std::time::Duration;

use crate::{
    check::{Context, Finding, FindingId, Severity, calls::pattern::wilson, seconds},
    probe::{
        calls::evidence::{CallRecord, CallsEvidence},
        evidence::Evidence,
    },
    proto::media::{
        directions::{self, Conclusion, Directions, FarEnd, Heard},
        emodel::{self, Codec, Estimate, Inputs},
        jitter::{self, Advice},
        listener::AudioEvidence,
    },
    wire::iax2::command::FrameType,
};

/// What the audio of a burst means.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedAudio {
    /// Which way audio passed, for each call that talked long enough to tell, in order: its place in the
    /// burst, and the conclusion.
    pub directions: Vec<(usize, Directions)>,
    /// Audio passed one way alone, or not at all, in some call; `None`: not known.
    pub one_way: Option<bool>,
    /// What a listener hears, in the direction that is worse.
    pub quality: Option<Quality>,
    /// The jitter buffer that our side would need, from the call with the worst variation.
    pub buffer: Option<Advice>,
}

/// An estimate of what a listener hears, with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// The listener is at the far end; else here.
    pub at_far_end: bool,
    /// What the estimate rests on.
    pub inputs: Inputs,
    /// The estimate.
    pub estimate: Estimate,
    /// The same with the lowest loss that the count is compatible with (Wilson, 95 %): one packet of a
    /// hundred may have been bad luck.
    pub kindest: Estimate,
}

/// Blocks below which a call says nothing about its audio: a second.
const ENOUGH: u64 = 50;
/// Packets below which a call says nothing about the share that is lost by itself, but with the others: five
/// seconds. Two packets of fifty, which deployed peers lose as a call begins, are no four percent.
const SHARE: u64 = 250;
/// "Many users dissatisfied" begins below this (G.107 Annex B, R below 70).
const POOR: f64 = 3.6;
/// "Nearly all users dissatisfied" (the same, R below 50).
const BAD: f64 = 2.6;
/// Beyond this delay from mouth to ear, talk suffers (ITU-T G.114 §4.1).
const LONG: Duration = Duration::from_millis(150);
/// More than such a share of the packets out of order is worth a word…
const DISORDER: f64 = 0.01;
/// …where it goes on for so many seconds: a busy host, which Asterisk's threads make worse, empties a queue
/// in disorder now and then.
const DISORDERED_SECONDS: u64 = 3;
/// Fewer out of order are no share of anything: a full frame that was sent again comes late, too.
const DISORDERED: u64 = 5;

/// Judges the audio of all calls together.
#[must_use]
pub fn judge(calls: &CallsEvidence) -> JudgedAudio {
    let directions: Vec<(usize, Directions)> = calls
        .calls
        .iter()
        .enumerate()
        .filter_map(|(at, call)| Some((at, of_call(calls, call)?)))
        .collect();
    JudgedAudio {
        one_way: one_way(directions.iter().map(|(_, all)| all)),
        quality: qualities(calls)
            .into_iter()
            .min_by(|a, b| a.kindest.rating.total_cmp(&b.kindest.rating)),
        buffer: calls
            .calls
            .iter()
            .filter_map(|call| call.audio.as_ref()?.variation.as_ref())
            .max_by_key(|variation| variation.p99)
            .and_then(jitter::advise),
        directions,
    }
}

/// What is wrong with the audio.
#[must_use]
pub fn findings(evidence: &Evidence, _context: &Context) -> Vec<Finding> {
    let Some(calls) = &evidence.calls else {
        return Vec::new();
    };
    let judged = judge(calls);
    [
        trunk_mismatch(calls, &judged).or_else(|| one_way_audio(&judged)),
        poor_audio(&judged),
        reordered(calls),
        digits(calls),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_call(calls: &CallsEvidence, call: &CallRecord) -> Option<Directions> {
    let audio = call.audio.as_ref()?;
    if audio.sent < ENOUGH {
        return None;
    }
    // An extension that returned our audio once is an echo every time.
    let echoes = calls
        .calls
        .iter()
        .any(|call| call.audio.as_ref().is_some_and(|it| it.returned.blocks > 0));
    Some(directions::directions(&Heard {
        sent: audio.sent,
        received: audio.inbound.packets,
        returned: audio.returned.blocks,
        report: call.report,
        voice_missing: call
            .missing_frame()
            .is_some_and(|frame| frame.frame_type == FrameType::Voice),
        far_end: if echoes { FarEnd::Echo } else { calls.far_end },
    }))
}

fn is_dead(all: &Directions) -> bool {
    [&all.inbound, &all.outbound, &all.round_trip]
        .iter()
        .any(|conclusion| conclusion.passes == Some(false))
}

fn is_alive(all: &Directions) -> bool {
    let both = all.inbound.passes == Some(true) && all.outbound.passes == Some(true);
    both || all.round_trip.passes == Some(true)
}

fn one_way<'a>(mut all: impl Iterator<Item = &'a Directions> + Clone) -> Option<bool> {
    if all.clone().any(is_dead) {
        return Some(true);
    }
    let some = all.clone().next().is_some();
    (some && all.all(is_alive)).then_some(false)
}

/// One direction of one call.
#[derive(Clone, Copy)]
struct Stream {
    at_far_end: bool,
    codec: Codec,
    trip: Duration,
    buffer: Duration,
    came: u64,
    lost: u64,
    bursts: u64,
}

/// What the listeners hear: at both ends of each call that is long enough, and of all calls together.
fn qualities(calls: &CallsEvidence) -> Vec<Quality> {
    let streams: Vec<Stream> = calls.calls.iter().flat_map(streams).collect();
    let long = |stream: &&Stream| stream.came + stream.lost >= SHARE;
    let together = [false, true]
        .into_iter()
        .filter_map(|at_far_end| together(&streams, at_far_end));
    let alone = streams.iter().filter(long).copied();
    together.chain(alone).filter_map(rate).collect()
}

/// What arrives at both ends of a call.
fn streams(call: &CallRecord) -> Vec<Stream> {
    let (Some(audio), Some(format)) = (&call.audio, call.format) else {
        return Vec::new();
    };
    // Deployed peers play a gap as it comes; a telephone behind them may conceal it.
    let Some(codec) = Codec::of(format, false) else {
        return Vec::new();
    };
    let trip = audio
        .returned
        .round_trip
        .map(|trip| trip.median)
        .or_else(|| middle(&call.round_trips));
    let Some(trip) = trip else {
        return Vec::new();
    };
    let inbound = &audio.inbound;
    let here = Stream {
        at_far_end: false,
        codec,
        trip,
        buffer: audio.variation.map_or(Duration::ZERO, |it| it.p99),
        came: inbound.packets,
        lost: inbound.lost,
        bursts: inbound.gaps,
    };
    let there = lost_on_the_way_out(call, audio).map(|(came, lost)| Stream {
        at_far_end: true,
        came,
        lost,
        bursts: lost.min(1).max(lost / 2),
        ..here
    });
    std::iter::once(here).chain(there).collect()
}

/// The streams to one end as if they were one: their packets added up, their delays those of the middle one.
fn together(streams: &[Stream], at_far_end: bool) -> Option<Stream> {
    let all = || {
        streams
            .iter()
            .filter(move |stream| stream.at_far_end == at_far_end)
    };
    let codec = all().next()?.codec;
    let same = || all().filter(move |stream| stream.codec == codec);
    let of = |what: fn(&Stream) -> Duration| middle(&same().map(what).collect::<Vec<_>>());
    Some(Stream {
        at_far_end,
        codec,
        trip: of(|it| it.trip)?,
        buffer: of(|it| it.buffer)?,
        came: same().map(|it| it.came).sum(),
        lost: same().map(|it| it.lost).sum(),
        bursts: same().map(|it| it.bursts).sum(),
    })
}

fn rate(stream: Stream) -> Option<Quality> {
    let all = stream.came + stream.lost;
    if all < ENOUGH {
        return None;
    }
    let inputs = Inputs {
        one_way: emodel::mouth_to_ear(stream.trip, stream.buffer),
        codec: stream.codec,
        loss_percent: percent(stream.lost, all),
        burst_ratio: emodel::burst_ratio(stream.came, stream.lost, stream.bursts).unwrap_or(1.0),
        advantage: 0.0,
    };
    let (lowest, _) = wilson(narrow(stream.lost), narrow(all))?;
    let kindest = Inputs {
        loss_percent: lowest * 100.0,
        ..inputs
    };
    Some(Quality {
        at_far_end: stream.at_far_end,
        inputs,
        estimate: emodel::estimate(&inputs)?,
        kindest: emodel::estimate(&kindest)?,
    })
}

/// Packets of ours that the far end got, and those that it did not: as it reports, else as its echo
/// shows.
fn lost_on_the_way_out(call: &CallRecord, audio: &AudioEvidence) -> Option<(u64, u64)> {
    if let Some(report) = call
        .report
        .filter(super::super::proto::media::report::ReceiverReport::is_measured)
    {
        let lost = u64::from(report.lost).saturating_sub(call.left_out);
        return Some((report.packets.into(), lost));
    }
    let returned = &audio.returned;
    (returned.blocks > 0).then_some((
        returned.blocks + returned.missing - returned.lost_outbound,
        returned.lost_outbound,
    ))
}

/// The same for a report: packets lost on the way out over all calls; `None` where nothing tells.
#[must_use]
pub fn lost_outbound(calls: &CallsEvidence) -> Option<(u64, u64)> {
    calls
        .calls
        .iter()
        .filter_map(|call| lost_on_the_way_out(call, call.audio.as_ref()?))
        .reduce(|(came, lost), (more_came, more_lost)| (came + more_came, lost + more_lost))
}

fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn middle(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

#[allow(clippy::cast_precision_loss)] // counts of packets
fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

/// Both ways plain, and not both ways trunked.
fn trunk_mismatch(calls: &CallsEvidence, judged: &JudgedAudio) -> Option<Finding> {
    let of = |trunked: bool| {
        judged
            .directions
            .iter()
            .filter(move |(at, _)| calls.calls.get(*at).is_some_and(|it| it.trunked == trunked))
            .map(|(_, all)| all)
    };
    let plain_is_fine = one_way(of(false)) == Some(false);
    let dead = of(true).find(|all| is_dead(all))?;
    if !plain_is_fine {
        return None;
    }
    let trunked = calls.calls.iter().filter(|call| call.trunked);
    let (mut inbound_trunk, mut inbound_other) = (0, 0);
    for call in trunked {
        inbound_trunk += call.carriers.trunk;
        inbound_other += call.carriers.mini;
    }
    let mut because = vec!["the same call, plain: audio passes both ways".to_owned()];
    because.extend(facts("trunked", dead));
    because.push(format!(
        "from the far end came {inbound_trunk} packets in trunk frames and {inbound_other} in mini frames"
    ));
    let hears_us = dead.outbound.passes == Some(true);
    Some(Finding {
        id: FindingId::TrunkMismatch,
        severity: Severity::Critical,
        title: if hears_us {
            "Audio from the far end is lost once it is trunked".into()
        } else {
            "The far end does not take our audio once it is trunked".into()
        },
        because,
        do_this: if hears_us {
            vec![
                "set trunk=yes for this provider in this PBX's iax.conf, or have the far end take it out".into(),
            ]
        } else {
            vec![
                "have the far end set trunk=yes for this PBX, or take trunk=yes out of this PBX's iax.conf".into(),
                "trunk=yes there works only for a peer with the address and port that the packets come from: see nat mapping".into(),
            ]
        },
    })
}

fn one_way_audio(judged: &JudgedAudio) -> Option<Finding> {
    let (_, dead) = judged.directions.iter().find(|(_, all)| is_dead(all))?;
    let count = judged
        .directions
        .iter()
        .filter(|(_, all)| is_dead(all))
        .count();
    let title = match (dead.inbound.passes, dead.outbound.passes) {
        (Some(false), Some(true)) => "The far end hears us, and we hear nothing",
        (Some(true), Some(false)) => "We hear the far end, and it does not hear us",
        (Some(false), Some(false)) => "Audio passes neither way",
        (_, Some(false)) => "The far end does not hear us",
        (Some(false), _) => "We hear nothing",
        _ => "Audio does not come back from the echo: one way is dead, and nothing tells which",
    };
    let mut because = Vec::new();
    if judged.directions.len() > 1 {
        because.push(format!("in {count} of {} calls", judged.directions.len()));
    }
    because.extend(facts("audio", dead));
    Some(Finding {
        id: FindingId::OneWayAudio,
        severity: Severity::Critical,
        title: title.into(),
        because,
        do_this: vec![
            "signalling and audio share one flow, so look for what treats packets by size or kind: a firewall, a traffic shaper, an MTU".into(),
            "see whether one side alone has trunk=yes: call with --trunk".into(),
            "to tell the directions apart, turn jitterbuffer=yes on at the far end: its reports then count".into(),
        ],
    })
}

fn facts(what: &str, all: &Directions) -> Vec<String> {
    let line = |way: &str, conclusion: &Conclusion| {
        let because: Vec<String> = conclusion.because.iter().map(ToString::to_string).collect();
        let passes = match conclusion.passes {
            Some(true) => "passes",
            Some(false) => "does not pass",
            None => "is not known",
        };
        format!("{what} {way} {passes}: {}", because.join(", "))
    };
    vec![
        line("to the far end", &all.outbound),
        line("from the far end", &all.inbound),
    ]
}

fn poor_audio(judged: &JudgedAudio) -> Option<Finding> {
    let quality = judged.quality?;
    let estimate = quality.estimate;
    if quality.kindest.mos >= POOR {
        return None;
    }
    let who = if quality.at_far_end {
        "the far end"
    } else {
        "this side"
    };
    let mut because = vec![
        format!(
            "R factor {:.1}, MOS {:.1} (ITU-T G.107), at {who}",
            estimate.rating.max(0.0),
            estimate.mos
        ),
        format!(
            "{:.1} % of the packets lost, takes {:.1} off R without concealment",
            quality.inputs.loss_percent, estimate.equipment
        ),
        format!(
            "{} from mouth to ear, takes {:.1} off R",
            seconds(quality.inputs.one_way),
            estimate.delay + estimate.talker_echo + estimate.listener_echo
        ),
    ];
    let mut do_this = Vec::new();
    if quality.inputs.loss_percent >= 1.0 {
        do_this.push("find where packets are lost: the line, a full uplink (fewer calls, a smaller codec, trunk=yes), a traffic shaper".into());
    }
    if let Some(advice) = judged.buffer {
        because.push(format!(
            "a jitter buffer of {} ms would be late for 1 % of the packets",
            advice.depth.as_millis()
        ));
        let settings: Vec<String> = advice
            .asterisk
            .settings()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        do_this.push(format!(
            "in the iax.conf of the side that listens: {}",
            settings.join(", ")
        ));
    }
    if quality.inputs.one_way >= LONG {
        do_this.push("find what holds the packets up: a full uplink (bufferbloat), a busy host, a far exchange".into());
    }
    if do_this.is_empty() {
        do_this.push("offer a codec that takes less off the quality: --codec ulaw, or alaw".into());
    }
    Some(Finding {
        id: FindingId::PoorAudio,
        severity: if quality.kindest.mos < BAD {
            Severity::Critical
        } else {
            Severity::Warning
        },
        title: format!("Calls sound bad: MOS {:.1} of 4.4", estimate.mos),
        because,
        do_this,
    })
}

fn reordered(calls: &CallsEvidence) -> Option<Finding> {
    let audio = || calls.calls.iter().filter_map(|call| call.audio.as_ref());
    let came: u64 = audio().map(|audio| audio.inbound.packets).sum();
    let disordered: u64 = audio().map(|audio| audio.inbound.reordered).sum();
    let returned: u64 = audio().map(|audio| audio.returned.blocks).sum();
    let ours: u64 = audio().map(|audio| audio.returned.out_of_order).sum();
    #[allow(clippy::cast_precision_loss)] // counts of packets
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let (inbound, round) = (share(disordered, came), share(ours, returned));
    let inbound_seconds: u64 = audio().map(|it| it.inbound.disordered_seconds).sum();
    let round_seconds: u64 = audio().map(|it| it.returned.disordered_seconds).sum();
    let much = |count: u64, share: f64, seconds: u64| {
        count >= DISORDERED && share > DISORDER && seconds >= DISORDERED_SECONDS
    };
    if !much(disordered, inbound, inbound_seconds) && !much(ours, round, round_seconds) {
        return None;
    }
    let mut do_this = vec![
        "look for load sharing over several lines or radio links on the way".into(),
        "jitterbuffer=yes in the iax.conf of the side that listens puts them in order".into(),
    ];
    // What the far end sent came in order: the way out did it, or the far end itself.
    if !much(disordered, inbound, inbound_seconds) {
        do_this.push(
            "look at the load of the far end: a server short of time shakes up what waits there"
                .into(),
        );
    }
    Some(Finding {
        id: FindingId::ReorderedPackets,
        severity: Severity::Warning,
        title: "Packets of audio overtake each other".into(),
        because: vec![
            format!("{disordered} of {came} packets from the far end came after a later one"),
            format!("{ours} of {returned} of our own came back after a later one"),
            format!(
                "this was so in {} different seconds",
                inbound_seconds.max(round_seconds)
            ),
        ],
        do_this,
    })
}

fn digits(calls: &CallsEvidence) -> Option<Finding> {
    let echoed = |call: &&CallRecord| !call.digits_sent.is_empty() && call.completed;
    let mangled = |call: &&CallRecord| is_mangled(&call.digits_sent, &call.digits_received);
    let wrong = calls.calls.iter().filter(echoed).find(mangled)?;
    let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
    Some(Finding {
        id: FindingId::DtmfMangled,
        severity: Severity::Warning,
        title: "DTMF digits do not come back as they were sent".into(),
        because: vec![
            format!("sent {}", text(&wrong.digits_sent)),
            format!("came back {}", text(&wrong.digits_received)),
        ],
        do_this: vec![
            "see whether something on the way repeats or drops full frames: call with -v".into(),
        ],
    })
}

/// Whether digits came back with some of them missing, or some twice. An extension that returns none does not
/// echo them, and one that says digits of its own has said something else.
fn is_mangled(sent: &[u8], received: &[u8]) -> bool {
    if received.is_empty() || received == sent {
        return false;
    }
    let (some_missing, some_twice) = (is_subsequence(received, sent), without_repeats(received));
    some_missing || (received.len() > sent.len() && some_twice == without_repeats(sent))
}

fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|digit| rest.any(|other| other == digit))
}

fn without_repeats(digits: &[u8]) -> Vec<u8> {
    let mut once = digits.to_vec();
    once.dedup();
    once
}

#[cfg(test)]
mod tests;
