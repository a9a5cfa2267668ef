//! The experiments against simulated NATs, links and servers, under one counted clock.

mod lifetime;
mod stalls;
mod support;
