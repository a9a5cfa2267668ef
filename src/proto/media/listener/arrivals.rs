//! A stream of audio by its timestamps: loss, order, jitter, lateness.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::Inbound;
use crate::{
    proto::media::{BLOCK, BLOCK_TIME, histogram::Histogram, jitter::Variation},
    types::Timestamp,
};

/// Timestamps remembered, to tell a packet that comes twice from one that comes late.
const REMEMBERED: usize = 256;
/// Holes that a late packet may still fill.
const OPEN_GAPS: usize = 16;
/// Packets whose lateness is measured against the same earliest one: ten seconds of 20 ms, short enough
/// for clocks that drift apart, and the history of Asterisk's jitter buffer.
const WINDOW: usize = 500;
/// Timestamps this far back are no late packet: the sender began anew.
const RESTART: i64 = 5000;
/// A hole that spans so much more than the time that passed is no loss.
const AHEAD_OF_TIME: f64 = 1000.0;
/// What a hole may deviate from a whole number of packets, in milliseconds: Asterisk adds 3 where a
/// timestamp would repeat.
const OFF_GRID: i64 = 4;
/// How long a block lasts, in the unit of timestamps.
#[allow(clippy::cast_possible_truncation)] // 20
const BLOCK_MILLIS: i64 = BLOCK_TIME.as_millis() as i64;

#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    counts: Inbound,
    lost_outbound: u64,
    base: Option<Instant>,
    newest: Option<Newest>,
    seen: VecDeque<u32>,
    /// The last second of the stream in which a packet came after a later one.
    disordered: Option<u32>,
    gaps: VecDeque<Gap>,
    /// What an echo's clock lags behind the blocks it carries, in milliseconds.
    lag: i64,
    previous: Option<f64>,
    jitter: f64,
    worst_jitter: f64,
    window: Vec<f64>,
    variation: Histogram,
}

/// The packet with the highest timestamp.
#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp: u32,
    lasts: i64,
    at: f64,
    /// The block of ours that comes next, if this packet carries one.
    next_block: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u32,
    until: u32,
    missing: u64,
    lasts: i64,
    /// The blocks of ours that it seems to have swallowed.
    blocks: Option<(u64, u64)>,
}

/// The blocks of ours that a packet carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    first: u64,
    end: u64,
    /// How many of ours between it and the packet before were never sent.
    pub(super) left_out: u64,
    /// Whether one of them comes for the first time.
    pub(super) fresh: bool,
}

/// What stands between a packet and the one before.
enum Hole {
    /// Packets are missing.
    Loss(u64),
    /// The sender was silent, and said so.
    Pause,
    /// The sender's clock is not what it was; nothing is missing.
    Jump,
}

impl Content {
    /// The blocks whose middle lies in so many samples of the signal: one block a packet, wherever
    /// packets of 20 ms are cut.
    pub(super) const fn of(position: u64, samples: usize) -> Self {
        let block = BLOCK as u64;
        let up = block / 2 - 1;
        Self {
            first: (position + up) / block,
            end: (position + samples as u64 + up) / block,
            left_out: 0,
            fresh: false,
        }
    }

    pub(super) const fn blocks(&self) -> Range<u64> {
        self.first..self.end
    }
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            counts: Inbound::default(),
            lost_outbound: 0,
            base: None,
            newest: None,
            disordered: None,
            seen: VecDeque::with_capacity(REMEMBERED),
            gaps: VecDeque::with_capacity(OPEN_GAPS),
            lag: 0,
            previous: None,
            jitter: 0.0,
            worst_jitter: 0.0,
            window: Vec::with_capacity(WINDOW),
            variation: Histogram::new(),
        }
    }

    /// Takes one packet. `paused` says that silence was announced since the one before, `queued` that the
    /// timestamp is the one of the packet before and says nothing.
    pub(super) fn take(
        &mut self,
        (timestamp, queued): (Timestamp, bool),
        lasts: Duration,
        paused: bool,
        content: Option<Content>,
        at: Instant,
    ) {
        self.counts.packets += 1;
        let base = *self.base.get_or_insert(at);
        let at = at.saturating_duration_since(base).as_secs_f64() * 1000.0;
        let timestamp = timestamp.millis();
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX).max(1);

        let since = self
            .newest
            .map(|newest| (newest, ahead(timestamp, newest.timestamp)));
        match since {
            Some((_, ahead)) if ahead <= 0 && ahead > -RESTART && !queued => {
                if !self.take_late(timestamp) {
                    return;
                }
            }
            Some((newest, ahead)) => {
                self.take_next(newest, ahead, paused, content, at, timestamp);
                self.advance(timestamp, lasts, content, at);
                if queued {
                    self.fill();
                }
            }
            None => self.advance(timestamp, lasts, content, at),
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(timestamp);
        self.measure(timestamp, at);
    }

    /// Blocks lost although no hole in the timestamps tells of it.
    pub(super) const fn lost_outbound(&self) -> u64 {
        self.lost_outbound
    }

    /// The block of ours that comes next.
    pub(super) fn next_block(&self) -> Option<u64> {
        self.newest.and_then(|newest| newest.next_block)
    }

    /// The counts, with the holes that are still open.
    pub(super) fn inbound(&self) -> Inbound {
        let mut inbound = self.counts.clone();
        for gap in &self.gaps {
            close(&mut inbound, gap);
        }
        let known =
            |millis: f64| (inbound.packets > 1).then(|| Duration::from_secs_f64(millis / 1000.0));
        inbound.jitter = known(self.jitter);
        inbound.worst_jitter = known(self.worst_jitter);
        inbound
    }

    /// How late packets were.
    pub(super) fn variation(&self) -> Option<Variation> {
        let mut all = self.variation.clone();
        flush(&self.window, &mut all);
        Some(Variation {
            packets: all.total(),
            p3: all.quantile(30)?,
            p97: all.quantile(970)?,
            p99: all.quantile(990)?,
            max: all.max()?,
        })
    }

    /// A packet that is not newer than the newest; whether it had not come before.
    fn take_late(&mut self, timestamp: u32) -> bool {
        if self.seen.contains(&timestamp) {
            self.counts.duplicated += 1;
            return false;
        }
        self.counts.reordered += 1;
        let second = timestamp / 1000;
        if self.disordered != Some(second) {
            self.disordered = Some(second);
            self.counts.disordered_seconds += 1;
        }
        let fills = |gap: &&mut Gap| {
            ahead(timestamp, gap.from) >= 0 && ahead(gap.until, timestamp) > 0 && gap.missing > 0
        };
        if let Some(gap) = self.gaps.iter_mut().find(fills) {
            gap.missing -= 1;
        }
        true
    }

    /// A packet after the newest: counts what stands between the two.
    fn take_next(
        &mut self,
        newest: Newest,
        ahead: i64,
        paused: bool,
        content: Option<Content>,
        at: f64,
        timestamp: u32,
    ) {
        let between = content.zip(newest.next_block).map(|(content, next)| {
            i64::try_from(content.first).unwrap_or(i64::MAX)
                - i64::try_from(next).unwrap_or(i64::MAX)
        });
        let left_out = content.map_or(0, |content| content.left_out);
        let sent_between = between
            .map(|between| between.saturating_sub(i64::try_from(left_out).unwrap_or(i64::MAX)));
        match hole(newest, ahead, at - newest.at, paused, sent_between) {
            None => {}
            Some(Hole::Loss(missing)) => {
                if self.gaps.len() >= OPEN_GAPS
                    && let Some(oldest) = self.gaps.pop_front()
                {
                    close(&mut self.counts, &oldest);
                }
                self.gaps.push_back(Gap {
                    from: newest.timestamp.wrapping_add(1),
                    until: timestamp,
                    missing,
                    lasts: newest.lasts,
                    blocks: newest.next_block.zip(content.map(|content| content.first)),
                });
            }
            Some(Hole::Pause) => self.counts.pauses += 1,
            Some(Hole::Jump) => {
                self.counts.clock_jumps += 1;
                // Where our blocks do not tell by how much, lateness begins anew.
                if between.is_none() {
                    self.previous = None;
                    flush(&self.window, &mut self.variation);
                    self.window.clear();
                }
            }
        }
        if let Some(between) = between {
            self.compare(ahead - newest.lasts, between, content);
        }
    }

    /// Compares how far the timestamps and the blocks have moved on.
    fn compare(&mut self, skipped: i64, between: i64, content: Option<Content>) {
        let Ok(blocks) = u64::try_from(between) else {
            // A block out of order that the timestamps do not tell of was overtaken on the way out.
            if let Some(content) = content.filter(|content| content.fresh)
                && !self.refill(content.first)
            {
                self.lost_outbound = self.lost_outbound.saturating_sub(1);
            }
            // The echo's clock moved on, and its newest block did not.
            self.lag -= skipped + BLOCK_MILLIS;
            return;
        };
        let more = between.saturating_mul(BLOCK_MILLIS) - skipped;
        if more.abs() > BLOCK_MILLIS / 2 {
            self.lag += more;
        }
        // A clock that moved on further than the blocks was set anew, which happens after loss on the
        // way out.
        let explained = if more < -BLOCK_MILLIS / 2 {
            0
        } else {
            u64::try_from((skipped + BLOCK_MILLIS / 2) / BLOCK_MILLIS).unwrap_or(0)
        };
        let left_out = content.map_or(0, |content| content.left_out);
        self.lost_outbound += blocks.saturating_sub(left_out.max(explained));
    }

    /// Takes a block out of the hole that seemed to have swallowed it; whether there is one. A far end that
    /// stalls sets its clock anew, and where it also shakes up what it queued, the first block after the hole
    /// is one of the last.
    fn refill(&mut self, block: u64) -> bool {
        let swallowed = |gap: &&mut Gap| {
            gap.missing > 0
                && gap
                    .blocks
                    .is_some_and(|(from, until)| (from..until).contains(&block))
        };
        let Some(gap) = self.gaps.iter_mut().find(swallowed) else {
            return false;
        };
        gap.missing -= 1;
        self.counts.clock_jumps += u64::from(gap.missing == 0);
        true
    }

    /// Takes a packet out of the last hole.
    fn fill(&mut self) {
        if let Some(gap) = self.gaps.iter_mut().rev().find(|gap| gap.missing > 0) {
            gap.missing -= 1;
        }
    }

    fn advance(&mut self, timestamp: u32, lasts: i64, content: Option<Content>, at: f64) {
        let before = self.next_block();
        self.newest = Some(Newest {
            timestamp,
            lasts,
            at,
            next_block: content.map(|content| content.end.max(before.unwrap_or(0))),
        });
    }

    /// Jitter and lateness (RFC 3550 §A.8), by the timestamp as it would be if an echo's clock went on
    /// while blocks of ours do not reach it.
    #[allow(clippy::cast_precision_loss)] // milliseconds of a call
    fn measure(&mut self, timestamp: u32, at: f64) {
        let transit = at - f64::from(timestamp) - self.lag as f64;
        if let Some(previous) = self.previous.replace(transit) {
            self.jitter += ((transit - previous).abs() - self.jitter) / 16.0;
            self.worst_jitter = self.worst_jitter.max(self.jitter);
        }
        self.window.push(transit);
        if self.window.len() >= WINDOW {
            flush(&self.window, &mut self.variation);
            self.window.clear();
        }
    }
}

/// What stands between the newest packet and one whose timestamp lies so far ahead; `between` is the
/// number of our blocks between the two, where both are ours.
#[allow(clippy::cast_precision_loss)] // milliseconds of a call
fn hole(
    newest: Newest,
    ahead: i64,
    elapsed: f64,
    paused: bool,
    between: Option<i64>,
) -> Option<Hole> {
    if ahead <= -RESTART {
        return Some(Hole::Jump);
    }
    let skipped = ahead - newest.lasts;
    let packets = (skipped + newest.lasts / 2) / newest.lasts;
    if packets < 1 {
        return None;
    }
    if paused {
        return Some(Hole::Pause);
    }
    let off_grid = (skipped - packets * newest.lasts).abs() > OFF_GRID;
    let ahead_of_time = skipped as f64 > elapsed + AHEAD_OF_TIME;
    let nothing_missing = between.is_some_and(|blocks| {
        (0..skipped - BLOCK_MILLIS / 2).contains(&blocks.saturating_mul(BLOCK_MILLIS))
    });
    if off_grid || ahead_of_time || nothing_missing {
        return Some(Hole::Jump);
    }
    u64::try_from(packets).ok().map(Hole::Loss)
}

/// How far `timestamp` lies ahead of `other`, the shorter way around the circle.
fn ahead(timestamp: u32, other: u32) -> i64 {
    i64::from(timestamp.wrapping_sub(other).cast_signed())
}

/// Counts a hole that no packet fills any more.
fn close(inbound: &mut Inbound, gap: &Gap) {
    if gap.missing > 0 {
        let lasts = u64::try_from(gap.lasts).unwrap_or_default();
        let length = Duration::from_millis(lasts.saturating_mul(gap.missing));
        inbound.lost += gap.missing;
        inbound.gaps += 1;
        inbound.longest_gap = inbound.longest_gap.max(length);
    }
}

/// Counts how late packets were against the earliest of them.
fn flush(window: &[f64], histogram: &mut Histogram) {
    let earliest = window.iter().copied().fold(f64::INFINITY, f64::min);
    for transit in window {
        let late = (transit - earliest).max(0.0) / 1000.0;
        histogram.record(Duration::try_from_secs_f64(late).unwrap_or(Duration::MAX));
    }
}
