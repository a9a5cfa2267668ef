//! Reliable delivery of one dialogue's full frames: sequence numbers, acknowledgement, VNAK and
//! retransmission (RFC 5456 §7). What the frames mean is the parent's matter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame, Kind, Subclass},
    },
};

/// When a frame that is not acknowledged is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryPolicy {
    /// The first interval; never shorter than twice the measured round trip.
    pub first: Duration,
    /// What each interval is multiplied by for the next.
    pub factor: u32,
    /// The longest interval.
    pub cap: Duration,
    /// How often a frame is sent in all; one more interval later the dialogue gives up.
    pub transmissions: u8,
}

impl RetryPolicy {
    /// Sent at 0, 0.5, 1.5 and 3.5 s, given up at 7.5 s: loss shows sooner than with the other two, and
    /// the first interval still exceeds most round trips.
    pub const QUICK: Self = Self {
        first: Duration::from_millis(500),
        factor: 2,
        cap: Duration::from_secs(10),
        transmissions: 4,
    };
    /// As Asterisk does before it has measured a round trip: 0, 2, 12, 22 s, given up at 32 s.
    pub const ASTERISK: Self = Self {
        first: Duration::from_secs(2),
        factor: 10,
        cap: Duration::from_secs(10),
        transmissions: 4,
    };
    /// RFC 5456 §7.2.1 with a round trip of half a second: 0, 1, 3, 7, 15 s, given up at 25 s.
    pub const RFC: Self = Self {
        first: Duration::from_secs(1),
        factor: 2,
        cap: Duration::from_secs(10),
        transmissions: 5,
    };
}

/// What became of a frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is the next one: handle it, then call [`Reliable::settle`].
    Deliver,
    /// It was delivered before and is acknowledged again.
    Duplicate,
    /// Frames before it are missing; they were asked for.
    Gap,
    /// ACK or VNAK, done with.
    Bookkeeping,
    /// INVAL: the peer has no such call.
    Invalid,
}

/// A frame was sent as often as the policy allows and never acknowledged: the oldest such frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp(pub Kind);

/// The state of one dialogue's two streams.
#[derive(Clone, Debug)]
pub struct Reliable {
    local: CallNumber,
    remote: CallNumber,
    oseqno: SeqNo,
    iseqno: SeqNo,
    policy: RetryPolicy,
    born: Instant,
    last_timestamp: Option<Timestamp>,
    pending: VecDeque<Pending>,
    round_trip: Option<Duration>,
    asked: Option<(SeqNo, Instant)>,
    resent: Option<Instant>,
    answered: bool,
    retransmissions: u32,
    /// Never more than one datagram for one that came.
    quiet: bool,
    outbox: VecDeque<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Pending {
    oseqno: SeqNo,
    timestamp: Timestamp,
    kind: Kind,
    payload: Vec<u8>,
    first_sent: Instant,
    due: Instant,
    interval: Duration,
    sent: u8,
    echo: bool,
}

/// Asterisk advances a timestamp by this much where the clock has not moved on.
const TIMESTAMP_STEP: u32 = 3;
/// At most one VNAK for the same gap in this time: two peers that both answer VNAK with resends would
/// otherwise storm.
const VNAK_GAP: Duration = Duration::from_millis(100);
/// Frames that may wait for their acknowledgement: far more than any dialogue of ours needs. A peer that
/// makes us say more without acknowledging any of it loses the dialogue.
const MAX_OUTSTANDING: usize = 16;

impl Reliable {
    /// A dialogue of ours: the peer's call number is not known yet.
    #[must_use]
    pub fn new(local: CallNumber, policy: RetryPolicy, now: Instant) -> Self {
        Self {
            local,
            remote: CallNumber::NONE,
            oseqno: SeqNo::ZERO,
            iseqno: SeqNo::ZERO,
            policy,
            born: now,
            last_timestamp: None,
            pending: VecDeque::new(),
            round_trip: None,
            asked: None,
            resent: None,
            answered: false,
            retransmissions: 0,
            quiet: false,
            outbox: VecDeque::new(),
        }
    }

    /// A dialogue with a source that nothing has proven: no frame is sent again unasked, each datagram is
    /// answered by one at most, and whatever is not acknowledged for so long ends it.
    #[must_use]
    pub fn unproven(local: CallNumber, patience: Duration, now: Instant) -> Self {
        let policy = RetryPolicy {
            first: patience,
            factor: 1,
            cap: patience,
            transmissions: 1,
        };
        Self {
            quiet: true,
            ..Self::new(local, policy, now)
        }
    }

    /// The source is proven after all: from now on what it does not acknowledge is sent again.
    pub fn trust(&mut self, policy: RetryPolicy) {
        self.policy = policy;
        self.quiet = false;
    }

    /// The call number of this side.
    #[must_use]
    pub const fn local(&self) -> CallNumber {
        self.local
    }

    /// The call number of the peer, or [`CallNumber::NONE`].
    #[must_use]
    pub const fn remote(&self) -> CallNumber {
        self.remote
    }

    /// Whether every frame sent was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.pending.is_empty()
    }

    /// The round trip of the last frame that was sent once and acknowledged.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Sends a numbered frame with the next timestamp, which is returned. With too many frames
    /// unacknowledged it is not sent, and the next [`Reliable::handle_timeout`], due at once, gives up.
    pub fn send(
        &mut self,
        frame_type: FrameType,
        subclass: impl Into<Subclass>,
        payload: Vec<u8>,
        now: Instant,
    ) -> Timestamp {
        let timestamp = self.next_timestamp(now);
        let kind = Kind {
            frame_type,
            subclass: subclass.into(),
        };
        let frame = Pending::new(kind, payload, timestamp, now);
        self.push(frame, Duration::ZERO, now);
        timestamp
    }

    /// The same, but sent again no sooner than after `patience`.
    pub fn send_patiently(
        &mut self,
        command: Command,
        payload: Vec<u8>,
        patience: Duration,
        now: Instant,
    ) -> Timestamp {
        let timestamp = self.next_timestamp(now);
        let frame = Pending::new(Kind::iax(command), payload, timestamp, now);
        self.push(frame, patience, now);
        timestamp
    }

    /// Sends a numbered frame of media, whose timestamp is the media's (RFC 5456 §8.1.1).
    pub fn send_media(&mut self, kind: Kind, payload: Vec<u8>, timestamp: Timestamp, now: Instant) {
        let frame = Pending::new(kind, payload, timestamp, now);
        self.push(frame, Duration::ZERO, now);
    }

    /// This side's clock at `now`.
    #[must_use]
    pub fn clock(&self, now: Instant) -> Timestamp {
        Timestamp::from_elapsed(now.saturating_duration_since(self.born))
    }

    /// The oldest frame that was sent and not acknowledged yet.
    #[must_use]
    pub fn oldest_pending(&self) -> Option<Kind> {
        self.pending.front().map(|pending| pending.kind)
    }

    /// How many frames were sent again, because no acknowledgement came or because the peer asked.
    #[must_use]
    pub const fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    fn next_timestamp(&mut self, now: Instant) -> Timestamp {
        let clock = self.clock(now);
        let timestamp = match self.last_timestamp {
            Some(last) if !last.is_before(clock) => last.plus(TIMESTAMP_STEP),
            _ => clock,
        };
        self.last_timestamp = Some(timestamp);
        timestamp
    }

    /// Sends a numbered IAX frame that echoes the timestamp of the one it answers (PONG, LAGRP:
    /// RFC 5456 §6.7.3, §6.7.5). While an earlier echo is not acknowledged none is sent: a peer that asks
    /// again before it has taken the answer learns nothing from a second one.
    pub fn send_echo(
        &mut self,
        command: Command,
        payload: Vec<u8>,
        timestamp: Timestamp,
        now: Instant,
    ) {
        if self.pending.iter().any(|pending| pending.echo) {
            return;
        }
        let echo = Pending {
            echo: true,
            ..Pending::new(Kind::iax(command), payload, timestamp, now)
        };
        self.push(echo, Duration::ZERO, now);
    }

    /// Forgets everything said so far, for the request that repeats with a call token: sequence numbers
    /// begin again, the call number and the clock stay.
    pub fn restart(&mut self) {
        self.remote = CallNumber::NONE;
        self.oseqno = SeqNo::ZERO;
        self.iseqno = SeqNo::ZERO;
        self.pending.clear();
        self.asked = None;
    }

    /// Sends nothing again from now on; frames that come late are still acknowledged.
    pub fn abandon(&mut self) {
        self.pending.clear();
    }

    /// Takes a frame of this dialogue.
    pub fn receive(&mut self, frame: &FullFrame<'_>, now: Instant) -> Receipt {
        let command = frame.command();
        if command == Some(Command::Inval) {
            return Receipt::Invalid;
        }
        self.acknowledge(frame.iseqno, now);
        if command == Some(Command::Vnak) {
            self.resend_from(frame.iseqno, now);
        }
        if !frame.is_numbered() {
            return Receipt::Bookkeeping;
        }
        if frame.oseqno == self.iseqno {
            if self.remote.is_none() {
                self.remote = frame.source;
            }
            self.iseqno = self.iseqno.next();
            self.asked = None;
            self.answered = false;
            return Receipt::Deliver;
        }
        if frame.oseqno.is_before(self.iseqno) {
            // To an unproven source the answer, once more, or the ACK: never both.
            if self.quiet && !self.pending.is_empty() {
                self.emit(0, true);
            } else {
                self.acknowledge_explicitly(frame);
            }
            return Receipt::Duplicate;
        }
        self.ask_again(frame, now);
        Receipt::Gap
    }

    /// Acknowledges a delivered frame, unless a numbered frame sent since has done so by its `ISeqno`.
    pub fn settle(&mut self, frame: &FullFrame<'_>) {
        if !self.answered {
            self.acknowledge_explicitly(frame);
        }
    }

    /// Sends again what is due.
    ///
    /// # Errors
    ///
    /// The oldest frame that was sent as often as the policy allows; nothing is pending afterwards.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), GaveUp> {
        for index in 0..self.pending.len() {
            let Some(pending) = self.pending.get_mut(index) else {
                break;
            };
            if pending.due > now {
                continue;
            }
            if pending.sent >= self.policy.transmissions {
                let gave_up = GaveUp(pending.kind);
                self.pending.clear();
                return Err(gave_up);
            }
            pending.sent += 1;
            pending.interval = (pending.interval * self.policy.factor).min(self.policy.cap);
            pending.due = now + pending.interval;
            self.emit(index, true);
        }
        Ok(())
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// When the next frame is due again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.pending
            .iter()
            .map(|pending| (pending.due, "retransmit a full frame"))
            .min()
    }

    fn push(&mut self, frame: Pending, patience: Duration, now: Instant) {
        if self.pending.len() >= MAX_OUTSTANDING {
            if let Some(oldest) = self.pending.front_mut() {
                oldest.due = now;
                oldest.sent = self.policy.transmissions;
            }
            return;
        }
        let interval = self
            .policy
            .first
            .max(self.round_trip.unwrap_or_default() * 2)
            .min(self.policy.cap.max(self.policy.first))
            .max(patience);
        self.pending.push_back(Pending {
            oseqno: self.oseqno,
            due: now + interval,
            interval,
            ..frame
        });
        self.oseqno = self.oseqno.next();
        self.answered = true;
        self.emit(self.pending.len() - 1, false);
    }

    fn emit(&mut self, index: usize, retransmission: bool) {
        let Some(pending) = self.pending.get(index) else {
            return;
        };
        self.retransmissions += u32::from(retransmission);
        let frame = FullFrame {
            source: self.local,
            destination: self.remote,
            retransmission,
            timestamp: pending.timestamp,
            oseqno: pending.oseqno,
            iseqno: self.iseqno,
            frame_type: pending.kind.frame_type,
            subclass: pending.kind.subclass,
            payload: &pending.payload,
        };
        self.outbox.push_back(Frame::Full(frame).to_vec());
    }

    /// Drops pending frames below `upto`, where that lies within what was sent.
    fn acknowledge(&mut self, upto: SeqNo, now: Instant) {
        let Some(oldest) = self.pending.front().map(|pending| pending.oseqno) else {
            return;
        };
        let count = usize::from(upto.since(oldest));
        if count > self.pending.len() {
            return;
        }
        for acknowledged in self.pending.drain(..count) {
            // A frame sent twice does not tell which copy was answered (Karn).
            if acknowledged.sent == 1 {
                self.round_trip = Some(now.saturating_duration_since(acknowledged.first_sent));
            }
        }
    }

    fn resend_from(&mut self, wanted: SeqNo, now: Instant) {
        if self.resent.is_some_and(|at| now < at + self.policy.first) {
            return;
        }
        self.resent = Some(now);
        for index in 0..self.pending.len() {
            let is_wanted = self
                .pending
                .get(index)
                .is_some_and(|pending| !pending.oseqno.is_before(wanted));
            if is_wanted {
                self.emit(index, true);
                if self.quiet {
                    break;
                }
            }
        }
    }

    /// An ACK echoes the frame's timestamp and carries, as its `OSeqno`, the `ISeqno` of the frame: Yate
    /// matches it by both (RFC 5456 §7.1 asks for the timestamp alone).
    fn acknowledge_explicitly(&mut self, frame: &FullFrame<'_>) {
        self.emit_unnumbered(Command::Ack, frame.timestamp, frame.iseqno);
    }

    fn ask_again(&mut self, frame: &FullFrame<'_>, now: Instant) {
        if self
            .asked
            .is_some_and(|(gap, at)| gap == self.iseqno && now < at + VNAK_GAP)
        {
            return;
        }
        self.asked = Some((self.iseqno, now));
        self.emit_unnumbered(Command::Vnak, frame.timestamp, self.oseqno);
    }

    fn emit_unnumbered(&mut self, command: Command, timestamp: Timestamp, oseqno: SeqNo) {
        let frame = FullFrame {
            source: self.local,
            destination: self.remote,
            retransmission: false,
            timestamp,
            oseqno,
            iseqno: self.iseqno,
            frame_type: FrameType::Iax,
            subclass: command.into(),
            payload: &[],
        };
        self.outbox.push_back(Frame::Full(frame).to_vec());
    }
}

impl Pending {
    /// A frame that is about to be sent, without its place in the stream.
    fn new(kind: Kind, payload: Vec<u8>, timestamp: Timestamp, now: Instant) -> Self {
        Self {
            oseqno: SeqNo::ZERO,
            timestamp,
            kind,
            payload,
            first_sent: now,
            due: now,
            interval: Duration::ZERO,
            sent: 1,
            echo: false,
        }
    }
}

#[cfg(test)]
mod tests;
