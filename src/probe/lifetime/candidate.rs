//! One idle time of one shape, and the socket it is tried on.

use std::time::{Duration, Instant};

use super::edge::Sample;
use crate::{
    probe::{behaviour::Shape, reflector::MAX_DELAY},
    proto::contract::SocketKey,
    types::MappedAddr,
};

/// An answerer that is busy refreshes the mapping with an answer at once that leaves late, and the delayed
/// one in time: without a margin a mapping would outlive its own timer by a step.
const MARGIN: Duration = Duration::from_millis(100);

/// A candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) shape: Shape,
    pub(super) idle: Duration,
    pub(super) socket: SocketKey,
    /// Names the last request made for it; answers to earlier ones no longer count.
    pub(super) index: u32,
    /// Fresh sockets used so far, but for those whose address the token was not good for.
    pub(super) attempts: u8,
    /// How many those were.
    pub(super) foreign: u8,
    pub(super) stage: Stage,
    pub(super) deadline: Option<Instant>,
    pub(super) sample: Sample,
    /// When the mapping was last used before it was left idle.
    pub(super) idle_since: Instant,
    /// The mapped address, where the answer at once told it.
    pub(super) mapped: Option<MappedAddr>,
    /// How often was asked: for arrival (one way), or for the delayed answer where the delay is kept here.
    pub(super) copies: u8,
    /// Its delayed answer was asked for too late to prove a miss.
    pub(super) late: bool,
    /// Its deadline was put off once, because this host had stalled.
    pub(super) reprieved: bool,
    /// An ICMP error came in while it idled.
    pub(super) met_error: bool,
}

/// How far a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its first packet leaves at the deadline.
    Planned,
    /// The first packet is out, its answer at once is not in.
    Opening,
    /// A stream waits until more than two seconds have passed.
    Warming,
    /// The packet that asks for the delayed answer is out.
    Asking,
    /// The same for a shape that has no answer at once: arrival is asked for by STATUS.
    Unconfirmed,
    /// Idle, up to the first delayed answer.
    Idle,
    /// Idle again, up to the second.
    IdleAgain,
    /// Nothing more is expected.
    Over,
}

impl Candidate {
    pub(super) fn new(shape: Shape, idle: Duration, socket: SocketKey, at: Instant) -> Self {
        Self {
            shape,
            idle,
            socket,
            index: 0,
            attempts: 0,
            foreign: 0,
            stage: Stage::Planned,
            deadline: Some(at),
            sample: Sample::Open,
            idle_since: at,
            mapped: None,
            copies: 0,
            late: false,
            reprieved: false,
            met_error: false,
        }
    }

    /// The idle times asked for: the candidate's own, and for an exchange nearly the same once more. The
    /// second is shorter than the first, so that a mapping that the first answer refreshed lives then.
    pub(super) fn delays(&self) -> Vec<Duration> {
        match self.shape {
            Shape::Exchange => vec![self.first_idle(), self.second_idle()],
            Shape::OneWay | Shape::Stream => vec![self.first_idle()],
        }
    }

    /// When the first delayed answer leaves, counted from the use of the mapping.
    pub(super) fn first_idle(&self) -> Duration {
        (self.idle + MARGIN).min(MAX_DELAY)
    }

    pub(super) fn second_idle(&self) -> Duration {
        (self.idle * 19 / 10).min(MAX_DELAY)
    }
}
