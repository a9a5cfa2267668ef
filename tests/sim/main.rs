//! The experiments against simulated NATs, links and servers, under one counted clock.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is the report

mod lifetime;
mod nat_table;
mod registration;
mod stalls;
mod strangers;
mod support;
mod survey;
