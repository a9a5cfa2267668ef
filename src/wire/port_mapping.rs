//! The protocols by which a host asks its router to map a port: NAT-PMP, PCP and `UPnP` IGD.

pub mod nat_pmp;
pub mod pcp;
pub mod ssdp;
pub mod upnp;

/// The port of NAT-PMP and PCP on the router (RFC 6886 §3, RFC 6887 §19.1).
pub const PORT: u16 = 5351;
