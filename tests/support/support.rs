//! What the integration tests share: real servers, captures and the guard around every process.
//!
//! A test crate takes it with `#[path = "support/support.rs"] mod support;`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "every test crate compiles all of it and uses its part; a test may panic"
)]

pub mod asterisk;
pub mod coturn;
pub mod dial;
pub mod echo;
pub mod figures;
pub mod golden;
pub mod json_contract;
pub mod loopback;
pub mod miniupnpd;
pub mod pcap;
pub mod process;
pub mod site;
pub mod tool;
pub mod tshark;
