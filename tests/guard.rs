//! The guardian in a small simulated world, over minutes and over months, and under observations that no
//! world would make.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is the report
#![allow(clippy::print_stdout)] // figures, for --nocapture
#![allow(unreachable_pub, reason = "a test crate exports nothing")]

#[path = "guard/laws.rs"]
mod laws;
#[path = "guard/random.rs"]
mod random;
#[path = "guard/scenarios.rs"]
mod scenarios;
#[path = "guard/soak.rs"]
mod soak;
#[path = "guard/state.rs"]
mod state;
#[path = "guard/world.rs"]
mod world;
