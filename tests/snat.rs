//! `snat` as a router's owner meets it: the rules it prints are applied to real routers of the kernel
//! and survive the faults that they claim to prevent, with a real Asterisk 16 behind them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is the report
#![allow(unreachable_pub, reason = "a test crate exports nothing")]

#[path = "snat/apply.rs"]
mod apply;
#[path = "snat/fault.rs"]
mod fault;
#[path = "snat/home.rs"]
mod home;
#[path = "snat/matrix.rs"]
mod matrix;
#[path = "snat/missing.rs"]
mod missing;
#[path = "snat/printed.rs"]
mod printed;
#[path = "snat/rules.rs"]
mod rules;
#[path = "support/support.rs"]
mod support;
#[path = "snat/ways.rs"]
mod ways;
