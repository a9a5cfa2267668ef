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
        frame::{Frame, FullFrame, Subclass},
    },
};

/// When a frame that is not acknowledged is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A frame was sent as often as the policy allows and never acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// The type of the oldest such frame.
    pub frame_type: FrameType,
    /// Its subclass.
    pub subclass: Subclass,
}

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
    /// Never more than one datagram for one that came.
    quiet: bool,
    outbox: VecDeque<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Pending {
    oseqno: SeqNo,
    timestamp: Timestamp,
    frame_type: FrameType,
    subclass: Subclass,
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
        let clock = Timestamp::from_elapsed(now.saturating_duration_since(self.born));
        let timestamp = match self.last_timestamp {
            Some(last) if !last.is_before(clock) => last.plus(TIMESTAMP_STEP),
            _ => clock,
        };
        self.last_timestamp = Some(timestamp);
        self.push(
            Pending::new(frame_type, subclass.into(), payload, timestamp, now),
            now,
        );
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
            ..Pending::new(FrameType::Iax, command.into(), payload, timestamp, now)
        };
        self.push(echo, now);
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
                let gave_up = GaveUp {
                    frame_type: pending.frame_type,
                    subclass: pending.subclass,
                };
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

    fn push(&mut self, frame: Pending, now: Instant) {
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
            .min(self.policy.cap.max(self.policy.first));
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
        let frame = FullFrame {
            source: self.local,
            destination: self.remote,
            retransmission,
            timestamp: pending.timestamp,
            oseqno: pending.oseqno,
            iseqno: self.iseqno,
            frame_type: pending.frame_type,
            subclass: pending.subclass,
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
    fn new(
        frame_type: FrameType,
        subclass: Subclass,
        payload: Vec<u8>,
        timestamp: Timestamp,
        now: Instant,
    ) -> Self {
        Self {
            oseqno: SeqNo::ZERO,
            timestamp,
            frame_type,
            subclass,
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
mod tests {
    use super::*;

    fn pair(now: Instant) -> (Reliable, Reliable) {
        (
            Reliable::new(CallNumber::from_bits(100), RetryPolicy::QUICK, now),
            Reliable::new(CallNumber::from_bits(200), RetryPolicy::ASTERISK, now),
        )
    }

    fn deliver(to: &mut Reliable, datagram: &[u8], now: Instant) -> Receipt {
        let Ok(Frame::Full(frame)) = Frame::decode(datagram) else {
            panic!("not a full frame: {datagram:02x?}");
        };
        let receipt = to.receive(&frame, now);
        if receipt == Receipt::Deliver {
            to.settle(&frame);
        }
        receipt
    }

    fn ping(from: &mut Reliable, now: Instant) -> Vec<u8> {
        from.send(FrameType::Iax, Command::Ping, Vec::new(), now);
        from.poll_transmit().unwrap()
    }

    #[test]
    fn an_acknowledgement_echoes_timestamp_and_iseqno() {
        let now = Instant::now();
        let (mut ours, mut theirs) = pair(now);
        let request = ping(&mut ours, now + Duration::from_millis(7));
        assert_eq!(deliver(&mut theirs, &request, now), Receipt::Deliver);
        let ack = theirs.poll_transmit().unwrap();
        // 0x80c8 from 200, 0x0064 to 100, timestamp 7, OSeqno 0 = the PING's ISeqno, ISeqno 1, IAX, ACK.
        assert_eq!(ack, [0x80, 0xc8, 0, 0x64, 0, 0, 0, 7, 0, 1, 6, 4]);
        assert_eq!(deliver(&mut ours, &ack, now), Receipt::Bookkeeping);
        assert!(ours.is_acknowledged());
        assert_eq!(ours.poll_timeout(), None);
    }

    #[test]
    fn intervals_grow_and_end() {
        let now = Instant::now();
        for (policy, sent_at, end) in [
            (RetryPolicy::QUICK, vec![0.5, 1.5, 3.5], 7.5),
            (RetryPolicy::ASTERISK, vec![2.0, 12.0, 22.0], 32.0),
            (RetryPolicy::RFC, vec![1.0, 3.0, 7.0, 15.0], 25.0),
        ] {
            let mut dialogue = Reliable::new(CallNumber::from_bits(2), policy, now);
            let first = ping(&mut dialogue, now);
            for expected in sent_at {
                let (due, _) = dialogue.poll_timeout().unwrap();
                assert_eq!(due, now + Duration::from_secs_f64(expected));
                assert_eq!(dialogue.handle_timeout(due), Ok(()));
                let again = dialogue.poll_transmit().unwrap();
                assert_eq!(again[2] & 0x80, 0x80, "R is set");
                assert_eq!(again[4..], first[4..], "timestamp and numbers stay");
            }
            let (due, _) = dialogue.poll_timeout().unwrap();
            assert_eq!(due, now + Duration::from_secs_f64(end));
            let gave_up = dialogue.handle_timeout(due).unwrap_err();
            assert_eq!(gave_up.subclass, Subclass::from(Command::Ping));
            assert_eq!(dialogue.poll_timeout(), None);
        }
    }

    #[test]
    fn a_gap_is_asked_for_once_in_100_ms_and_resent_in_order() {
        let now = Instant::now();
        let (mut ours, mut theirs) = pair(now);
        let first = ping(&mut ours, now);
        let second = ping(&mut ours, now);
        let third = ping(&mut ours, now);
        assert_eq!(deliver(&mut theirs, &second, now), Receipt::Gap);
        assert_eq!(deliver(&mut theirs, &third, now), Receipt::Gap);
        let vnak = theirs.poll_transmit().unwrap();
        assert_eq!(vnak[11], Command::Vnak.get());
        assert_eq!(theirs.poll_transmit(), None, "one VNAK a gap");
        deliver(&mut ours, &vnak, now);
        for original in [&first, &second, &third] {
            let again = ours.poll_transmit().unwrap();
            assert_eq!(again[8], original[8]);
            assert_eq!(deliver(&mut theirs, &again, now), Receipt::Deliver);
        }
        deliver(&mut ours, &vnak, now);
        assert_eq!(
            ours.poll_transmit(),
            None,
            "a second VNAK at once is not obeyed"
        );
    }

    #[test]
    fn duplicates_are_acknowledged_and_not_delivered() {
        let now = Instant::now();
        let (mut ours, mut theirs) = pair(now);
        let request = ping(&mut ours, now);
        deliver(&mut theirs, &request, now);
        let ack = theirs.poll_transmit().unwrap();
        assert_eq!(deliver(&mut theirs, &request, now), Receipt::Duplicate);
        assert_eq!(theirs.poll_transmit().unwrap(), ack);
    }

    #[test]
    fn acknowledgements_outside_the_window_are_ignored() {
        let now = Instant::now();
        let (mut ours, mut theirs) = pair(now);
        let request = ping(&mut ours, now);
        deliver(&mut theirs, &request, now);
        let mut ack = theirs.poll_transmit().unwrap();
        ack[9] = 9;
        deliver(&mut ours, &ack, now);
        assert!(!ours.is_acknowledged());
    }

    #[test]
    fn sequence_numbers_survive_the_wrap() {
        let mut now = Instant::now();
        let (mut ours, mut theirs) = pair(now);
        for _ in 0..600 {
            now += Duration::from_millis(20);
            let request = ping(&mut ours, now);
            assert_eq!(deliver(&mut theirs, &request, now), Receipt::Deliver);
            let ack = theirs.poll_transmit().unwrap();
            deliver(&mut ours, &ack, now);
            assert!(ours.is_acknowledged());
        }
    }

    #[test]
    fn timestamps_increase_where_the_clock_stands() {
        let now = Instant::now();
        let (mut ours, _) = pair(now);
        let stamps: Vec<u32> = (0..3)
            .map(|_| {
                ours.send(FrameType::Iax, Command::Ping, Vec::new(), now)
                    .millis()
            })
            .collect();
        assert_eq!(stamps, [0, 3, 6]);
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_fills_no_memory() {
        let now = Instant::now();
        let (mut ours, _) = pair(now);
        for _ in 0..100 {
            ours.send_echo(Command::Pong, Vec::new(), Timestamp::ZERO, now);
        }
        assert_eq!(ours.pending.len(), 1, "one echo at a time");
        for _ in 0..100 {
            ours.send(FrameType::Iax, Command::Ping, Vec::new(), now);
        }
        assert_eq!(ours.pending.len(), MAX_OUTSTANDING);
        assert_eq!(
            std::iter::from_fn(|| ours.poll_transmit()).count(),
            MAX_OUTSTANDING
        );
        assert_eq!(ours.poll_timeout().unwrap().0, now);
        assert!(ours.handle_timeout(now).is_err(), "the dialogue ends");
        assert_eq!(ours.poll_timeout(), None);
    }

    #[test]
    fn an_unproven_source_gets_one_datagram_for_one() {
        let now = Instant::now();
        let patience = Duration::from_secs(8);
        let mut client = Reliable::new(CallNumber::from_bits(100), RetryPolicy::QUICK, now);
        let mut server = Reliable::unproven(CallNumber::from_bits(200), patience, now);
        let request = ping(&mut client, now);
        let Ok(Frame::Full(frame)) = Frame::decode(&request) else {
            panic!()
        };
        for receipt in [Receipt::Deliver, Receipt::Duplicate, Receipt::Duplicate] {
            assert_eq!(server.receive(&frame, now), receipt);
            if receipt == Receipt::Deliver {
                server.send(FrameType::Iax, Command::RegAuth, Vec::new(), now);
            }
            let answer = server.poll_transmit().unwrap();
            assert_eq!(answer[11], Command::RegAuth.get());
            assert_eq!(server.poll_transmit(), None, "one for one");
        }
        assert!(server.handle_timeout(now + patience).is_err());
        assert_eq!(server.poll_transmit(), None, "nothing unasked");
    }
}
