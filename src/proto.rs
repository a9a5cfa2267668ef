//! Floor 1: the IAX2 machines of both ends, sans-IO.

pub mod contract;
