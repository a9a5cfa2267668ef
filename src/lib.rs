//! Diagnosis of the NAT between an IAX2 PBX and its provider.

pub mod net;
pub mod os;
pub mod probe;
pub mod proto;
pub mod types;
pub mod wire;
