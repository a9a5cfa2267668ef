//! Audio and the clock it travels with: which packet is a full frame and which a mini frame, and how 16 bits
//! of a mini frame's clock become 32 again (RFC 5456 §8.1.2, §6.10; deployed peers where they differ).

use std::time::Instant;

use super::Carrier;
use crate::{types::Timestamp, wire::iax2::format::Formats};

/// Audio that drifted this far from the clock, in milliseconds, takes the clock again (as Asterisk).
const DRIFT: u32 = 160;
/// A mini frame that seems this far behind or ahead lies on the other side of a wrap (as Asterisk).
const WRAP: u32 = 50_000;
/// Packets begin at multiples of this, in milliseconds (as Asterisk).
const GRID: u32 = 20;

/// The clock of what is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    /// What was sent last: its format, clock and length in milliseconds.
    last: Option<(Formats, u32, u32)>,
}

impl Outgoing {
    /// The timestamp of the next packet of `millis`, and whether it must be a full frame: the first one, after
    /// a change of format, and where the 16 bits of a mini frame would wrap. A sender without
    /// `full_at_wrap` sends no full frame there, as Asterisk.
    pub(super) fn stamp(
        &mut self,
        clock: Timestamp,
        format: Formats,
        millis: u32,
        full_at_wrap: bool,
    ) -> (u32, bool) {
        let clock = clock.millis();
        let on_grid = clock - clock % GRID;
        let (timestamp, full) = match self.last {
            None => (on_grid, true),
            Some((format_before, before, length)) => {
                let expected = before.wrapping_add(length);
                let timestamp = if distance(clock, expected) > DRIFT {
                    // Never back: the receiver would take it for a wrap.
                    if on_grid.wrapping_sub(before) < 1 << 31 && on_grid != before {
                        on_grid
                    } else {
                        expected
                    }
                } else {
                    expected
                };
                let wraps = timestamp >> 16 != before >> 16;
                let gap = timestamp.wrapping_sub(before) > u32::from(u16::MAX);
                let full = format != format_before || gap || (wraps && full_at_wrap);
                (timestamp, full)
            }
        };
        self.last = Some((format, timestamp, millis));
        (timestamp, full)
    }
}

/// The clock of what is received.
#[derive(Clone, Debug, Default)]
pub(super) struct Incoming {
    format: Option<Formats>,
    /// The highest clock so far.
    last: u32,
    /// A trunk's clock and the call's, where trunk frames carry no clocks of the calls.
    trunk: Option<(u32, u32)>,
    /// The trunk frame of the last entry: its clock, and when it came.
    frame: Option<(u32, Instant)>,
}

impl Incoming {
    /// The format of the last full VOICE frame.
    pub(super) const fn format(&self) -> Option<Formats> {
        self.format
    }

    /// Takes a full VOICE frame.
    pub(super) fn full(&mut self, timestamp: Timestamp, format: Formats) -> u32 {
        let timestamp = timestamp.millis();
        self.format = Some(format);
        // One that was sent again comes late, and the clock is ahead of it.
        if !Timestamp::from_millis(timestamp).is_before(Timestamp::from_millis(self.last)) {
            self.last = timestamp;
        }
        timestamp
    }

    /// The whole clock of a mini frame.
    pub(super) fn mini(&mut self, low: u16) -> u32 {
        let near = (self.last & !0xffff) | u32::from(low);
        let timestamp = if self.last.wrapping_sub(near) < 1 << 31 && self.last - near > WRAP {
            near.wrapping_add(0x1_0000)
        } else if near > self.last && near - self.last > WRAP && near >= 0x1_0000 {
            near - 0x1_0000
        } else {
            near
        };
        if timestamp.wrapping_sub(self.last) < 1 << 31 {
            self.last = timestamp;
        }
        timestamp
    }

    /// The clock of an entry without one, from the clock of its trunk frame: both run alike from the first
    /// entry on. An Asterisk that was late puts all that a call has waiting into one frame, and what does not
    /// fit into the next, a millisecond later.
    pub(super) fn entry(&mut self, trunk: Timestamp, now: Instant) -> (u32, Carrier) {
        let trunk = trunk.millis();
        let queued = self.frame.is_some_and(|(before, then)| {
            // A copy of the whole frame comes by itself.
            (before == trunk && then == now) || (1..GRID / 2).contains(&trunk.wrapping_sub(before))
        });
        let carrier = if queued {
            Carrier::Queued
        } else {
            Carrier::Trunk
        };
        self.frame = Some((trunk, now));
        let (trunk_then, call_then) = *self.trunk.get_or_insert((trunk, self.last + GRID));
        let timestamp = call_then.wrapping_add(trunk.wrapping_sub(trunk_then));
        if timestamp.wrapping_sub(self.last) < 1 << 31 {
            self.last = timestamp;
        }
        (timestamp, carrier)
    }
}

/// How far apart two clocks are, either way round.
fn distance(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b).min(b.wrapping_sub(a))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u32) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn packets_follow_each_other_and_take_the_clock_after_a_gap() {
        let mut outgoing = Outgoing::default();
        let mut stamp = |clock| outgoing.stamp(at(clock), Formats::ULAW, 20, true);
        assert_eq!(stamp(47), (40, true));
        assert_eq!(stamp(71), (60, false), "a late tick does not show");
        assert_eq!(stamp(78), (80, false));
        assert_eq!(stamp(1000), (1000, false), "after silence the clock rules");
        assert_eq!(stamp(100_000), (100_000, true), "16 bits do not reach");
        let mut other = Outgoing::default();
        other.stamp(at(0), Formats::ULAW, 20, true);
        assert!(other.stamp(at(20), Formats::ALAW, 20, true).1);
    }

    #[test]
    fn the_wrap_is_a_full_frame_or_not() {
        for (full_at_wrap, fulls) in [(true, 55), (false, 1)] {
            let mut outgoing = Outgoing::default();
            let full = (0..180_000u32)
                .filter(|n| {
                    outgoing
                        .stamp(at(n * 20), Formats::ULAW, 20, full_at_wrap)
                        .1
                })
                .count();
            assert_eq!(full, fulls, "an hour, {full_at_wrap}");
        }
    }

    #[test]
    fn an_hour_of_mini_frames_keeps_its_clock() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.full(at(40), Formats::ULAW), 40);
        for n in 3..200_000u32 {
            let clock = n * 20;
            // Every seventh pair comes in the wrong order, across the wrap too.
            let clock = match n % 7 {
                3 => clock + 20,
                4 => clock - 20,
                _ => clock,
            };
            assert_eq!(incoming.mini((clock & 0xffff) as u16), clock);
        }
    }

    #[test]
    fn a_late_packet_stays_on_its_side_of_the_wrap() {
        let mut incoming = Incoming::default();
        incoming.full(at(65_500), Formats::ULAW);
        assert_eq!(incoming.mini(4), 65_540);
        assert_eq!(incoming.mini(65_520), 65_520);
        assert_eq!(incoming.mini(24), 65_560);
    }

    #[test]
    fn entries_without_clocks_follow_the_trunk() {
        let mut incoming = Incoming::default();
        incoming.full(at(100), Formats::ULAW);
        let now = Instant::now();
        for (n, trunk, clock) in [(0, 7000, 120), (1, 7040, 160), (2, 7020, 140)] {
            let came = now + Duration::from_millis(n);
            assert_eq!(incoming.entry(at(trunk), came), (clock, Carrier::Trunk));
        }
    }

    #[test]
    fn entries_that_waited_for_their_trunk_frame_are_told_from_its_copies() {
        let mut incoming = Incoming::default();
        incoming.full(at(100), Formats::ULAW);
        let now = Instant::now();
        let mut carrier = |trunk, after| {
            let came = now + Duration::from_millis(after);
            incoming.entry(at(trunk), came).1
        };
        assert_eq!(carrier(7000, 0), Carrier::Trunk);
        assert_eq!(carrier(7000, 3), Carrier::Trunk, "the frame came twice");
        assert_eq!(carrier(7020, 20), Carrier::Trunk);
        assert_eq!(carrier(7800, 800), Carrier::Trunk);
        assert_eq!(carrier(7800, 800), Carrier::Queued);
        assert_eq!(carrier(7801, 801), Carrier::Queued, "the next frame of it");
        assert_eq!(carrier(7801, 801), Carrier::Queued);
        assert_eq!(carrier(7820, 820), Carrier::Trunk);
    }
}
