//! The measurement of lifetimes that a survey runs: with somebody outside who answers late, or without.

use std::time::Instant;

use crate::{
    probe::{
        evidence::LifetimeEvidence,
        lifetime::{Lifetime, LifetimeEvent, LifetimeProgress, unaided::UnaidedLifetime},
    },
    proto::contract::{Input, Machine, Transmit},
};

/// One of the two.
#[derive(Debug)]
pub(super) enum Sweep {
    Aided(Box<Lifetime>),
    Unaided(Box<UnaidedLifetime>),
}

impl Sweep {
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Aided(lifetime) => lifetime.is_finished(),
            Self::Unaided(unaided) => unaided.is_finished(),
        }
    }

    pub(super) fn stop(&mut self, now: Instant) {
        match self {
            Self::Aided(lifetime) => lifetime.stop(now),
            Self::Unaided(unaided) => unaided.stop(),
        }
    }

    pub(super) fn note_loss(&mut self, lossy: bool) {
        if let Self::Aided(lifetime) = self {
            lifetime.note_loss(lossy);
        }
    }

    pub(super) fn progress(&self, now: Instant) -> LifetimeProgress {
        match self {
            Self::Aided(lifetime) => lifetime.progress(now),
            Self::Unaided(unaided) => unaided.progress(now),
        }
    }

    pub(super) fn evidence(&self) -> Option<LifetimeEvidence> {
        match self {
            Self::Aided(lifetime) => lifetime.evidence(),
            Self::Unaided(unaided) => Some(unaided.evidence()),
        }
    }
}

impl Machine for Sweep {
    type Event = LifetimeEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match self {
            Self::Aided(lifetime) => lifetime.handle_input(input, now),
            Self::Unaided(unaided) => unaided.handle_input(input, now),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Aided(lifetime) => lifetime.handle_timeout(now),
            Self::Unaided(unaided) => unaided.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        match self {
            Self::Aided(lifetime) => lifetime.poll_transmit(),
            Self::Unaided(unaided) => unaided.poll_transmit(),
        }
    }

    fn poll_event(&mut self) -> Option<LifetimeEvent> {
        match self {
            Self::Aided(lifetime) => lifetime.poll_event(),
            Self::Unaided(unaided) => unaided.poll_event(),
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self {
            Self::Aided(lifetime) => lifetime.poll_timeout(),
            Self::Unaided(unaided) => unaided.poll_timeout(),
        }
    }
}
