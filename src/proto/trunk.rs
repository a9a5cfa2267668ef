//! The sending end of a trunk: audio of many calls towards one peer, in as few datagrams as fit it
//! (RFC 5456 §8.1.3.2, and deployed peers where they differ).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    proto::call::TrunkAudio,
    types::{CallNumber, Timestamp},
    wire::iax2::{
        frame::{Frame, TRUNK_HEADER},
        trunk::{MetaTrunk, TrunkEntry},
    },
};

/// The largest datagram unless told otherwise (as Asterisk's `trunkmtu`): with its headers it fits what
/// links commonly carry, a tunnel included.
pub const MTU: usize = 1240;
/// Octets of an entry without its audio: call number and length.
const ENTRY: usize = 4;
/// Octets of an entry's timestamp.
const ENTRY_TIMESTAMP: usize = 2;
/// Octets of an entry with a timestamp, without its audio.
pub const ENTRY_WITH_TIMESTAMP: usize = ENTRY + ENTRY_TIMESTAMP;

/// A trunk towards one peer.
#[derive(Debug)]
pub struct TrunkSender {
    /// When the trunk's clock began.
    born: Instant,
    mtu: usize,
    /// Whether entries carry the clocks of their calls.
    timestamps: bool,
    /// The clock of the last frame.
    last: Option<Timestamp>,
    /// The entries of the next frame, and whose they are.
    body: Vec<u8>,
    calls: Vec<CallNumber>,
    outbox: VecDeque<Vec<u8>>,
}

impl TrunkSender {
    /// A trunk whose clock begins now, with datagrams of at most `mtu` octets.
    #[must_use]
    pub fn new(mtu: usize, timestamps: bool, now: Instant) -> Self {
        Self {
            born: now,
            mtu,
            timestamps,
            last: None,
            body: Vec::new(),
            calls: Vec::new(),
            outbox: VecDeque::new(),
        }
    }

    /// Whether entries carry the clocks of their calls from the next frame on; a peer that sends them so reads
    /// them so.
    pub fn set_timestamps(&mut self, timestamps: bool, now: Instant) {
        if timestamps != self.timestamps {
            self.flush(now);
            self.timestamps = timestamps;
        }
    }

    /// Adds one packet of a call.
    ///
    /// # Errors
    ///
    /// Gives it back where no datagram has room for it.
    pub fn push(&mut self, audio: TrunkAudio, now: Instant) -> Result<(), TrunkAudio> {
        let length = self.entry_length(audio.payload.len());
        if TRUNK_HEADER + length > self.mtu {
            return Err(audio);
        }
        // Without a clock of its own a second packet of a call would come at the time of the first.
        let again = !self.timestamps && self.calls.contains(&audio.source);
        if again || TRUNK_HEADER + self.body.len() + length > self.mtu {
            self.flush(now);
        }
        let entry = TrunkEntry {
            source: audio.source,
            timestamp: self.timestamps.then_some(audio.timestamp),
            payload: &audio.payload,
        };
        if entry.encode(&mut self.body).is_err() {
            return Err(audio);
        }
        self.calls.push(audio.source);
        Ok(())
    }

    /// Closes the frame that collects: everything pushed so far is ready to leave.
    pub fn flush(&mut self, now: Instant) {
        if self.body.is_empty() {
            return;
        }
        let timestamp = self.next_timestamp(now);
        let frame = MetaTrunk {
            command_data: u8::from(self.timestamps),
            timestamp,
            body: &self.body,
        };
        self.outbox.push_back(Frame::Trunk(frame).to_vec());
        self.body.clear();
        self.calls.clear();
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The trunk's clock, never the same twice (as Asterisk).
    fn next_timestamp(&mut self, now: Instant) -> Timestamp {
        let clock = Timestamp::from_elapsed(self.elapsed(now));
        let timestamp = match self.last {
            Some(last) if !last.is_before(clock) => last.plus(1),
            _ => clock,
        };
        self.last = Some(timestamp);
        timestamp
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    const fn entry_length(&self, octets: usize) -> usize {
        let timestamp = if self.timestamps { ENTRY_TIMESTAMP } else { 0 };
        ENTRY + timestamp + octets
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::{link::Udp, pcap::Reader};

    fn audio(source: u16, timestamp: u16, octets: usize) -> TrunkAudio {
        TrunkAudio {
            source: CallNumber::from_bits(source),
            timestamp,
            payload: vec![0x55; octets],
        }
    }

    fn sent(trunk: &mut TrunkSender) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| trunk.poll_transmit()).collect()
    }

    /// Every trunk frame that two real Asterisks sent each other, in the order of the capture.
    fn captured(name: &str) -> Vec<Vec<u8>> {
        let path = format!("{}/tests/data/captures/{name}", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        let reader = Reader::new(&file).unwrap();
        reader
            .filter_map(|packet| {
                let packet = packet.unwrap();
                let udp = Udp::read(packet.link, packet.octets).ok().flatten()?;
                matches!(Frame::decode(udp.payload), Ok(Frame::Trunk(_)))
                    .then(|| udp.payload.to_vec())
            })
            .collect()
    }

    #[test]
    fn frames_are_written_as_asterisk_writes_them() {
        for (name, at_least) in [("ast16/trunk3calls.pcap", 400), ("ast22/trunk.pcap", 20)] {
            let frames = captured(name);
            assert!(frames.len() >= at_least, "{name}: {}", frames.len());
            let (mut several, mut alike) = (0, 0);
            let mut forms = [0, 0];
            let start = Instant::now();
            for octets in &frames {
                let Ok(Frame::Trunk(frame)) = Frame::decode(octets) else {
                    panic!("a trunk frame");
                };
                let clocks = frame.has_entry_timestamps();
                forms[usize::from(clocks)] += 1;
                let mut trunk = TrunkSender::new(MTU, clocks, start);
                let now = start + Duration::from_millis(frame.timestamp.millis().into());
                several += usize::from(frame.entries().count() > 1);
                for entry in frame.entries() {
                    let audio = TrunkAudio {
                        source: entry.source,
                        timestamp: entry.timestamp.unwrap_or(7),
                        payload: entry.payload.to_vec(),
                    };
                    assert_eq!(trunk.push(audio, now), Ok(()));
                }
                trunk.flush(now);
                let sources: BTreeSet<_> = frame.entries().map(|entry| entry.source).collect();
                // Asterisk has a late packet of a call stand at the time of the next one.
                if clocks || sources.len() == frame.entries().count() {
                    assert_eq!(sent(&mut trunk), std::slice::from_ref(octets));
                    alike += 1;
                } else {
                    let bodies: Vec<u8> = sent(&mut trunk)
                        .iter()
                        .flat_map(|octets| octets[TRUNK_HEADER..].to_vec())
                        .collect();
                    assert_eq!(bodies, octets[TRUNK_HEADER..]);
                }
            }
            assert!(forms.iter().all(|count| *count > 0), "{name}: {forms:?}");
            assert!(several > 0 || name == "ast22/trunk.pcap");
            assert!(alike * 10 > frames.len() * 9, "{name}: {alike}");
        }
    }

    #[test]
    fn no_datagram_exceeds_the_mtu_and_none_is_half_empty() {
        let start = Instant::now();
        for (timestamps, calls) in [(false, 7), (true, 7)] {
            let mut trunk = TrunkSender::new(MTU, timestamps, start);
            for source in 2..102 {
                assert_eq!(trunk.push(audio(source, 20, 160), start), Ok(()));
            }
            trunk.flush(start);
            let sent = sent(&mut trunk);
            assert_eq!(sent.len(), 100usize.div_ceil(calls));
            assert!(sent.iter().all(|octets| octets.len() <= MTU));
            let whole = sent.iter().map(Vec::len).filter(|length| *length > 1100);
            assert_eq!(whole.count(), 100 / calls);
        }
    }

    #[test]
    fn what_no_datagram_has_room_for_comes_back() {
        let start = Instant::now();
        let mut trunk = TrunkSender::new(200, true, start);
        assert_eq!(trunk.push(audio(2, 20, 187), start), Err(audio(2, 20, 187)));
        assert_eq!(trunk.push(audio(2, 20, 186), start), Ok(()));
        trunk.flush(start);
        assert_eq!(sent(&mut trunk)[0].len(), 200);
        trunk.flush(start);
        assert_eq!(sent(&mut trunk), [[0; 0]; 0], "nothing is left");
    }

    #[test]
    fn a_call_is_once_in_a_frame_that_has_one_clock() {
        let start = Instant::now();
        let mut trunk = TrunkSender::new(MTU, false, start);
        for timestamp in [20, 40] {
            for source in [2, 3] {
                trunk.push(audio(source, timestamp, 160), start).unwrap();
            }
        }
        trunk.flush(start);
        let clocks: Vec<_> = sent(&mut trunk)
            .iter()
            .map(|octets| match Frame::decode(octets) {
                Ok(Frame::Trunk(frame)) => (frame.timestamp.millis(), frame.entries().count()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(clocks, [(0, 2), (1, 2)]);
    }

    #[test]
    fn the_form_changes_with_a_new_frame() {
        let start = Instant::now();
        let mut trunk = TrunkSender::new(MTU, false, start);
        trunk.push(audio(2, 20, 160), start).unwrap();
        let later = start + Duration::from_millis(20);
        trunk.set_timestamps(true, later);
        trunk.push(audio(2, 40, 160), later).unwrap();
        trunk.flush(later);
        let sent = sent(&mut trunk);
        assert_eq!(sent[0][..8], [0, 0, 1, 0, 0, 0, 0, 20]);
        assert_eq!(sent[1][..8], [0, 0, 1, 1, 0, 0, 0, 21]);
    }
}
