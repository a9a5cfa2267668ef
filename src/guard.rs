//! Floor 4: policy. Observations become a diagnosis, and a diagnosis at most one action at a time.
//!
//! It reads no clock and does nothing itself; the shell brings [`observation::Observation`]s and carries
//! out [`action::Decision`]s.

pub mod action;
pub mod diagnosis;
pub mod observation;
