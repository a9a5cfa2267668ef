//! What a capture shows becomes a report.

#![allow(
    clippy::similar_names,
    reason = "caller and callee are the words of the field"
)]

use std::{collections::BTreeMap, net::SocketAddr, time::SystemTime};

use crate::{
    check::{Finding, Judgement, passive},
    report::{
        assemble::{Frame, framed},
        model::{
            Number, Report, Time,
            seen::{
                Binding, Capture, Ladder, Rung, SeenAudio, SeenCall, SeenPokes, SeenRegistration,
                Translated, TranslatedFlow,
            },
        },
    },
    trace::{
        call::{Call, End, Secret, Side},
        ladder::Climbed,
        mark::Mark,
        media::Media,
        pairing::Pairing,
        reading::Losses,
        registration::{Attempt, Outcome},
        traced::Traced,
    },
    wire::iax2::format::Formats,
};

/// What a look at captures found.
#[derive(Debug)]
pub struct Observed {
    /// The files, or the interface.
    pub sources: Vec<String>,
    /// What they show.
    pub traced: Traced,
    /// What is missing from them.
    pub losses: Losses,
    /// Of two captures, what they tell of the NAT between them.
    pub pairing: Option<Pairing>,
    /// The messages of a call that was asked for.
    pub ladder: Option<Ladder>,
    /// As many calls and registrations are written down at most; the others are counted.
    pub most: usize,
    /// It was stopped before its end.
    pub interrupted: bool,
}

/// Writes down what captures show.
#[must_use]
pub fn observed(frame: Frame, seen: &Observed, judgement: &Judgement) -> Report {
    let findings: &[Finding] = &judgement.findings;
    let mut report = framed(
        frame,
        judgement.verdict,
        judgement.summary.clone(),
        findings,
    );
    let traced = &seen.traced;
    let begin = traced.span.map(|(first, _)| first);
    let measured = &mut report.measurements;
    measured.capture = Some(capture(seen));
    measured.registrations = Some(
        traced
            .registrations
            .iter()
            .take(seen.most)
            .map(|attempt| registration(attempt, begin))
            .collect(),
    );
    measured.bindings = Some(bindings(traced, begin));
    measured.calls_seen = Some(
        traced
            .calls
            .iter()
            .take(seen.most)
            .filter_map(|of| call(traced, of, begin))
            .collect(),
    );
    measured.qualify = Some(pokes(traced, seen.most));
    measured.translations = seen.pairing.as_ref().map(translations);
    measured.ladder.clone_from(&seen.ladder);
    report.interrupted = seen.interrupted;
    report
}

fn capture(seen: &Observed) -> Capture {
    let (traced, losses) = (&seen.traced, &seen.losses);
    let time = |mark: Mark| Time(SystemTime::UNIX_EPOCH + mark.time());
    Capture {
        sources: seen.sources.clone(),
        packets: losses.packets,
        octets: losses.octets,
        datagrams: traced.counts.datagrams,
        first_at: traced.span.map(|(first, _)| time(first)),
        last_at: traced.span.map(|(_, last)| time(last)),
        full_frames: traced.counts.full,
        mini_frames: traced.counts.mini,
        trunk_frames: traced.counts.trunk,
        invals: traced.counts.invals,
        malformed: traced.counts.malformed,
        stray: traced.counts.stray,
        stray_audio: traced.counts.stray_audio,
        lost: lost(seen),
    }
}

/// What was lost on the way into the capture or from it, each in a sentence.
fn lost(seen: &Observed) -> Vec<String> {
    let losses = &seen.losses;
    let mut lost = Vec::new();
    if let Some(damaged) = &losses.damaged {
        lost.push(format!("the file ends too early: {damaged}"));
    }
    if let Some(dropped) = losses.dropped.filter(|dropped| *dropped > 0) {
        lost.push(format!(
            "the capturing host lost {dropped} packets that it should have captured"
        ));
    }
    if let Some((mark, error)) = &losses.first_unread {
        lost.push(format!(
            "{} packets could not be read, the first {mark}: {error}",
            losses.unread
        ));
    }
    if losses.cut > 0 {
        lost.push(format!(
            "{} datagrams were not captured as a whole: capture with a longer snap length (tcpdump -s 0)",
            losses.cut
        ));
    }
    if losses.fragments > 0 {
        lost.push(format!(
            "{} datagrams came in fragments of which some are missing",
            losses.fragments
        ));
    }
    if losses.duplicates > 0 {
        lost.push(format!(
            "{} datagrams stand in the capture twice, as from a mirror port; each counts once",
            losses.duplicates
        ));
    }
    if losses.backwards > 0 {
        lost.push(format!(
            "the clock goes back {} times, by {} s at most: times across that are not exact",
            losses.backwards,
            Number::seconds(losses.furthest_back)
        ));
    }
    if seen.traced.counts.beyond > 0 {
        lost.push(format!(
            "{} flows, registrations or calls are beyond what is kept, and are in no figure",
            seen.traced.counts.beyond
        ));
    }
    for (what, count) in [
        ("registrations", seen.traced.registrations.len()),
        ("calls", seen.traced.calls.len()),
    ] {
        if count > seen.most {
            lost.push(format!(
                "{} more {what} are judged and not listed; --json lists all",
                count - seen.most
            ));
        }
    }
    lost
}

/// When, since the beginning.
fn at(mark: Mark, begin: Option<Mark>) -> Number {
    Number::seconds(begin.map_or_else(Default::default, |begin| mark.since(&begin)))
}

/// One registration, with times since `begin`.
#[must_use]
pub fn registration(attempt: &Attempt, begin: Option<Mark>) -> SeenRegistration {
    SeenRegistration {
        client: attempt.client,
        registrar: attempt.registrar,
        call_number: attempt.number.get(),
        user: attempt.user.as_deref().map(str::to_owned),
        frame: attempt.first.number(),
        at_s: at(attempt.first, begin),
        state: match attempt.outcome {
            Outcome::Open => None,
            Outcome::Registered => Some("registered"),
            Outcome::Released => Some("released"),
            Outcome::Rejected => Some("rejected"),
            Outcome::TokenRefused => Some("token-refused"),
            Outcome::AuthUnsupported => Some("auth-unsupported"),
            Outcome::Unanswered | Outcome::Stalled => Some("timeout"),
        }
        .map(str::to_owned),
        decided_frame: attempt.decided.map(|mark| mark.number()),
        elapsed_ms: attempt
            .decided
            .map(|mark| Number::millis(mark.since(&attempt.first))),
        auth: attempt
            .method
            .map(|method| method.as_str().to_owned())
            .or_else(|| {
                (attempt.outcome == Outcome::Registered && attempt.offered.is_none())
                    .then(|| "none".to_owned())
            }),
        call_token: attempt.token,
        refresh_s: attempt
            .refresh
            .map(|seconds| Number::new(f64::from(seconds))),
        apparent_address: attempt.apparent,
        cause: attempt.cause.as_deref().map(str::to_owned),
        cause_code: attempt.cause_code,
        requests: attempt.requests,
        retransmissions: attempt.retransmissions,
        invals: attempt.invals,
    }
}

fn bindings(traced: &Traced, begin: Option<Mark>) -> Vec<Binding> {
    let mut groups: BTreeMap<(Option<&str>, SocketAddr, SocketAddr), Vec<&Attempt>> =
        BTreeMap::new();
    for attempt in &traced.registrations {
        if attempt.outcome == Outcome::Registered
            && let Some(apparent) = attempt.apparent
        {
            let key = (attempt.user.as_deref(), attempt.registrar, apparent);
            groups.entry(key).or_default().push(attempt);
        }
    }
    groups
        .into_iter()
        .filter_map(|((user, registrar, apparent_address), attempts)| {
            let (first, last) = (attempts.first()?, attempts.last()?);
            let gaps = || {
                attempts
                    .windows(2)
                    .map(|pair| (pair[0], pair[1].first.since(&pair[0].first)))
            };
            // Registrars keep a binding some seconds longer than they grant.
            let kept = |(before, gap): (&Attempt, std::time::Duration)| {
                gap.as_secs() <= u64::from(before.refresh.unwrap_or(60))
            };
            Some(Binding {
                user: user.map(str::to_owned),
                registrar,
                apparent_address,
                client: first.client,
                registrations: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
                first_s: at(first.first, begin),
                last_s: at(last.first, begin),
                refresh_s: last.refresh.map(|seconds| Number::new(f64::from(seconds))),
                longest_gap_s: gaps().map(|(_, gap)| gap).max().map(Number::seconds),
                kept: (attempts.len() > 1).then(|| gaps().all(kept)),
            })
        })
        .collect()
}

fn pokes(traced: &Traced, most: usize) -> Vec<SeenPokes> {
    let mut all = Vec::new();
    for flow in &traced.flows {
        for (end, pokes) in flow.pokes.iter().enumerate() {
            let (Some(pokes), Some(from), Some(to)) = (pokes, flow.end(end), flow.end(1 - end))
            else {
                continue;
            };
            all.push(SeenPokes {
                from,
                to,
                sent: pokes.sent,
                answered: pokes.answered,
                unanswered: pokes.unanswered,
                rtt_ms: pokes.round_trip.map(|(least, _)| Number::millis(least)),
            });
        }
    }
    all.truncate(most);
    all
}

/// One call, with times since `begin`; `None` where its flow is not known.
#[must_use]
pub fn call(traced: &Traced, of: &Call, begin: Option<Mark>) -> Option<SeenCall> {
    let (caller, callee) = traced.ends(of)?;
    let [caller_number, callee_number] = of.numbers;
    let since = |mark: Option<Mark>| mark.map(|mark| mark.since(&of.first));
    let last = match of.last {
        [Some(one), Some(other)] if other.since(&one).is_zero() => Some(one),
        [one, other] => other.or(one),
    };
    let by = match of.end {
        End::HungUp { by, .. } | End::Rejected { by } | End::Invalid { by, .. } => Some(by),
        End::TokenRefused { .. } => Some(Side::Callee),
        End::Open | End::Unanswered | End::Silent { .. } => None,
    };
    let [caller_audio, callee_audio] = &of.media;
    let [caller_digits, callee_digits] = &of.digits;
    Some(SeenCall {
        call: of.id,
        caller,
        callee,
        caller_number: caller_number.get(),
        callee_number: (!callee_number.is_none()).then(|| callee_number.get()),
        user: of.user.as_deref().map(str::to_owned),
        called: of.called.as_deref().map(str::to_owned),
        calling: of.calling.as_deref().map(str::to_owned),
        frame: of.first.number(),
        at_s: at(of.first, begin),
        began_before: of.began_before,
        setup_ms: since(of.accepted).map(Number::millis),
        answer_ms: since(of.answered).map(Number::millis),
        duration_s: since(of.ended.or(last)).map(Number::seconds),
        ended_frame: of.ended.map(|mark| mark.number()),
        outcome: passive::symptom(of).map(|symptom| symptom.as_str().to_owned()),
        ended_by: by.map(|by| {
            match by {
                Side::Caller => "caller",
                Side::Callee => "callee",
            }
            .to_owned()
        }),
        cause: of.cause.as_deref().map(str::to_owned),
        cause_code: of.cause_code,
        codec: (of.format != Formats::NONE).then(|| of.format.to_string()),
        encrypted: match of.secret {
            Secret::Plain => "no",
            Secret::Opened => "opened",
            Secret::Sealed => "sealed",
        }
        .to_owned(),
        caller_audio: audio(caller_audio),
        callee_audio: audio(callee_audio),
        retransmissions: of
            .retransmissions
            .iter()
            .map(|count| u32::from(*count))
            .sum(),
        vnaks: of.vnaks.iter().map(|count| u32::from(*count)).sum(),
        caller_digits: caller_digits.as_deref().map(str::to_owned),
        callee_digits: callee_digits.as_deref().map(str::to_owned),
    })
}

/// The messages of a call.
#[must_use]
pub fn ladder(call: u32, left: SocketAddr, right: SocketAddr, climbed: &Climbed) -> Ladder {
    let begin = climbed.rungs.first().map(|rung| rung.mark);
    Ladder {
        call,
        left,
        right,
        rungs: climbed
            .rungs
            .iter()
            .map(|rung| Rung {
                frame: rung.mark.number(),
                at_s: at(rung.mark, begin),
                rightward: rung.rightward,
                what: rung.what.clone(),
            })
            .collect(),
        more: (climbed.more > 0).then_some(climbed.more),
    }
}

fn audio(media: &Media) -> SeenAudio {
    SeenAudio {
        packets: media.packets(),
        trunked: media.trunk,
        lost: media.is_timed().then_some(media.lost),
        reordered: media.reordered,
        duplicated: media.duplicated,
        jitter_ms: media.jitter().map(Number::millis),
    }
}

fn translations(pairing: &Pairing) -> Translated {
    let words = |what: &str, dropped: &crate::trace::pairing::Dropped| -> Vec<String> {
        dropped
            .first
            .iter()
            .map(|(mark, from, to)| format!("{what} {mark}: {from} → {to}"))
            .collect()
    };
    let mut dropped = words("inside", &pairing.dropped_outward);
    dropped.extend(words("outside", &pairing.dropped_inward));
    Translated {
        matched: pairing.matched,
        rewritten: pairing.rewritten_count,
        dropped_outward: pairing.dropped_outward.count,
        dropped_inward: pairing.dropped_inward.count,
        dropped,
        mappings: pairing
            .translations
            .iter()
            .map(|of| TranslatedFlow {
                inner: of.inner,
                outer: of.outer,
                peer: of.peer,
                sent: of.out,
                received: of.inward,
                answers: of.answers,
                frame: of.first.number(),
                last_frame: of.last.number(),
            })
            .collect(),
    }
}
