//! The guardian beside a real Asterisk 16 behind the real NAT of a kernel, with two real providers.

#[path = "taint/street.rs"]
mod street;
#[path = "support/support.rs"]
mod support;

#[path = "watch/taints.rs"]
mod taints;
#[path = "watch/town.rs"]
mod town;
