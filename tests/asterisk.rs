//! Registrations and calls with a real Asterisk 16: ours with it, and its with ours.

#[path = "asterisk/caller.rs"]
mod caller;
#[path = "asterisk/calls.rs"]
mod calls;
#[path = "asterisk/registrant.rs"]
mod registrant;
#[path = "asterisk/registrar.rs"]
mod registrar;
#[path = "asterisk/server.rs"]
mod server;
#[path = "support/support.rs"]
mod support;
