//! One call leg, either end: set-up, media, supervision and hang-up (RFC 5456 §6.2 to §6.8, and deployed
//! peers where they differ).
//!
//! The machine is told datagrams of its own call, encrypted or not, and says what to send; sockets,
//! addresses, call numbers and accounts are its parent's matter: the caller's experiment or the far end's
//! switchboard.
//!
//! ```text
//! caller   Waiting ── ACCEPT ──▸ Linked ── ANSWER ──▸ Up ──▸ Closing ──▸ Over
//! callee   Waiting ── accept() ─▸ Linked ─ answer() ─▸ Up
//! ```
//!
//! HANGUP, REJECT, INVAL and exhausted retransmissions lead from everywhere to `Over`, with one
//! [`Ending`]. There late frames of the peer are still acknowledged; the parent forgets the call when it
//! has rested.

mod answering;
mod dialling;
mod event;
mod framing;
mod reception;
mod secrecy;
mod supervision;
mod talking;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};

pub use self::{
    answering::{Challenge, offers_aes},
    dialling::{DialConfig, EncryptionOffer},
    event::{Audio, CallEvent, Carrier, Ending, Reason, Side},
};
use self::{
    dialling::Dialling,
    framing::{Incoming, Outgoing},
    reception::Reception,
    secrecy::Secrecy,
    supervision::Supervision,
};
use crate::{
    proto::{
        cipher::CallKey,
        contract::earlier,
        media::report::ReceiverReport,
        reliable::{GaveUp, Receipt, Reliable, RetryPolicy},
    },
    types::{CallNumber, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        format::Formats,
        frame::{Frame, FullFrame, Kind},
        ie::IeWriter,
        trunk::{MetaTrunk, TrunkEntry},
    },
};

/// Habits in which deployed peers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// When frames are sent again.
    pub retry: RetryPolicy,
    /// Whether audio becomes a full frame where the 16 bits of a mini frame wrap, as RFC 5456 §8.1.2
    /// asks and Yate does; Asterisk does not.
    pub full_at_wrap: bool,
    /// Whether ANSWER is followed by "stop tones" (0xFF), as from Asterisk.
    pub stop_tones: bool,
    /// How often PING is sent while linked.
    pub ping_every: Duration,
    /// How often LAGRQ is sent while linked.
    pub lag_every: Duration,
}

impl Manners {
    /// A caller of ours: loss shows soon, and the far end's reports come often enough for a short call.
    pub const OURS: Self = Self {
        retry: RetryPolicy::QUICK,
        full_at_wrap: true,
        stop_tones: false,
        ping_every: Duration::from_secs(5),
        lag_every: Duration::from_secs(10),
    };
    /// As Asterisk.
    pub const ASTERISK: Self = Self {
        retry: RetryPolicy::ASTERISK,
        full_at_wrap: false,
        stop_tones: true,
        ping_every: Duration::from_secs(21),
        lag_every: Duration::from_secs(10),
    };
    /// As RFC 5456 has it (§6.7.2 leaves the intervals open; 20 s is its example).
    pub const RFC: Self = Self {
        retry: RetryPolicy::RFC,
        full_at_wrap: true,
        stop_tones: false,
        ping_every: Duration::from_secs(20),
        lag_every: Duration::from_secs(20),
    };
}

/// How far a call is (RFC 5456 §6.2.1, with the end told apart).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// NEW is out, or was taken and is being looked at.
    Waiting,
    /// ACCEPT: both ends know the format, and media may flow.
    Linked,
    /// ANSWER.
    Up,
    /// HANGUP or REJECT of ours is out and not acknowledged.
    Closing,
    /// It ended.
    Over,
}

/// Audio for a trunk frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAudio {
    /// The call number of this side.
    pub source: CallNumber,
    /// The low 16 bits of the call's clock, in milliseconds.
    pub timestamp: u16,
    /// The octets.
    pub payload: Vec<u8>,
}

/// Counts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Frames that do not belong where they came: media before ACCEPT, ANSWER before ACCEPT, noise in an
    /// encrypted call.
    pub odd: u32,
    /// Frames of a second leg that the callee opened for one NEW.
    pub other_leg: u32,
    /// Full frames of ours that were sent again.
    pub retransmissions: u32,
    /// Packets of audio sent.
    pub audio_sent: u64,
    /// Packets of audio received.
    pub audio_received: u64,
}

/// One call leg.
#[derive(Debug)]
pub struct Call {
    /// What a caller needs until the call is linked; `None` at the callee.
    dialling: Option<Box<Dialling>>,
    stage: Stage,
    manners: Manners,
    dialogue: Reliable,
    /// A delivered frame that no numbered frame of ours has acknowledged yet.
    unsettled: Option<FullFrame<'static>>,
    secrecy: Option<Box<Secrecy>>,
    /// The key that the caller's answer to our challenge begins to use.
    pending_key: Option<CallKey>,
    rng: StdRng,
    /// The formats that both ends can do, as far as is known.
    capability: Formats,
    format: Option<Formats>,
    outgoing: Outgoing,
    incoming: Incoming,
    supervision: Supervision,
    reception: Reception,
    trunked: bool,
    quelched: bool,
    /// When the stage is given up.
    limit: Instant,
    /// How it will have ended, once the peer acknowledges.
    closing: Option<Ending>,
    counts: CallCounts,
    outbox: VecDeque<Vec<u8>>,
    trunk: VecDeque<TrunkAudio>,
    events: VecDeque<CallEvent>,
}

/// Set-up that makes no progress ends by then: longer than Asterisk's four transmissions last.
const SETUP_LIMIT: Duration = Duration::from_secs(40);
/// A HANGUP or REJECT that is not acknowledged by then is taken for heard (as Asterisk).
const CLOSING_LIMIT: Duration = Duration::from_secs(10);
/// Audio that waits for a trunk frame, at most: a parent that does not collect it loses it.
const TRUNK_BACKLOG: usize = 8;

impl Call {
    fn new(dialogue: Reliable, manners: Manners, seed: [u8; 32], now: Instant) -> Self {
        Self {
            dialling: None,
            stage: Stage::Waiting,
            manners,
            dialogue,
            unsettled: None,
            secrecy: None,
            pending_key: None,
            rng: StdRng::from_seed(seed),
            capability: Formats::NONE,
            format: None,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            supervision: Supervision::default(),
            reception: Reception::default(),
            trunked: false,
            quelched: false,
            limit: now + SETUP_LIMIT,
            closing: None,
            counts: CallCounts::default(),
            outbox: VecDeque::new(),
            trunk: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The call number of this side.
    #[must_use]
    pub fn local(&self) -> CallNumber {
        self.dialogue.local()
    }

    /// The call number of the peer, or [`CallNumber::NONE`].
    #[must_use]
    pub fn remote(&self) -> CallNumber {
        self.dialogue.remote()
    }

    /// How far it is.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The agreed format, once linked.
    #[must_use]
    pub const fn format(&self) -> Option<Formats> {
        self.format
    }

    /// Whether frames are encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.secrecy.is_some()
    }

    /// Whether media may be sent: linked, and the peer has not asked for silence.
    #[must_use]
    pub const fn takes_media(&self) -> bool {
        matches!(self.stage, Stage::Linked | Stage::Up) && !self.quelched
    }

    /// Whether every full frame of ours was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.dialogue.is_acknowledged()
    }

    /// The oldest full frame of ours that was not acknowledged yet.
    #[must_use]
    pub fn oldest_pending(&self) -> Option<Kind> {
        self.dialogue.oldest_pending()
    }

    /// The round trip of the last full frame that was sent once and acknowledged.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.dialogue.round_trip()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> CallCounts {
        CallCounts {
            retransmissions: self.counts.retransmissions + self.dialogue.retransmissions(),
            ..self.counts
        }
    }

    /// Has audio wait for trunk frames instead of leaving in mini frames; an encrypted call keeps its mini
    /// frames, because trunk frames are not encrypted.
    pub fn set_trunked(&mut self, trunked: bool) {
        self.trunked = trunked;
    }

    /// What arrived of the peer's audio so far, as PONG tells it; `None` before the first packet.
    #[must_use]
    pub fn received(&self) -> Option<ReceiverReport> {
        self.reception.figures()
    }

    /// Takes a datagram whose call numbers are this call's.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        self.try_pending_key(datagram);
        let opened;
        let plain = match &mut self.secrecy {
            None => datagram,
            Some(secrecy) => {
                let Some(plain) = secrecy.open(datagram) else {
                    self.counts.odd += 1;
                    return;
                };
                opened = plain;
                opened.as_slice()
            }
        };
        match Frame::decode(plain) {
            Ok(Frame::Full(frame)) => self.handle_full(&frame, now),
            Ok(Frame::Mini(mini)) => {
                let timestamp = self.incoming.mini(mini.timestamp);
                self.take_audio(timestamp, mini.payload, Carrier::Mini, now);
            }
            Ok(Frame::Video(_)) => {}
            Ok(Frame::Trunk(_) | Frame::Meta(_)) | Err(_) => self.counts.odd += 1,
        }
    }

    /// Takes this call's entry of a trunk frame.
    pub fn handle_entry(&mut self, trunk: &MetaTrunk<'_>, entry: &TrunkEntry<'_>, now: Instant) {
        let (timestamp, carrier) = match entry.timestamp {
            Some(low) => (self.incoming.mini(low), Carrier::Trunk),
            None => self.incoming.entry(trunk.timestamp, now),
        };
        self.take_audio(timestamp, entry.payload, carrier, now);
    }

    fn handle_full(&mut self, frame: &FullFrame<'_>, now: Instant) {
        if frame.destination != self.local() && !frame.destination.is_none() {
            self.counts.odd += 1;
            return;
        }
        if self.handle_stateless(frame, now) {
            return;
        }
        let remote = self.remote();
        if !remote.is_none() && frame.source != remote {
            // A callee that opened two legs for one NEW that was sent twice speaks from two call numbers; the
            // first one is the call. The other is left alone: Asterisk finds the leg that an INVAL is about
            // by our number, and may destroy the one that lives.
            self.counts.other_leg += 1;
            return;
        }
        match self.dialogue.receive(frame, now) {
            Receipt::Deliver => {
                self.unsettled = Some(FullFrame {
                    payload: &[],
                    ..*frame
                });
                self.handle_delivered(frame, now);
            }
            Receipt::Invalid => self.handle_invalid(),
            Receipt::Gap => self.overhear_pong(frame, now),
            Receipt::Bookkeeping | Receipt::Duplicate => {}
        }
        self.close_when_acknowledged();
        self.flush();
    }

    fn handle_invalid(&mut self) {
        match self.stage {
            Stage::Over => {}
            // The peer has forgotten the call that we are about to forget.
            Stage::Closing => self.conclude(),
            Stage::Waiting | Stage::Linked | Stage::Up => {
                let about = self.dialogue.oldest_pending();
                self.end(Ending::Invalidated { about });
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        let heard = !self.remote().is_none();
        if let Err(GaveUp(frame)) = self.dialogue.handle_timeout(now) {
            match self.stage {
                Stage::Closing => self.conclude(),
                _ => self.end(Ending::Unanswered { frame, heard }),
            }
        } else if now >= self.limit && matches!(self.stage, Stage::Waiting | Stage::Closing) {
            match self.stage {
                Stage::Closing => self.conclude(),
                _ => self.end(Ending::Stalled),
            }
        }
        self.supervise(now);
        self.flush();
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if let Some(frame) = self.unsettled.take() {
            self.dialogue.settle(&frame);
        }
        self.flush();
        self.outbox.pop_front()
    }

    /// The next audio for a trunk frame.
    pub fn poll_trunk(&mut self) -> Option<TrunkAudio> {
        self.trunk.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let limit = match self.stage {
            Stage::Over => return None,
            Stage::Waiting => earlier(
                Some((self.limit, "give the set-up of a call up")),
                self.renumber_at()
                    .map(|at| (at, "dial again from another number")),
            ),
            Stage::Closing => Some((self.limit, "forget a call")),
            Stage::Linked | Stage::Up => self.supervision.poll_timeout(),
        };
        earlier(limit, self.dialogue.poll_timeout())
    }

    /// Ends the call: HANGUP, at any stage (RFC 5456 §6.2.5).
    pub fn hang_up(&mut self, cause: Reason, now: Instant) {
        let elements = cause.write();
        let ending = Ending::HungUp {
            by: Side::Us,
            cause,
            acknowledged: true,
        };
        self.close(Command::Hangup, elements, ending, now);
    }

    fn close(&mut self, command: Command, elements: IeWriter, ending: Ending, now: Instant) {
        if matches!(self.stage, Stage::Closing | Stage::Over) {
            return;
        }
        // A HANGUP is not held up by what was never acknowledged.
        self.dialogue.abandon();
        self.stage = Stage::Closing;
        self.limit = now + CLOSING_LIMIT;
        self.closing = Some(ending);
        self.send(command, elements, now);
        self.flush();
    }

    fn close_when_acknowledged(&mut self) {
        if self.stage == Stage::Closing && self.dialogue.is_acknowledged() {
            let ending = self.closing.take();
            self.over(ending.unwrap_or(Ending::Stalled));
        }
    }

    /// The peer does not acknowledge the end: it is over all the same.
    fn conclude(&mut self) {
        let ending = match self.closing.take() {
            Some(Ending::HungUp { by, cause, .. }) => Ending::HungUp {
                by,
                cause,
                acknowledged: false,
            },
            Some(other) => other,
            None => Ending::Stalled,
        };
        self.over(ending);
    }

    fn end(&mut self, ending: Ending) {
        if self.stage != Stage::Over {
            self.over(ending);
        }
    }

    fn over(&mut self, ending: Ending) {
        self.dialogue.abandon();
        self.stage = Stage::Over;
        self.trunk.clear();
        self.events.push_back(CallEvent::Ended(ending));
    }

    /// Sends an IAX frame.
    fn send(&mut self, command: Command, elements: IeWriter, now: Instant) -> Timestamp {
        // Every element is ours, bounded where it came from outside.
        let payload = elements.finish().unwrap_or_default();
        self.dialogue.send(FrameType::Iax, command, payload, now)
    }

    /// Sends a full frame that is no IAX frame.
    fn send_other(&mut self, kind: Kind, payload: Vec<u8>, now: Instant) {
        self.dialogue
            .send(kind.frame_type, kind.subclass, payload, now);
        self.flush();
    }

    /// Takes what the dialogue has to send, in the order of its frames.
    fn flush(&mut self) {
        while let Some(datagram) = self.dialogue.poll_transmit() {
            self.emit(datagram);
        }
    }

    fn emit(&mut self, datagram: Vec<u8>) {
        let sealed = match &self.secrecy {
            Some(secrecy) => secrecy.seal(&datagram, &mut self.rng),
            None => datagram,
        };
        self.outbox.push_back(sealed);
    }
}
