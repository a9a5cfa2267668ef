//! Rates: how often one source address may ask for something that costs an answer, and all together.
//!
//! Sources can be forged, so the memory is fixed: addresses share buckets by a keyed hash that nobody
//! outside can predict.

use std::{hash::Hasher as _, net::IpAddr, time::Instant};

use siphasher::sip::SipHasher13;

/// Buckets of one limiter: 8 octets each.
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

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

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

    /// Whether one more from this source is within both limits; it is counted if so.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        self.admit_many(source, 1, now)
    }

    /// Whether so many more from this source are within both limits; all are counted if so, else none.
    pub fn admit_many(&mut self, source: IpAddr, count: u32, now: Instant) -> bool {
        let admitted = self.has_room(source, &[], count, now);
        if admitted {
            self.take(source, &[], count, now);
        }
        admitted
    }

    /// Whether so many more from this source about `subject` are within both limits; nothing is counted.
    #[must_use]
    pub fn has_room(&self, source: IpAddr, subject: &[u8], count: u32, now: Instant) -> bool {
        let now = self.micros(now);
        self.all.has_room(self.total, count, now)
            && self
                .buckets
                .get(self.index(source, subject))
                .is_some_and(|bucket| bucket.has_room(self.each, count, now))
    }

    /// Counts so many from this source about `subject`.
    pub fn take(&mut self, source: IpAddr, subject: &[u8], count: u32, now: Instant) {
        let now = self.micros(now);
        self.all.take(self.total, count, now);
        let index = self.index(source, subject);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.take(self.each, count, now);
        }
    }

    fn index(&self, source: IpAddr, subject: &[u8]) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match source_prefix(source) {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(subject);
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0)
    }

    fn micros(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.born);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }
}

/// What counts as one source, for rates and for quotas: an IPv4 address, or an IPv6 /64, which a host
/// commonly has to itself.
#[must_use]
pub fn source_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

impl Bucket {
    fn has_room(self, rate: Rate, count: u32, now: u64) -> bool {
        let taken = self.full_at.saturating_sub(now);
        taken + rate.interval() * u64::from(count) <= rate.interval() * u64::from(rate.burst)
    }

    fn take(&mut self, rate: Rate, count: u32, now: u64) {
        self.full_at = self.full_at.max(now) + rate.interval() * u64::from(count);
    }
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self::per_second(u32::MAX);

    /// So many a second, and as many at once.
    #[must_use]
    pub const fn per_second(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second,
        }
    }

    /// The same in the long run, but so many at once.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// Microseconds from one to the next.
    fn interval(self) -> u64 {
        1_000_000 / u64::from(self.per_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_address_cannot_use_up_what_others_have() {
        let now = Instant::now();
        let mut limit = RateLimit::new(Rate::per_second(50), Rate::per_second(1000), [3; 16], now);
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
        let mut limit = RateLimit::new(Rate::per_second(50), Rate::per_second(100), [3; 16], now);
        let admitted = (0..=255u8)
            .filter(|last| limit.admit(IpAddr::from([192, 0, 2, *last]), now))
            .count();
        assert_eq!(admitted, 100);
    }

    #[test]
    fn a_burst_is_had_once_and_subjects_are_apart() {
        let now = Instant::now();
        let rate = Rate::per_second(1).with_burst(10);
        let mut limit = RateLimit::new(rate, Rate::UNLIMITED, [3; 16], now);
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            assert!(limit.has_room(source, b"alice", 1, now));
            limit.take(source, b"alice", 1, now);
        }
        assert!(!limit.has_room(source, b"alice", 1, now));
        assert!(limit.has_room(source, b"bob", 10, now));
        assert!(!limit.has_room(source, b"bob", 11, now));
        let later = now + Duration::from_secs(2);
        assert!(limit.has_room(source, b"alice", 2, later));
        assert!(!limit.has_room(source, b"alice", 3, later));
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_64() {
        for (address, prefix) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let prefix: IpAddr = prefix.parse().unwrap();
            assert_eq!(source_prefix(address.parse().unwrap()), prefix);
        }
        let now = Instant::now();
        let rate = Rate::per_second(50);
        let mut limit = RateLimit::new(rate, Rate::UNLIMITED, [3; 16], now);
        let admitted = (0..500u16)
            .filter(|host| limit.admit(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, *host]), now))
            .count();
        assert_eq!(admitted, 50);
    }
}
