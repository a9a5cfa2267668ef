//! Floor 0: bytes and values. Pure and stateless; nothing here knows what a conversation is.
//!
//! Reading borrows the buffer and never allocates, but for XML. Structure that is broken is an error that says
//! what, where and why; a value that is merely unknown is kept and written back as it came.

pub mod firewall;
pub mod iax2;
pub mod ip_packet;
pub mod link;
pub mod pcap;
pub mod port_mapping;
pub mod stun;
