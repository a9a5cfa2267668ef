//! The codec against recorded datagrams, against its own inverse, and against octets of strangers.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "wire/captures.rs"]
mod captures;
#[path = "wire/elements.rs"]
mod elements;
#[path = "wire/fixtures.rs"]
mod fixtures;
#[path = "wire/golden.rs"]
mod golden;
#[path = "wire/hostile.rs"]
mod hostile;
#[path = "wire/roundtrip.rs"]
mod roundtrip;
#[path = "wire/values.rs"]
mod values;
