//! What a registrar reports.

use std::time::Duration;

use crate::{proto::door::Refusal, types::PeerAddr};

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
