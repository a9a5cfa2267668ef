//! Call numbers of ours that rest: used with a remote address, and not to be used with it again for a while,
//! so that late frames of an old dialogue reach no new one.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::Key;

/// Numbers at rest in all; the oldest is let go early beyond that.
const MAX_RESTING: usize = 262_144;
/// A call number that was used with a remote address is not used with it again for so long
/// (as Asterisk; RFC 5456 §8.1.1 asks for a reasonable time).
const REST: Duration = Duration::from_secs(60);
/// The numbers at rest.
#[derive(Debug, Default)]
pub(super) struct Resting {
    queue: VecDeque<(Instant, Key)>,
    keys: BTreeSet<Key>,
}

impl Resting {
    /// The number is not used from now on.
    pub(super) fn lay_down(&mut self, key: Key, now: Instant) {
        self.queue.push_back((now + REST, key));
        self.keys.insert(key);
        self.wake(now);
    }

    /// Whether the number rests.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// Lets go those that have rested for long enough.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.queue.front()
            && (until <= now || self.queue.len() > MAX_RESTING)
        {
            self.queue.pop_front();
            self.keys.remove(&key);
        }
    }
}
