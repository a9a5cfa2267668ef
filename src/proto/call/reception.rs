//! What arrives of the peer's audio, counted by its clock: loss, order and jitter (RFC 3550 §6.4.1), as PONG
//! tells the peer (RFC 5456 §8.6.38 to §8.6.43).

use std::time::Instant;

use crate::{proto::media::report::ReceiverReport, wire::iax2::format::Formats};

/// A clock that jumps by more than this, in milliseconds, paused: nothing was sent in between.
const PAUSE: u32 = 1_000;

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Reception {
    received: u32,
    lost: u32,
    out_of_order: u32,
    /// The highest clock so far.
    highest: Option<u32>,
    /// The length of a packet in milliseconds, once known.
    step: Option<u32>,
    /// Which packets came: bit 0 is the highest clock, each further bit one packet earlier.
    seen: u64,
    /// The packet that came last.
    last: Option<(u32, Instant)>,
    /// RFC 3550 jitter in microseconds, times 16.
    jitter: u64,
    /// What was expected and what lost at the last report.
    reported: (u32, u32),
}

impl Reception {
    /// Takes one packet of so many octets.
    pub(super) fn note(&mut self, timestamp: u32, format: Formats, octets: usize, now: Instant) {
        self.note_jitter(timestamp, now);
        let Some(highest) = self.highest else {
            self.step = format.duration(octets);
            return self.resume(timestamp);
        };
        let ahead = timestamp.wrapping_sub(highest);
        if ahead == 0 {
            return;
        }
        if ahead >= 1 << 31 {
            return self.note_late(highest.wrapping_sub(timestamp));
        }
        // The shortest distance is that of neighbours.
        let shortest = self.step.map_or(ahead, |step| step.min(ahead));
        let step = format.duration(octets).unwrap_or(shortest);
        self.step = Some(step);
        if ahead > PAUSE {
            return self.resume(timestamp);
        }
        // Half a packet more or less is no packet.
        let steps = ((ahead + step / 2) / step).max(1);
        self.lost += steps - 1;
        self.received += 1;
        self.seen = self.seen.checked_shl(steps).unwrap_or(0) | 1;
        self.highest = Some(timestamp);
    }

    /// Takes one packet that waited at its sender, and whose clock does not tell how long: one of those that
    /// the hole before it seemed to have lost.
    pub(super) fn note_queued(&mut self) {
        self.received += 1;
        self.lost = self.lost.saturating_sub(1);
    }

    fn resume(&mut self, timestamp: u32) {
        self.received += 1;
        self.seen = 1;
        self.highest = Some(timestamp);
    }

    fn note_late(&mut self, behind: u32) {
        let steps = self.step.map(|step| (behind + step / 2) / step);
        let Some(bit) = steps.and_then(|steps| 1u64.checked_shl(steps)) else {
            // Too old, or too early, to tell what it is.
            self.out_of_order += 1;
            return;
        };
        if self.seen & bit == 0 {
            self.seen |= bit;
            self.received += 1;
            self.out_of_order += 1;
            self.lost = self.lost.saturating_sub(1);
        }
    }

    fn note_jitter(&mut self, timestamp: u32, now: Instant) {
        let Some((before, then)) = self.last.replace((timestamp, now)) else {
            return;
        };
        let ahead = timestamp.wrapping_sub(before);
        let millis = if ahead < 1 << 31 {
            i64::from(ahead)
        } else {
            -i64::from(before.wrapping_sub(timestamp))
        };
        if millis.unsigned_abs() > u64::from(PAUSE) {
            return;
        }
        let elapsed = now.saturating_duration_since(then).as_micros();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let difference = elapsed.saturating_sub(millis * 1000).unsigned_abs();
        self.jitter = (self.jitter - self.jitter / 16).saturating_add(difference);
    }

    /// The report; `None` before the first packet. Its percentage is that since the last one.
    pub(super) fn report(&mut self) -> Option<ReceiverReport> {
        let report = self.figures()?;
        let expected = self.received + self.lost;
        let (expected_before, lost_before) = self.reported;
        self.reported = (expected, self.lost);
        let lately = expected.saturating_sub(expected_before).max(1);
        let lost = self.lost.saturating_sub(lost_before);
        Some(ReceiverReport {
            loss_percent: u8::try_from(u64::from(lost) * 100 / u64::from(lately)).unwrap_or(100),
            ..report
        })
    }

    /// The figures so far; the percentage is that of all.
    pub(super) fn figures(&self) -> Option<ReceiverReport> {
        self.highest?;
        let expected = u64::from(self.received) + u64::from(self.lost);
        Some(ReceiverReport {
            jitter_ms: u32::try_from((self.jitter / 16 + 500) / 1000).unwrap_or(u32::MAX),
            loss_percent: u8::try_from(u64::from(self.lost) * 100 / expected.max(1)).unwrap_or(100),
            lost: self.lost,
            packets: self.received,
            delay_ms: 0,
            dropped: 0,
            out_of_order: self.out_of_order,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Packets of 20 ms, each with its clock and when it arrives, both in milliseconds.
    fn received(packets: impl IntoIterator<Item = (u32, u64)>) -> Reception {
        let start = Instant::now();
        let mut reception = Reception::default();
        for (timestamp, at) in packets {
            let now = start + Duration::from_millis(at);
            reception.note(timestamp, Formats::ULAW, 160, now);
        }
        reception
    }

    #[test]
    fn nothing_came_and_nothing_is_said() {
        assert_eq!(Reception::default().report(), None);
    }

    #[test]
    fn loss_is_what_the_clock_leaves_out() {
        let packets = (0..1000u32).filter(|n| n % 20 != 7);
        let mut reception = received(packets.map(|n| (n * 20, u64::from(n) * 20)));
        let report = reception.report().unwrap();
        assert_eq!((report.packets, report.lost), (950, 50));
        assert_eq!((report.loss_percent, report.out_of_order), (5, 0));
        // 19 of 20 gaps are as they should be.
        assert_eq!(report.jitter_ms, 0);
        let again = reception.report().unwrap();
        assert_eq!((again.lost, again.loss_percent), (50, 0), "none lately");
    }

    #[test]
    fn late_packets_are_not_lost_and_copies_are_not_counted() {
        let clocks = [0, 20, 60, 40, 40, 80, 100, 80, 160, 140, 140, 180];
        let at = clocks.iter().zip(0u64..).map(|(clock, n)| (*clock, n * 20));
        let report = received(at).report().unwrap();
        assert_eq!((report.packets, report.lost), (9, 1), "120 is missing");
        assert_eq!(report.out_of_order, 2);
    }

    #[test]
    fn a_pause_is_no_loss_and_the_clock_wraps() {
        let base = u32::MAX - 39;
        let clocks = [0, 20, 40, 60, 5060, 5080, 5120].map(|n| base.wrapping_add(n));
        let at = clocks.iter().zip(0u64..).map(|(clock, n)| (*clock, n * 20));
        let report = received(at).report().unwrap();
        assert_eq!((report.packets, report.lost), (7, 1));
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        // Alternately 6 ms early and late: every difference is 12 ms, and the mean tends to it.
        let packets = (0..500u32).map(|n| {
            let late = if n % 2 == 0 { 0 } else { 12 };
            (n * 20, u64::from(n) * 20 + late)
        });
        assert_eq!(received(packets).report().unwrap().jitter_ms, 12);
    }

    #[test]
    fn a_sender_that_was_late_has_lost_nothing() {
        let mut reception = received([(0, 0), (20, 20), (840, 840)]);
        assert_eq!(reception.figures().unwrap().lost, 40);
        for _ in 0..40 {
            reception.note_queued();
        }
        let report = reception.report().unwrap();
        assert_eq!(
            (report.packets, report.lost, report.out_of_order),
            (43, 0, 0)
        );
    }

    #[test]
    fn a_format_that_hides_its_length_shows_it_by_its_clock() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in (0..100u32).filter(|n| n % 10 != 5) {
            reception.note(
                n * 30,
                Formats::SPEEX,
                38,
                start + Duration::from_millis(n.into()),
            );
        }
        let report = reception.report().unwrap();
        assert_eq!((report.packets, report.lost), (90, 10));
    }
}
