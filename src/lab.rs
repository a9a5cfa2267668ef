//! Floor 3: virtual networks, for the demonstration and for tests.
//!
//! The same network can be had twice. In process, [`world`] runs machines against simulated NATs
//! ([`nat`]) and links ([`link`]) under one counted clock: minutes pass in milliseconds, and the
//! same seed gives the same packets. In the kernel, [`kernel`] builds it out of network namespaces,
//! veth pairs and nft rules, for real sockets and real netfilter. [`network`] describes a network
//! once for both, and [`scenario`] names the ones worth showing.

pub mod demo;
pub mod error;
pub mod kernel;
pub mod link;
pub mod nat;
pub mod network;
pub mod scenario;
pub mod world;
