//! Loopback addresses of a test's own, so that tests run side by side on the well-known ports.

use std::{
    net::Ipv4Addr,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The first of the addresses; clear of 127.0.0.1 and of the 127.0.1.1 that Debian gives the host.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);
/// How many blocks of 256 addresses lie between [`FIRST`] and the end of 127.0.0.0/8.
const BLOCKS: u32 = 0xf000;

/// How many addresses this test process has handed out.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A loopback address that no other test of this run has: the process id chooses the block, a
/// count the address in it.
pub fn address() -> Ipv4Addr {
    let count = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(count < 255, "a test process has 254 loopback addresses");
    let block = process::id() % BLOCKS;
    Ipv4Addr::from_bits(FIRST.to_bits() + block * 256 + count)
}
