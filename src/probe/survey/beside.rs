//! The experiments that run beside the registration, the mapping and the lifetimes, each on sockets of its
//! own.

use std::time::Instant;

use rand::{RngExt as _, rngs::StdRng};

use super::{Experiment, SurveyConfig};
use crate::{
    probe::{
        done::Done,
        evidence::Evidence,
        filtering::{Filtering, FilteringConfig, FilteringServer},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, earlier},
    types::PeerAddr,
};

/// The first key of all of them; the last one is below [`END`].
pub(super) const FIRST: u32 = 8;
/// The first key that is none of theirs.
pub(super) const END: u32 = 4096;

/// Filtering has one socket a server.
const FILTERING: u32 = FIRST;
const FILTERING_SERVERS: usize = 8;

/// The experiments, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Beside {
    filtering: Option<Filtering>,
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
        if config.beside.contains(&Experiment::Filtering) {
            let reflectors = reflectors.iter().copied().map(FilteringServer::Reflector);
            let stun = config.stun.iter().copied().map(FilteringServer::Stun);
            let config = FilteringConfig {
                servers: reflectors.chain(stun).take(FILTERING_SERVERS).collect(),
                first_socket: SocketKey(FILTERING),
                seed: rng.random(),
            };
            beside.filtering = Some(Filtering::new(config, now));
        }
        beside
    }

    /// Whether an experiment needs the servers' other addresses to be strangers to this host.
    pub(super) fn needs_strangers(&self) -> bool {
        let filtering = self.filtering.as_ref();
        filtering.is_some_and(|filtering| !filtering.is_past_silence())
    }

    /// Whether nothing of it goes on any more.
    pub(super) fn is_finished(&self) -> bool {
        self.filtering.as_ref().is_none_or(Filtering::is_finished)
    }

    /// Writes down what was found so far.
    pub(super) fn tell(&self, evidence: &mut Evidence) {
        evidence.filtering = self.filtering.as_ref().and_then(Filtering::evidence);
    }

    fn each(&mut self) -> impl Iterator<Item = &mut dyn Machine<Event = Done>> {
        let filtering = self.filtering.as_mut();
        [filtering.map(|machine| machine as &mut dyn Machine<Event = Done>)]
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
    }

    fn handle_timeout(&mut self, now: Instant) {
        for machine in self.each() {
            machine.handle_timeout(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.each().find_map(Machine::poll_transmit)
    }

    fn poll_event(&mut self) -> Option<Done> {
        self.each().find_map(Machine::poll_event)
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        [self.filtering.as_ref().and_then(Filtering::poll_timeout)]
            .into_iter()
            .fold(None, earlier)
    }
}
