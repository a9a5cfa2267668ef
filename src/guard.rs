//! Floor 4: policy. Observations become a diagnosis, and a diagnosis at most one action at a time.
//!
//! [`machine::Guard`] has five verbs of its own: `handle_observation`, `handle_timeout`, `poll_action`,
//! `poll_event`, `poll_timeout`. It reads no clock and does nothing itself; the shell brings
//! [`observation::Observation`]s, carries out each [`action::Decision`] and tells the outcome.
//!
//! A look at the facts gives a diagnosis. One that several looks agree on, or that one observation
//! proves, is acted upon: by the least remedy that the configuration allows, then by the next one, with
//! growing gaps and within a budget. What could end a call waits for it. A remedy that lasts (a hold, a
//! quiet period, keepalives) is part of the provider's state.

pub mod action;
pub mod diagnosis;
mod facts;
mod gate;
mod health;
mod intake;
mod line;
pub mod machine;
pub mod observation;
mod patience;
pub mod policy;
pub mod registrations;
mod remedy;
pub mod state;
