//! What a switchboard reports.

use std::time::Duration;

use crate::{
    proto::{
        call::{CallCounts, Ending},
        door::Refusal,
        media::report::ReceiverReport,
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::format::Formats,
};

/// What happened at a switchboard.
#[derive(Clone, Debug, PartialEq)]
pub enum SwitchboardEvent {
    /// A caller was refused, at the door or for its credentials.
    Refused {
        /// The name it gave.
        user: String,
        /// Where it came from.
        peer: PeerAddr,
        /// Why.
        why: Refusal,
    },
    /// A call was accepted.
    Accepted {
        /// Whose.
        leg: Leg,
        /// The format of both directions.
        format: Formats,
        /// Whether it is encrypted.
        encrypted: bool,
    },
    /// A registered account is being rung.
    Ringing(Leg),
    /// A call ended, of a caller whom we know or of an account that was rung.
    Ended {
        /// Whose.
        leg: Leg,
        /// How.
        ending: Ending,
        /// How long ago it was accepted; `None`: it was not.
        lasted: Option<Duration>,
        /// What was counted.
        counts: CallCounts,
        /// What arrived of the peer's audio; `None`: nothing.
        received: Option<ReceiverReport>,
    },
}

/// Names one leg of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The account's name; none where nobody says who calls.
    pub user: String,
    /// Where the other end is, as seen from here.
    pub peer: PeerAddr,
    /// Our call number.
    pub local: CallNumber,
    /// The number that was called.
    pub number: String,
    /// Whether the other end is the one that is called.
    pub rung: bool,
}

/// Counts of what a switchboard did not report as events, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchboardCounts {
    /// First requests dropped for numbers that no first request has.
    pub odd: u64,
    /// Answers sent to addresses that no call token had proven.
    pub unproven: u64,
    /// Requests beyond a rate, not answered.
    pub limited: u64,
    /// Calls accepted.
    pub accepted: u64,
    /// Calls that ended before their caller had proven who it is.
    pub abandoned: u64,
    /// Entries of trunk frames dropped: of calls that are not there, are encrypted, or whose account has no
    /// trunk.
    pub entries_dropped: u64,
}
