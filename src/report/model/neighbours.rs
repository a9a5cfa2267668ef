//! Two hosts that send from one port.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the NAT does with a second host that sends from the port of a first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Neighbours {
    /// The port of both.
    pub port: u16,
    /// Where the first one is seen.
    pub first: SocketAddr,
    /// It has its port outside, too.
    pub first_keeps_port: bool,
    /// It stays where it is when the second one comes; null: not known.
    pub first_stays: Option<bool>,
    /// Where the second one is seen.
    pub second: SocketAddr,
    /// It has its port outside, too.
    pub second_keeps_port: bool,
}
