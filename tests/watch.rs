//! The guardian beside a real Asterisk 16 behind the real NAT of a kernel, with two real providers.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests are no tests to the lint"
)]

#[allow(
    dead_code,
    reason = "the retrying client is for tests without an Asterisk"
)]
#[path = "taint/street.rs"]
mod street;
#[path = "support/support.rs"]
mod support;

#[path = "watch/operation.rs"]
mod operation;
#[path = "watch/script.rs"]
mod script;
#[path = "watch/taints.rs"]
mod taints;
#[path = "watch/town.rs"]
mod town;
#[path = "watch/troubles.rs"]
mod troubles;
