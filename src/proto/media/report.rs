//! The receiver report that PONG carries: what one end says of the audio it got (RFC 5456 §6.7.3,
//! elements RR JITTER to RR OOO of §8.6).

use crate::wire::iax2::{
    ie::{IeWriter, Ies},
    ie_value::Ie,
};

/// One receiver report. An element that was absent reads as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: u32,
    /// Percent of the frames that were lost, lately.
    pub loss_percent: u8,
    /// Frames lost in all; the wire holds 24 bits.
    pub lost: u32,
    /// Frames received in all. Asterisk counts every frame that passes its jitter buffer, of whatever
    /// type, and writes 1 where there was none.
    pub packets: u32,
    /// Longest playout delay in milliseconds.
    pub delay_ms: u16,
    /// Frames dropped by the jitter buffer.
    pub dropped: u32,
    /// Frames received out of order.
    pub out_of_order: u32,
}

/// The low bits of RR LOSS count frames, the top octet is a percentage (RFC 5456 §8.6).
const LOST: u32 = 0x00ff_ffff;

impl ReceiverReport {
    /// Reads the report from the elements of a PONG; `None` where none of its elements is there.
    #[must_use]
    pub fn read(elements: Ies<'_>) -> Option<Self> {
        let mut report = Self::default();
        let mut found = false;
        for element in elements {
            found |= report.take(Ie::read(element));
        }
        found.then_some(report)
    }

    /// Appends the report's elements.
    #[must_use]
    pub fn write(self, writer: IeWriter) -> IeWriter {
        let loss = u32::from(self.loss_percent) << 24 | self.lost.min(LOST);
        writer
            .ie(Ie::RrJitter(self.jitter_ms))
            .ie(Ie::RrLoss(loss))
            .ie(Ie::RrPkts(self.packets))
            .ie(Ie::RrDelay(self.delay_ms))
            .ie(Ie::RrDropped(self.dropped))
            .ie(Ie::RrOoo(self.out_of_order))
    }

    /// Whether anything was measured. An Asterisk without jitter buffer (its default) measures nothing,
    /// yet reports one packet, no loss, and the delay that a buffer would begin with.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        self.packets > 1
            || self.jitter_ms > 0
            || self.loss_percent > 0
            || self.lost > 0
            || self.dropped > 0
            || self.out_of_order > 0
    }

    /// Takes one element, if it is one of the report.
    fn take(&mut self, element: Ie<'_>) -> bool {
        match element {
            Ie::RrJitter(jitter) => self.jitter_ms = jitter,
            Ie::RrLoss(loss) => {
                [self.loss_percent, ..] = loss.to_be_bytes();
                self.lost = loss & LOST;
            }
            Ie::RrPkts(packets) => self.packets = packets,
            Ie::RrDelay(delay) => self.delay_ms = delay,
            Ie::RrDropped(dropped) => self.dropped = dropped,
            Ie::RrOoo(out_of_order) => self.out_of_order = out_of_order,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(elements: &[u8]) -> Option<ReceiverReport> {
        ReceiverReport::read(Ies::parse(elements, 0).unwrap())
    }

    #[test]
    fn an_asterisk_without_jitter_buffer_has_measured_nothing() {
        // From a PONG of Asterisk 16 with jitterbuffer=no, after 21 s of audio.
        let report = read(&[
            0x2e, 4, 0, 0, 0, 0, // RR JITTER
            0x2f, 4, 0, 0, 0, 0, // RR LOSS
            0x30, 4, 0, 0, 0, 1, // RR PKTS
            0x31, 2, 0, 0x28, // RR DELAY: 40 ms
            0x32, 4, 0, 0, 0, 0, // RR DROPPED
            0x33, 4, 0, 0, 0, 0, // RR OOO
        ])
        .unwrap();
        assert_eq!((report.packets, report.delay_ms), (1, 40));
        assert!(!report.is_measured());
    }

    #[test]
    fn reports_survive_the_wire() {
        let report = ReceiverReport {
            jitter_ms: 12,
            loss_percent: 5,
            lost: 103,
            packets: 2000,
            delay_ms: 80,
            dropped: 3,
            out_of_order: 7,
        };
        let elements = report.write(IeWriter::new()).finish().unwrap();
        assert_eq!(read(&elements), Some(report));
        assert!(report.is_measured());

        let endless = ReceiverReport {
            lost: u32::MAX,
            ..report
        };
        let elements = endless.write(IeWriter::new()).finish().unwrap();
        let back = read(&elements).unwrap();
        assert_eq!((back.loss_percent, back.lost), (5, LOST));
    }

    #[test]
    fn other_elements_make_no_report() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x12, 1, 0]), None);
        // RR PKTS of the wrong length is not one.
        assert_eq!(read(&[0x30, 1, 9]), None);
    }
}
