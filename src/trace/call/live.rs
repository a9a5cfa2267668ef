//! Follows one call, frame by frame.

#![allow(
    clippy::similar_names,
    reason = "caller and callee are the words of the field"
)]

use std::time::Duration;

use super::{BUSY, CONGESTION, Call, End, PROGRESS, RINGING, Secret, Side};
use crate::{
    proto::media::report::ReceiverReport,
    trace::{
        mark::Mark,
        media::{Carrier, Clock, Media},
        name::Name,
        registration::words,
        secrecy::Secrecy,
    },
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, Control, FrameType},
        format::Formats,
        frame::{FullFrame, Kind},
        ie_value::Ie,
    },
};

/// A call under way, with what is needed to follow it.
#[derive(Debug)]
pub(in crate::trace) struct Live {
    pub(in crate::trace) call: Call,
    pub(in crate::trace) secrecy: Option<Secrecy>,
    pub(in crate::trace) challenge: Option<Box<[u8]>>,
    /// The highest number of each end, and which of those before it were seen.
    numbers: [Option<(SeqNo, u128)>; 2],
    last_kind: [Option<Kind>; 2],
    hangup: Option<(Side, Timestamp)>,
    asked: [Option<(Timestamp, Mark)>; 2],
    encryption_offered: bool,
    /// How long the callee had been silent, where it is a registered client.
    pub(in crate::trace) idle_before: Option<Duration>,
}

/// A call that is over is kept for so long, for what comes late.
const LINGER: Duration = Duration::from_secs(5);
/// A call of which nothing is heard for so long is over: deployed peers ask each other every 10 and 21 s, and
/// give up after 32 s.
const SILENCE: Duration = Duration::from_secs(70);
/// One end that is not heard for so long, while the other goes on, is gone.
const ONE_SIDED: Duration = Duration::from_secs(8);
/// As many digits are kept.
const DIGITS: usize = 64;

impl Live {
    /// A call whose first frame is this.
    pub(in crate::trace) fn begin(
        id: u32,
        flow: u32,
        caller: usize,
        frame: &FullFrame<'_>,
        at: Mark,
    ) -> Self {
        let call = Call {
            id,
            flow,
            caller,
            numbers: [frame.source, frame.destination],
            user: None,
            called: None,
            calling: None,
            first: at,
            last: [None; 2],
            began_before: frame.command() != Some(Command::New),
            requests: 0,
            token: false,
            had_token: false,
            offered: 0,
            accepted: None,
            ringing: None,
            answered: None,
            ended: None,
            end: End::Open,
            cause: None,
            cause_code: None,
            format: Formats::NONE,
            secret: Secret::Plain,
            progress: 0,
            media: [Media::default(); 2],
            retransmissions: [0; 2],
            vnaks: [0; 2],
            digits: [None, None],
            texts: 0,
            reports: [None, None],
            round_trips: [None; 2],
            moved: None,
            transferred: false,
        };
        Self {
            call,
            secrecy: None,
            challenge: None,
            numbers: [None; 2],
            last_kind: [None; 2],
            hangup: None,
            asked: [None; 2],
            encryption_offered: false,
            idle_before: None,
        }
    }

    /// Whether a NEW under the same number begins another call.
    pub(in crate::trace) fn is_over(&self, at: Mark) -> bool {
        self.call.ended.is_some()
            || self.call.accepted.is_some()
            || at.since(&self.heard()) > Duration::from_secs(40)
    }

    /// Whether nothing more is to come.
    pub(in crate::trace) fn is_done(&self, now: Mark) -> bool {
        match &self.call.ended {
            Some(ended) => now.since(ended) > LINGER && now.since(&self.heard()) > LINGER,
            None => now.since(&self.heard()) > SILENCE,
        }
    }

    /// The last frame of either end.
    fn heard(&self) -> Mark {
        let [caller, callee] = self.call.last;
        match (caller, callee) {
            (Some(one), Some(other)) if other.since(&one) > Duration::ZERO => other,
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => self.call.first,
        }
    }

    /// A datagram of this end passed.
    pub(in crate::trace) fn note_heard(&mut self, side: Side, at: Mark) {
        if let Some(last) = self.call.last.get_mut(side.index()) {
            *last = Some(at);
        }
    }

    /// Audio.
    #[inline]
    pub(in crate::trace) fn audio(
        &mut self,
        side: Side,
        carrier: Carrier,
        clock: Clock,
        octets: usize,
        at: Mark,
    ) {
        let format = self.call.format;
        if let Some(media) = self.call.media.get_mut(side.index()) {
            media.take(carrier, clock, octets, format, at);
        }
        self.note_heard(side, at);
    }

    /// A full frame in clear.
    pub(in crate::trace) fn take(&mut self, side: Side, frame: &FullFrame<'_>, at: Mark) {
        self.note_heard(side, at);
        let of = side.index();
        if frame.is_numbered()
            && frame.source != CallNumber::STATELESS
            && !self.is_first(side, frame)
        {
            return;
        }
        if frame.is_numbered()
            && let Some(last) = self.last_kind.get_mut(of)
        {
            *last = Some(frame.kind());
        }
        match frame.frame_type {
            FrameType::Iax => self.command(side, frame, at),
            FrameType::Control => self.control(frame, at),
            FrameType::Voice => {
                if let Some(format) = frame.format() {
                    self.call.format = format;
                }
                let clock = Clock::Whole(frame.timestamp.millis());
                self.audio(side, Carrier::Full, clock, frame.payload.len(), at);
            }
            FrameType::DtmfEnd => self.digit(side, char::from(frame.subclass.raw())),
            FrameType::Text => self.call.texts = self.call.texts.saturating_add(1),
            _ => {}
        }
    }

    /// Whether the frame is new; one that was sent again is counted.
    fn is_first(&mut self, side: Side, frame: &FullFrame<'_>) -> bool {
        let (Some(numbers), Some(again)) = (
            self.numbers.get_mut(side.index()),
            self.call.retransmissions.get_mut(side.index()),
        ) else {
            return true;
        };
        let number = frame.oseqno;
        let known = match numbers {
            Some((highest, seen)) if number == *highest || number.is_before(*highest) => {
                let bit = 1_u128
                    .checked_shl(highest.since(number).into())
                    .unwrap_or(0);
                let known = *seen & bit != 0;
                *seen |= bit;
                known
            }
            Some((highest, seen)) => {
                let ahead = number.since(*highest);
                *seen = seen.checked_shl(ahead.into()).unwrap_or(0) | 1;
                *highest = number;
                false
            }
            None => {
                *numbers = Some((number, 1));
                false
            }
        };
        // The NEW with the token begins anew with the number of the one without.
        let begins = frame.command() == Some(Command::New);
        let repeated = known && (!begins || frame.retransmission);
        if frame.retransmission || repeated {
            *again = again.saturating_add(1);
        }
        if repeated && begins {
            self.call.requests = self.call.requests.saturating_add(1);
        }
        !repeated
    }

    fn command(&mut self, side: Side, frame: &FullFrame<'_>, at: Mark) {
        let call = &mut self.call;
        match frame.command() {
            Some(Command::New) => self.request(frame, at),
            Some(Command::CallToken) => {
                call.token = true;
                self.answer_to(side, frame.timestamp, at);
            }
            Some(Command::AuthReq) => self.challenged(frame),
            Some(Command::Accept) => {
                call.accepted.get_or_insert(at);
                for element in frame.ies().map(Ie::read) {
                    match element {
                        Ie::Format(format) => call.format = Formats::from_bits(format.into()),
                        Ie::Format2(format) => call.format = Formats::from_bits(format),
                        _ => {}
                    }
                }
            }
            Some(Command::Hangup) => {
                self.causes(frame);
                self.hangup.get_or_insert((side, frame.timestamp));
                self.finish(
                    End::HungUp {
                        by: side,
                        acknowledged: false,
                    },
                    at,
                );
            }
            Some(Command::Reject) => {
                self.causes(frame);
                let naked = frame.source == CallNumber::STATELESS
                    && self.call.cause.is_none()
                    && self.call.cause_code.is_none();
                let had_token = self.call.had_token;
                self.finish(
                    if naked {
                        End::TokenRefused { had_token }
                    } else {
                        End::Rejected { by: side }
                    },
                    at,
                );
            }
            Some(Command::Inval) => {
                let about = self.last_kind.get(side.other().index()).copied().flatten();
                self.finish(End::Invalid { by: side, about }, at);
            }
            Some(Command::Vnak) => {
                if let Some(count) = call.vnaks.get_mut(side.index()) {
                    *count = count.saturating_add(1);
                }
            }
            Some(Command::Ack) => self.acknowledged(side, frame),
            Some(Command::Ping | Command::LagRq) => {
                if let Some(asked) = self.asked.get_mut(side.index()) {
                    *asked = Some((frame.timestamp, at));
                }
            }
            Some(Command::Pong | Command::LagRp) => {
                if let Some(report) = ReceiverReport::read(frame.ies())
                    && let Some(slot) = call.reports.get_mut(side.index())
                {
                    *slot = Some(Box::new(report));
                }
                self.answer_to(side, frame.timestamp, at);
            }
            Some(Command::TxRel) => call.transferred = true,
            _ => {}
        }
    }

    /// The other end answers what it was asked at this timestamp.
    fn answer_to(&mut self, side: Side, echo: Timestamp, at: Mark) {
        let asked = self.asked.get_mut(side.other().index());
        if let Some((_, when)) = asked.and_then(|asked| asked.take_if(|(stamp, _)| *stamp == echo))
            && let Some(trip) = self.call.round_trips.get_mut(side.index())
        {
            let now = at.since(&when);
            *trip = Some(trip.map_or(now, |least| least.min(now)));
        }
    }

    fn request(&mut self, frame: &FullFrame<'_>, at: Mark) {
        let call = &mut self.call;
        call.requests = call.requests.saturating_add(1);
        self.asked[0] = Some((frame.timestamp, at));
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::Username(user) => call.user = Some(words(user)),
                Ie::CalledNumber(number) => call.called = Some(words(number)),
                Ie::CallingNumber(number) => call.calling = Some(words(number)),
                Ie::CallToken(token) => call.had_token = !token.is_empty(),
                Ie::Format(format) => call.format = Formats::from_bits(format.into()),
                Ie::Encryption(kinds) => self.encryption_offered = kinds != 0,
                _ => {}
            }
        }
    }

    fn challenged(&mut self, frame: &FullFrame<'_>) {
        let mut encrypted = false;
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::AuthMethods(methods) => self.call.offered = methods,
                Ie::Challenge(challenge) => self.challenge = Some(challenge.into()),
                Ie::Encryption(kinds) => encrypted = kinds != 0,
                _ => {}
            }
        }
        if encrypted && self.encryption_offered {
            self.call.secret = Secret::Sealed;
        }
    }

    fn control(&mut self, frame: &FullFrame<'_>, at: Mark) {
        let call = &mut self.call;
        match frame.control() {
            Some(Control::Answer) => {
                call.answered.get_or_insert(at);
            }
            Some(Control::Ringing) => {
                call.ringing.get_or_insert(at);
                call.progress |= RINGING;
            }
            Some(Control::Busy) => call.progress |= BUSY,
            Some(Control::Congestion) => call.progress |= CONGESTION,
            Some(Control::Progress | Control::Proceeding) => call.progress |= PROGRESS,
            _ => {}
        }
    }

    fn acknowledged(&mut self, side: Side, frame: &FullFrame<'_>) {
        if let Some((by, timestamp)) = self.hangup
            && by != side
            && frame.timestamp == timestamp
            && let End::HungUp { acknowledged, .. } = &mut self.call.end
        {
            *acknowledged = true;
        }
    }

    fn digit(&mut self, side: Side, digit: char) {
        if let Some(slot) = self.call.digits.get_mut(side.index()) {
            let mut digits = slot.as_deref().map_or_else(String::new, str::to_owned);
            if digits.len() < DIGITS && digit.is_ascii_graphic() {
                digits.push(digit);
            }
            *slot = Some(Name::new(&digits));
        }
    }

    fn causes(&mut self, frame: &FullFrame<'_>) {
        if self.call.ended.is_some() {
            return;
        }
        for element in frame.ies().map(Ie::read) {
            match element {
                Ie::Cause(cause) if !cause.0.is_empty() => self.call.cause = Some(words(cause)),
                Ie::CauseCode(code) => self.call.cause_code = Some(code),
                _ => {}
            }
        }
    }

    /// The first end counts: both may hang up, and frames are sent again.
    fn finish(&mut self, end: End, at: Mark) {
        if self.call.ended.is_none() {
            self.call.ended = Some(at);
            self.call.end = end;
        }
    }

    /// The call as it stands when nothing more of it comes; `now` is the last packet of the capture.
    pub(in crate::trace) fn close(mut self, now: Mark) -> Call {
        if let Some(secrecy) = &self.secrecy {
            self.call.secret = match secrecy.opened {
                0 => Secret::Sealed,
                _ => Secret::Opened,
            };
        }
        let sealed = self.call.secret == Secret::Sealed;
        if self.call.ended.is_none() && !sealed && !self.call.transferred {
            self.call.end = self.silence(now);
        }
        self.call
    }

    /// How a call ended that nobody hung up, as far as the capture shows.
    fn silence(&self, now: Mark) -> End {
        let call = &self.call;
        let [caller, callee] = call.last;
        let quiet = |last: Option<Mark>| last.map(|last| now.since(&last));
        // A call token is given without a call.
        let spoke = self.numbers[Side::Callee.index()].is_some();
        let callee = callee.filter(|_| spoke || !call.token);
        match (quiet(caller), quiet(callee)) {
            // One NEW may have been lost. Two, or a callee that gave a token and then says nothing, are more.
            (Some(since), None)
                if (call.requests > 1 || call.had_token) && since >= Duration::from_secs(2) =>
            {
                End::Unanswered
            }
            (Some(one), Some(other)) if one >= SILENCE && other >= SILENCE => {
                let apart = one.abs_diff(other);
                let of = (apart >= ONE_SIDED).then_some(if one > other {
                    Side::Caller
                } else {
                    Side::Callee
                });
                End::Silent { of }
            }
            (Some(one), Some(other)) if one.max(other) >= Duration::from_secs(30) => {
                let of = if one > other {
                    Side::Caller
                } else {
                    Side::Callee
                };
                if one.abs_diff(other) >= Duration::from_secs(25) {
                    End::Silent { of: Some(of) }
                } else {
                    End::Open
                }
            }
            _ => End::Open,
        }
    }
}
