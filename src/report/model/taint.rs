//! The part about tainted flows.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Number;

/// Flows that a NAT keeps wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Taint {
    /// There is one.
    pub suspected: Option<bool>,
    /// The entries of the router's table that were looked at.
    #[serde(default)]
    pub entries: Vec<TaintedEntry>,
    /// Packets that left with a private source while it was looked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
    /// The router's timers of UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers: Option<Timers>,
    /// How full its table is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

/// One entry of the router's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaintedEntry {
    /// `healthy`, `wrong-source-masquerade`, `null-binding`, `stale-source` or `wrong-uplink`.
    pub kind: String,
    /// The packets that made it.
    pub original: Flow,
    /// The answers that it waits for.
    pub reply: Flow,
    /// No answer has come.
    pub unreplied: bool,
    /// It is kept with the timer of streams.
    pub assured: bool,
    /// How long it lives yet without a packet.
    pub expires_s: Option<Number>,
    /// Packets came during the look (true), it ended without one (false); null: none was seen.
    pub kept_alive: Option<bool>,
    /// How long ago its last packet was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_packet_s: Option<Number>,
    /// Its zone of the table, where that is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
    /// It was deleted.
    pub deleted: bool,
    /// The next packet made a right one (true) or a wrong one (false); null: none came.
    pub verified: Option<bool>,
    /// The facts that the kind rests on.
    #[serde(default)]
    pub because: Vec<String>,
}

/// From whom to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flow {
    /// The source.
    pub source: SocketAddr,
    /// The destination.
    pub destination: SocketAddr,
}

/// Packets that left with a private source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// The interface they left by.
    pub interface: String,
    /// Their source as they left.
    pub source: SocketAddr,
    /// Where they went.
    pub destination: SocketAddr,
    /// How many were seen.
    pub packets: u32,
}

/// How long the router keeps entries of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timers {
    /// Flows that are no stream yet.
    pub udp_s: Number,
    /// Streams.
    pub stream_s: Number,
}

/// How full the router's table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// Entries of all protocols.
    pub entries: u64,
    /// The most there can be.
    pub most: u64,
}
