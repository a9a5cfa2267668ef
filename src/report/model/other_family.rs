//! The provider's address of the other family.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a short look at the provider's address of the other family found, beside all the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherFamily {
    /// The address.
    pub address: SocketAddr,
    /// POKEs sent there.
    pub sent: u32,
    /// PONGs received.
    pub received: u32,
    /// Addresses are translated on the way; null: not known.
    pub nat: Option<bool>,
    /// How the mapping depends on the destination.
    pub behaviour: Option<String>,
    /// Whom the NAT or the firewall lets in.
    pub filtering: Option<String>,
}
