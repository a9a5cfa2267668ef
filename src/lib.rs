//! Diagnosis of the NAT between an IAX2 PBX and its provider.

pub mod check;
pub mod config;
pub mod lab;
pub mod net;
pub mod os;
pub mod probe;
pub mod proto;
pub mod report;
pub mod types;
pub mod wire;
