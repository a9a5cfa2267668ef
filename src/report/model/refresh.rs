//! What keeps a mapping open.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What keeps a mapping open; null: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshedBy {
    /// Packets of ours.
    pub outbound: Option<bool>,
    /// INVAL of ours.
    pub inval: Option<bool>,
    /// Packets of ours that die on the way, by their time to live.
    #[serde(default)]
    pub low_ttl: Vec<LowTtl>,
    /// An ICMP error ends a mapping: false where one lived on after it. Whether it refreshes cannot be told apart
    /// from the packet of ours that it is about.
    pub ended_by_icmp_error: Option<bool>,
}

/// Packets that die on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LowTtl {
    /// Their time to live: the hop at which they die.
    pub ttl: u8,
    /// They keep a mapping open; null: not known.
    pub refreshes: Option<bool>,
}
