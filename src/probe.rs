//! Floor 2: the experiments, sans-IO, and the evidence they give.

mod asker;
pub mod behaviour;
pub mod busy;
pub mod callback;
pub mod calls;
pub mod depth;
pub mod done;
pub mod evidence;
pub mod filtering;
pub mod hairpin;
pub mod hops;
pub mod inbound;
pub mod lifetime;
pub mod mapping;
pub mod message;
pub mod neighbours;
pub mod payload;
pub mod provider;
pub mod reach;
pub mod reflector;
pub mod refresh;
mod rounds;
pub mod router;
pub mod survey;
