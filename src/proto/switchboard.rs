//! The far end of calls: lets callers in, challenges them, and plays what the number they call stands for
//! (RFC 5456 §6.2, and deployed peers where they differ).
//!
//! A first request passes the [door](super::door); a caller that no call token has proven gets one datagram
//! for each of its own and hears nothing else before it has answered a challenge. Unknown users walk the same
//! path as known ones. What a number does begins when the caller has acknowledged ACCEPT, so that a caller is
//! there before any audio leaves.
//!
//! A packet of a call costs one look-up by its call numbers and no deadline: the switchboard holds thousands
//! of calls.

mod bridge;
mod choice;
mod entrance;
mod event;
mod extension;
pub mod fault;
mod line;
mod lines;
mod play;
mod tone;
mod trunks;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::{
    event::{Leg, SwitchboardCounts, SwitchboardEvent},
    extension::EXTENSIONS,
    lines::LineId,
};
use self::{
    fault::{Fault, Faults},
    line::{Line, Part, Standing},
    lines::Lines,
    tone::Milliwatt,
    trunks::Trunks,
};
use crate::{
    proto::{
        account::Account,
        call::{CallEvent, Ending, Manners, Reason, Stage},
        contract::{SocketKey, Transmit, earlier},
        door::{Arrival, Capacity, Door},
        proof::Examiner,
        stateless,
        token::Tokens,
    },
    types::{CallNumber, Timestamp},
    wire::iax2::{
        cause::Cause,
        command::Command,
        frame::{Frame, FullFrame, Numbers},
        ie_value::Text,
    },
};

/// How a switchboard behaves.
#[derive(Clone, Debug)]
pub struct SwitchboardConfig {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Makes and checks call tokens.
    pub tokens: Tokens,
    /// Habits.
    pub manners: Manners,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The socket that stands in for each, for [`Fault::OtherPort`].
    pub others: BTreeMap<SocketKey, SocketKey>,
    /// The largest trunk frame, in octets.
    pub trunk_mtu: usize,
    /// Seed of call numbers, challenges, padding and hash keys.
    pub seed: [u8; 32],
}

/// The switchboard.
#[derive(Debug)]
pub struct Switchboard {
    config: SwitchboardConfig,
    by_name: BTreeMap<String, usize>,
    rng: StdRng,
    door: Door,
    examiner: Examiner,
    lines: Lines,
    trunks: Trunks,
    milliwatt: Milliwatt,
    /// Who hears the tone.
    tones: BTreeSet<LineId>,
    /// When the next packet of the tone is due: packets leave on one grid for all.
    next_tick: Option<Instant>,
    /// The grid's beginning.
    born: Instant,
    /// Lines to attend to once the one at hand is done with.
    touched: Vec<LineId>,
    /// Lines that wait for where their account is registered.
    lookups: VecDeque<LineId>,
    counts: SwitchboardCounts,
    outbox: VecDeque<Transmit>,
    events: VecDeque<SwitchboardEvent>,
}

/// Calls at once.
const CAPACITY: Capacity = Capacity {
    each: 1024,
    all: 16_384,
    unproven: 64,
};
/// The longest call.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// After a call is over late frames are still acknowledged for so long; then its number rests.
const LINGER: Duration = Duration::from_secs(5);

impl Switchboard {
    /// A switchboard without calls.
    #[must_use]
    pub fn new(config: SwitchboardConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let by_name = config
            .accounts
            .iter()
            .enumerate()
            .map(|(index, account)| (account.name.clone(), index))
            .collect();
        let examiner = Examiner::new(&mut rng, now);
        let door = Door::new(
            config.tokens.clone(),
            Command::Reject,
            CAPACITY,
            StdRng::from_seed(rng.random()),
            now,
        );
        Self {
            lines: Lines::new(rng.random()),
            trunks: Trunks::new(config.trunk_mtu),
            config,
            by_name,
            rng,
            door,
            examiner,
            milliwatt: Milliwatt::new(),
            tones: BTreeSet::new(),
            next_tick: None,
            born: now,
            touched: Vec::new(),
            lookups: VecDeque::new(),
            counts: SwitchboardCounts::default(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Call legs under way, those included that ended a moment ago.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// What was done so far, beyond the events.
    #[must_use]
    pub const fn counts(&self) -> SwitchboardCounts {
        let door = self.door.counts();
        SwitchboardCounts {
            unproven: door.unproven,
            limited: door.limited,
            ..self.counts
        }
    }

    /// Takes a datagram of a call under way, encrypted or not, or a trunk frame; false where it is neither.
    pub fn handle_live(&mut self, datagram: &[u8], arrival: Arrival, now: Instant) -> bool {
        let id = match Numbers::of(datagram) {
            Some(Numbers::Mini { source }) => self.lines.of_remote(arrival.peer, source),
            Some(Numbers::Full {
                source,
                destination,
            }) if !destination.is_none() => self
                .lines
                .of_local(arrival.peer, destination)
                .filter(|id| self.is_peer_of(*id, source)),
            Some(Numbers::Meta) => {
                if let Ok(Frame::Trunk(trunk)) = Frame::decode(datagram) {
                    self.handle_trunk(&trunk, arrival, now);
                    return true;
                }
                None
            }
            _ => None,
        };
        let Some(id) = id else {
            return false;
        };
        if !self.forgets(id, datagram, arrival, now) {
            self.deliver(id, datagram, now);
        }
        true
    }

    /// Whether a full frame from this call number belongs to the line. A callee's may be new: its first frame
    /// shows it, and one that opened two legs is told.
    fn is_peer_of(&self, id: LineId, source: CallNumber) -> bool {
        self.lines.get(id).is_some_and(|line| match line.part {
            Part::Caller(_) => line.remote == source,
            Part::Rung => true,
        })
    }

    /// The fault of a call that is gone after ANSWER.
    fn forgets(&mut self, id: LineId, datagram: &[u8], arrival: Arrival, now: Instant) -> bool {
        if !self.config.faults.has(Fault::Inval) {
            return false;
        }
        let is_up = |line: &&Line| line.answered && line.call.stage() == Stage::Up;
        let line = self.lines.get(id).filter(is_up);
        let Some((line, numbers)) = line.zip(Numbers::of(datagram)) else {
            return false;
        };
        let Numbers::Full {
            source,
            destination,
        } = numbers
        else {
            return false;
        };
        let frame = match Frame::decode(datagram) {
            Ok(Frame::Full(frame)) if !line.call.is_encrypted() => frame,
            _ => FullFrame {
                destination,
                ..FullFrame::poke_from(source, Timestamp::ZERO)
            },
        };
        let Some(invalid) = stateless::invalid(&frame) else {
            return false;
        };
        self.outbox.push_back(arrival.answer(invalid));
        self.report_end(id, Ending::Invalidated { about: None }, now);
        self.free(id, now);
        true
    }

    fn deliver(&mut self, id: LineId, datagram: &[u8], now: Instant) {
        if let Some(line) = self.lines.get_mut(id) {
            line.call.handle_datagram(datagram, now);
        }
        self.attend(id, now);
        self.finish(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.lines.take_due(now) {
            let Some(line) = self.lines.get_mut(id) else {
                continue;
            };
            line.call.handle_timeout(now);
            if now >= line.limit {
                if line.call.stage() >= Stage::Closing {
                    self.free(id, now);
                    continue;
                }
                line.limit = now + LINGER * 4;
                line.call.hang_up(
                    Reason {
                        text: Some("Longest call".to_owned()),
                        code: Some(Cause::TimerExpired.get()),
                    },
                    now,
                );
            }
            self.attend(id, now);
        }
        self.finish(now);
        self.tick(now);
        self.door.handle_timeout(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SwitchboardEvent> {
        self.events.pop_front()
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let line = self.lines.next_due().map(|due| (due, "continue a call"));
        earlier(line, self.next_tick.map(|due| (due, "play a tone")))
    }

    /// Hears what a line has to say, plays what is due, sends what it sends, arms its deadline.
    fn attend(&mut self, id: LineId, now: Instant) {
        while let Some(event) = self
            .lines
            .get_mut(id)
            .and_then(|line| line.call.poll_event())
        {
            self.handle_event(id, event, now);
        }
        self.play(id, now);
        self.send(id, now);
    }

    /// Attends to lines that others acted on, and has the trunks leave.
    fn finish(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop() {
            self.attend(id, now);
        }
        self.trunks.flush(&mut self.outbox, now);
    }

    fn handle_event(&mut self, id: LineId, event: CallEvent, now: Instant) {
        match event {
            CallEvent::Proof(elements) => self.handle_proof(id, &elements, now),
            CallEvent::Ended(ending) => self.handle_end(id, ending, now),
            CallEvent::Audio(audio) => self.handle_audio(id, &audio, now),
            CallEvent::Dtmf { digit, ended } => self.handle_digit(id, digit, ended, now),
            CallEvent::Text(text) => self.handle_text(id, &text, now),
            CallEvent::Progress(control) => self.handle_progress(id, control, now),
            CallEvent::Accepted { format } => self.handle_accepted(id, format, now),
            // What a call tells of itself, and nobody at a switchboard asks for.
            CallEvent::TokenReceived
            | CallEvent::Challenged { .. }
            | CallEvent::Quelched(_)
            | CallEvent::Pong { .. }
            | CallEvent::Lag(_)
            | CallEvent::KeyRotated
            | CallEvent::TransferDeclined
            | CallEvent::Unsupported(_) => {}
        }
    }

    fn handle_end(&mut self, id: LineId, ending: Ending, now: Instant) {
        self.part_from_partner(id, &ending, now);
        self.report_end(id, ending, now);
        self.tones.remove(&id);
        if let Some(line) = self.lines.get_mut(id) {
            line.limit = now + LINGER;
            if let Some(caller) = line.caller_mut() {
                caller.playing = None;
            }
        }
    }

    fn report_end(&mut self, id: LineId, ending: Ending, now: Instant) {
        let Some(line) = self.lines.get(id) else {
            return;
        };
        if line.standing < Standing::Known {
            self.counts.abandoned += 1;
            return;
        }
        self.events.push_back(SwitchboardEvent::Ended {
            leg: leg(line),
            ending,
            lasted: line.began.map(|began| now.saturating_duration_since(began)),
            counts: line.call.counts(),
            received: line.call.received(),
        });
    }

    /// Sends what the line has to send, and arms its next deadline.
    fn send(&mut self, id: LineId, now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        let faults = &self.config.faults;
        let is_late = line.answered;
        while let Some(payload) = line.call.poll_transmit() {
            line.sent = line.sent.saturating_add(1);
            if faults.has(Fault::Drop(line.sent))
                || is_late && faults.has(Fault::SilenceAfterAnswer)
            {
                continue;
            }
            let other = || self.config.others.get(&line.socket).copied();
            let socket = if is_late && faults.has(Fault::OtherPort) {
                other().unwrap_or(line.socket)
            } else {
                line.socket
            };
            self.outbox.push_back(Transmit {
                socket,
                peer: line.peer,
                payload,
                ttl: None,
            });
        }
        while let Some(audio) = line.call.poll_trunk() {
            let key = (line.socket, line.peer);
            self.trunks.push(key, audio, &mut self.outbox, now);
        }
        line.answered |= line.caller().is_some() && line.call.stage() == Stage::Up;
        self.lines.arm(id);
    }

    /// Forgets a line; its number rests.
    fn free(&mut self, id: LineId, now: Instant) {
        let Some(line) = self.lines.remove(id) else {
            return;
        };
        if line.trunked {
            self.trunks.leave((line.socket, line.peer));
        }
        self.tones.remove(&id);
        if let Some(other) = line.partner.and_then(|other| self.lines.get_mut(other)) {
            other.partner = None;
        }
        self.door.leave(line.key(), line.is_proven(), now);
    }
}

fn leg(line: &Line) -> Leg {
    Leg {
        user: Text(&line.user).to_string(),
        peer: line.peer,
        local: line.call.local(),
        number: Text(&line.number).to_string(),
        rung: matches!(line.part, Part::Rung),
    }
}
