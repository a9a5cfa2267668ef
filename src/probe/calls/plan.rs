//! What the calls of a test do.

use std::time::Duration;

use crate::{
    probe::calls::evidence::CallRecord,
    proto::{
        auth::Credentials,
        call::{EncryptionOffer, Manners},
        contract::SocketKey,
        media::directions::FarEnd,
    },
    types::PeerAddr,
    wire::iax2::format::Formats,
};

/// Whom to call, how often, and what to do there.
#[derive(Clone, Debug)]
pub struct CallsConfig {
    /// The provider.
    pub provider: PeerAddr,
    /// The socket the calls leave from.
    pub socket: SocketKey,
    /// The first of the sockets that control POKEs leave from, one for each silent call.
    pub control_socket: u32,
    /// The extension.
    pub number: String,
    /// What it is known to do with audio.
    pub far_end: FarEnd,
    /// The account.
    pub credentials: Option<Credentials>,
    /// The line whose capacity is asked for, in bits a second.
    pub uplink: Option<u64>,
    /// How many calls.
    pub calls: u32,
    /// How many at once, at most.
    pub concurrent: u32,
    /// From one NEW to the next, at least: a provider runs out of call numbers otherwise.
    pub pace: Duration,
    /// What each does.
    pub plan: CallPlan,
    /// Whether the same calls are placed once more with their audio in trunk frames.
    pub trunk: bool,
    /// Seed of everything random.
    pub seed: [u8; 32],
}

impl CallsConfig {
    /// One call to nobody yet, at a gentle pace.
    #[must_use]
    pub fn new(provider: PeerAddr, socket: SocketKey, seed: [u8; 32]) -> Self {
        Self {
            provider,
            socket,
            control_socket: CONTROL_SOCKETS,
            number: String::new(),
            far_end: FarEnd::Unknown,
            uplink: None,
            credentials: None,
            calls: 1,
            concurrent: 10,
            pace: GENTLE_PACE,
            plan: CallPlan::default(),
            trunk: false,
            seed,
        }
    }

    /// Whether the calls, or the control probes beside them, use this socket.
    #[must_use]
    pub fn owns(&self, socket: SocketKey) -> bool {
        socket == self.socket || socket.0 >= self.control_socket
    }
}

/// The first of the sockets of control probes, unless another is given: beyond those of any sweep.
pub const CONTROL_SOCKETS: u32 = 1 << 30;
/// The pace that a provider bears: 200 call numbers a minute. Asterisk keeps a number for a minute after
/// its call, and has 2048 for one address.
pub const GENTLE_PACE: Duration = Duration::from_millis(300);

/// What one call does.
#[derive(Clone, Debug)]
pub struct CallPlan {
    /// How long to talk after ANSWER.
    pub talk: Duration,
    /// How long to let it ring.
    pub ring: Duration,
    /// The formats to offer, the preferred one first.
    pub formats: Vec<Formats>,
    /// Whether to offer or demand encryption.
    pub encryption: EncryptionOffer,
    /// Whether to offer a call token.
    pub offer_token: bool,
    /// DTMF digits to send, one after the other.
    pub digits: Vec<u8>,
    /// The context to dial into.
    pub context: Option<String>,
    /// The caller's number and name.
    pub caller: Option<(String, String)>,
    /// Keep what is heard, to be written to a file.
    pub record: bool,
    /// Habits.
    pub manners: Manners,
}

impl Default for CallPlan {
    fn default() -> Self {
        Self {
            talk: Duration::from_secs(10),
            ring: Duration::from_secs(30),
            formats: vec![Formats::ULAW, Formats::ALAW],
            encryption: EncryptionOffer::None,
            offer_token: true,
            digits: Vec::new(),
            context: None,
            caller: None,
            record: false,
            manners: Manners::OURS,
        }
    }
}

/// What happened in a test of calls.
#[derive(Clone, Debug, PartialEq)]
pub enum CallsEvent {
    /// A call was placed: which of them, from 0.
    Placed(usize),
    /// A call came further: accepted, ringing, answered.
    Advanced(usize, Milestone),
    /// A call ended; what is known of it.
    Ended(usize, Box<CallRecord>),
    /// All calls ended.
    Finished,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// ACCEPT, with this format.
    Accepted(Formats),
    /// The far telephone rings.
    Ringing,
    /// ANSWER.
    Answered,
}
