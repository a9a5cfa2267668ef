//! Test calls, as the report tells of them.

use std::{collections::BTreeMap, time::Duration};

use super::spread;
use crate::{
    check::{
        self, Judgement,
        audio::{self, JudgedAudio},
        calls::{self, JudgedCalls, symptom::Symptom},
    },
    probe::{
        self,
        callback::CallbackEvidence,
        calls::{
            evidence::{CallRecord, CallsEvidence},
            wire_use::{Packing, calls_on},
        },
    },
    proto::{
        media::{directions::Directions, listener::AudioEvidence},
        trunk::{ENTRY_WITH_TIMESTAMP, MTU},
    },
    report::model::{
        Number,
        calls::{
            Attempt, Audio, Callback, Calls, Carriers, Delay, Dtmf, Failure, FarEnd, Interval,
            JitterBuffer, Media, SilenceControl, Wire,
        },
    },
    wire::iax2::ie_value::Text,
};

/// Calls that failed are listed up to this number.
const MAX_FAILURES: usize = 50;
/// The audio of a packet of G.711, in octets.
const G711_BLOCK: usize = 160;

pub(super) fn calls(seen: &CallsEvidence, judgement: &Judgement, headers: u32) -> Calls {
    let judged = judgement
        .calls
        .clone()
        .unwrap_or_else(|| calls::judge(seen));
    let sound = judgement
        .audio
        .clone()
        .unwrap_or_else(|| audio::judge(seen));
    let count = |wanted: &dyn Fn(&CallRecord) -> bool| {
        let counted = seen.calls.iter().filter(|call| wanted(call)).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    };
    let symptoms = |wanted: fn(Symptom) -> bool| {
        let counted = judged.symptoms.iter().flatten().filter(|it| wanted(**it));
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    };
    let each = |of: &dyn Fn(&CallRecord) -> Vec<Duration>| {
        spread(&seen.calls.iter().flat_map(of).collect::<Vec<_>>())
    };
    let first = |of: &dyn Fn(&CallRecord) -> Option<String>| seen.calls.iter().find_map(of);
    Calls {
        extension: Some(seen.number.clone()),
        attempted: count(&|_| true),
        answered: count(&|call| call.answered.is_some()),
        completed: count(&|call| call.completed),
        raw_hangups: symptoms(Symptom::is_raw_hangup),
        invals: symptoms(|symptom| symptom == Symptom::Invalidated),
        pattern: judged.spread.pattern.map(|it| it.as_str().into()),
        pattern_because: Some(judged.spread.why.clone()),
        failure_rate: judged.spread.interval.map(|(low, high)| Interval {
            low: Number::new(low),
            high: Number::new(high),
        }),
        signatures: signatures(&judged),
        setup_ms: each(&|call| call.accepted.into_iter().collect()),
        answer_ms: each(&|call| call.answered.into_iter().collect()),
        rtt_ms: each(&|call| call.round_trips.clone()),
        lag_ms: each(&|call| call.lags.clone()),
        codec: first(&|call| call.format.map(|format| format.to_string())),
        auth: first(&|call| call.method.map(|method| method.as_str().into())),
        encrypted: Some(seen.calls.iter().any(|call| call.encrypted)),
        call_token: Some(seen.calls.iter().any(|call| call.token)),
        retransmissions: Some(
            seen.calls
                .iter()
                .map(|call| call.counts.retransmissions)
                .sum(),
        ),
        progress: progress(seen),
        media: media(seen, &sound),
        audio: sound.quality.map(quality),
        jitter_buffer: sound.buffer.map(|advice| JitterBuffer {
            depth_ms: u64::try_from(advice.depth.as_millis()).unwrap_or(u64::MAX),
            maxjitterbuffer: advice.asterisk.maxjitterbuffer,
            jittertargetextra: advice.asterisk.jittertargetextra,
            resyncthreshold: advice.asterisk.resyncthreshold,
        }),
        far_end: far_end(seen),
        dtmf: dtmf(seen),
        texts: texts(seen),
        wire: wire(seen, headers),
        failures: failures(seen, &judged),
    }
}

pub(super) fn callback(seen: &CallbackEvidence) -> Callback {
    let attempt = |of: &probe::callback::Attempt| Attempt {
        after_s: Number::seconds(of.after),
        arrived: of.arrived,
        took_ms: of.took.map(Number::millis),
    };
    Callback {
        extension: seen.number.clone(),
        arrives: check::callback::arrives(seen),
        late: seen.late.as_ref().map(attempt),
        control: seen.control.as_ref().map(attempt),
    }
}

fn progress(seen: &CallsEvidence) -> Vec<String> {
    let accepted = seen.calls.iter().find(|call| call.accepted.is_some());
    accepted.map_or_else(Vec::new, |call| {
        call.progress.iter().map(ToString::to_string).collect()
    })
}

fn signatures(judged: &JudgedCalls) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let failed = judged.symptoms.iter().flatten();
    for symptom in failed.filter(|symptom| symptom.is_failure()) {
        *counts.entry(symptom.as_str().to_owned()).or_default() += 1;
    }
    counts
}

fn media(seen: &CallsEvidence, judged: &JudgedAudio) -> Option<Media> {
    let audio = || seen.calls.iter().filter_map(|call| call.audio.as_ref());
    audio().next()?;
    let sum = |of: fn(&AudioEvidence) -> u64| audio().map(of).sum::<u64>();
    let returned = sum(|it| it.returned.blocks);
    let lost_inbound = sum(|it| it.inbound.lost);
    let trips = || audio().filter_map(|it| it.returned.round_trip);
    let mut carriers = Carriers::default();
    for call in &seen.calls {
        carriers.full += call.carriers.full;
        carriers.mini += call.carriers.mini;
        carriers.trunk += call.carriers.trunk;
    }
    Some(Media {
        sent: sum(|it| it.sent),
        received: sum(|it| it.inbound.packets),
        lost: if returned > 0 {
            sum(|it| it.returned.missing)
        } else {
            lost_inbound
        },
        reordered: sum(|it| it.inbound.reordered),
        duplicated: sum(|it| it.inbound.duplicated),
        jitter_ms: audio()
            .filter_map(|it| it.inbound.jitter)
            .max()
            .map(Number::millis),
        one_way: judged.one_way,
        outbound: agreed(judged, |all| all.outbound.passes),
        inbound: agreed(judged, |all| all.inbound.passes),
        returned: Some(returned),
        returned_out_of_order: Some(sum(|it| it.returned.out_of_order)),
        lost_outbound: audio::lost_outbound(seen).map(|(_, lost)| lost),
        lost_inbound: Some(lost_inbound),
        gaps: Some(sum(|it| it.inbound.gaps)),
        longest_gap_ms: audio()
            .map(|it| it.inbound.longest_gap)
            .filter(|gap| !gap.is_zero())
            .max()
            .map(Number::millis),
        delay_ms: trips().max_by_key(|trip| trip.median).map(|worst| Delay {
            min: Number::millis(trips().map(|it| it.min).min().unwrap_or(worst.min)),
            median: Number::millis(worst.median),
            p95: Number::millis(worst.p95),
            max: Number::millis(trips().map(|it| it.max).max().unwrap_or(worst.max)),
        }),
        carriers: Some(carriers),
    })
}

/// What is known of one direction in all calls: dead in one is dead.
fn agreed(judged: &JudgedAudio, of: fn(&Directions) -> Option<bool>) -> Option<bool> {
    let mut all = judged.directions.iter().map(|(_, it)| of(it));
    if all.clone().any(|passes| passes == Some(false)) {
        return Some(false);
    }
    let some = all.clone().next().is_some();
    (some && all.all(|passes| passes == Some(true))).then_some(true)
}

fn quality(quality: audio::Quality) -> Audio {
    let audio::Quality {
        at_far_end,
        inputs,
        estimate,
        ..
    } = quality;
    Audio {
        // Beyond all use it falls below zero (G.107 Annex B), and a call is no worse for that.
        r_factor: Number::new(estimate.rating.max(0.0)),
        mos: Number::new(estimate.mos),
        listener: if at_far_end { "far-end" } else { "here" }.into(),
        one_way_ms: Number::millis(inputs.one_way),
        loss_percent: Number::new(inputs.loss_percent),
        burst_ratio: Number::new(inputs.burst_ratio),
        codec_ie: Number::new(inputs.codec.ie),
        codec_bpl: inputs.codec.bpl.map(Number::new),
    }
}

/// The report of the last call that has one.
fn far_end(seen: &CallsEvidence) -> Option<FarEnd> {
    let report = seen.calls.iter().rev().find_map(|call| call.report)?;
    Some(FarEnd {
        measured: report.is_measured(),
        received: report.packets,
        lost: report.lost,
        loss_percent: report.loss_percent,
        jitter_ms: report.jitter_ms,
        delay_ms: report.delay_ms,
        dropped: report.dropped,
        out_of_order: report.out_of_order,
    })
}

fn dtmf(seen: &CallsEvidence) -> Option<Dtmf> {
    let any = |call: &&CallRecord| !call.digits_sent.is_empty() || !call.digits_received.is_empty();
    let call = seen.calls.iter().find(any)?;
    Some(Dtmf {
        sent: Text(&call.digits_sent).to_string(),
        received: Text(&call.digits_received).to_string(),
    })
}

fn texts(seen: &CallsEvidence) -> Vec<String> {
    let some = seen.calls.iter().find(|call| !call.texts.is_empty());
    some.map_or_else(Vec::new, |call| {
        call.texts
            .iter()
            .map(|text| Text(text).to_string())
            .collect()
    })
}

fn wire(seen: &CallsEvidence, headers: u32) -> Option<Wire> {
    let plain = seen.plain.bits_per_second(headers);
    let trunked = seen.trunked.bits_per_second(headers);
    if plain.is_none() && trunked.is_none() && seen.uplink.is_none() {
        return None;
    }
    let trunk = Packing::Trunk {
        mtu: MTU,
        entry: ENTRY_WITH_TIMESTAMP,
    };
    let carries = |packing| {
        seen.uplink
            .map(|line| calls_on(line, G711_BLOCK, packing, headers))
    };
    Some(Wire {
        plain_bps: plain.map(|bits| Number::new(bits.round())),
        trunked_bps: trunked.map(|bits| Number::new(bits.round())),
        trunked_at_once: seen.trunked.at_once,
        uplink_bps: seen.uplink,
        uplink_plain_calls: carries(Packing::Plain),
        uplink_trunked_calls: carries(trunk),
    })
}

fn failures(seen: &CallsEvidence, judged: &JudgedCalls) -> Vec<Failure> {
    let calls = seen.calls.iter().zip(&judged.symptoms).enumerate();
    calls
        .filter_map(|(at, (call, symptom))| {
            let symptom = symptom.filter(|symptom| symptom.is_failure())?;
            Some(Failure {
                call: at + 1,
                signature: symptom.as_str().into(),
                trunked: call.trunked,
                after_s: call.ended.map(Number::seconds),
                what: calls::fact(symptom, call),
                control: call.control.map(|control| SilenceControl {
                    same_sent: control.same.0,
                    same_received: control.same.1,
                    fresh_sent: control.fresh.0,
                    fresh_received: control.fresh.1,
                }),
            })
        })
        .take(MAX_FAILURES)
        .collect()
}
