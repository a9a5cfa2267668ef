//! Floor 0: bytes to values and back, pure and without state.

pub mod stun;
