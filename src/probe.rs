//! Floor 2: the experiments, sans-IO, and the evidence they give.

pub mod behaviour;
pub mod evidence;
pub mod lifetime;
pub mod mapping;
pub mod message;
pub mod provider;
pub mod reach;
pub mod reflector;
pub mod router;
pub mod survey;
