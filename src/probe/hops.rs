//! *Hops*: where on the way do boxes keep state, and how long does each?
//!
//! First, in seconds: how far the reflector is and who answers on the way (packets with a low time to live),
//! how far back it is (its answers with one), and where the outermost box that filters stands. For the last a
//! packet to the reflector's other endpoint, which dies after so many hops, opens the filters up to there and
//! no further: the smallest time to live behind which answers from that endpoint come in tells the hop.
//!
//! Then, where there may be more than one box and a plan for it was made: the timer of each by itself. See
//! [`timers`].

mod pinhole;
pub mod timers;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    pinhole::Pinhole,
    timers::{Timers, TimersPlan},
};
use crate::{
    probe::{
        asker::{Asker, Said},
        done::Done,
        evidence::HopsEvidence,
        message::{Answer, AnswerFrom},
        rounds::Rounds,
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, Unreachable, earlier},
    types::PeerAddr,
};

/// Whom to ask, and how far to go.
#[derive(Clone, Debug)]
pub struct HopsConfig {
    /// Reflectors, or providers that may be one; the first that is one is the one.
    pub reflectors: Vec<PeerAddr>,
    /// The first of [`SOCKETS`] keys that may be used.
    pub first_socket: SocketKey,
    /// How to time each box; `None`: only where they stand is found out.
    pub timers: Option<TimersPlan>,
    /// Seed of sessions.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Hops {
    config: HopsConfig,
    rng: StdRng,
    asker: Option<Asker>,
    place: usize,
    phase: Phase,
    /// The reflector's other endpoint.
    other: Option<PeerAddr>,
    /// The smallest time to live that reached the reflector.
    reached: Option<u8>,
    reporters: BTreeMap<u8, IpAddr>,
    /// Rounds of answers with a low time to live, and the smallest that came back.
    back: Rounds,
    came_back: Option<u8>,
    pinholes: Vec<Pinhole>,
    timers: Option<Timers>,
    evidence: HopsEvidence,
    outbox: VecDeque<Transmit>,
    done: Option<Done>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { due: Instant, tries: u8 },
    Tracing { due: Instant, rounds: u8 },
    Looking { due: Instant },
    Timing,
    Over,
}

/// The farthest reflector that is looked for, in hops.
const FARTHEST: u8 = 30;
/// Keys that the experiment may use, its timers not counted.
pub const SOCKETS: u32 = 3 * (FARTHEST as u32 + 1);
const TRACE: u32 = FARTHEST as u32 + 1;
const PINHOLES: u32 = 2 * TRACE;
const INTERVAL: Duration = Duration::from_millis(400);
const TRIES: u8 = 8;
/// Rounds of the trace: routers send few ICMP errors a second.
const TRACES: u8 = 4;
const TRACE_INTERVAL: Duration = Duration::from_millis(250);
/// Boxes that are timed at most.
const MOST_BOXES: u8 = 4;

impl Hops {
    /// Begins with the first reflector.
    #[must_use]
    pub fn new(config: HopsConfig, now: Instant) -> Self {
        let mut hops = Self {
            rng: StdRng::from_seed(config.seed),
            asker: None,
            place: 0,
            phase: Phase::Greeting { due: now, tries: 0 },
            other: None,
            reached: None,
            reporters: BTreeMap::new(),
            back: Rounds::default(),
            came_back: None,
            pinholes: Vec::new(),
            timers: None,
            evidence: HopsEvidence::default(),
            outbox: VecDeque::new(),
            done: None,
            config,
        };
        hops.handle_timeout(now);
        hops
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> HopsEvidence {
        let mut evidence = self.evidence.clone();
        if let Some(timers) = &self.timers {
            timers.tell(&mut evidence);
        }
        evidence
    }

    /// Whether the experiment is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Ends it early; what was found stays.
    pub fn stop(&mut self, now: Instant) {
        if let Some(timers) = &mut self.timers {
            timers.stop(now);
        }
        self.pass_on();
        self.phase = Phase::Over;
    }

    fn socket(&self, offset: u32) -> SocketKey {
        SocketKey(self.config.first_socket.0 + offset)
    }

    fn send(&mut self, offset: u32, peer: PeerAddr, payload: Vec<u8>, ttl: Option<u8>) {
        let socket = self.socket(offset);
        self.outbox.push_back(Transmit {
            socket,
            peer,
            payload,
            ttl,
        });
    }

    fn greet(&mut self, tries: u8, now: Instant) {
        let Some(peer) = self.config.reflectors.get(self.place).copied() else {
            return self.finish();
        };
        if tries >= TRIES {
            return self.next_reflector(now);
        }
        self.phase = Phase::Greeting {
            due: now + INTERVAL,
            tries: tries + 1,
        };
        let session = &mut self.rng;
        let asker = self
            .asker
            .get_or_insert_with(|| Asker::new(peer, session.random()));
        let payload = asker.hello();
        self.send(0, peer, payload, None);
    }

    fn next_reflector(&mut self, now: Instant) {
        self.place += 1;
        self.asker = None;
        self.phase = Phase::Greeting { due: now, tries: 0 };
        self.greet(0, now);
    }

    /// A packet for each hop, from a socket of its own.
    fn trace(&mut self, rounds: u8, now: Instant) {
        let Some(asker) = self.asker else { return };
        if rounds >= TRACES && (self.reached.is_some() || rounds >= 2 * TRACES) {
            return self.look(now);
        }
        self.phase = Phase::Tracing {
            due: now + TRACE_INTERVAL.max(self.back.round_trip() * 3 / 2),
            rounds: rounds + 1,
        };
        for ttl in 1..=FARTHEST {
            let is_known = self.reporters.contains_key(&ttl);
            let is_behind = self.reached.is_some_and(|reached| ttl >= reached);
            if !is_known && !is_behind {
                let payload = asker.ask(ttl.into());
                self.send(u32::from(ttl), asker.peer, payload, Some(ttl));
            }
        }
    }

    /// How far back, and where is the outermost filter?
    fn look(&mut self, now: Instant) {
        let routers = self.reached.map(|reached| reached - 1);
        self.evidence.routers = (1..=routers.unwrap_or(0))
            .map(|hop| (hop, self.reporters.get(&hop).copied()))
            .collect();
        self.evidence.distance = self.reached;
        let Some(reached) = self.reached.filter(|reached| *reached > 1) else {
            return self.finish();
        };
        if self.other.is_some() {
            self.pinholes = (0..=reached).map(Pinhole::new).collect();
        }
        self.look_again(now);
    }

    fn look_again(&mut self, now: Instant) {
        let (Some(asker), Some(reached)) = (self.asker, self.reached) else {
            return;
        };
        let is_back_known = self.back.is_enough() || !self.back.may_go_on();
        self.evidence.outermost = pinhole::outermost(&self.pinholes);
        if is_back_known && self.pinholes.iter().all(Pinhole::is_closed_question) {
            self.evidence.back = self.came_back.filter(|_| self.back.is_enough());
            return self.time(now);
        }
        let mut due = self.back.next(now);
        if !is_back_known {
            let round = self.back.begin(now);
            due = self.back.next(now);
            let control = asker.ask(index(round, 0));
            self.send(0, asker.peer, control, None);
            let farthest = self
                .came_back
                .unwrap_or(reached.saturating_add(8).min(FARTHEST + 1));
            for ttl in 1..farthest {
                let payload = asker.ask_for(index(round, ttl), AnswerFrom::default(), ttl);
                self.send(0, asker.peer, payload, None);
            }
        }
        let Some(other) = self.other else {
            self.phase = Phase::Looking { due };
            return;
        };
        for place in 0..self.pinholes.len() {
            let Some(pinhole) = self.pinholes.get_mut(place) else {
                continue;
            };
            if pinhole.is_closed_question() {
                continue;
            }
            let ttl = pinhole.ttl();
            let round = pinhole.rounds.begin(now);
            due = due.max(pinhole.rounds.next(now));
            let offset = PINHOLES + u32::from(ttl);
            if ttl > 0 {
                self.send(offset, other, pinhole::OPENER.to_vec(), Some(ttl));
            }
            let from = AnswerFrom {
                other_port: true,
                other_address: true,
            };
            let question = asker.ask_for(index(round, 1), from, 0);
            let control = asker.ask(index(round, 0));
            // The first packet opens the way to the reflector itself, so the control goes first.
            self.send(offset, asker.peer, control, None);
            self.send(offset, asker.peer, question, None);
        }
        self.phase = Phase::Looking { due };
    }

    /// Times each box by itself, where there may be several and it was asked for.
    fn time(&mut self, now: Instant) {
        let (Some(plan), Some(asker), Some(reached)) =
            (self.config.timers, self.asker, self.reached)
        else {
            return self.finish();
        };
        let routers = reached - 1;
        let boxes = self.evidence.outermost.unwrap_or(routers).min(MOST_BOXES);
        let Some(back) = self.evidence.back.filter(|back| *back > boxes) else {
            return self.finish();
        };
        let seed = self.rng.random();
        let timers = Timers::new(plan, asker.peer, boxes, back, seed, now);
        self.timers = Some(timers);
        self.phase = Phase::Timing;
        self.pass_on();
    }

    /// Takes what the timers have to say and to send.
    fn pass_on(&mut self) {
        let Some(timers) = &mut self.timers else {
            return;
        };
        while let Some(transmit) = timers.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        if timers.is_finished() && self.phase == Phase::Timing {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        self.done = Some(Done);
    }

    fn handle_said(&mut self, said: &Said, offset: u32, source: PeerAddr, now: Instant) {
        let Some(asker) = self.asker else { return };
        match (said, self.phase) {
            (Said::Nothing, Phase::Greeting { .. }) if source == asker.peer => {
                self.next_reflector(now);
            }
            (Said::Hello { other, .. }, Phase::Greeting { .. }) if source == asker.peer => {
                self.evidence.server = Some(source);
                self.other = other.filter(|other| other.get().ip() != source.get().ip());
                self.trace(0, now);
            }
            (Said::Echo { index, .. }, Phase::Tracing { .. }) => {
                if let Ok(ttl) = u8::try_from(*index)
                    && offset == u32::from(ttl)
                {
                    self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
                }
            }
            // A refusal came from there too: a token is good for one public address, and some NATs have several.
            (Said::Other(Answer::Refused { .. }), Phase::Tracing { .. })
                if source == asker.peer =>
            {
                if let Ok(ttl @ 1..=FARTHEST) = u8::try_from(offset) {
                    self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
                }
            }
            (Said::Echo { index, .. }, Phase::Looking { .. }) => {
                let (round, which) = (index >> 8, index & 0xff);
                if offset == 0 {
                    match u8::try_from(which) {
                        Ok(0) => self.back.note_control(round, now),
                        Ok(ttl) => {
                            let least = self.came_back.map_or(ttl, |known| known.min(ttl));
                            self.came_back = Some(least);
                        }
                        Err(_) => {}
                    }
                } else if let Some(pinhole) = self
                    .pinholes
                    .iter_mut()
                    .find(|pinhole| PINHOLES + u32::from(pinhole.ttl()) == offset)
                {
                    if which == 0 && source == asker.peer {
                        pinhole.rounds.note_control(round, now);
                    } else if which == 1 && Some(source) == self.other {
                        pinhole.note_answer();
                    }
                }
            }
            _ => {}
        }
    }
}

/// Names a question of a round.
fn index(round: u32, which: u8) -> u32 {
    round << 8 | u32::from(which)
}

impl Machine for Hops {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        let offset = socket.0.wrapping_sub(self.config.first_socket.0);
        if offset >= SOCKETS {
            if let Some(timers) = &mut self.timers {
                timers.handle_input(input, now);
                self.pass_on();
            }
            return;
        }
        match input {
            Input::Opened { local, .. } if offset == 0 => self.evidence.local = Some(local),
            Input::Datagram {
                source, payload, ..
            } => {
                let said = self.asker.as_mut().and_then(|asker| asker.read(payload));
                if let Some(said) = said {
                    self.handle_said(&said, offset, source, now);
                }
            }
            Input::Unreachable {
                cause: Unreachable::TimeExceeded,
                reporter: Some(reporter),
                ..
            } => {
                // The socket tells the time to live.
                if let Ok(ttl @ 1..=FARTHEST) = u8::try_from(offset) {
                    self.reporters.entry(ttl).or_insert(reporter);
                }
            }
            Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Greeting { due, tries } if due <= now => self.greet(tries, now),
            Phase::Tracing { due, rounds } if due <= now => self.trace(rounds, now),
            Phase::Looking { due } if due <= now => self.look_again(now),
            Phase::Timing => {
                if let Some(timers) = &mut self.timers {
                    timers.handle_timeout(now);
                }
                self.pass_on();
            }
            Phase::Greeting { .. }
            | Phase::Tracing { .. }
            | Phase::Looking { .. }
            | Phase::Over => {}
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<Done> {
        self.done.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let own = match self.phase {
            Phase::Greeting { due, .. } => Some((due, "greet a reflector for the hops again")),
            Phase::Tracing { due, .. } => Some((due, "trace the way again")),
            Phase::Looking { due } => Some((due, "look for the outermost filter again")),
            Phase::Timing | Phase::Over => None,
        };
        let timers = self.timers.as_ref().filter(|_| self.phase == Phase::Timing);
        earlier(own, timers.and_then(Timers::poll_timeout))
    }
}
