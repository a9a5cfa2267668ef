//! *Lifetime*: how long does the NAT keep an idle mapping (RFC 4787 REQ-5, RFC 5780 §4.6)?
//!
//! All idle times are tried in parallel, each on a fresh local port, so that the sweep takes as long as
//! the lifetime itself. A lost packet is not an expiry: delayed answers come in several copies, a miss
//! counts only while control probes are answered, and three sockets in a row must miss.
//!
//! Three shapes of traffic, because NATs keep different timers: see [`Shape`].

mod arrival;
mod candidate;
mod control;
mod due;
mod edge;
mod greeting;
mod grid;
mod isolation;
mod opening;
mod passes;
mod question;
mod reply;
pub mod unaided;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    candidate::{Candidate, Stage},
    control::Controls,
    edge::Sample,
    greeting::Proof,
    passes::{Passes, Plan},
};
pub use self::{
    isolation::{Content, Isolation, Near},
    question::Answerer,
};
use crate::{
    probe::{
        behaviour::Shape,
        evidence::{LifetimeEvidence, LifetimeMethod, Refusals, ShapeLifetime},
        reflector::MAX_DELAY,
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
    /// The longest idle time to try; no more than [`MAX_DELAY`] is.
    pub longest: Duration,
    /// Exactly these idle times, in ascending order; none: as many up to the longest as the budget allows.
    pub idles: Vec<Duration>,
    /// Mappings in flight, at most.
    pub budget: usize,
    /// What passes meanwhile; exchanges alone are measured then, with a reflector.
    pub isolation: Option<Isolation>,
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
    /// The answerer did not answer the greeting, or not where it was told to; nothing was measured.
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
    /// The greetings that were not answered yet, and when they left.
    greetings: VecDeque<(u32, Instant)>,
    /// The answerer is known to answer the mapping it is told to.
    is_proven: bool,
    refused: Refusals,
    /// The token was taken: where one is refused all the same, that is for its address.
    is_accepted: bool,
    phase: Phase,
    passes: Passes,
    plan: Plan,
    reported: BTreeSet<Shape>,
    candidates: Vec<Candidate>,
    by_index: BTreeMap<u32, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// When the boxes near to us are due for a packet that keeps them open, by candidate.
    kept: BTreeSet<(Instant, usize)>,
    next_socket: u32,
    next_index: u32,
    mappings: u32,
    controls: Controls,
    status: Option<Instant>,
    renew: Option<Instant>,
    /// What came of the second answers, by their idle times.
    seconds: Vec<(Duration, Sample)>,
    survived_errors: u32,
    last_packet: Instant,
    outbox: VecDeque<Transmit>,
    events: VecDeque<LifetimeEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting {
        due: Instant,
        transmissions: u8,
    },
    /// A STUN server is asked for an answer to a mapping that is not left idle.
    Proving(Proof),
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
const WARM_UP: Duration = Duration::from_millis(2100);

impl Lifetime {
    /// Begins: the greeting of the answerer is the first transmit.
    #[must_use]
    pub fn new(mut config: LifetimeConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        config.longest = config.longest.min(MAX_DELAY);
        if config.isolation.is_some() {
            config.shapes.retain(|shape| *shape == Shape::Exchange);
        }
        if config.answerer.keeps_no_delay() {
            config.shapes.retain(|shape| *shape != Shape::OneWay);
        }
        let (passes, plan) = if config.idles.is_empty() {
            Passes::begin(&config.shapes, config.longest, config.budget)
        } else {
            Passes::exactly(&config.shapes, &config.idles)
        };
        let mut lifetime = Self {
            session: rng.random(),
            born: now,
            token: [0; TOKEN_LENGTH],
            round_trip: Duration::ZERO,
            greetings: VecDeque::new(),
            is_proven: !config.answerer.keeps_no_delay(),
            refused: Refusals::default(),
            is_accepted: false,
            phase: Phase::Greeting {
                due: now,
                transmissions: 0,
            },
            passes,
            plan,
            reported: BTreeSet::new(),
            candidates: Vec::new(),
            by_index: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            kept: BTreeSet::new(),
            next_socket: config.first_socket,
            next_index: 1,
            mappings: 0,
            controls: Controls::default(),
            status: None,
            renew: None,
            seconds: Vec::new(),
            survived_errors: 0,
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
            self.kept.clear();
            self.status = None;
            self.renew = None;
            self.controls.next = None;
            self.finish(now);
        } else {
            self.phase = Phase::Over;
        }
    }

    /// Takes note of what is known by now of the path's loss.
    pub const fn note_loss(&mut self, lossy: bool) {
        self.config.lossy = lossy;
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
                .filter_map(|shape| self.passes.proven(*shape).alive)
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
                let edge = self.passes.proven(*shape);
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
            refused: self.refused,
            longest: self.config.longest,
            inapplicable: None,
        })
    }

    /// One answer after inbound traffic alone proves that it refreshes; two misses, that it does not.
    /// They tell something only where the mapping would be gone without that traffic.
    fn inbound_refreshes(&self) -> Option<bool> {
        let dead = self.passes.proven(Shape::Exchange).dead?;
        let votes = |wanted| {
            let decisive = self
                .seconds
                .iter()
                .filter(|(idle, _)| *idle > dead + SPACING);
            decisive.filter(|(_, sample)| *sample == wanted).count()
        };
        match (votes(Sample::Alive), votes(Sample::Missed)) {
            (1.., _) => Some(true),
            (0, 2..) => Some(false),
            (0, _) => None,
        }
    }

    /// Mappings that lived on although an ICMP error came in on them.
    #[must_use]
    pub const fn survived_errors(&self) -> u32 {
        self.survived_errors
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
        candidate.reprieved = false;
        let old = std::mem::replace(&mut candidate.deadline, deadline);
        if let Some(old) = old {
            self.deadlines.remove(&(old, place));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, place));
        }
    }

    fn retry_after(&self) -> Duration {
        (self.round_trip * 3).clamp(Duration::from_millis(300), Duration::from_secs(3))
    }

    /// From a delayed answer's due time until all its copies must have come.
    fn wait(&self) -> Duration {
        SPACING * u32::from(self.copies().saturating_sub(1)) + self.grace()
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
            Input::Unreachable { socket, .. } => {
                for candidate in &mut self.candidates {
                    candidate.met_error |=
                        candidate.socket == socket && candidate.stage == Stage::Idle;
                }
            }
            Input::Datagram { .. } | Input::Opened { .. } => {}
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
        if let Phase::Proving(proof) = self.phase
            && proof.due <= now
        {
            self.prove(proof.tries, now);
        }
        if self.controls.next.is_some_and(|due| due <= now) {
            self.send_control(now);
        }
        if self.renew.is_some_and(|due| due <= now) {
            self.renew(now);
        }
        if self.status.is_some_and(|due| due <= now) {
            self.ask_status(now);
        }
        self.keep_near(now);
        while let Some(&(due, place)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            if let Some(candidate) = self.candidates.get_mut(place) {
                candidate.deadline = None;
            }
            self.handle_deadline(place, due, now);
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
            Phase::Proving(proof) => Some((proof.due, "see whether RESPONSE-PORT works")),
            Phase::Sweeping | Phase::Over => None,
        };
        let control = self.controls.next.map(|due| (due, "send a control probe"));
        let renew = self.renew.map(|due| (due, "renew the token"));
        let status = self.status.map(|due| (due, "ask which probes arrived"));
        let candidate = self
            .deadlines
            .first()
            .map(|(due, _)| (*due, "a mapping's next step"));
        let near = self.kept.first();
        let near = near.map(|(due, _)| (*due, "keep the boxes near to us open"));
        [greeting, control, renew, status, near, candidate]
            .into_iter()
            .fold(None, earlier)
    }
}
