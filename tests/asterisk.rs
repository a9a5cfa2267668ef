//! Registrations with a real Asterisk 16, ours with it and its with ours, and calls to it.

#[path = "asterisk/calls.rs"]
mod calls;
#[path = "asterisk/registrant.rs"]
mod registrant;
#[path = "asterisk/registrar.rs"]
mod registrar;
#[path = "support/support.rs"]
mod support;
