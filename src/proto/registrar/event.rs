//! What a registrar reports.

use std::{fmt, time::Duration};

use crate::types::PeerAddr;

/// What happened at a registrar.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistrarEvent {
    /// An account registered.
    Registered {
        /// The account's name.
        user: String,
        /// Where it is, as seen from here.
        peer: PeerAddr,
        /// Whether it was elsewhere, or nowhere, before.
        moved: bool,
    },
    /// An account gave its registration up.
    Released {
        /// The account's name.
        user: String,
    },
    /// A registration was not renewed in time.
    Expired {
        /// The account's name.
        user: String,
    },
    /// A request was refused.
    Refused {
        /// The name it gave.
        user: String,
        /// Where it came from.
        peer: PeerAddr,
        /// Why.
        why: Refusal,
    },
    /// A qualify POKE was answered.
    Reachable {
        /// The account's name.
        user: String,
        /// The round trip.
        round_trip: Duration,
    },
    /// A qualify POKE was not answered.
    Unreachable {
        /// The account's name.
        user: String,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It needs a call token.
    TokenMissing,
    /// Its token is not one of ours for this address, port and time.
    TokenInvalid,
    /// Wrong secret, or no such user: the peer is not told which.
    Credentials,
    /// Too many dialogues with this address, or in all.
    TooMany,
    /// Too many wrong secrets for this account from there: this one was not looked at.
    Guessing,
}

/// Counts of what a registrar did not report as events, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistrarCounts {
    /// First requests dropped for numbers that no first request has.
    pub odd: u64,
    /// Challenges sent to addresses that no call token had proven.
    pub unproven: u64,
    /// Requests beyond a rate, not answered.
    pub limited: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenMissing => "it needs a call token",
            Self::TokenInvalid => "its call token is not good for this address, port and time",
            Self::Credentials => "wrong secret, or no such account",
            Self::TooMany => "too many registrations at once",
            Self::Guessing => "too many wrong secrets from there",
        })
    }
}
