//! The part of the report on what a capture shows.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Number, Time};

/// The capture itself, and what is missing from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Capture {
    /// The files, or the interface.
    pub sources: Vec<String>,
    /// Packets read.
    pub packets: u64,
    /// Octets of them.
    pub octets: u64,
    /// Datagrams of IAX2.
    pub datagrams: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Time>,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,
    /// Full frames.
    pub full_frames: u64,
    /// Mini and video frames.
    pub mini_frames: u64,
    /// Trunk frames.
    pub trunk_frames: u64,
    /// INVALs.
    pub invals: u64,
    /// Datagrams that are no frame.
    pub malformed: u64,
    /// Full frames of no dialogue that the capture shows the beginning of.
    pub stray: u64,
    /// Audio of no call that is known.
    pub stray_audio: u64,
    /// What was lost, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// One attempt to register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenRegistration {
    /// Who registers.
    pub client: SocketAddr,
    /// With whom.
    pub registrar: SocketAddr,
    /// The client's call number.
    pub call_number: u16,
    /// The account.
    pub user: Option<String>,
    /// The frame of its first request.
    pub frame: u32,
    /// When, since the first frame of the capture.
    pub at_s: Number,
    /// As [`Registration::state`](super::Registration::state); null where the capture does not tell.
    pub state: Option<String>,
    /// The frame that decided it.
    pub decided_frame: Option<u32>,
    /// From the first request to that.
    pub elapsed_ms: Option<Number>,
    /// The method that was used.
    pub auth: Option<String>,
    /// The registrar asked for a call token.
    pub call_token: bool,
    /// The refresh granted.
    pub refresh_s: Option<Number>,
    /// The client's address as the registrar saw it.
    pub apparent_address: Option<SocketAddr>,
    /// The registrar's words for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The registrar's number for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_code: Option<u8>,
    /// Requests, with retransmissions.
    pub requests: u16,
    /// Those that were sent again.
    pub retransmissions: u16,
    /// INVALs that came for it.
    pub invals: u16,
}

/// Registrations of one account under one apparent address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The account.
    pub user: Option<String>,
    /// The registrar.
    pub registrar: SocketAddr,
    /// The address that it knows.
    pub apparent_address: SocketAddr,
    /// Where the requests came from.
    pub client: SocketAddr,
    /// How often it was registered.
    pub registrations: u32,
    /// The first time, since the first frame of the capture.
    pub first_s: Number,
    /// The last time.
    pub last_s: Number,
    /// The refresh granted last.
    pub refresh_s: Option<Number>,
    /// The longest time from one registration to the next.
    pub longest_gap_s: Option<Number>,
    /// Every registration came before the one before it ran out; null for a single one.
    pub kept: Option<bool>,
}

/// POKEs of one end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenPokes {
    /// Who asks.
    pub from: SocketAddr,
    /// Whom.
    pub to: SocketAddr,
    /// POKEs, without retransmissions.
    pub sent: u32,
    /// Those that were answered.
    pub answered: u32,
    /// Those that were sent again and never answered.
    pub unanswered: u32,
    /// The shortest round trip from the place of the capture.
    pub rtt_ms: Option<Number>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenCall {
    /// Which, from 1.
    pub call: u32,
    /// Who placed it.
    pub caller: SocketAddr,
    /// Who was called.
    pub callee: SocketAddr,
    /// The caller's call number.
    pub caller_number: u16,
    /// The callee's; null where it was never seen.
    pub callee_number: Option<u16>,
    /// The account.
    pub user: Option<String>,
    /// The number called.
    pub called: Option<String>,
    /// The number of the caller.
    pub calling: Option<String>,
    /// The frame of the first NEW, or the first that was seen.
    pub frame: u32,
    /// When, since the first frame of the capture.
    pub at_s: Number,
    /// It was under way when the capture began.
    pub began_before: bool,
    /// From NEW to ACCEPT.
    pub setup_ms: Option<Number>,
    /// From NEW to ANSWER.
    pub answer_ms: Option<Number>,
    /// From NEW, or the first frame that was seen, to the end.
    pub duration_s: Option<Number>,
    /// The frame that ended it.
    pub ended_frame: Option<u32>,
    /// How it fared, as in `measurements.calls.signatures`, or `fine`, `busy`, `no-answer`; null where the capture
    /// does not tell.
    pub outcome: Option<String>,
    /// `caller` or `callee`; null where nobody did.
    pub ended_by: Option<String>,
    /// The cause in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The cause as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_code: Option<u8>,
    /// The agreed format.
    pub codec: Option<String>,
    /// `no`, `opened` (read with the secret) or `sealed`.
    pub encrypted: String,
    /// The audio of the caller, as it passes the place of the capture.
    pub caller_audio: SeenAudio,
    /// That of the callee.
    pub callee_audio: SeenAudio,
    /// Full frames that were sent again, by both.
    pub retransmissions: u32,
    /// VNAKs, by both.
    pub vnaks: u32,
    /// Digits of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_digits: Option<String>,
    /// Digits of the callee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_digits: Option<String>,
}

/// Audio of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenAudio {
    /// Packets that passed.
    pub packets: u32,
    /// Those of them in trunk frames.
    pub trunked: u32,
    /// Packets that are missing by the sender's clock; null where they carry none.
    pub lost: Option<u32>,
    /// Packets behind a later one.
    pub reordered: u32,
    /// Packets that came twice.
    pub duplicated: u32,
    /// Interarrival jitter (RFC 3550).
    pub jitter_ms: Option<Number>,
}

/// What two captures tell of the NAT between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Translated {
    /// Datagrams that were seen on both sides.
    pub matched: u64,
    /// Those whose content differs.
    pub rewritten: u64,
    /// Datagrams from inside that did not come out.
    pub dropped_outward: u64,
    /// Datagrams from outside that did not come in.
    pub dropped_inward: u64,
    /// The first frames that did not pass, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// How each socket was translated.
    pub mappings: Vec<TranslatedFlow>,
}

/// One socket inside, towards one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranslatedFlow {
    /// The socket inside.
    pub inner: SocketAddr,
    /// Its address outside.
    pub outer: SocketAddr,
    /// The peer.
    pub peer: SocketAddr,
    /// Datagrams that went out.
    pub sent: u64,
    /// Datagrams that came in.
    pub received: u64,
    /// Answers to that address outside.
    pub answers: u64,
    /// The first frame outside.
    pub frame: u32,
    /// The last frame outside.
    pub last_frame: u32,
}

/// The messages of one call, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ladder {
    /// Which call.
    pub call: u32,
    /// The caller.
    pub left: SocketAddr,
    /// The callee.
    pub right: SocketAddr,
    /// Its messages.
    pub rungs: Vec<Rung>,
    /// Messages beyond those that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<u64>,
}

/// One message, or a run of audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rung {
    /// Its frame, or the first of the run.
    pub frame: u32,
    /// When, since the first frame of the call.
    pub at_s: Number,
    /// It goes from the caller to the callee.
    pub rightward: bool,
    /// What it is.
    pub what: String,
}
