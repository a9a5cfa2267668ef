//! Lifetimes without anybody outside who answers late: the registrar of an account alone is asked, in the
//! ways that the NAT at hand allows.
//!
//! | method | what tells | works with |
//! | --- | --- | --- |
//! | drift | the port that a second registration from the same socket is given | NATs that draw ports |
//! | sibling | the port that a registration from the same port of a second LAN address is given | NATs that keep ports |
//! | qualify | the registrar's own POKEs as they arrive: a lower bound | any NAT, where the registrar qualifies |
//! | token | whether a call token is still taken, up to 9 s | NATs that draw ports; no secret needed |
//!
//! All but the last move the account's binding; who runs this registers again afterwards from the socket
//! that had it. In the first two, every idle time has a socket of its own and all are tried in parallel,
//! as in [`Lifetime`](super::Lifetime). No answer is read from silence there: the registrar answers either
//! way, and what it saw tells.

mod listening;
mod pair;
mod token;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    listening::Listening,
    pair::{Kind, Pair},
    token::TokenTrial,
    trial::Trial,
};
use super::{
    LifetimeEvent, LifetimeProgress,
    edge::Sample,
    passes::{Passes, Plan},
};
use crate::{
    probe::{
        behaviour::Shape,
        evidence::{Inapplicable, LifetimeEvidence, LifetimeMethod, Refusals, ShapeLifetime},
    },
    proto::{
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit},
        registration::{RegistrationConfig, random_call_number},
        reliable::RetryPolicy,
    },
    types::{MappedAddr, PeerAddr},
};

/// What to measure, and as whom.
#[derive(Clone, Debug)]
pub struct UnaidedConfig {
    /// How.
    pub method: Unaided,
    /// The registrar.
    pub registrar: PeerAddr,
    /// The account.
    pub credentials: Credentials,
    /// The refresh to ask for.
    pub refresh: Duration,
    /// When frames of a registration are sent again.
    pub retry: RetryPolicy,
    /// The first of the keys that may be used; those [`SIBLINGS`] above belong to siblings.
    pub first_socket: u32,
    /// The longest idle time to try.
    pub longest: Duration,
    /// Mappings in flight, at most.
    pub budget: usize,
    /// Seed of everything random.
    pub seed: [u8; 32],
}

/// A way to measure without a helper. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unaided {
    /// The same socket registers again, and is seen at another port once the mapping is gone.
    Drift,
    /// A second LAN address registers from the same port, and is given it once the mapping is gone.
    Sibling,
    /// The registrar's POKEs arrive while the mapping lives.
    Qualify,
    /// A call token is refused once the mapping is gone.
    Token,
}

impl Unaided {
    const fn method(self) -> LifetimeMethod {
        match self {
            Self::Drift => LifetimeMethod::Drift,
            Self::Sibling => LifetimeMethod::Sibling,
            Self::Qualify => LifetimeMethod::Qualify,
            Self::Token => LifetimeMethod::Token,
        }
    }
}

/// The socket with a key so much above another's is that one's sibling: it has the second LAN address, and
/// the port of the other one where that is open.
pub const SIBLINGS: u32 = 1 << 16;

/// What one idle time showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Result {
    Alive,
    Gone,
    Unknown(Inapplicable),
}

/// The machine.
#[derive(Debug)]
pub struct UnaidedLifetime {
    config: UnaidedConfig,
    rng: StdRng,
    born: Instant,
    passes: Passes,
    trials: Vec<Trial>,
    /// Which of them the passes have taken note of.
    concluded: Vec<bool>,
    /// The sibling alone: its port must be kept where nothing is in the way.
    lone: Option<Pair>,
    /// What is tried once that is known. An Asterisk that takes two registrations of one account at the same
    /// moment tells both the address of the one.
    planned: Option<Plan>,
    listening: Option<Listening>,
    /// The mappings that siblings were given.
    given: BTreeSet<MappedAddr>,
    next_socket: u32,
    stage: Stage,
    last_packet: Instant,
    outbox: VecDeque<Transmit>,
    events: VecDeque<LifetimeEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The edge is known; registrations under way come to their end.
    WindingDown,
    Over,
}

/// Added to each idle time, so that a timer of whole seconds lies clearly on one side of it.
const MARGIN: Duration = Duration::from_millis(100);
/// What comes later than this after the first packet makes a stream of an exchange: Linux and its like draw
/// the line at 2 s.
const SAME_EXCHANGE: Duration = Duration::from_millis(1500);
/// A question that leaves later than this after its time proves no mapping gone.
const LATE: Duration = Duration::from_millis(300);
/// Time between the openings of two mappings: fifty registrations a second are a tenth of what a small
/// Asterisk takes.
const STAGGER: Duration = Duration::from_millis(20);
/// So many refusals end the attempt: nobody is asked hundreds of times with a wrong secret.
const REFUSALS: usize = 3;

impl UnaidedLifetime {
    /// Begins.
    #[must_use]
    pub fn new(mut config: UnaidedConfig, now: Instant) -> Self {
        if config.method == Unaided::Token {
            config.longest = config.longest.min(token::LONGEST);
        }
        let (passes, plan) = Passes::begin(&[Shape::Exchange], config.longest, config.budget);
        let mut unaided = Self {
            rng: StdRng::from_seed(config.seed),
            born: now,
            passes,
            trials: Vec::new(),
            concluded: Vec::new(),
            lone: None,
            planned: None,
            listening: None,
            given: BTreeSet::new(),
            next_socket: config.first_socket,
            stage: Stage::Running,
            last_packet: now,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        if unaided.config.method == Unaided::Qualify {
            let account = unaided.account();
            let longest = unaided.config.longest;
            unaided.listening = Some(Listening::new(account, longest, now));
        } else if unaided.config.method == Unaided::Sibling {
            let account = unaided.account();
            let asking = SocketKey(account.socket.0 + SIBLINGS);
            let seed = unaided.rng.random();
            let lone = Pair::new(Kind::Lone, Duration::ZERO, account, asking, seed, now);
            unaided.lone = Some(lone);
            unaided.planned = Some(plan);
        } else {
            unaided.schedule(&plan, now);
        }
        unaided.handle_timeout(now);
        unaided
    }

    /// Ends it early; what was found stays.
    pub fn stop(&mut self) {
        self.stage = Stage::Over;
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Over
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self, now: Instant) -> LifetimeProgress {
        LifetimeProgress {
            elapsed: now.saturating_duration_since(self.born),
            at_most: self.config.longest + Duration::from_secs(6),
            alive: self.passes.proven(Shape::Exchange).alive,
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> LifetimeEvidence {
        let (shapes, inapplicable) = if let Some(listening) = &self.listening {
            let shapes = listening.shapes();
            let why = if listening.is_registered() {
                Inapplicable::Silent
            } else {
                Inapplicable::NotRegistered
            };
            let missing = shapes.is_empty().then_some(why);
            (shapes, missing)
        } else {
            let (lifetime, why) = self.exchange();
            (vec![(Shape::Exchange, lifetime)], why)
        };
        let mappings = self.next_socket - self.config.first_socket;
        LifetimeEvidence {
            method: self.config.method.method(),
            shapes,
            inbound_refreshes: None,
            elapsed: self.last_packet.saturating_duration_since(self.born),
            mappings,
            controls: (0, 0),
            refused: Refusals::default(),
            longest: self.config.longest,
            inapplicable,
        }
    }

    /// The edge, where the method fits the NAT; else why it does not.
    fn exchange(&self) -> (ShapeLifetime, Option<Inapplicable>) {
        let edge = self.passes.proven(Shape::Exchange);
        let samples = self.passes.samples(Shape::Exchange);
        let samples: Vec<_> = samples
            .into_iter()
            .filter_map(|(idle, sample)| {
                let alive = match sample {
                    Sample::Alive => Some(true),
                    Sample::Missed => Some(false),
                    Sample::Unknown => None,
                    Sample::Open => return None,
                };
                Some((idle, alive))
            })
            .collect();
        let nothing = |samples| ShapeLifetime {
            samples,
            ..ShapeLifetime::default()
        };
        let lone = self.lone.as_ref().map(Pair::result);
        match lone {
            None | Some(Some(Result::Alive)) => {}
            Some(Some(Result::Unknown(why))) => return (nothing(samples), Some(why)),
            Some(Some(Result::Gone) | None) => {
                return (nothing(samples), Some(Inapplicable::SiblingMoved));
            }
        }
        // A port that never changed proves nothing: the NAT may give the same one again.
        let is_sure = edge.dead.is_some() || self.config.method == Unaided::Sibling;
        if is_sure && edge.alive.is_some() {
            let outlived = edge.dead.is_none() && edge.alive == Some(self.config.longest);
            let lifetime = ShapeLifetime {
                alive: edge.alive,
                dead: edge.dead,
                outlived,
                samples,
            };
            return (lifetime, None);
        }
        let why = self.most_frequent_reason().or_else(|| {
            let seen = |wanted: bool| samples.iter().any(|(_, alive)| *alive == Some(wanted));
            match (seen(true), seen(false)) {
                (true, false) => Some(Inapplicable::NoChange),
                (false, true) => Some(Inapplicable::NeverAlive),
                _ => None,
            }
        });
        (nothing(samples), why)
    }

    /// Why most of the idle times showed nothing, if more of them did not than did.
    fn most_frequent_reason(&self) -> Option<Inapplicable> {
        let results: Vec<Result> = self.trials.iter().filter_map(Trial::result).collect();
        let reasons = results.iter().filter_map(|result| match result {
            Result::Unknown(why) => Some(*why),
            Result::Alive | Result::Gone => None,
        });
        let mut counts = BTreeMap::<Inapplicable, usize>::new();
        for why in reasons {
            *counts.entry(why).or_default() += 1;
        }
        let (why, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > results.len()).then_some(why)
    }

    /// The registration to make, on a fresh socket.
    fn account(&mut self) -> RegistrationConfig {
        let socket = SocketKey(self.next_socket);
        self.next_socket += 1;
        RegistrationConfig {
            registrar: self.config.registrar,
            socket,
            credentials: self.config.credentials.clone(),
            refresh: self.config.refresh,
            release: false,
            offer_token: true,
            retry: self.config.retry,
            seed: self.rng.random(),
        }
    }

    fn schedule(&mut self, plan: &Plan, now: Instant) {
        let idles: Vec<Duration> = plan.iter().flat_map(|(_, idles)| idles.clone()).collect();
        for (place, idle) in (1..).zip(idles) {
            let begins = now + STAGGER * place;
            let account = self.account();
            let own = account.socket;
            let pair = |kind, asking, seed| {
                Trial::Pair(Box::new(Pair::new(
                    kind,
                    idle,
                    account.clone(),
                    asking,
                    seed,
                    begins,
                )))
            };
            let trial = match self.config.method {
                Unaided::Sibling => {
                    let asking = SocketKey(own.0 + SIBLINGS);
                    pair(Kind::Sibling, asking, self.rng.random())
                }
                Unaided::Token => Trial::Token(Box::new(TokenTrial::new(
                    idle,
                    self.config.registrar,
                    &self.config.credentials.user,
                    own,
                    random_call_number(&mut self.rng),
                    begins,
                ))),
                Unaided::Drift | Unaided::Qualify => pair(Kind::Drift, own, self.rng.random()),
            };
            self.trials.push(trial);
            self.concluded.push(false);
        }
    }

    /// Takes what the trials have to say and to send, and goes on.
    fn drain(&mut self, now: Instant) {
        let before = self.outbox.len();
        let mut fresh = false;
        for (trial, concluded) in self.trials.iter_mut().zip(&mut self.concluded) {
            self.outbox.append(trial.outbox());
            if trial.result().is_some() && !std::mem::replace(concluded, true) {
                fresh = true;
                self.given
                    .extend(trial.mappings().map(|(_, second)| second));
            }
        }
        if fresh {
            self.note_results();
        }
        if let Some(lone) = &mut self.lone {
            self.outbox.append(&mut lone.outbox);
        }
        if let Some(listening) = &mut self.listening {
            self.outbox.append(&mut listening.outbox);
        }
        if self.outbox.len() > before {
            self.last_packet = now;
        }
        self.advance(now);
    }

    /// Has the passes take note of what is known by now.
    fn note_results(&mut self) {
        for trial in &self.trials {
            let Some(result) = trial.result() else {
                continue;
            };
            // Where a sibling was given this port in place of its own, nobody else could be.
            let taken = |(first, second): (MappedAddr, MappedAddr)| {
                first != second && self.given.contains(&first)
            };
            let sample = match result {
                Result::Alive if trial.mappings().is_some_and(taken) => Sample::Unknown,
                Result::Alive => Sample::Alive,
                Result::Gone => Sample::Missed,
                Result::Unknown(_) => Sample::Unknown,
            };
            self.passes.conclude(Shape::Exchange, trial.idle(), sample);
        }
    }

    fn advance(&mut self, now: Instant) {
        if let Some(listening) = &self.listening {
            if listening.is_over() && self.stage == Stage::Running {
                self.finish();
            }
            return;
        }
        let lone = self.lone.as_ref().map(Pair::result);
        let is_hopeless = matches!(lone, Some(Some(result)) if result != Result::Alive);
        let is_lone_done = lone.is_none_or(|result| result.is_some());
        if let Some(plan) = self.planned.take_if(|_| is_lone_done && !is_hopeless) {
            self.schedule(&plan, now);
        }
        let is_refused =
            self.refusals() >= REFUSALS && self.passes.edge(Shape::Exchange).alive.is_none();
        let is_done = (self.passes.is_settled() && is_lone_done) || is_refused || is_hopeless;
        if self.stage == Stage::Running && is_done {
            let may_go_on = !is_refused && !is_hopeless;
            if let Some(plan) = self.passes.next().filter(|_| may_go_on) {
                self.schedule(&plan, now);
            } else {
                self.stage = Stage::WindingDown;
                for trial in &mut self.trials {
                    trial.wind_down();
                }
            }
        }
        if self.stage == Stage::WindingDown && !self.trials.iter().any(Trial::is_busy) {
            self.finish();
        }
    }

    /// How many trials ended in a refusal or in silence.
    fn refusals(&self) -> usize {
        let refused =
            |trial: &&Trial| trial.result() == Some(Result::Unknown(Inapplicable::NotRegistered));
        self.trials.iter().filter(refused).count()
    }

    fn finish(&mut self) {
        self.stage = Stage::Over;
        for (shape, edge) in self.evidence().shapes {
            self.events.push_back(LifetimeEvent::Edge {
                shape,
                alive: edge.alive,
                dead: edge.dead,
            });
        }
        self.events.push_back(LifetimeEvent::Finished);
    }
}

impl Machine for UnaidedLifetime {
    type Event = LifetimeEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        if self.stage == Stage::Over {
            return;
        }
        if let Some(listening) = &mut self.listening {
            listening.handle_input(input, now);
        }
        if let Some(lone) = self.lone.as_mut().filter(|lone| lone.owns(socket)) {
            lone.handle_input(input, now);
        }
        if let Some(trial) = self.trials.iter_mut().find(|trial| trial.owns(socket)) {
            trial.handle_input(input, now);
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        if let Some(listening) = &mut self.listening {
            listening.handle_timeout(now);
        }
        if let Some(lone) = &mut self.lone {
            lone.handle_timeout(now);
        }
        for trial in &mut self.trials {
            if trial.deadline().is_some_and(|at| at <= now) {
                trial.handle_timeout(now);
            }
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<LifetimeEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.stage == Stage::Over {
            return None;
        }
        let trials = self.trials.iter().filter_map(Trial::deadline);
        let lone = self.lone.as_ref().and_then(Pair::deadline);
        let listening = self.listening.as_ref().and_then(Listening::deadline);
        trials
            .chain(lone)
            .chain(listening)
            .min()
            .map(|at| (at, "an unaided measurement's next step"))
    }
}
