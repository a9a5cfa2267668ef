//! Finds our signal in packets whose octets are not those we sent.
//!
//! Transcoding between the laws, amplification and another cut into packets all leave the signs of the
//! samples as they were, nearly. So a search compares signs, 128 at a time, with all that was sent
//! lately, and only the likeliest place is then correlated sample by sample. Once found, the signal is
//! followed from packet to packet.

use std::time::{Duration, Instant};

use super::sent::SentBlocks;
use crate::{
    proto::media::{BLOCK, SAMPLE_RATE, g711::SIGN, signal::TestSignal},
    types::Timestamp,
};

/// Fewer samples than this are too few to tell by.
const LEAST: usize = 64;
/// The correlation from which a place counts as found. Transcoded and halved our signal keeps 0.99; 160
/// samples of the same band that have nothing to do with it stay below 0.5 at their likeliest of 25600
/// places.
const FOUND: f64 = 0.75;
/// The correlation from which a place counts as confirmed where the signal was expected: of ten places.
const FOLLOWED: f64 = 0.6;
/// What fewer than 128 samples need in addition: 80 unrelated ones reach 0.7 somewhere.
const SHORT: f64 = 0.15;
/// How far the signal may slip between packets, where a clock is not ours.
const SLIP: u64 = 2;
/// How far ahead it is looked for when packets are missing: what Asterisk takes for its clock's own
/// drift (160 ms), and a little more.
const AHEAD: u64 = 12 * BLOCK as u64;
/// So many packets without our signal end its pursuit.
const MISSES: u32 = 50;
/// The search of everything sent costs a tenth of a millisecond, so it waits, longer each time it fails.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(1600);

#[derive(Clone, Debug)]
pub(super) struct Correlator {
    signal: TestSignal,
    lock: Option<Lock>,
    wait: Duration,
    next_search: Option<Instant>,
}

/// Where in the signal the far end is.
#[derive(Clone, Copy, Debug)]
struct Lock {
    /// A sample of the signal, and the timestamp of the packet that began with it.
    position: u64,
    timestamp: Timestamp,
    /// The sample that the next packet begins with, if nothing is missing.
    expected: u64,
    misses: u32,
    /// Found, but not yet confirmed by a second packet: position, samples, arrival.
    unconfirmed: Option<(u64, usize, Instant)>,
}

/// One packet of audio.
pub(super) struct Packet<'a> {
    samples: &'a [i16],
    signs: u128,
    mask: u128,
    timestamp: Timestamp,
    at: Instant,
}

/// Where a packet lies in the signal.
pub(super) struct Placed {
    pub(super) position: u64,
    /// The packet before, where this one confirms it.
    pub(super) earlier: Option<(u64, usize, Instant)>,
}

impl<'a> Packet<'a> {
    /// A packet of G.711 with its samples.
    pub(super) fn new(
        payload: &[u8],
        samples: &'a [i16],
        timestamp: Timestamp,
        at: Instant,
    ) -> Self {
        // 64 or 128 signs, at the top of the word.
        let compared = if samples.len() < 128 { 64 } else { 128 };
        let octets = payload.iter().take(compared);
        let bits = octets.fold(0, |bits, octet| bits << 1 | u128::from(octet & SIGN != 0));
        Self {
            samples,
            signs: bits << (128 - compared),
            mask: u128::MAX << (128 - compared),
            timestamp,
            at,
        }
    }

    /// How many signs are compared.
    const fn compared(&self) -> u32 {
        self.mask.count_ones()
    }

    /// What the packet's correlation must exceed the threshold by.
    const fn handicap(&self) -> f64 {
        if self.compared() < 128 { SHORT } else { 0.0 }
    }

    /// How many signs differ from `signs`, or from their opposite: a hybrid may turn the signal over.
    fn differing(&self, signs: u128) -> u32 {
        let differing = ((self.signs ^ signs) & self.mask).count_ones();
        differing.min(self.compared() - differing)
    }
}

impl Correlator {
    pub(super) const fn new(signal: TestSignal) -> Self {
        Self {
            signal,
            lock: None,
            wait: FIRST_WAIT,
            next_search: None,
        }
    }

    /// The block that the next packet begins with, if the signal is being followed.
    pub(super) fn expected_block(&self) -> Option<u64> {
        self.lock.map(|lock| lock.expected / BLOCK as u64)
    }

    /// Takes note of where a packet lies that was recognised otherwise.
    pub(super) fn fix(&mut self, position: u64, samples: usize, timestamp: Timestamp) {
        self.wait = FIRST_WAIT;
        self.lock = Some(Lock {
            position,
            timestamp,
            expected: position + samples as u64,
            misses: 0,
            unconfirmed: None,
        });
    }

    /// Finds the place of a packet in the signal; `None` where it has none, or none that is certain.
    pub(super) fn place(&mut self, packet: &Packet<'_>, sent: &SentBlocks) -> Option<Placed> {
        if packet.samples.len() < LEAST {
            return None;
        }
        if let Some(mut lock) = self.lock {
            if let Some(position) = self.follow(&lock, packet, sent) {
                self.fix(position, packet.samples.len(), packet.timestamp);
                return Some(Placed {
                    position,
                    earlier: lock.unconfirmed,
                });
            }
            lock.misses += 1;
            lock.expected += packet.samples.len() as u64;
            let lost = lock.unconfirmed.is_some() || lock.misses > MISSES;
            self.lock = (!lost).then_some(lock);
        }
        if self.next_search.is_some_and(|next| packet.at < next) {
            return None;
        }
        if let Some(position) = self.search(packet, sent) {
            self.lock = Some(Lock {
                position,
                timestamp: packet.timestamp,
                expected: position + packet.samples.len() as u64,
                misses: 0,
                unconfirmed: Some((position, packet.samples.len(), packet.at)),
            });
        }
        self.next_search = Some(packet.at + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        None
    }

    /// Looks where the signal should be: right after the last packet, as far on as the timestamps say,
    /// then anywhere a little ahead.
    fn follow(&self, lock: &Lock, packet: &Packet<'_>, sent: &SentBlocks) -> Option<u64> {
        let millis = packet
            .timestamp
            .millis()
            .wrapping_sub(lock.timestamp.millis());
        let samples = i64::from(millis.cast_signed()) * i64::from(SAMPLE_RATE / 1000);
        let by_time = lock.position.checked_add_signed(samples);
        for guess in [Some(lock.expected), by_time].into_iter().flatten() {
            let around = guess.saturating_sub(SLIP)..=guess.saturating_add(SLIP);
            // The guess itself comes first.
            for place in std::iter::once(guess).chain(around) {
                if self.is_there(packet, place, sent, FOLLOWED) {
                    return Some(place);
                }
            }
        }
        let ahead = lock.expected.saturating_sub(SLIP)..lock.expected.saturating_add(AHEAD);
        let nearest = |place: &u64| packet.differing(sent.signs_at(*place));
        let place = ahead.min_by_key(nearest)?;
        self.is_there(packet, place, sent, FOUND).then_some(place)
    }

    /// Looks everywhere.
    fn search(&self, packet: &Packet<'_>, sent: &SentBlocks) -> Option<u64> {
        let (first, signs) = sent.signs_in_order();
        let mut best = (u32::MAX, 0);
        for (from, words) in (first..).step_by(32).zip(signs.windows(5)) {
            let Some((last, top)) = words.split_last() else {
                continue;
            };
            let top = top
                .iter()
                .fold(0, |bits, word| bits << 32 | u128::from(*word));
            for shift in 0..32 {
                let window = top << shift | u128::from(*last) >> (32 - shift);
                let differing = packet.differing(window);
                if differing < best.0 {
                    best = (differing, from + shift);
                }
            }
        }
        let (_, place) = best;
        self.is_there(packet, place, sent, FOUND).then_some(place)
    }

    /// Whether a packet begins at this sample of the signal: its signs must agree nearly, its samples
    /// correlate.
    fn is_there(&self, packet: &Packet<'_>, place: u64, sent: &SentBlocks, least: f64) -> bool {
        let end = place.saturating_add(packet.samples.len().min(BLOCK) as u64 - 1);
        packet.differing(sent.signs_at(place)) <= packet.compared() * 3 / 8
            && sent.holds(place)
            && (sent.holds(end) || sent.last().is_some_and(|last| end / BLOCK as u64 > last))
            && correlation(self.signal, place, packet.samples).abs() >= least + packet.handicap()
    }
}

/// The correlation of a block's length of samples with the signal from `place` on, each taken about its
/// mean: -1 to 1, and 0 where either does not vary.
#[allow(clippy::cast_precision_loss)] // sums of 160 products of 16-bit numbers
fn correlation(signal: TestSignal, place: u64, samples: &[i16]) -> f64 {
    let block = BLOCK as u64;
    let skip = usize::try_from(place % block).unwrap_or_default();
    let here = signal.block(place / block);
    let next = signal.block((place / block).wrapping_add(1));
    let sent = here.iter().chain(&next).skip(skip);

    let [mut n, mut x, mut y, mut xx, mut yy, mut xy] = [0_i64; 6];
    for (heard, sent) in samples.iter().take(BLOCK).zip(sent) {
        let (heard, sent) = (i64::from(*heard), i64::from(*sent));
        n += 1;
        x += heard;
        y += sent;
        xx += heard * heard;
        yy += sent * sent;
        xy += heard * sent;
    }
    let spread = (n * xx - x * x) as f64 * (n * yy - y * y) as f64;
    if spread > 0.0 {
        (n * xy - x * y) as f64 / spread.sqrt()
    } else {
        0.0
    }
}
