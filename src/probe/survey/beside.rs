//! The experiments that run beside the registration, the mapping and the lifetimes, each on sockets of its
//! own.

use std::time::Instant;

use rand::{RngExt as _, rngs::StdRng};

use super::{Experiment, SurveyConfig};
use crate::{
    probe::{
        calls::plan::CONTROL_SOCKETS,
        depth::{self, Depth, DepthConfig},
        done::Done,
        evidence::Evidence,
        filtering::{Filtering, FilteringConfig, FilteringServer},
        hops::{self, Hops, HopsConfig, timers::TimersPlan},
        inbound::{Inbound, InboundConfig},
        lifetime::unaided::SIBLINGS,
        neighbours::{Neighbours, NeighboursConfig},
        payload::{Payload, PayloadConfig},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, earlier},
    types::PeerAddr,
};

/// The first key of all of them; the last one is below [`END`].
const FIRST: u32 = 9;
/// The first key that is none of theirs.
pub(super) const END: u32 = 4096;

/// Filtering has one socket a server.
const FILTERING: u32 = FIRST;
const FILTERING_SERVERS: u32 = 8;
/// The mirror has one a reflector.
const PAYLOAD: u32 = FILTERING + FILTERING_SERVERS;
/// So has the one who has strangers knock.
const INBOUND: u32 = PAYLOAD + 2;
const DEPTH: u32 = INBOUND + 2;
/// Hops have many, and as many more as their timers need, which are out of everybody's way.
const HOPS: u32 = DEPTH + depth::SOCKETS;
const HOP_TIMERS: u32 = 1 << 24;
/// Neighbours have one, and its sibling.
const NEIGHBOURS: u32 = END - 1;
const _: () = assert!(HOPS + hops::SOCKETS < NEIGHBOURS, "the sockets overlap");

/// The experiments, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Beside {
    filtering: Option<Filtering>,
    hops: Option<Hops>,
    payload: Option<Payload>,
    inbound: Option<Inbound>,
    depth: Option<Depth>,
    neighbours: Option<Neighbours>,
    /// What waits until the servers' other addresses may be talked to.
    waiting: Option<HopsConfig>,
}

impl Beside {
    /// Begins those that need nothing but a server. `reflectors` may be none.
    pub(super) fn new(
        config: &SurveyConfig,
        reflectors: &[PeerAddr],
        rng: &mut StdRng,
        now: Instant,
    ) -> Self {
        let mut beside = Self::default();
        if config.beside.contains(&Experiment::Hops) {
            let plan = config.hop_timers.as_ref();
            beside.waiting = Some(HopsConfig {
                reflectors: reflectors.to_vec(),
                first_socket: SocketKey(HOPS),
                timers: plan.map(|plan| TimersPlan {
                    longest: plan.longest,
                    budget: plan.budget,
                    first_socket: SocketKey(HOP_TIMERS),
                    lossy: true,
                }),
                seed: rng.random(),
            });
        }
        if config.beside.contains(&Experiment::Payload) {
            let config = PayloadConfig {
                reflectors: reflectors.to_vec(),
                first_socket: SocketKey(PAYLOAD),
                seed: rng.random(),
            };
            beside.payload = Some(Payload::new(config, now));
        }
        if config.beside.contains(&Experiment::Depth) {
            let config = DepthConfig {
                reflectors: reflectors.to_vec(),
                first_socket: SocketKey(DEPTH),
                seed: rng.random(),
            };
            beside.depth = Some(Depth::new(config, now));
        }
        if config.sibling && config.beside.contains(&Experiment::Neighbours) {
            let config = NeighboursConfig {
                reflectors: reflectors.to_vec(),
                socket: SocketKey(NEIGHBOURS),
                seed: rng.random(),
            };
            beside.neighbours = Some(Neighbours::new(config, now));
        }
        if config.beside.contains(&Experiment::Inbound) {
            let config = InboundConfig {
                reflectors: reflectors.to_vec(),
                first_socket: SocketKey(INBOUND),
                plan: config.inbound,
                seed: rng.random(),
            };
            beside.inbound = Some(Inbound::new(config, now));
        }
        if config.beside.contains(&Experiment::Filtering) {
            let reflectors = reflectors.iter().copied().map(FilteringServer::Reflector);
            let stun = config.stun.iter().copied().map(FilteringServer::Stun);
            let config = FilteringConfig {
                servers: reflectors
                    .chain(stun)
                    .take(FILTERING_SERVERS as usize)
                    .collect(),
                first_socket: SocketKey(FILTERING),
                seed: rng.random(),
            };
            beside.filtering = Some(Filtering::new(config, now));
        }
        beside.advance(now);
        beside
    }

    /// Whether the key is one of theirs.
    pub(super) const fn owns(socket: SocketKey) -> bool {
        (FIRST <= socket.0 && socket.0 < END)
            || socket.0 == NEIGHBOURS + SIBLINGS
            || (HOP_TIMERS <= socket.0 && socket.0 < CONTROL_SOCKETS)
    }

    /// Begins what had to wait.
    fn advance(&mut self, now: Instant) {
        if self.needs_strangers() {
            return;
        }
        let Some(config) = self.waiting.take() else {
            return;
        };
        // Where nobody answered a greeting, nobody is greeted again.
        let filtering = self.filtering.as_ref().and_then(Filtering::evidence);
        if filtering.is_none_or(|seen| seen.server.is_some()) {
            self.hops = Some(Hops::new(config, now));
        }
    }

    /// Ends early what goes on; reflectors are told to send nothing more.
    pub(super) fn stop(&mut self, now: Instant) {
        self.waiting = None;
        if let Some(hops) = &mut self.hops {
            hops.stop(now);
        }
    }

    /// Whether an experiment needs the servers' other addresses to be strangers to this host.
    pub(super) fn needs_strangers(&self) -> bool {
        let filtering = self.filtering.as_ref();
        filtering.is_some_and(|filtering| !filtering.is_past_silence())
    }

    /// Whether nothing of it goes on any more.
    pub(super) fn is_finished(&self) -> bool {
        self.filtering.as_ref().is_none_or(Filtering::is_finished)
            && self.hops.as_ref().is_none_or(Hops::is_finished)
            && self.payload.as_ref().is_none_or(Payload::is_finished)
            && self.inbound.as_ref().is_none_or(Inbound::is_finished)
            && self.depth.as_ref().is_none_or(Depth::is_finished)
            && self.neighbours.as_ref().is_none_or(Neighbours::is_finished)
            && self.waiting.is_none()
    }

    /// The smallest time to live that reaches a reflector, as far as it is known.
    pub(super) fn distance(&self) -> Option<u8> {
        self.hops.as_ref()?.evidence().distance
    }

    /// Writes down what was found so far.
    pub(super) fn tell(&self, evidence: &mut Evidence) {
        evidence.filtering = self.filtering.as_ref().and_then(Filtering::evidence);
        evidence.hops = self.hops.as_ref().map(Hops::evidence);
        evidence.payload = self.payload.as_ref().map(Payload::evidence);
        evidence.depth = self.depth.as_ref().map(Depth::evidence);
        evidence.neighbours = self.neighbours.as_ref().map(|it| it.evidence().clone());
        evidence.inbound = self.inbound.as_ref().map(Inbound::evidence);
    }

    fn each(&mut self) -> impl Iterator<Item = &mut dyn Machine<Event = Done>> {
        type Child<'a> = &'a mut dyn Machine<Event = Done>;
        let filtering = self.filtering.as_mut().map(|machine| machine as Child<'_>);
        let hops = self.hops.as_mut().map(|machine| machine as Child<'_>);
        let payload = self.payload.as_mut().map(|machine| machine as Child<'_>);
        let inbound = self.inbound.as_mut().map(|machine| machine as Child<'_>);
        let depth = self.depth.as_mut().map(|machine| machine as Child<'_>);
        let neighbours = self.neighbours.as_mut().map(|machine| machine as Child<'_>);
        [filtering, hops, payload, inbound, depth, neighbours]
            .into_iter()
            .flatten()
    }
}

impl Machine for Beside {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        for machine in self.each() {
            machine.handle_input(input, now);
        }
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for machine in self.each() {
            machine.handle_timeout(now);
        }
        self.advance(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.each().find_map(Machine::poll_transmit)
    }

    fn poll_event(&mut self) -> Option<Done> {
        self.each().find_map(Machine::poll_event)
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        [
            self.filtering.as_ref().and_then(Filtering::poll_timeout),
            self.hops.as_ref().and_then(Hops::poll_timeout),
            self.payload.as_ref().and_then(Payload::poll_timeout),
            self.inbound.as_ref().and_then(Inbound::poll_timeout),
            self.depth.as_ref().and_then(Depth::poll_timeout),
            self.neighbours.as_ref().and_then(Neighbours::poll_timeout),
        ]
        .into_iter()
        .fold(None, earlier)
    }
}
