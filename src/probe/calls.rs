//! *Calls*: a burst of test calls to one extension, each with its audio judged, and control POKEs after
//! every silence.
//!
//! All calls leave from one socket, as from a PBX. A call that falls silent is followed by POKEs from that
//! socket and from a fresh one: where the first are answered the path is up and the call's state is
//! gone, where only the second are, the flow of the socket is.

pub mod evidence;
mod line;
pub mod plan;
mod talk;
pub mod wire_use;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    evidence::{CallRecord, CallsEvidence, SilenceControl},
    line::Line,
    plan::{CallsConfig, CallsEvent},
    wire_use::WireUse,
};
use crate::{
    probe::reach::{Reach, ReachConfig},
    proto::{
        call::{Call, DialConfig},
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        registration::random_call_number,
        stateless,
        trunk::{self, TrunkSender},
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::Command,
        frame::{Frame, Numbers},
        trunk::MetaTrunk,
    },
};

/// The machine.
#[derive(Debug)]
pub struct Calls {
    config: CallsConfig,
    rng: StdRng,
    /// What times are counted from: the beginning of the survey.
    epoch: Instant,
    /// When the next call may be placed.
    next: Instant,
    placed: u32,
    /// By the call number of this side: which call it is.
    lines: BTreeMap<CallNumber, (usize, Line)>,
    /// Calls that ended, and still acknowledge what comes late, until then.
    late: VecDeque<(Instant, CallNumber, Call)>,
    /// Numbers that rest.
    resting: VecDeque<(Instant, CallNumber)>,
    records: Vec<CallRecord>,
    /// POKEs after a silence: of which call, from its own socket and from a fresh one.
    controls: Vec<(usize, Reach, Reach)>,
    controls_made: u32,
    trunk: TrunkSender,
    local: Option<crate::types::LocalAddr>,
    used: [Meter; 2],
    recording: Option<Vec<i16>>,
    stopped: bool,
    finished: bool,
    outbox: VecDeque<Transmit>,
    events: VecDeque<CallsEvent>,
}

/// How long a call that is over acknowledges what comes late.
const LATE: Duration = Duration::from_secs(2);
/// A number is not used again for so long (as Asterisk; RFC 5456 §8.1.1 asks for a reasonable time).
const REST: Duration = Duration::from_secs(60);
/// So many calls at once may be proving who they are: one fewer than Asterisk bears of an account, so that there is
/// room for a telephone. Challenges and proofs that get lost hold calls there for seconds.
const UNPROVEN: usize = 2;
/// And so long the next call waits for them, at most: Asterisk repeats a challenge after 2 s.
const HOLD: Duration = Duration::from_secs(4);
/// POKEs after a silence.
const CONTROLS: u32 = 3;
/// From one control POKE to the next.
const CONTROL_INTERVAL: Duration = Duration::from_millis(300);

/// Adds up what talking calls send.
#[derive(Debug, Default)]
struct Meter {
    used: WireUse,
    talking: u32,
    since: Option<Instant>,
}

impl Meter {
    /// So many calls talk from now on.
    fn set(&mut self, talking: u32, now: Instant) {
        if let Some(since) = self.since {
            self.used.talked += now.saturating_duration_since(since) * self.talking;
        }
        self.since = Some(now);
        self.talking = talking;
        self.used.at_once = self.used.at_once.max(talking);
    }

    fn count(&mut self, octets: usize) {
        self.used.packets += 1;
        self.used.octets += u64::try_from(octets).unwrap_or(u64::MAX);
    }
}

impl Calls {
    /// Begins: the first call is placed at once. Times are counted from `epoch`.
    #[must_use]
    pub fn new(config: CallsConfig, epoch: Instant, now: Instant) -> Self {
        let mut calls = Self {
            rng: StdRng::from_seed(config.seed),
            epoch,
            next: now,
            placed: 0,
            lines: BTreeMap::new(),
            late: VecDeque::new(),
            resting: VecDeque::new(),
            records: Vec::new(),
            controls: Vec::new(),
            controls_made: 0,
            trunk: TrunkSender::new(trunk::MTU, true, now),
            local: None,
            used: [Meter::default(), Meter::default()],
            recording: None,
            stopped: false,
            finished: false,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        calls.handle_timeout(now);
        calls
    }

    /// How many calls are placed in all.
    #[must_use]
    pub const fn planned(&self) -> u32 {
        if self.config.trunk {
            self.config.calls.saturating_mul(2)
        } else {
            self.config.calls
        }
    }

    /// Whether every call ended.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Places no further call and hangs up those that are under way.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = true;
        for (_, line) in self.lines.values_mut() {
            line.stop(now);
        }
        self.drain(now);
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> CallsEvidence {
        let mut calls = self.records.clone();
        for (index, line) in self.lines.values() {
            if let Some(record) = calls.get_mut(*index) {
                *record = line.record();
            }
        }
        for (index, same, fresh) in &self.controls {
            if let Some(record) = calls.get_mut(*index) {
                record.control = Some(control(same, fresh));
            }
        }
        CallsEvidence {
            number: self.config.number.clone(),
            far_end: self.config.far_end,
            uplink: self.config.uplink,
            planned: self.planned(),
            local: self.local,
            calls,
            plain: self.used[0].used,
            trunked: self.used[1].used,
        }
    }

    /// What was heard in the one call whose plan says that it is kept: samples at 8 kHz.
    #[must_use]
    pub fn recording(&self) -> Option<&[i16]> {
        self.recording.as_deref()
    }

    fn place(&mut self, now: Instant) {
        let index = self.records.len();
        let trunked = self.placed >= self.config.calls;
        self.placed += 1;
        self.next = now + self.config.pace;
        let number = self.free_number();
        let plan = self.config.plan.clone();
        let dial = DialConfig {
            number: self.config.number.clone(),
            context: plan.context.clone(),
            credentials: self.config.credentials.clone(),
            caller: plan.caller.clone(),
            formats: plan.formats.clone(),
            encryption: plan.encryption,
            offer_token: plan.offer_token,
            renumbers: true,
            manners: plan.manners,
            seed: self.rng.random(),
        };
        let call = Call::dial(dial, number, now);
        let grid = trunked.then(|| self.grid(now));
        let since = now.saturating_duration_since(self.epoch);
        let line = Line::new(call, plan, trunked, grid, since, self.rng.random(), now);
        self.records.push(line.record());
        self.lines.insert(number, (index, line));
        self.events.push_back(CallsEvent::Placed(index));
    }

    /// The last tick of the clock that all trunked calls share.
    fn grid(&self, now: Instant) -> Instant {
        let since = now.saturating_duration_since(self.epoch);
        self.epoch + Duration::from_millis(20) * u32::try_from(since.as_millis() / 20).unwrap_or(0)
    }

    fn free_number(&mut self) -> CallNumber {
        loop {
            let number = random_call_number(&mut self.rng);
            let resting = self.resting.iter().any(|(_, resting)| *resting == number);
            if !resting && !self.lines.contains_key(&number) {
                return number;
            }
        }
    }

    /// Whether another call may be under way.
    fn has_room(&self) -> bool {
        let concurrent = usize::try_from(self.config.concurrent.max(1)).unwrap_or(usize::MAX);
        // The trunked calls begin when the plain ones are over, so that each kind is measured alone.
        let kinds_apart = self.placed != self.config.calls || self.lines.is_empty();
        !self.stopped
            && self.placed < self.planned()
            && self.lines.len() < concurrent
            && kinds_apart
    }

    /// When the next call may be placed: later, while others prove who they are.
    fn due(&self) -> Instant {
        let unproven = self.lines.values();
        let unproven = unproven.filter(|(_, line)| line.call.is_unproven());
        if unproven.count() < UNPROVEN {
            self.next
        } else {
            self.next + HOLD
        }
    }

    /// Takes what the calls have to say and to send.
    fn drain(&mut self, now: Instant) {
        self.renumber(now);
        let mut ended = Vec::new();
        for (number, (index, line)) in &mut self.lines {
            line.drain(now, |milestone| {
                self.events
                    .push_back(CallsEvent::Advanced(*index, milestone));
            });
            let talking = line.is_talking();
            let meter = &mut self.used[usize::from(line.record.trunked)];
            while let Some(payload) = line.call.poll_transmit() {
                if talking {
                    meter.count(payload.len());
                }
                self.outbox.push_back(Transmit {
                    socket: self.config.socket,
                    peer: self.config.provider,
                    payload,
                    ttl: None,
                });
            }
            while let Some(audio) = line.call.poll_trunk() {
                // A packet that no datagram has room for is not sent; none of ours is.
                let _ = self.trunk.push(audio, now);
            }
            if line.is_over() {
                ended.push(*number);
            }
        }
        self.trunk.flush(now);
        while let Some(payload) = self.trunk.poll_transmit() {
            self.used[1].count(payload.len());
            self.outbox.push_back(Transmit {
                socket: self.config.socket,
                peer: self.config.provider,
                payload,
                ttl: None,
            });
        }
        for number in ended {
            self.bury(number, now);
        }
        for trunked in [false, true] {
            let talking = self
                .lines
                .values()
                .filter(|(_, line)| line.record.trunked == trunked && line.is_talking())
                .count();
            self.used[usize::from(trunked)].set(u32::try_from(talking).unwrap_or(u32::MAX), now);
        }
        self.drain_controls();
        self.drain_late();
        let idle = self.lines.is_empty() && self.controls.is_empty();
        if idle && !self.finished && (self.stopped || self.placed >= self.planned()) {
            self.finished = true;
            self.events.push_back(CallsEvent::Finished);
        }
    }

    /// Gives calls whose NEW nobody answered another number to repeat it from.
    fn renumber(&mut self, now: Instant) {
        let wanting: Vec<CallNumber> = self
            .lines
            .iter()
            .filter(|(_, (_, line))| line.call.wants_number(now))
            .map(|(number, _)| *number)
            .collect();
        for old in wanting {
            let new = self.free_number();
            if let Some((index, mut line)) = self.lines.remove(&old) {
                line.call.redial(new, now);
                self.resting.push_back((now + REST, old));
                self.lines.insert(new, (index, line));
            }
        }
    }

    /// A call is over: its record stays, its number rests, a silence is looked into.
    fn bury(&mut self, number: CallNumber, now: Instant) {
        let Some((index, line)) = self.lines.remove(&number) else {
            return;
        };
        let record = line.record();
        if record.fell_silent() && !self.stopped {
            self.look_into(index, now);
        } else {
            self.events
                .push_back(CallsEvent::Ended(index, Box::new(record.clone())));
        }
        if let Some(slot) = self.records.get_mut(index) {
            *slot = record;
        }
        self.resting.push_back((now + REST, number));
        let Line { call, talk, .. } = line;
        if let Some(samples) = talk.and_then(talk::Talk::into_recording) {
            self.recording = Some(samples);
        }
        self.late.push_back((now + LATE, number, call));
    }

    /// Asks from the socket of a silent call and from a fresh one whether the provider is there.
    fn look_into(&mut self, index: usize, now: Instant) {
        let fresh = SocketKey(self.config.control_socket.wrapping_add(self.controls_made));
        self.controls_made += 1;
        let mut reach = |socket| {
            let config = ReachConfig {
                count: CONTROLS,
                interval: CONTROL_INTERVAL,
                ..ReachConfig::new(self.config.provider, socket, self.rng.random())
            };
            Reach::new(config, now)
        };
        let (same, fresh) = (reach(self.config.socket), reach(fresh));
        self.controls.push((index, same, fresh));
    }

    fn drain_controls(&mut self) {
        for (_, same, fresh) in &mut self.controls {
            for reach in [same, fresh] {
                while let Some(transmit) = reach.poll_transmit() {
                    self.outbox.push_back(transmit);
                }
                while reach.poll_event().is_some() {}
            }
        }
        let (records, events) = (&mut self.records, &mut self.events);
        self.controls.retain(|(index, same, fresh)| {
            let done = same.is_finished() && fresh.is_finished();
            if done && let Some(record) = records.get_mut(*index) {
                record.control = Some(control(same, fresh));
                events.push_back(CallsEvent::Ended(*index, Box::new(record.clone())));
            }
            !done
        });
    }

    fn drain_late(&mut self) {
        for (_, _, call) in &mut self.late {
            while call.poll_event().is_some() {}
            while let Some(payload) = call.poll_transmit() {
                self.outbox.push_back(Transmit {
                    socket: self.config.socket,
                    peer: self.config.provider,
                    payload,
                    ttl: None,
                });
            }
        }
    }

    /// A datagram of the provider on the socket of the calls.
    fn handle_datagram(&mut self, payload: &[u8], now: Instant) {
        match Numbers::of(payload) {
            Some(Numbers::Full { destination, .. }) => {
                if let Some((_, line)) = self.lines.get_mut(&destination) {
                    line.handle_datagram(payload, now);
                } else if let Some((_, _, call)) = self
                    .late
                    .iter_mut()
                    .find(|(_, number, _)| *number == destination)
                {
                    call.handle_datagram(payload, now);
                } else {
                    self.handle_stranger(payload);
                }
            }
            Some(Numbers::Mini { source }) => {
                if let Some(line) = self.line_of(source) {
                    line.handle_datagram(payload, now);
                }
            }
            Some(Numbers::Meta) => {
                if let Ok(Frame::Trunk(trunk)) = Frame::decode(payload) {
                    self.handle_trunk(&trunk, now);
                }
            }
            None => {}
        }
    }

    fn handle_trunk(&mut self, trunk: &MetaTrunk<'_>, now: Instant) {
        for entry in trunk.entries() {
            if let Some(line) = self.line_of(entry.source) {
                line.handle_entry(trunk, &entry, now);
            }
        }
    }

    /// The call whose far end has this number.
    fn line_of(&mut self, remote: CallNumber) -> Option<&mut Line> {
        self.lines
            .values_mut()
            .map(|(_, line)| line)
            .find(|line| line.call.remote() == remote)
    }

    /// What belongs to no call: a POKE is answered, as by a PBX.
    fn handle_stranger(&mut self, payload: &[u8]) {
        if let Ok(Frame::Full(frame)) = Frame::decode(payload)
            && frame.command() == Some(Command::Poke)
        {
            self.outbox.push_back(Transmit {
                socket: self.config.socket,
                peer: self.config.provider,
                payload: stateless::reply(&frame, Command::Pong, &[]),
                ttl: None,
            });
        }
    }

    /// A full frame for a call of ours from another address: IAX2 peers drop these, and the user is told.
    fn note_elsewhere(&mut self, source: PeerAddr, payload: &[u8]) {
        if let Some(Numbers::Full { destination, .. }) = Numbers::of(payload)
            && let Some((_, line)) = self.lines.get_mut(&destination)
        {
            line.record.answered_elsewhere = Some(source);
        }
    }
}

fn control(same: &Reach, fresh: &Reach) -> SilenceControl {
    let counts = |reach: &Reach| {
        let evidence = reach.evidence();
        (evidence.sent, evidence.received)
    };
    SilenceControl {
        same: counts(same),
        fresh: counts(fresh),
    }
}

impl Machine for Calls {
    type Event = CallsEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Opened { socket, local } if socket == self.config.socket => {
                self.local = Some(local);
            }
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.config.socket => {
                if source == self.config.provider {
                    self.handle_datagram(payload, now);
                } else {
                    self.note_elsewhere(source, payload);
                }
            }
            Input::Opened { .. } | Input::Datagram { .. } | Input::Unreachable { .. } => {}
        }
        for (_, same, fresh) in &mut self.controls {
            same.handle_input(input, now);
            fresh.handle_input(input, now);
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for (_, line) in self.lines.values_mut() {
            line.handle_timeout(now);
        }
        for (_, same, fresh) in &mut self.controls {
            same.handle_timeout(now);
            fresh.handle_timeout(now);
        }
        while self.late.front().is_some_and(|(until, _, _)| *until <= now) {
            self.late.pop_front();
        }
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            self.resting.pop_front();
        }
        while self.has_room() && self.due() <= now {
            self.place(now);
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<CallsEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.finished {
            return None;
        }
        let next = self.has_room().then(|| (self.due(), "place a call"));
        let lines = self.lines.values().map(|(_, line)| line.poll_timeout());
        let controls = self
            .controls
            .iter()
            .flat_map(|(_, same, fresh)| [same.poll_timeout(), fresh.poll_timeout()]);
        lines.chain(controls).fold(next, earlier)
    }
}
