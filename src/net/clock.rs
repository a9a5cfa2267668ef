//! The one place where the time is read for the machines.

use std::time::Instant;

/// The time on the monotonic clock, which no setting of the wall clock moves and which stands still
/// while the host sleeps.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
