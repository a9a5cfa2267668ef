//! The blocks sent lately, and what became of all of them.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{Returned, RoundTrip, Run};
use crate::proto::media::{BLOCK, SAMPLE_RATE, g711::SIGN, histogram::Histogram};

/// An echo later than this is not looked for.
const LATEST: Duration = Duration::from_secs(3);
/// Blocks remembered: [`LATEST`] and a little more.
pub(super) const SLOTS: usize = 160;
/// Block numbers end where the number of a sample would exceed 64 bits, or somewhat before.
const END: u64 = 1 << 48;
/// The signs of a block, 32 samples a word.
pub(super) const WORDS: usize = BLOCK / 32;
/// Blocks of 20 ms.
const BLOCKS_A_SECOND: u64 = SAMPLE_RATE as u64 / BLOCK as u64;
/// Runs of missing blocks that are listed; beyond that they are only counted.
const LISTED: usize = 64;
/// Blocks that left closer together than this left in one go, after the host had kept us waiting; a far end
/// that takes them with several hands may return them in any order.
const IN_ONE_GO: Duration = Duration::from_millis(10);
/// What a block may be late against twice the longest round trip, at the end of a call.
const SLACK: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(super) struct SentBlocks {
    slots: Vec<Option<Slot>>,
    /// One bit a sample, set where it is positive, the earliest in the top bit; slot after slot.
    signs: Box<[u32; SLOTS * WORDS]>,
    last: Option<u64>,
    sent: u64,
    first_returned: Option<u64>,
    last_returned: Option<u64>,
    /// The last second of our audio in which a block came after a later one.
    disordered: Option<u64>,
    settled: Returned,
    round_trips: Histogram,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    fingerprint: u64,
    at: Instant,
    returned: bool,
}

impl SentBlocks {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![None; SLOTS],
            signs: Box::new([0; SLOTS * WORDS]),
            last: None,
            sent: 0,
            first_returned: None,
            last_returned: None,
            disordered: None,
            settled: Returned::default(),
            round_trips: Histogram::new(),
        }
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of the newest block.
    pub(super) const fn last(&self) -> Option<u64> {
        self.last
    }

    /// Remembers a block, unless its number does not rise.
    pub(super) fn note(&mut self, number: u64, payload: &[u8], at: Instant) {
        if number >= END || self.last.is_some_and(|last| number <= last) {
            return;
        }
        // Numbers that were left out make their old slots as stale as those that are used.
        let next = self.last.map_or(number, |last| last + 1);
        for stale in next.max(number.saturating_sub(SLOTS as u64 - 1))..=number {
            if let Some(old) = self.slots.get_mut(slot(stale)).and_then(Option::take) {
                settle(&mut self.settled, self.first_returned, &old);
            }
        }
        self.last = Some(number);
        self.sent += 1;
        if let Some(free) = self.slots.get_mut(slot(number)) {
            *free = Some(Slot {
                number,
                fingerprint: fingerprint(payload),
                at,
                returned: false,
            });
        }
        if payload.len() == BLOCK {
            let words = self.signs.iter_mut().skip(slot(number) * WORDS);
            for (word, octets) in words.zip(payload.chunks(32)) {
                *word = octets
                    .iter()
                    .fold(0, |bits, octet| bits << 1 | u32::from(octet & SIGN != 0));
            }
        }
    }

    /// The block that left with this fingerprint: the expected one, else the newest.
    pub(super) fn find(&self, fingerprint: u64, expected: Option<u64>) -> Option<u64> {
        let same = |slot: &&Slot| slot.fingerprint == fingerprint;
        if let Some(slot) = expected.and_then(|number| self.slot(number)).filter(same) {
            return Some(slot.number);
        }
        let slots = self.slots.iter().flatten();
        slots.filter(same).map(|slot| slot.number).max()
    }

    /// How many of these numbers, all of them lately, were left out.
    pub(super) fn left_out(&self, numbers: Range<u64>) -> u64 {
        let oldest = self
            .last
            .map_or(0, |last| last.saturating_sub(SLOTS as u64 - 1));
        let first = numbers.start.max(oldest);
        let out = (first..numbers.end).filter(|number| self.slot(*number).is_none());
        out.count() as u64
    }

    /// Whether the block that holds this sample of the signal is remembered.
    pub(super) fn holds(&self, position: u64) -> bool {
        self.slot(position / BLOCK as u64).is_some()
    }

    /// The signs from this sample on, 128 of them.
    pub(super) fn signs_at(&self, position: u64) -> u128 {
        let ring = (SLOTS * BLOCK) as u64;
        let bit = usize::try_from(position % ring).unwrap_or_default();
        let word = |offset| {
            let index = (bit / 32 + offset) % self.signs.len();
            u128::from(self.signs.get(index).copied().unwrap_or_default())
        };
        let top = word(0) << 96 | word(1) << 64 | word(2) << 32 | word(3);
        top << (bit % 32) | word(4) >> (32 - bit % 32)
    }

    /// All signs remembered in the order of the signal, and the sample that they begin with.
    pub(super) fn signs_in_order(&self) -> (u64, Vec<u32>) {
        let next = self.last.map_or(0, |last| last + 1);
        let first = next.saturating_sub(SLOTS as u64);
        let mut signs = Vec::with_capacity(SLOTS * WORDS);
        for number in first..next {
            signs.extend(self.signs.iter().skip(slot(number) * WORDS).take(WORDS));
        }
        (first * BLOCK as u64, signs)
    }

    /// Books the return of a block; whether it is the first time.
    pub(super) fn book(&mut self, number: u64) -> bool {
        let slot = self.slots.get_mut(slot(number)).and_then(Option::as_mut);
        let Some(slot) = slot.filter(|slot| slot.number == number) else {
            return false; // forgotten, or never sent
        };
        if slot.returned {
            self.settled.duplicated += 1;
            return false;
        }
        slot.returned = true;
        let left = slot.at;
        self.settled.blocks += 1;
        self.first_returned = Some(self.first_returned.map_or(number, |n| n.min(number)));
        match self.last_returned {
            Some(last) if last > number => {
                let other = self.slot(last).map(|newer| newer.at);
                if other.is_none_or(|other| other > left + IN_ONE_GO) {
                    self.settled.out_of_order += 1;
                    let second = number / BLOCKS_A_SECOND;
                    if self.disordered != Some(second) {
                        self.disordered = Some(second);
                        self.settled.disordered_seconds += 1;
                    }
                }
            }
            _ => self.last_returned = Some(number),
        }
        true
    }

    /// Books how long the sample at `position` was under way that a packet arriving at `at` begins with:
    /// against the time at which a packet beginning with it would have left.
    pub(super) fn book_round_trip(&mut self, position: u64, at: Instant) {
        let block = BLOCK as u64;
        let Some(slot) = self.slot(position / block) else {
            return;
        };
        let left = slot.at + Duration::from_secs(position % block) / SAMPLE_RATE;
        self.round_trips.record(at.saturating_duration_since(left));
    }

    /// What became of the blocks, as seen at `now`, when something was last sent or received.
    pub(super) fn returned(&self, now: Option<Instant>) -> Returned {
        let mut returned = self.settled.clone();
        returned.round_trip = self.round_trip();
        let patience = self.round_trips.max().map_or(LATEST, |longest| {
            (longest.saturating_mul(2) + SLACK).min(LATEST)
        });
        let next = self.last.map_or(0, |last| last + 1);
        for number in next.saturating_sub(SLOTS as u64)..next {
            let Some(slot) = self.slot(number) else {
                continue;
            };
            let waiting = now.is_some_and(|now| slot.at + patience >= now);
            if !slot.returned && waiting && self.last_returned.is_none_or(|last| number > last) {
                returned.in_flight += 1;
            } else {
                settle(&mut returned, self.first_returned, slot);
            }
        }
        returned
    }

    fn round_trip(&self) -> Option<RoundTrip> {
        Some(RoundTrip {
            min: self.round_trips.min()?,
            median: self.round_trips.quantile(500)?,
            p95: self.round_trips.quantile(950)?,
            max: self.round_trips.max()?,
        })
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        let slot = self.slots.get(slot(number))?.as_ref();
        slot.filter(|slot| slot.number == number)
    }
}

/// A number that differs between different payloads (FNV-1a over words of eight octets).
pub(super) fn fingerprint(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words
        .chain(rest.iter().map(|octet| u64::from(*octet)))
        .fold(
            payload.len() as u64 ^ 0xcbf2_9ce4_8422_2325,
            |hash, word| {
                // The multiplication moves bits up only; the rotation brings the top ones back down.
                (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            },
        )
}

/// Counts a block that will not be waited for any longer.
fn settle(returned: &mut Returned, first: Option<u64>, slot: &Slot) {
    if slot.returned {
        return;
    }
    if first.is_none_or(|first| slot.number < first) {
        returned.before_first += 1;
        return;
    }
    returned.missing += 1;
    let runs = &mut returned.missing_runs;
    if let Some(run) = runs.last_mut()
        && run.first + run.count == slot.number
    {
        run.count += 1;
    } else if runs.len() < LISTED {
        runs.push(Run {
            first: slot.number,
            count: 1,
        });
    }
}

/// Where a block is remembered.
fn slot(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or_default()
}
