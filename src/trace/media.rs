//! The audio of one direction of a call, as it passes the place of the capture: what came, what is missing, what
//! came out of order, and how unevenly.

use std::time::Duration;

use super::mark::Mark;
use crate::wire::iax2::format::Formats;

/// The packet length where neither codec nor timestamps tell it.
const USUAL: u32 = 20;
/// A longer hole in the timestamps without any packet is a pause of the sender, as far as anybody can tell.
const PAUSE: u32 = 1000;
/// How many packets back a late one is looked for.
const WINDOW: u32 = 64;

/// What carried a packet of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A full VOICE frame.
    Full,
    /// A mini frame.
    Mini,
    /// An entry of a trunk frame.
    Trunk,
}

/// The clock of a packet of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// All 32 bits.
    Whole(u32),
    /// The low 16 bits.
    Low(u16),
    /// It carries none, or an encrypted one.
    None,
}

/// The audio of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Media {
    /// Packets in full VOICE frames.
    pub full: u32,
    /// Packets in mini frames.
    pub mini: u32,
    /// Packets in trunk frames.
    pub trunk: u32,
    /// Packets that are missing, by the holes in the sender's clock.
    pub lost: u32,
    /// Runs of missing packets.
    pub gaps: u32,
    /// Packets that came behind a later one.
    pub reordered: u32,
    /// Packets that came twice.
    pub duplicated: u32,
    /// Holes of more than a second: the sender paused, or as many packets were lost in one piece.
    pub pauses: u32,
    /// The longest hole, in milliseconds of the sender's clock.
    pub longest_gap_ms: u32,
    /// Packets without a clock: they say nothing of loss and order.
    pub untimed: u32,
    /// The first packet.
    pub first: Option<Mark>,
    /// The last packet.
    pub last: Option<Mark>,
    /// Interarrival jitter (RFC 3550 §6.4.1), in milliseconds, and the highest it was.
    jitter: f32,
    worst: f32,
    highest: u32,
    recent: u64,
    step: u32,
}

impl Media {
    /// Packets that came.
    #[must_use]
    pub const fn packets(&self) -> u32 {
        self.full
            .saturating_add(self.mini)
            .saturating_add(self.trunk)
    }

    /// Whether the packets carried clocks, so that missing ones would show.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.untimed < self.packets()
    }

    /// The jitter at the end; `None` below two packets with a clock.
    #[must_use]
    pub fn jitter(&self) -> Option<Duration> {
        self.told(self.jitter)
    }

    /// The highest jitter.
    #[must_use]
    pub fn worst_jitter(&self) -> Option<Duration> {
        self.told(self.worst)
    }

    fn told(&self, millis: f32) -> Option<Duration> {
        (self.packets() > self.untimed + 1)
            .then(|| Duration::try_from_secs_f32(millis / 1000.0).ok())
            .flatten()
    }

    /// From the first packet to the last.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        match (&self.first, &self.last) {
            (Some(first), Some(last)) => last.since(first),
            _ => Duration::ZERO,
        }
    }

    /// Takes a packet of `octets` of audio.
    #[inline]
    pub fn take(
        &mut self,
        carrier: Carrier,
        clock: Clock,
        octets: usize,
        format: Formats,
        mark: Mark,
    ) {
        match carrier {
            Carrier::Full => self.full = self.full.saturating_add(1),
            Carrier::Mini => self.mini = self.mini.saturating_add(1),
            Carrier::Trunk => self.trunk = self.trunk.saturating_add(1),
        }
        let clock = match clock {
            Clock::Whole(clock) => clock,
            Clock::Low(low) => self.unwrap(low),
            Clock::None => {
                self.untimed = self.untimed.saturating_add(1);
                self.first.get_or_insert(mark);
                self.last = Some(mark);
                return;
            }
        };
        self.count(clock, octets, format, mark);
    }

    /// The whole clock of low bits, next to the highest so far (digest of RFC 5456 §8.1.2 and deployed peers: no
    /// full frame comes at the wrap).
    fn unwrap(&self, low: u16) -> u32 {
        let whole = self.highest & !0xffff | u32::from(low);
        let behind = self.highest.wrapping_sub(whole);
        if behind < 0x8000_0000 && behind > 0x8000 {
            whole.wrapping_add(0x1_0000)
        } else if behind >= 0x8000_0000 && whole.wrapping_sub(self.highest) > 0x8000 {
            whole.wrapping_sub(0x1_0000)
        } else {
            whole
        }
    }

    fn count(&mut self, clock: u32, octets: usize, format: Formats, mark: Mark) {
        let (Some(_), Some(last)) = (self.first, self.last) else {
            self.first = Some(mark);
            self.last = Some(mark);
            self.highest = clock;
            self.recent = 1;
            self.step = format.duration(octets).unwrap_or(USUAL);
            return;
        };
        let ahead = clock.wrapping_sub(self.highest);
        if ahead == 0 || ahead >= 0x8000_0000 {
            self.late(self.highest.wrapping_sub(clock));
            return;
        }
        let step = match format.duration(octets) {
            Some(step) => step,
            // Without a codec that tells, the shortest step seen is the packet's length.
            None if ahead >= 10 && ahead < self.step => ahead,
            None => self.step,
        };
        self.step = step.max(1);
        // A clock that was set anew lies off the grid; less than a step and a half is no hole.
        let places = (ahead + self.step / 2) / self.step;
        if ahead > PAUSE {
            self.pauses = self.pauses.saturating_add(1);
            self.recent = 1;
        } else {
            if places > 1 {
                self.lost = self.lost.saturating_add(places - 1);
                self.gaps = self.gaps.saturating_add(1);
                self.longest_gap_ms = self.longest_gap_ms.max(ahead - self.step);
            }
            self.recent = self.recent.checked_shl(places.max(1)).unwrap_or(0) | 1;
            self.vary(ahead, mark.micros_since(&last));
        }
        self.highest = clock;
        self.last = Some(mark);
    }

    /// A packet at or behind the highest clock: one that was missed, or one that came before.
    fn late(&mut self, behind: u32) {
        let places = (behind + self.step / 2) / self.step.max(1);
        if places >= WINDOW {
            // Too old to tell from a clock that was set back.
            self.reordered = self.reordered.saturating_add(1);
            return;
        }
        let bit = 1_u64 << places;
        if self.recent & bit != 0 {
            self.duplicated = self.duplicated.saturating_add(1);
        } else {
            self.recent |= bit;
            self.reordered = self.reordered.saturating_add(1);
            self.lost = self.lost.saturating_sub(1);
        }
    }

    #[allow(clippy::cast_precision_loss)] // milliseconds of a call
    fn vary(&mut self, clock: u32, arrived_us: u64) {
        let deviation = (arrived_us as f32 / 1000.0 - clock as f32).abs();
        self.jitter += (deviation - self.jitter) / 16.0;
        self.worst = self.worst.max(self.jitter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes packets of 20 ms µ-law with these clocks; each arrives as its clock says.
    fn heard(clocks: &[u32]) -> Media {
        let mut media = Media::default();
        for (index, clock) in clocks.iter().enumerate() {
            let time = Duration::from_millis(u64::from(*clock) + 1000);
            let mark = Mark::new(0, index as u64 + 1, time);
            #[allow(clippy::cast_possible_truncation)] // the low bits are what is wanted
            let low = Clock::Low(*clock as u16);
            media.take(Carrier::Mini, low, 160, Formats::ULAW, mark);
        }
        media
    }

    #[test]
    fn holes_are_counted_and_late_packets_fill_them() {
        let media = heard(&[0, 20, 40, 100, 120, 60]);
        assert_eq!((media.packets(), media.lost, media.gaps), (6, 1, 1));
        assert_eq!((media.reordered, media.duplicated), (1, 0));
        assert_eq!(media.longest_gap_ms, 40);
    }

    #[test]
    fn what_comes_twice_is_no_disorder() {
        let media = heard(&[0, 20, 20, 40, 20]);
        assert_eq!((media.lost, media.reordered, media.duplicated), (0, 0, 2));
    }

    #[test]
    fn the_low_bits_wrap_and_a_pause_is_no_loss() {
        let media = heard(&[65_500, 65_520, 65_540, 65_560, 68_000, 68_020]);
        assert_eq!((media.lost, media.pauses, media.reordered), (0, 1, 0));
        assert_eq!(media.jitter(), Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_set_anew_is_no_hole() {
        let media = heard(&[0, 20, 40, 69, 89, 109]);
        assert_eq!((media.lost, media.gaps), (0, 0));
    }
}
