//! Live calls as their user meets them: through the kernel's NAT and what can go wrong on the way, mostly
//! with a real Asterisk 16 as the provider. Each fault gets its own name, and a healthy path none.

#[path = "calls/agreement.rs"]
mod agreement;
#[path = "calls/audio.rs"]
mod audio;
#[path = "calls/endings.rs"]
mod endings;
#[path = "calls/far_end.rs"]
mod far_end;
#[path = "calls/healthy.rs"]
mod healthy;
#[path = "calls/heard.rs"]
mod heard;
#[path = "calls/mapping.rs"]
mod mapping;
#[path = "calls/order.rs"]
mod order;
#[path = "calls/pattern.rs"]
mod pattern;
#[path = "calls/placed.rs"]
mod placed;
#[path = "calls/relay.rs"]
mod relay;
#[path = "calls/set_up.rs"]
mod set_up;
#[path = "support/support.rs"]
mod support;
#[path = "calls/wire.rs"]
mod wire;
