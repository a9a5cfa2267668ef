//! What `analyze` reads out of captures: of real peers, damaged, live, and of both sides of a kernel NAT.

#[path = "analyze/bad_input.rs"]
mod bad_input;
#[path = "analyze/command.rs"]
mod command;
#[path = "analyze/dissector.rs"]
mod dissector;
#[path = "analyze/live.rs"]
mod live;
#[path = "analyze/looked.rs"]
mod looked;
#[path = "analyze/nat.rs"]
mod nat;
#[path = "analyze/recorded.rs"]
mod recorded;
#[allow(dead_code, reason = "the tests of taint use the rest of it")]
#[path = "taint/street.rs"]
mod street;
#[path = "support/support.rs"]
mod support;
