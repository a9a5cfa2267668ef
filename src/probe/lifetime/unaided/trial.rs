//! One idle time, whatever tells what came of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Result, pair::Pair, token::TokenTrial};
use crate::{
    proto::contract::{Input, SocketKey, Transmit},
    types::MappedAddr,
};

/// One idle time.
#[derive(Debug)]
pub(super) enum Trial {
    Pair(Box<Pair>),
    Token(Box<TokenTrial>),
}

impl Trial {
    pub(super) const fn idle(&self) -> Duration {
        match self {
            Self::Pair(pair) => pair.idle(),
            Self::Token(trial) => trial.idle(),
        }
    }

    pub(super) const fn result(&self) -> Option<Result> {
        match self {
            Self::Pair(pair) => pair.result(),
            Self::Token(trial) => trial.result(),
        }
    }

    /// See [`Pair::mappings`].
    pub(super) fn mappings(&self) -> Option<(MappedAddr, MappedAddr)> {
        match self {
            Self::Pair(pair) => pair.mappings(),
            Self::Token(_) => None,
        }
    }

    pub(super) const fn is_busy(&self) -> bool {
        match self {
            Self::Pair(pair) => pair.is_busy(),
            Self::Token(trial) => trial.is_busy(),
        }
    }

    pub(super) fn wind_down(&mut self) {
        match self {
            Self::Pair(pair) => pair.wind_down(),
            Self::Token(trial) => trial.wind_down(),
        }
    }

    pub(super) fn owns(&self, socket: SocketKey) -> bool {
        match self {
            Self::Pair(pair) => pair.owns(socket),
            Self::Token(trial) => trial.owns(socket),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Pair(pair) => pair.deadline(),
            Self::Token(trial) => trial.deadline(),
        }
    }

    pub(super) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match self {
            Self::Pair(pair) => pair.handle_input(input, now),
            Self::Token(trial) => trial.handle_input(input, now),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Pair(pair) => pair.handle_timeout(now),
            Self::Token(trial) => trial.handle_timeout(now),
        }
    }

    pub(super) fn outbox(&mut self) -> &mut VecDeque<Transmit> {
        match self {
            Self::Pair(pair) => &mut pair.outbox,
            Self::Token(trial) => &mut trial.outbox,
        }
    }
}
