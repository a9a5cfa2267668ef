//! Floor 2: the experiments, sans-IO, and the evidence they give.

pub mod behaviour;
pub mod evidence;
pub mod message;
pub mod provider;
pub mod reflector;
