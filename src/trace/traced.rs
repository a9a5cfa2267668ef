//! What a tracer is told, and what it gives: everything that a capture shows.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::{call::Call, flow::Flow, mark::Mark, registration::Attempt};
use crate::types::CallNumber;

/// What a tracer is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A key for its tables, from chance.
    pub seed: [u64; 2],
    /// Every datagram from or to these ports is taken for IAX2; without any, 4569 and whatever begins like IAX2.
    pub ports: Vec<u16>,
    /// A secret to read encrypted calls with.
    pub secret: Option<SecretString>,
    /// How much is kept.
    pub limits: Limits,
}

/// How much is kept: a capture may hold more, and then it is said.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls.
    pub calls: usize,
    /// Registrations.
    pub registrations: usize,
    /// Flows.
    pub flows: usize,
    /// Dialogues at once.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 200_000,
            registrations: 200_000,
            flows: 200_000,
            at_once: 200_000,
        }
    }
}

/// What was counted beside the dialogues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Datagrams of IAX2.
    pub datagrams: u64,
    /// Full frames.
    pub full: u64,
    /// Mini and video frames.
    pub mini: u64,
    /// Trunk frames.
    pub trunk: u64,
    /// Datagrams that are no frame.
    pub malformed: u64,
    /// Full frames of no dialogue that is known.
    pub stray: u64,
    /// Audio of no call that is known.
    pub stray_audio: u64,
    /// INVALs.
    pub invals: u64,
    /// Full frames of which too little was captured to read them.
    pub cut: u64,
    /// Dialogues and flows beyond the limits.
    pub beyond: u64,
}

/// An INVAL that belongs to no dialogue that is known.
#[derive(Clone, Copy, Debug)]
pub struct StrayInval {
    /// Where it stands.
    pub mark: Mark,
    /// Who says it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The number that it does not know.
    pub number: CallNumber,
}

/// What a capture shows.
#[derive(Debug, Default)]
pub struct Traced {
    /// The pairs of addresses that talk.
    pub flows: Vec<Flow>,
    /// The registrations, in the order of their ends.
    pub registrations: Vec<Attempt>,
    /// The calls, in the order of their ends.
    pub calls: Vec<Call>,
    /// The first INVALs of no known dialogue.
    pub stray_invals: Vec<StrayInval>,
    /// The rest.
    pub counts: Counts,
    /// The first and the last datagram of IAX2.
    pub span: Option<(Mark, Mark)>,
}

impl Traced {
    /// The addresses of caller and callee.
    #[must_use]
    #[allow(clippy::similar_names)] // caller and callee are the words of the field
    pub fn ends(&self, call: &Call) -> Option<(SocketAddr, SocketAddr)> {
        let flow = self.flows.get(call.flow as usize)?;
        Some((flow.end(call.caller)?, flow.end(1 - call.caller)?))
    }
}

/// Whose a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It is no IAX2, as far as is known.
    Nowhere,
    /// It is IAX2, of no dialogue: POKEs, strays, trunk frames.
    Flow,
    /// A call, by its number from 1.
    Call(u32),
    /// A registration, by its number from 1.
    Registration(u32),
}
