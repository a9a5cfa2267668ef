//! *Lifetime*: how long does the NAT keep an idle mapping (RFC 4787 REQ-5, RFC 5780 §4.6)?
//!
//! All idle times are tried in parallel, each on a fresh local port, so that the sweep takes as long as
//! the lifetime itself. A lost packet is not an expiry: delayed answers come in several copies, a miss
//! counts only while control probes are answered, and three sockets in a row must miss.
//!
//! Three shapes of traffic, because NATs keep different timers: see [`Shape`].

mod candidate;
mod control;
mod edge;
mod grid;
mod passes;
mod question;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::question::Answerer;
use self::{
    candidate::{Candidate, Stage},
    control::{CONTROL, CONTROL_PATIENCE, Controls},
    edge::Sample,
    passes::{Passes, Plan},
    question::Reply,
};
use crate::{
    probe::{
        behaviour::Shape,
        evidence::{LifetimeEvidence, LifetimeMethod, ShapeLifetime},
        message::{MAX_STATUS, Nonce},
    },
    proto::{
        contract::{Input, Machine, SocketKey, Transmit, Unreachable, earlier},
        token::TOKEN_LENGTH,
    },
};

/// What to measure, and with how many mappings.
#[derive(Clone, Debug)]
pub struct LifetimeConfig {
    /// Who answers.
    pub answerer: Answerer,
    /// The socket of the control probes.
    pub control: SocketKey,
    /// The first of the keys that candidates may use.
    pub first_socket: u32,
    /// The shapes to measure; a STUN server cannot do [`Shape::OneWay`], which is then left out.
    pub shapes: Vec<Shape>,
    /// The longest idle time to try.
    pub longest: Duration,
    /// Mappings in flight, at most.
    pub budget: usize,
    /// Whether the path is known to lose packets: more copies of each answer are then asked for.
    pub lossy: bool,
    /// Seed of session and nonces.
    pub seed: [u8; 32],
}

/// What a sweep reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeEvent {
    /// The edge of a shape is known.
    Edge {
        /// Which.
        shape: Shape,
        /// The longest idle time that was survived.
        alive: Option<Duration>,
        /// The shortest that was not.
        dead: Option<Duration>,
    },
    /// The sweep is over.
    Finished,
    /// The answerer did not answer the greeting; nothing was measured.
    NoAnswerer,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeProgress {
    /// Since it began.
    pub elapsed: Duration,
    /// What it takes if nothing expires.
    pub at_most: Duration,
    /// The longest idle time proven alive so far, of any shape.
    pub alive: Option<Duration>,
}

/// The machine.
#[derive(Debug)]
pub struct Lifetime {
    config: LifetimeConfig,
    session: u32,
    born: Instant,
    token: [u8; TOKEN_LENGTH],
    round_trip: Duration,
    phase: Phase,
    passes: Passes,
    plan: Plan,
    reported: BTreeSet<Shape>,
    candidates: Vec<Candidate>,
    by_index: BTreeMap<u32, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    next_socket: u32,
    next_index: u32,
    mappings: u32,
    controls: Controls,
    status: Option<Instant>,
    second_votes: (u32, u32),
    last_packet: Instant,
    outbox: VecDeque<Transmit>,
    events: VecDeque<LifetimeEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting {
        due: Instant,
        sent_at: Instant,
        transmissions: u8,
    },
    Sweeping,
    Over,
}

/// Copies of each delayed answer.
const COPIES: u8 = 3;
/// The same on a path that loses packets: at 10 % loss one in a million sets is lost whole.
const COPIES_LOSSY: u8 = 6;
/// Time between copies.
const SPACING: Duration = Duration::from_millis(100);
/// A stream's second packet leaves so long after the first: Linux and its like demand more than 2 s.
const WARM_UP: Duration = Duration::from_millis(2200);
/// Fresh sockets for one candidate whose opening packets get lost.
const MAX_ATTEMPTS: u8 = 8;
/// Streams open this far apart: they take longest and begin first.
const PACE_STREAM: Duration = Duration::from_micros(1800);
/// The other shapes open this far apart: the last of a full budget within three seconds.
const PACE: Duration = Duration::from_micros(7500);
/// Greetings before the answerer is given up on.
const GREETINGS: u8 = 8;
/// Time between them.
const GREETING_INTERVAL: Duration = Duration::from_millis(500);
/// How often the arrival of a packet without an answer is asked for before it is taken for lost.
const STATUSES: u8 = 4;

impl Lifetime {
    /// Begins: the greeting of the answerer is the first transmit.
    #[must_use]
    pub fn new(mut config: LifetimeConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        if config.answerer.keeps_no_delay() {
            config.shapes.retain(|shape| *shape != Shape::OneWay);
        }
        let (passes, plan) = Passes::begin(&config.shapes, config.longest, config.budget);
        let mut lifetime = Self {
            session: rng.random(),
            born: now,
            token: [0; TOKEN_LENGTH],
            round_trip: Duration::ZERO,
            phase: Phase::Greeting {
                due: now,
                sent_at: now,
                transmissions: 0,
            },
            passes,
            plan,
            reported: BTreeSet::new(),
            candidates: Vec::new(),
            by_index: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_socket: config.first_socket,
            next_index: 1,
            mappings: 0,
            controls: Controls::default(),
            status: None,
            second_votes: (0, 0),
            last_packet: now,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        lifetime.handle_timeout(now);
        lifetime
    }

    /// Ends the sweep early: what was found stays, delayed answers are cancelled.
    pub fn stop(&mut self, now: Instant) {
        if self.phase == Phase::Sweeping {
            self.deadlines.clear();
            self.status = None;
            self.controls.next = None;
            self.finish(now);
        } else {
            self.phase = Phase::Over;
        }
    }

    /// Whether the sweep is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// How far the sweep is.
    #[must_use]
    pub fn progress(&self, now: Instant) -> LifetimeProgress {
        LifetimeProgress {
            elapsed: now.saturating_duration_since(self.born),
            at_most: self.config.longest + Duration::from_secs(6),
            alive: self
                .config
                .shapes
                .iter()
                .filter_map(|shape| self.passes.edge(*shape).alive)
                .max(),
        }
    }

    /// What was found so far; `None` where the answerer never answered.
    #[must_use]
    pub fn evidence(&self) -> Option<LifetimeEvidence> {
        if self.mappings == 0 {
            return None;
        }
        let shapes = self
            .config
            .shapes
            .iter()
            .map(|shape| {
                let samples = self.passes.samples(*shape);
                let edge = self.passes.edge(*shape);
                let lifetime = ShapeLifetime {
                    alive: edge.alive,
                    dead: edge.dead,
                    outlived: edge.dead.is_none() && edge.alive == Some(self.config.longest),
                    samples: samples
                        .into_iter()
                        .filter(|(_, sample)| *sample != Sample::Open)
                        .map(|(idle, sample)| {
                            (
                                idle,
                                match sample {
                                    Sample::Alive => Some(true),
                                    Sample::Missed => Some(false),
                                    Sample::Unknown | Sample::Open => None,
                                },
                            )
                        })
                        .collect(),
                };
                (*shape, lifetime)
            })
            .collect();
        Some(LifetimeEvidence {
            method: match self.config.answerer {
                Answerer::Reflector(_) => LifetimeMethod::Reflector,
                Answerer::Stun(_) => LifetimeMethod::Stun,
            },
            shapes,
            inbound_refreshes: self.inbound_refreshes(),
            elapsed: self.last_packet.saturating_duration_since(self.born),
            mappings: self.mappings,
            controls: (self.controls.sent, self.controls.received),
            longest: self.config.longest,
        })
    }

    /// One answer after inbound traffic alone proves that it refreshes; two misses, that it does not.
    fn inbound_refreshes(&self) -> Option<bool> {
        match self.second_votes {
            (1.., _) => Some(true),
            (0, 2..) => Some(false),
            (0, _) => None,
        }
    }

    fn copies(&self) -> u8 {
        if self.config.lossy || self.controls.show_loss() {
            COPIES_LOSSY
        } else {
            COPIES
        }
    }

    /// How long an answer that was sent is waited for.
    fn grace(&self) -> Duration {
        (self.round_trip * 2).clamp(Duration::from_millis(150), Duration::from_secs(2))
    }

    /// Plans the candidates of a pass.
    fn begin_pass(&mut self, now: Instant) {
        self.phase = Phase::Sweeping;
        self.controls.next = Some(now);
        for (shape, grid) in std::mem::take(&mut self.plan) {
            let pace = if shape == Shape::Stream {
                PACE_STREAM
            } else {
                PACE * 2
            };
            // One-way and exchange take turns.
            let offset = if shape == Shape::Exchange {
                PACE
            } else {
                Duration::ZERO
            };
            for (place, idle) in (0u32..).zip(grid) {
                let at = now + offset + pace * place;
                let socket = self.take_socket();
                self.deadlines.insert((at, self.candidates.len()));
                self.candidates
                    .push(Candidate::new(shape, idle, socket, at));
            }
        }
    }

    fn take_socket(&mut self) -> SocketKey {
        let socket = SocketKey(self.next_socket);
        self.next_socket += 1;
        socket
    }

    fn take_nonce(&mut self) -> Nonce {
        let index = self.next_index;
        self.next_index += 1;
        Nonce {
            session: self.session,
            index,
        }
    }

    fn transmit(&mut self, socket: SocketKey, payload: Vec<u8>, now: Instant) {
        self.last_packet = now;
        let peer = self.config.answerer.peer();
        self.outbox.push_back(Transmit {
            socket,
            peer,
            payload,
            ttl: None,
        });
    }

    fn arm(&mut self, place: usize, deadline: Option<Instant>) {
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        let old = std::mem::replace(&mut candidate.deadline, deadline);
        if let Some(old) = old {
            self.deadlines.remove(&(old, place));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, place));
        }
    }

    /// Sends the packet that the candidate is at, and waits for its answer.
    fn ask(&mut self, place: usize, stage: Stage, now: Instant) {
        let nonce = self.take_nonce();
        let (copies, patience) = (self.copies(), self.retry_after());
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.stage = stage;
        candidate.index = nonce.index;
        candidate.idle_since = now;
        candidate.copies = 0;
        if stage == Stage::Opening || stage == Stage::Unconfirmed {
            candidate.attempts += 1;
            self.mappings += 1;
        }
        let delays = if stage == Stage::Opening {
            Vec::new()
        } else {
            candidate.delays()
        };
        let at_once = stage != Stage::Unconfirmed;
        let socket = candidate.socket;
        let payload =
            self.config
                .answerer
                .ask(self.token, nonce, at_once, &delays, (copies, SPACING));
        self.by_index.insert(nonce.index, place);
        self.transmit(socket, payload, now);
        self.arm(
            place,
            (stage != Stage::Unconfirmed).then_some(now + patience),
        );
    }

    fn retry_after(&self) -> Duration {
        (self.round_trip * 3).clamp(Duration::from_millis(300), Duration::from_secs(3))
    }

    /// Begins the candidate again on a fresh port: whatever was sent from the old one may have opened or
    /// refreshed its mapping.
    fn begin_again(&mut self, place: usize, now: Instant) {
        let socket = self.take_socket();
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        if candidate.attempts >= MAX_ATTEMPTS {
            self.conclude(place, Sample::Unknown, now);
            return;
        }
        candidate.socket = socket;
        self.open(place, now);
    }

    fn open(&mut self, place: usize, now: Instant) {
        let Some(candidate) = self.candidates.get(place) else {
            return;
        };
        let stage = match candidate.shape {
            Shape::OneWay => Stage::Unconfirmed,
            Shape::Exchange | Shape::Stream => Stage::Opening,
        };
        self.ask(place, stage, now);
        if stage == Stage::Unconfirmed && self.status.is_none() {
            self.status = Some(now + self.retry_after());
        }
    }

    /// The mapping is left idle from now on.
    fn leave_idle(&mut self, place: usize, since: Instant) {
        let (keeps_no_delay, wait) = (self.config.answerer.keeps_no_delay(), self.wait());
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.stage = Stage::Idle;
        candidate.idle_since = since;
        candidate.copies = 0;
        let due = since + candidate.idle;
        self.arm(place, Some(if keeps_no_delay { due } else { due + wait }));
    }

    /// From a delayed answer's due time until all its copies must have come.
    fn wait(&self) -> Duration {
        SPACING * u32::from(self.copies().saturating_sub(1)) + self.grace()
    }

    fn handle_deadline(&mut self, place: usize, now: Instant) {
        let Some(candidate) = self.candidates.get(place).copied() else {
            return;
        };
        match candidate.stage {
            Stage::Planned => self.open(place, now),
            Stage::Opening | Stage::Asking => self.begin_again(place, now),
            Stage::Warming => self.ask(place, Stage::Asking, now),
            Stage::Idle => {
                let due = candidate.idle_since + candidate.idle;
                self.handle_due(place, 1, due, now);
            }
            Stage::IdleAgain => {
                let due = candidate.idle_since + candidate.second_idle();
                self.handle_due(place, 2, due, now);
            }
            Stage::Unconfirmed | Stage::Over => self.arm(place, None),
        }
    }

    /// A delayed answer is due, or overdue.
    fn handle_due(&mut self, place: usize, which: u8, due: Instant, now: Instant) {
        let Some(candidate) = self.candidates.get(place).copied() else {
            return;
        };
        if self.config.answerer.keeps_no_delay()
            && candidate.copies < self.copies()
            && let Some(mapped) = candidate.mapped
        {
            let nonce = Nonce {
                session: self.session,
                index: candidate.index,
            };
            self.transmit(
                self.config.control,
                Answerer::ask_for(nonce, which, mapped),
                now,
            );
            if let Some(candidate) = self.candidates.get_mut(place) {
                candidate.copies += 1;
            }
            let more = candidate.copies + 1 < self.copies();
            self.arm(place, Some(now + if more { SPACING } else { self.grace() }));
            return;
        }
        let sample = if self.controls.was_up(due) {
            Sample::Missed
        } else if now < due + self.wait() + CONTROL_PATIENCE {
            self.arm(place, Some(now + CONTROL / 2));
            return;
        } else {
            Sample::Unknown
        };
        if which == 1 {
            self.conclude(place, sample, now);
        } else {
            self.conclude_second(place, sample);
        }
    }

    fn conclude(&mut self, place: usize, sample: Sample, now: Instant) {
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.sample = sample;
        let (shape, idle) = (candidate.shape, candidate.idle);
        if sample == Sample::Alive && shape == Shape::Exchange {
            candidate.stage = Stage::IdleAgain;
            candidate.copies = 0;
            let due = candidate.idle_since + candidate.second_idle();
            let wait = if self.config.answerer.keeps_no_delay() {
                Duration::ZERO
            } else {
                self.wait()
            };
            self.arm(place, Some(due + wait));
        } else {
            candidate.stage = Stage::Over;
            self.arm(place, None);
        }
        self.passes.conclude(shape, idle, sample);
        self.look(shape, now);
    }

    /// The second answer tells something only where the mapping would be gone without the first.
    fn conclude_second(&mut self, place: usize, sample: Sample) {
        let dead = self.passes.edge(Shape::Exchange).dead;
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.second = sample;
        candidate.stage = Stage::Over;
        let decisive = dead.is_some_and(|dead| candidate.second_idle() > dead + SPACING);
        if decisive {
            match sample {
                Sample::Alive => self.second_votes.0 += 1,
                Sample::Missed => self.second_votes.1 += 1,
                Sample::Unknown | Sample::Open => {}
            }
        }
        self.arm(place, None);
    }

    /// Sees whether the shape's edge, or the pass, or the whole sweep is done.
    fn look(&mut self, shape: Shape, now: Instant) {
        let edge = self.passes.edge(shape);
        if edge.settled && self.passes.is_final() && self.reported.insert(shape) {
            self.events.push_back(LifetimeEvent::Edge {
                shape,
                alive: edge.alive,
                dead: edge.dead,
            });
        }
        if self.passes.is_settled() {
            self.end_pass(now);
        }
    }

    /// Begins the next pass, or ends the sweep. A pass begins with a greeting, since it may outlast the
    /// token of the one before.
    fn end_pass(&mut self, now: Instant) {
        self.candidates.clear();
        self.deadlines.clear();
        self.by_index.clear();
        self.status = None;
        self.controls.next = None;
        match self.passes.next() {
            Some(plan) => {
                self.plan = plan;
                self.greet(0, now);
            }
            None => self.finish(now),
        }
    }

    fn finish(&mut self, now: Instant) {
        if let Some(cancel) = self.config.answerer.cancel(self.token, self.session) {
            self.transmit(self.config.control, cancel, now);
        }
        self.phase = Phase::Over;
        self.events.push_back(LifetimeEvent::Finished);
    }

    fn handle_reply(&mut self, reply: Reply, socket: SocketKey, now: Instant) {
        self.last_packet = now;
        match (reply, self.phase) {
            (Reply::Greeting { token }, Phase::Greeting { sent_at, .. }) => {
                self.token = token;
                self.round_trip = now.saturating_duration_since(sent_at);
                self.begin_pass(now);
            }
            (Reply::Echo { nonce, .. }, Phase::Greeting { sent_at, .. })
                if nonce.session == self.session && nonce.index == 0 =>
            {
                self.round_trip = now.saturating_duration_since(sent_at);
                self.begin_pass(now);
            }
            (
                Reply::Echo {
                    nonce,
                    which,
                    mapped,
                },
                Phase::Sweeping,
            ) if nonce.session == self.session => {
                if socket == self.config.control {
                    self.controls.handle_answer(nonce.index);
                } else if let Some(&place) = self.by_index.get(&nonce.index) {
                    self.handle_echo(place, nonce.index, socket, which, mapped, now);
                }
            }
            (Reply::Arrived(indices), Phase::Sweeping) => self.handle_arrived(&indices),
            (Reply::Refused(index), Phase::Sweeping) => {
                if let Some(&place) = self.by_index.get(&index) {
                    self.conclude(place, Sample::Unknown, now);
                }
            }
            _ => {}
        }
    }

    fn handle_echo(
        &mut self,
        place: usize,
        index: u32,
        socket: SocketKey,
        which: u8,
        mapped: crate::types::MappedAddr,
        now: Instant,
    ) {
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        if candidate.index != index || candidate.socket != socket {
            return;
        }
        match (which, candidate.stage) {
            (0, Stage::Opening) => {
                candidate.mapped = Some(mapped);
                if candidate.shape == Shape::Stream {
                    candidate.stage = Stage::Warming;
                    let opened = candidate.idle_since;
                    self.arm(place, Some(opened.max(now) + WARM_UP));
                } else {
                    self.ask(place, Stage::Asking, now);
                }
            }
            (0, Stage::Asking) => self.leave_idle(place, now),
            // A delayed answer proves the mapping alive whatever we believed before.
            (1, Stage::Unconfirmed | Stage::Idle | Stage::Over | Stage::Asking)
                if candidate.sample != Sample::Alive =>
            {
                self.conclude(place, Sample::Alive, now);
            }
            (2, Stage::IdleAgain) => self.conclude_second(place, Sample::Alive),
            _ => {}
        }
    }

    /// One-way packets that arrived are left idle, the others are sent again from fresh ports.
    fn handle_arrived(&mut self, indices: &[u32]) {
        let unconfirmed: Vec<(usize, Candidate)> = self
            .candidates
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, candidate)| candidate.stage == Stage::Unconfirmed)
            .collect();
        for (place, candidate) in unconfirmed {
            if indices.contains(&candidate.index) {
                self.leave_idle(place, candidate.idle_since + self.round_trip);
            }
        }
    }

    /// Asks for the arrival of one-way packets; those that were asked for before and did not arrive
    /// begin again.
    fn ask_status(&mut self, now: Instant) {
        let patience = self.retry_after();
        let mut waiting = Vec::new();
        let mut lost = Vec::new();
        for (place, candidate) in self.candidates.iter_mut().enumerate() {
            if candidate.stage != Stage::Unconfirmed || now < candidate.idle_since + patience {
                continue;
            }
            if candidate.copies >= STATUSES {
                lost.push(place);
            } else {
                candidate.copies += 1;
                waiting.push(candidate.index);
            }
        }
        for place in lost {
            self.begin_again(place, now);
        }
        let expected = self.candidates.iter().any(|candidate| {
            candidate.stage == Stage::Unconfirmed
                || (candidate.shape == Shape::OneWay && candidate.stage == Stage::Planned)
        });
        self.status = expected.then_some(now + patience);
        for indices in waiting.chunks(MAX_STATUS) {
            let payload = Answerer::status(self.token, self.session, indices.to_vec());
            self.transmit(self.config.control, payload, now);
        }
    }

    fn send_control(&mut self, now: Instant) {
        let nonce = self.take_nonce();
        self.controls.handle_sent(nonce.index, now);
        let payload = self
            .config
            .answerer
            .ask(self.token, nonce, true, &[], (1, SPACING));
        self.transmit(self.config.control, payload, now);
    }

    fn greet(&mut self, transmissions: u8, now: Instant) {
        if transmissions >= GREETINGS {
            self.phase = Phase::Over;
            self.events.push_back(LifetimeEvent::NoAnswerer);
            return;
        }
        self.phase = Phase::Greeting {
            due: now + GREETING_INTERVAL,
            sent_at: now,
            transmissions: transmissions + 1,
        };
        let nonce = Nonce {
            session: self.session,
            index: 0,
        };
        self.transmit(
            self.config.control,
            self.config.answerer.greeting(nonce),
            now,
        );
    }
}

impl Machine for Lifetime {
    type Event = LifetimeEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram {
                socket,
                source,
                payload,
            } if source == self.config.answerer.peer() => {
                if let Some(reply) = self.config.answerer.read(payload) {
                    self.handle_reply(reply, socket, now);
                }
            }
            Input::Unreachable {
                socket,
                cause: Unreachable::NoSocket,
                ..
            } => {
                let place = self.candidates.iter().position(|candidate| {
                    candidate.socket == socket && candidate.sample == Sample::Open
                });
                if let Some(place) = place {
                    self.conclude(place, Sample::Unknown, now);
                }
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Greeting {
            due, transmissions, ..
        } = self.phase
            && due <= now
        {
            self.greet(transmissions, now);
        }
        if self.controls.next.is_some_and(|due| due <= now) {
            self.send_control(now);
        }
        if self.status.is_some_and(|due| due <= now) {
            self.ask_status(now);
        }
        while let Some(&(due, place)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            if let Some(candidate) = self.candidates.get_mut(place) {
                candidate.deadline = None;
            }
            self.handle_deadline(place, now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<LifetimeEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let greeting = match self.phase {
            Phase::Greeting { due, .. } => Some((due, "greet the answerer again")),
            Phase::Sweeping | Phase::Over => None,
        };
        let control = self.controls.next.map(|due| (due, "send a control probe"));
        let status = self.status.map(|due| (due, "ask which probes arrived"));
        let candidate = self
            .deadlines
            .first()
            .map(|(due, _)| (*due, "a mapping's next step"));
        earlier(earlier(greeting, control), earlier(status, candidate))
    }
}
