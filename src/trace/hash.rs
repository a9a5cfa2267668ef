//! The hash of the tables that are asked for every packet: keyed, so that a hostile capture cannot choose keys that
//! meet.

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// A key for hashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed(u64, u64);

impl Keyed {
    /// Takes the key from chance.
    pub(super) const fn new(seed: [u64; 2]) -> Self {
        Self(seed[0], seed[1])
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> Self::Hasher {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
