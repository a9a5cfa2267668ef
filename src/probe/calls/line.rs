//! One call of a test, from NEW to its end.

use std::time::{Duration, Instant};

use super::{
    evidence::CallRecord,
    plan::{CallPlan, Milestone},
    talk::Talk,
};
use crate::{
    proto::{
        call::{Call, CallEvent, Ending, Reason, Side, Stage},
        contract::earlier,
    },
    wire::iax2::{
        cause::Cause,
        command::Control,
        trunk::{MetaTrunk, TrunkEntry},
    },
};

/// How long the tail of an echo is listened to, at least, after the last block was sent.
const TAIL: Duration = Duration::from_millis(500);
/// How long the far end's last receiver report is waited for.
const REPORT: Duration = Duration::from_secs(1);
/// How long a far end that is busy or congested is given to hang up by itself, which tells why.
const LAST_WORD: Duration = Duration::from_millis(300);
/// A digit lasts so long, and so long is the pause before the next (Q.24 asks for 40 ms of both).
const DIGIT: Duration = Duration::from_millis(100);
/// Texts kept of one call.
const MAX_TEXTS: usize = 8;
/// Digits kept of one call.
const MAX_DIGITS: usize = 256;
/// Round trips kept of one call.
const MAX_ROUND_TRIPS: usize = 1024;
/// Kinds of progress kept of one call.
const MAX_PROGRESS: usize = 16;

/// One call under way.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) call: Call,
    pub(super) record: CallRecord,
    plan: CallPlan,
    placed: Instant,
    phase: Phase,
    pub(super) talk: Option<Talk>,
    seed: u64,
    /// Our audio waits for the shared clock of the trunk.
    grid: Option<Instant>,
    digits: Digits,
}

/// What the call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// From NEW to ACCEPT, and while it rings.
    SetUp { ring_until: Option<Instant> },
    /// Digits go out, and nothing else: a far end lets no voice through beside them, and that is no loss.
    Dialling,
    /// Both talk.
    Talking { until: Instant },
    /// The far end was asked what it received; we go on talking, for its jitter buffer takes a silence
    /// for loss.
    Reporting { until: Instant },
    /// We are silent, and listen to what is still on its way.
    Tail { until: Instant },
    /// The far end said that it is busy or congested: a HANGUP of its own may tell more.
    Turned { until: Instant, cause: Cause },
    /// HANGUP is out, or came.
    Closing,
}

/// Digits to send.
#[derive(Debug)]
struct Digits {
    left: std::collections::VecDeque<u8>,
    down: Option<u8>,
    due: Instant,
}

impl Line {
    /// Follows a call that has just been dialled, at `since` the beginning of the survey.
    pub(super) fn new(
        call: Call,
        plan: CallPlan,
        trunked: bool,
        grid: Option<Instant>,
        since: Duration,
        seed: u64,
        now: Instant,
    ) -> Self {
        let digits = Digits {
            left: plan.digits.iter().copied().collect(),
            down: None,
            due: now,
        };
        let mut line = Self {
            call,
            record: CallRecord {
                placed: since,
                trunked,
                ..CallRecord::default()
            },
            plan,
            placed: now,
            phase: Phase::SetUp { ring_until: None },
            talk: None,
            seed,
            grid,
            digits,
        };
        line.call.set_trunked(trunked);
        line
    }

    /// Whether nothing more comes of it.
    pub(super) fn is_over(&self) -> bool {
        self.call.stage() == Stage::Over
    }

    /// Whether audio is being exchanged as planned.
    pub(super) const fn is_talking(&self) -> bool {
        matches!(self.phase, Phase::Talking { .. } | Phase::Reporting { .. })
    }

    /// What is known so far.
    pub(super) fn record(&self) -> CallRecord {
        CallRecord {
            counts: self.call.counts(),
            encrypted: self.call.is_encrypted(),
            audio: self.talk.as_ref().map(Talk::evidence),
            left_out: self.talk.as_ref().map_or(0, Talk::left_out),
            ..self.record.clone()
        }
    }

    /// Ends it before its time, as somebody who hangs up.
    pub(super) fn stop(&mut self, now: Instant) {
        self.say_goodbye(now);
    }

    /// Takes a datagram of this call.
    pub(super) fn handle_datagram(&mut self, payload: &[u8], now: Instant) {
        self.note_heard(now);
        self.call.handle_datagram(payload, now);
    }

    /// Takes this call's entry of a trunk frame.
    pub(super) fn handle_entry(
        &mut self,
        trunk: &MetaTrunk<'_>,
        entry: &TrunkEntry<'_>,
        now: Instant,
    ) {
        self.note_heard(now);
        self.call.handle_entry(trunk, entry, now);
    }

    fn note_heard(&mut self, now: Instant) {
        self.record.heard = Some(now.saturating_duration_since(self.placed));
    }

    /// Takes what the call reports; milestones go to `tell`.
    pub(super) fn drain(&mut self, now: Instant, mut tell: impl FnMut(Milestone)) {
        while let Some(event) = self.call.poll_event() {
            self.take(event, now, &mut tell);
        }
    }

    fn take(&mut self, event: CallEvent, now: Instant, tell: &mut impl FnMut(Milestone)) {
        let since = now.saturating_duration_since(self.placed);
        match event {
            CallEvent::TokenReceived => self.record.token = true,
            CallEvent::Challenged { method, .. } => self.record.method = Some(method),
            CallEvent::Accepted { format } => {
                self.record.accepted = Some(since);
                self.record.format = Some(format);
                self.record.round_trips.extend(self.call.round_trip());
                self.phase = Phase::SetUp {
                    ring_until: Some(now + self.plan.ring),
                };
                tell(Milestone::Accepted(format));
            }
            CallEvent::Progress(control) => self.take_progress(control, since, now, tell),
            CallEvent::Audio(audio) => {
                self.record.carriers.count(audio.carrier);
                if let Some(talk) = &mut self.talk {
                    talk.hear(&audio, now);
                }
            }
            CallEvent::Dtmf { digit, ended: true } => {
                if self.record.digits_received.len() < MAX_DIGITS {
                    self.record.digits_received.push(digit);
                }
            }
            CallEvent::Text(text) => {
                if self.record.texts.len() < MAX_TEXTS {
                    self.record.texts.push(text);
                }
            }
            CallEvent::Pong { round_trip, report } => {
                if self.record.round_trips.len() < MAX_ROUND_TRIPS {
                    self.record.round_trips.extend(round_trip);
                }
                self.record.report = report.or(self.record.report);
                if matches!(self.phase, Phase::Reporting { .. }) {
                    self.fall_silent(now);
                }
            }
            CallEvent::Lag(lag) => {
                if self.record.lags.len() < MAX_ROUND_TRIPS {
                    self.record.lags.push(lag);
                }
            }
            CallEvent::KeyRotated => self.record.keys += 1,
            CallEvent::Ended(ending) => self.end(ending, since),
            CallEvent::Proof(_)
            | CallEvent::Dtmf { .. }
            | CallEvent::Quelched(_)
            | CallEvent::TransferDeclined
            | CallEvent::Unsupported(_) => {}
        }
    }

    fn take_progress(
        &mut self,
        control: Control,
        since: Duration,
        now: Instant,
        tell: &mut impl FnMut(Milestone),
    ) {
        if !self.record.progress.contains(&control) && self.record.progress.len() < MAX_PROGRESS {
            self.record.progress.push(control);
            if control == Control::Ringing {
                tell(Milestone::Ringing);
            }
        }
        match control {
            Control::Answer => {
                self.record.answered = Some(since);
                if self.digits.left.is_empty() {
                    self.begin_to_talk(now);
                } else {
                    self.phase = Phase::Dialling;
                    self.digits.due = now + DIGIT;
                }
                tell(Milestone::Answered);
            }
            Control::Busy | Control::Congestion if self.record.answered.is_none() => {
                let cause = if control == Control::Busy {
                    Cause::Busy
                } else {
                    Cause::SwitchCongestion
                };
                self.phase = Phase::Turned {
                    until: now + LAST_WORD,
                    cause,
                };
            }
            _ => {}
        }
    }

    fn end(&mut self, ending: Ending, since: Duration) {
        self.record.ended = Some(since);
        self.record.completed = match &ending {
            Ending::HungUp {
                by: Side::Us,
                acknowledged,
                ..
            } => {
                let taken = *acknowledged || self.record.lived_until_hangup();
                taken && self.record.answered.is_some()
            }
            // The callee ended an answered call and says that this is normal.
            Ending::HungUp {
                by: Side::Peer,
                cause,
                ..
            } => self.record.answered.is_some() && cause.code == Some(Cause::Normal.get()),
            _ => false,
        };
        self.record.ending = Some(ending);
        self.phase = Phase::Closing;
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.call.handle_timeout(now);
        if self.is_over() {
            return;
        }
        if self.is_talking()
            && let Some(talk) = &mut self.talk
        {
            talk.speak(&mut self.call, now);
        }
        match self.phase {
            Phase::SetUp {
                ring_until: Some(until),
            } if until <= now => self.hang_up(Cause::NoAnswer, now),
            Phase::Dialling if self.digits.due <= now => self.dial_digit(now),
            Phase::Talking { until } if until <= now => {
                self.call.ping(now);
                self.phase = Phase::Reporting {
                    until: now + REPORT,
                };
            }
            Phase::Reporting { until } if until <= now => self.fall_silent(now),
            Phase::Tail { until } if until <= now => self.say_goodbye(now),
            Phase::Turned { until, cause } if until <= now => self.hang_up(cause, now),
            Phase::SetUp { .. }
            | Phase::Dialling
            | Phase::Talking { .. }
            | Phase::Tail { .. }
            | Phase::Reporting { .. }
            | Phase::Turned { .. }
            | Phase::Closing => {}
        }
    }

    fn fall_silent(&mut self, now: Instant) {
        let echo = self.talk.as_ref().and_then(Talk::longest_echo);
        self.phase = Phase::Tail {
            until: now + TAIL.max(echo.unwrap_or_default() * 2),
        };
    }

    fn say_goodbye(&mut self, now: Instant) {
        self.hang_up(Cause::Normal, now);
    }

    fn hang_up(&mut self, cause: Cause, now: Instant) {
        self.phase = Phase::Closing;
        self.record.hung_up = Some(now.saturating_duration_since(self.placed));
        self.record.unacknowledged = self.call.oldest_pending();
        self.call.hang_up(Reason::code(cause.get()), now);
    }

    fn begin_to_talk(&mut self, now: Instant) {
        self.phase = Phase::Talking {
            until: now + self.plan.talk,
        };
        if let Some(format) = self.call.format() {
            let begin = self.grid.unwrap_or(now);
            self.talk = Some(Talk::new(format, self.seed, self.plan.record, begin, now));
        }
    }

    /// Presses the next digit or lets it go; after the last one and a pause, it is time to talk.
    fn dial_digit(&mut self, now: Instant) {
        self.digits.due = now + DIGIT;
        if let Some(digit) = self.digits.down.take() {
            self.call.send_digit(digit, true, now);
            self.record.digits_sent.push(digit);
        } else if let Some(digit) = self.digits.left.pop_front() {
            self.digits.down = Some(digit);
            self.call.send_digit(digit, false, now);
        } else {
            self.begin_to_talk(now);
        }
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let phase = match self.phase {
            Phase::SetUp { ring_until } => ring_until.map(|until| (until, "let it ring")),
            Phase::Dialling => Some((self.digits.due, "dial a digit")),
            Phase::Talking { until } | Phase::Reporting { until } => {
                let next = self.talk.as_ref().map_or(until, Talk::next);
                Some((until.min(next), "talk"))
            }
            Phase::Tail { until } => Some((until, "listen to the end of the echo")),
            Phase::Turned { until, .. } => Some((until, "wait for the far end to hang up")),
            Phase::Closing => None,
        };
        earlier(phase, self.call.poll_timeout())
    }
}
