//! The diagnosis as its user meets it: through the kernel's NAT, with a real Asterisk 16 as the
//! provider, and in the demonstrations.

#[path = "check/callback.rs"]
mod callback;
#[path = "check/contract.rs"]
mod contract;
#[path = "check/demo.rs"]
mod demo;
#[path = "check/endings.rs"]
mod endings;
#[path = "check/filtering.rs"]
mod filtering;
#[path = "check/hairpin.rs"]
mod hairpin;
#[path = "check/hops.rs"]
mod hops;
#[path = "check/inbound.rs"]
mod inbound;
#[path = "check/nat.rs"]
mod nat;
#[path = "check/neighbours.rs"]
mod neighbours;
#[path = "check/node.rs"]
mod node;
#[path = "check/others.rs"]
mod others;
#[path = "check/payload.rs"]
mod payload;
#[path = "check/pbx.rs"]
mod pbx;
#[path = "check/port_mapping.rs"]
mod port_mapping;
#[path = "check/refresh.rs"]
mod refresh;
#[path = "check/rows.rs"]
mod rows;
#[path = "check/servers.rs"]
mod servers;
#[path = "support/support.rs"]
mod support;
#[path = "check/unaided.rs"]
mod unaided;
