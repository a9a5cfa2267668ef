//! Rates: how often one source address may ask for something that costs an answer, and all together.
//!
//! Sources can be forged, so the memory is fixed: addresses share buckets by a keyed hash that nobody
//! outside can predict.

use std::{
    hash::Hasher as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use siphasher::sip::SipHasher13;

/// Buckets of one limiter: 16 octets each.
const BUCKETS: usize = 1 << 14;

/// Limits a rate for each source address and in total.
#[derive(Debug)]
pub struct RateLimit {
    key: [u8; 16],
    born: Instant,
    each: Rate,
    total: Rate,
    all: Bucket,
    buckets: Vec<Bucket>,
}

/// So many a second, with bursts of as many.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u32);

/// The instant, in microseconds since the limiter was made, at which the bucket is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: u64,
}

impl RateLimit {
    /// At most `each` a second for one address and `total` for all; the key comes from a random source.
    #[must_use]
    pub fn new(each: Rate, total: Rate, key: [u8; 16], now: Instant) -> Self {
        Self {
            key,
            born: now,
            each,
            total,
            all: Bucket::default(),
            buckets: vec![Bucket::default(); BUCKETS],
        }
    }

    /// Whether one more from this address is within both limits; it is counted if so.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        let micros = micros(now.saturating_duration_since(self.born));
        let index = self.index(source);
        let Some(bucket) = self.buckets.get_mut(index) else {
            return false;
        };
        if !bucket.has_room(self.each, micros) || !self.all.has_room(self.total, micros) {
            return false;
        }
        bucket.take(self.each, micros);
        self.all.take(self.total, micros);
        true
    }

    fn index(&self, source: IpAddr) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match source {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            // A host commonly has a whole /64 to itself.
            IpAddr::V6(ip) => hasher.write(ip.octets().first_chunk::<8>().unwrap_or(&[0; 8])),
        }
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0)
    }
}

impl Bucket {
    fn has_room(self, rate: Rate, now: u64) -> bool {
        self.full_at.saturating_sub(now) + rate.interval() <= 1_000_000
    }

    fn take(&mut self, rate: Rate, now: u64) {
        self.full_at = self.full_at.max(now) + rate.interval();
    }
}

impl Rate {
    fn interval(self) -> u64 {
        1_000_000 / u64::from(self.0.max(1))
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_use_up_what_others_have() {
        let now = Instant::now();
        let mut limit = RateLimit::new(Rate(50), Rate(1000), [3; 16], now);
        let [flooder, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let admitted = (0..500).filter(|_| limit.admit(flooder, now)).count();
        assert_eq!(admitted, 50);
        assert!(limit.admit(other, now));
        assert!(!limit.admit(flooder, now));
        assert!(limit.admit(flooder, now + Duration::from_millis(25)));
    }

    #[test]
    fn the_total_is_limited_too() {
        let now = Instant::now();
        let mut limit = RateLimit::new(Rate(50), Rate(100), [3; 16], now);
        let admitted = (0..=255u8)
            .filter(|last| limit.admit(IpAddr::from([192, 0, 2, *last]), now))
            .count();
        assert_eq!(admitted, 100);
    }
}
