//! Call numbers of ours towards one remote address: chosen at random, and at rest for a while after use, so
//! that late frames of an old dialogue reach no new one.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use super::registration::random_call_number;
use crate::types::{CallNumber, PeerAddr};

/// Names a dialogue: call numbers of ours are unique for each remote address.
pub(crate) type Key = (PeerAddr, CallNumber);

/// Numbers at rest in all; the oldest is let go early beyond that.
const MAX_RESTING: usize = 262_144;
/// A call number that was used with a remote address is not used with it again for so long
/// (as Asterisk; RFC 5456 §8.1.1 asks for a reasonable time).
const REST: Duration = Duration::from_secs(60);

/// The numbers at rest.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    queue: VecDeque<(Instant, Key)>,
    keys: BTreeSet<Key>,
}

impl Resting {
    /// A number that neither rests nor is in use; `None` where the space is full.
    pub(crate) fn choose(
        &self,
        peer: PeerAddr,
        rng: &mut StdRng,
        in_use: impl Fn(&Key) -> bool,
    ) -> Option<CallNumber> {
        // Random, so that late frames of strangers miss; after so many failures the space is full.
        const TRIES: usize = 64;
        (0..TRIES).map(|_| random_call_number(rng)).find(|&number| {
            let key = (peer, number);
            !in_use(&key) && !self.keys.contains(&key)
        })
    }

    /// The number is not used from now on.
    pub(crate) fn lay_down(&mut self, key: Key, now: Instant) {
        self.queue.push_back((now + REST, key));
        self.keys.insert(key);
        self.wake(now);
    }

    /// Lets go those that have rested for long enough.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.queue.front()
            && (until <= now || self.queue.len() > MAX_RESTING)
        {
            self.queue.pop_front();
            self.keys.remove(&key);
        }
    }
}
