//! Registrations that the guardian holds itself: several, with many providers, each from a port of its own.
//!
//! Each is renewed after five sixths of the refresh, or earlier where the NAT would forget the mapping
//! before, up to a tenth earlier by chance so that they do not all come at once. After a failure it waits
//! 5, 10, 20, 40 and then 60 s. Where its port is not answered twice in a row, a fresh one is taken: a new
//! flow has no entry that could be tainted. After three refusals of the account in a row it stops for
//! good: only a person can cure that.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    proto::{
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        registration::{
            Outcome, Registration, RegistrationConfig, RegistrationEvent, reregister_after,
        },
        reliable::RetryPolicy,
    },
    types::{MappedAddr, PeerAddr},
};

/// The waits after failures; the last one stays.
const WAITS: [u64; 5] = [5, 10, 20, 40, 60];
/// So many refusals in a row end it.
const REFUSALS: u32 = 3;
/// So many silent attempts in a row make a port suspect.
const SILENCES: u32 = 2;
/// What is left of a mapping when it is renewed.
const MARGIN: Duration = Duration::from_secs(2);
/// A registration is not renewed more often than this.
const SHORTEST: Duration = Duration::from_secs(5);

/// One registration to hold.
#[derive(Clone, Debug)]
pub struct Held {
    /// The registrar.
    pub registrar: PeerAddr,
    /// The account.
    pub credentials: Credentials,
    /// The refresh to ask for.
    pub refresh: Duration,
    /// How long the NAT keeps the mapping of a registration, where that is known.
    pub mapping: Option<Duration>,
    /// Whether a fresh port may be taken when the old one is not answered.
    pub may_move: bool,
}

/// What happened to a registration; `place` is its place in the list, from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldEvent {
    /// Which.
    pub place: usize,
    /// What.
    pub what: HeldChange,
}

/// What happened, in the past tense.
#[derive(Clone, Debug, PartialEq)]
pub enum HeldChange {
    /// It is registered, for the first time or again after a failure, or from another address.
    Registered {
        /// The address that the registrar saw.
        apparent: Option<MappedAddr>,
        /// From one renewal to the next.
        every: Duration,
    },
    /// An attempt failed; the next one follows.
    Failed {
        /// How it ended.
        outcome: Outcome,
        /// When the next one begins.
        again_in: Duration,
    },
    /// A fresh port was taken: the old one was not answered.
    Moved,
    /// The account was refused too often; nothing more is sent.
    GivenUp {
        /// The last refusal.
        outcome: Outcome,
    },
}

/// All of them, as one machine.
#[derive(Debug)]
pub struct Registrations {
    lines: Vec<HeldLine>,
    by_socket: BTreeMap<SocketKey, usize>,
    next_socket: u32,
    rng: StdRng,
    outbox: VecDeque<Transmit>,
    events: VecDeque<HeldEvent>,
}

#[derive(Debug)]
struct HeldLine {
    held: Held,
    socket: SocketKey,
    /// The last attempt; between two it answers POKEs and late frames.
    attempt: Option<Registration>,
    /// When the next attempt begins; `None`: never.
    due: Option<Instant>,
    last: Option<MappedAddr>,
    is_registered: bool,
    failures: usize,
    refusals: u32,
    silences: u32,
}

impl Registrations {
    /// Begins all of them, spread over the first second for each hundred.
    #[must_use]
    pub fn new(held: Vec<Held>, seed: [u8; 32], now: Instant) -> Self {
        let mut next_socket = 0;
        let mut by_socket = BTreeMap::new();
        let lines = held
            .into_iter()
            .enumerate()
            .map(|(place, held)| {
                let socket = SocketKey(next_socket);
                next_socket += 1;
                by_socket.insert(socket, place);
                let apart = Duration::from_millis(10) * u32::try_from(place).unwrap_or(u32::MAX);
                HeldLine {
                    held,
                    socket,
                    attempt: None,
                    due: Some(now + apart),
                    last: None,
                    is_registered: false,
                    failures: 0,
                    refusals: 0,
                    silences: 0,
                }
            })
            .collect();
        let mut all = Self {
            lines,
            by_socket,
            next_socket,
            rng: StdRng::from_seed(seed),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        };
        all.handle_timeout(now);
        all
    }

    /// A registrar has another address now; the next attempt goes there.
    pub fn moved(&mut self, place: usize, registrar: PeerAddr) {
        if let Some(line) = self.lines.get_mut(place) {
            line.held.registrar = registrar;
        }
    }

    /// The NAT was measured: renewals come before the mapping dies.
    pub fn measured(&mut self, place: usize, mapping: Duration) {
        if let Some(line) = self.lines.get_mut(place) {
            line.held.mapping = Some(mapping);
        }
    }

    /// Whether a registration is in force.
    #[must_use]
    pub fn is_registered(&self, place: usize) -> bool {
        self.lines.get(place).is_some_and(|line| line.is_registered)
    }

    /// Its socket now; another one after [`HeldChange::Moved`], and the old one may be closed.
    #[must_use]
    pub fn socket(&self, place: usize) -> Option<SocketKey> {
        self.lines.get(place).map(|line| line.socket)
    }

    fn drain(&mut self, place: usize, now: Instant) {
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        let Some(attempt) = &mut line.attempt else {
            return;
        };
        while let Some(transmit) = attempt.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        let mut ended = None;
        while let Some(event) = attempt.poll_event() {
            if let RegistrationEvent::Ended(outcome) = event {
                ended = Some(outcome);
            }
        }
        while let Some(transmit) = attempt.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        if let Some(outcome) = ended {
            self.ended(place, outcome, now);
        }
    }

    fn ended(&mut self, place: usize, outcome: Outcome, now: Instant) {
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        let what = match outcome {
            Outcome::Acknowledged { refresh, apparent } => {
                let every = line.held.interval(refresh);
                let early = every.mul_f64(self.rng.random_range(0.0..0.1));
                line.due = Some(now + every.saturating_sub(early));
                (line.failures, line.refusals, line.silences) = (0, 0, 0);
                let is_news = !line.is_registered || line.last != apparent;
                line.is_registered = true;
                line.last = apparent;
                if !is_news {
                    return;
                }
                HeldChange::Registered { apparent, every }
            }
            outcome => {
                line.is_registered = false;
                let is_refusal = matches!(
                    outcome,
                    Outcome::Rejected { .. } | Outcome::AuthUnsupported { .. }
                );
                let is_silence = matches!(outcome, Outcome::TimedOut { .. });
                line.refusals = if is_refusal { line.refusals + 1 } else { 0 };
                line.silences = if is_silence { line.silences + 1 } else { 0 };
                if line.refusals >= REFUSALS {
                    line.due = None;
                    self.events.push_back(HeldEvent {
                        place,
                        what: HeldChange::GivenUp { outcome },
                    });
                    return;
                }
                let longest = WAITS.last().copied().unwrap_or(60);
                let wait = WAITS.get(line.failures).copied().unwrap_or(longest);
                line.failures = line.failures.saturating_add(1);
                let jitter = self.rng.random_range(0.9..=1.1);
                let again_in = Duration::from_secs(wait).mul_f64(jitter);
                line.due = Some(now + again_in);
                HeldChange::Failed { outcome, again_in }
            }
        };
        let is_stuck = line.silences >= SILENCES && line.held.may_move;
        self.events.push_back(HeldEvent { place, what });
        if is_stuck {
            line.silences = 0;
            self.by_socket.remove(&line.socket);
            line.socket = SocketKey(self.next_socket);
            self.by_socket.insert(line.socket, place);
            self.next_socket = self.next_socket.wrapping_add(1);
            line.attempt = None;
            let what = HeldChange::Moved;
            self.events.push_back(HeldEvent { place, what });
        }
    }

    fn begin(&mut self, place: usize, now: Instant) {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        line.due = None;
        let config = RegistrationConfig {
            registrar: line.held.registrar,
            socket: line.socket,
            credentials: line.held.credentials.clone(),
            refresh: line.held.refresh,
            release: false,
            offer_token: true,
            retry: RetryPolicy::RFC, // most of it within the life of a token
            seed,
        };
        line.attempt = Some(Registration::new(config, now));
        self.drain(place, now);
    }
}

impl Held {
    /// From one registration to the next, before chance shortens it.
    fn interval(&self, granted: Duration) -> Duration {
        let usual = reregister_after(granted);
        let mapping = self
            .mapping
            .map_or(usual, |mapping| mapping.saturating_sub(MARGIN));
        usual.min(mapping).max(SHORTEST.min(usual))
    }
}

impl Machine for Registrations {
    type Event = HeldEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let socket = match input {
            Input::Opened { socket, .. }
            | Input::Datagram { socket, .. }
            | Input::Unreachable { socket, .. } => socket,
        };
        let Some(place) = self.by_socket.get(&socket).copied() else {
            return;
        };
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        if let Some(attempt) = &mut line.attempt {
            attempt.handle_input(input, now);
            self.drain(place, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for place in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(place) else {
                return;
            };
            if let Some(attempt) = &mut line.attempt
                && attempt.poll_timeout().is_some_and(|(due, _)| due <= now)
            {
                attempt.handle_timeout(now);
                self.drain(place, now);
            }
            let is_due = self
                .lines
                .get(place)
                .is_some_and(|line| line.due.is_some_and(|due| due <= now));
            if is_due {
                self.begin(place, now);
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<HeldEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.lines.iter().fold(None, |next, line| {
            let attempt = line.attempt.as_ref().and_then(Machine::poll_timeout);
            let renewal = line.due.map(|due| (due, "register again"));
            earlier(next, earlier(attempt, renewal))
        })
    }
}
