//! What is known of a router: its ways out, and the networks behind it.

use std::net::Ipv4Addr;

use crate::wire::firewall::Prefix;

/// The router that rules are judged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The way to the provider.
    pub wan: Uplink,
    /// The other ways out: interfaces with a default route, or that a NAT rule names.
    pub others: Vec<Uplink>,
    /// The private networks behind it; empty where they are not known.
    pub lans: Vec<Prefix>,
    /// How long the kernel keeps a UDP mapping without an answer, in seconds.
    pub udp_timeout_s: Option<u64>,
}

/// An interface that leads out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub interface: String,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Whether the address stays.
    pub setting: Setting,
    /// The facts that say so.
    pub because: Vec<String>,
    /// The interface was there when it was looked for; none where nobody looked.
    pub present: Option<bool>,
}

impl Uplink {
    /// An interface of which only the name is known.
    #[must_use]
    pub fn named(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            address: None,
            setting: Setting::Unknown,
            because: vec![],
            present: None,
        }
    }

    /// The address that never changes, where it is known to be one.
    #[must_use]
    pub fn static_address(&self) -> Option<Ipv4Addr> {
        self.address.filter(|_| self.setting == Setting::Static)
    }
}

/// Whether an address stays when the line comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// It was set by hand, or the provider always gives the same.
    Static,
    /// It may be another next time.
    Dynamic,
    /// Not known.
    Unknown,
}
