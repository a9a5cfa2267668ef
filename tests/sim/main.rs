//! The experiments against simulated NATs, links and servers, under one counted clock.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is the report
#![allow(clippy::print_stdout)] // tables, for --nocapture

mod arbitrary;
mod bad_servers;
mod call_admission;
mod call_callback;
mod call_endurance;
mod call_extensions;
mod call_faults;
mod call_hostile;
mod call_trunk;
mod duration;
mod exchange;
mod hairpin;
mod hops;
mod kinds;
mod late_answers;
mod late_call;
mod lifetime;
mod nat_table;
mod neighbours;
mod noise;
mod oracle;
mod refresh;
mod registration;
mod registration_hostile;
mod script;
mod stalls;
mod strangers;
mod support;
mod survey;
mod unaided;
