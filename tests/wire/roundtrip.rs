//! Frames and octets turn into each other without loss.

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::FrameType,
        frame::{Frame, FullFrame, MetaOther, MetaVideo, MiniFrame, Subclass},
        ie::{IeId, IeWriter, Ies},
        ie_value::Ie,
        trunk::{MetaTrunk, TrunkEntry},
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    elements::ELEMENTS,
    fixtures::{every_datagram, exercise, golden},
};

/// Whether octets have the structure of a datagram: the rules of RFC 5456 §8.1 once more, in short.
fn is_frame(datagram: &[u8]) -> bool {
    let minimum = match datagram {
        [0x80..=0xff, ..] => 12,
        [0, 0, 0x80..=0xff, ..] => 6,
        [0, 0, 1, ..] => 8,
        _ => 4,
    };
    if datagram.len() < minimum {
        return false;
    }
    if datagram[0] < 0x80 || datagram[10] != 6 {
        return true;
    }
    let mut rest = &datagram[12..];
    while let [_, length, data @ ..] = rest {
        match data.get(usize::from(*length)..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

/// Octets of elements: those with plausible values among any others.
fn elements() -> impl Strategy<Value = Vec<u8>> {
    let known = any::<Index>().prop_map(|index| {
        let (value, _) = index.get(&ELEMENTS);
        IeWriter::new().ie(*value).finish().unwrap()
    });
    let any = (any::<u8>(), vec(any::<u8>(), 0..40))
        .prop_map(|(id, data)| IeWriter::new().raw(id, &data).finish().unwrap());
    vec(prop_oneof![known, any], 0..8).prop_map(|elements| elements.concat())
}

/// A full frame's type and payload; half of them IAX.
fn typed_payload() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        (Just(6), elements()),
        (any::<u8>().prop_filter("IAX", |kind| *kind != 6), payload()),
    ]
}

/// Octets that look like datagrams more often than chance would have them.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let header = |octets: &'static [u8]| payload().prop_map(move |tail| [octets, &tail].concat());
    let full = (vec(any::<u8>(), 10), any::<u8>(), elements()).prop_map(
        |(mut header, subclass, elements)| {
            header[0] |= 0x80;
            header.extend([6, subclass]);
            [header, elements].concat()
        },
    );
    let known = any::<Index>().prop_map(|index| index.get(&golden()).datagram.clone());
    prop_oneof![
        payload(),
        vec(any::<u8>(), 0..16),
        header(&[0, 0, 1, 0, 0, 0, 0, 0, 0x16, 0x33, 0, 3]),
        header(&[0, 0, 1, 1, 0, 0, 0, 0, 0, 3, 0x16, 0x33]),
        header(&[0, 0]),
        header(&[0, 0, 0x80]),
        full,
        known,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn accepted_octets_are_written_back(datagram in datagram()) {
        prop_assert_eq!(exercise(&datagram), is_frame(&datagram));
    }

    /// One octet is another, and the end is missing.
    #[test]
    fn damaged_datagrams_are_accepted_or_refused(
        datagram in datagram(),
        place: Index,
        octet: u8,
        length: Index,
    ) {
        let mut damaged = datagram;
        if !damaged.is_empty() {
            let place = place.index(damaged.len());
            damaged[place] = octet;
        }
        damaged.truncate(length.index(damaged.len() + 1));
        prop_assert_eq!(exercise(&damaged), is_frame(&damaged));
    }

    #[test]
    fn full_frames_are_read_as_written(
        (source, destination, retransmission, timestamp) in any::<(u16, u16, bool, u32)>(),
        (oseqno, iseqno, subclass) in any::<(u8, u8, u8)>(),
        (kind, payload) in typed_payload(),
    ) {
        let frame = Frame::Full(FullFrame {
            source: CallNumber::from_bits(source),
            destination: CallNumber::from_bits(destination),
            retransmission,
            timestamp: Timestamp::from_millis(timestamp),
            oseqno: SeqNo::new(oseqno),
            iseqno: SeqNo::new(iseqno),
            frame_type: FrameType::from(kind),
            subclass: Subclass::from_raw(subclass),
            payload: &payload,
        });
        let datagram = frame.to_vec();
        prop_assert_eq!(Frame::decode(&datagram), Ok(frame));
    }

    #[test]
    fn mini_frames_are_read_as_written(source in 1..0x8000u16, timestamp: u16, payload in payload()) {
        let frame = Frame::Mini(MiniFrame {
            source: CallNumber::from_bits(source),
            timestamp,
            payload: &payload,
        });
        let datagram = frame.to_vec();
        prop_assert_eq!(Frame::decode(&datagram), Ok(frame));
    }

    #[test]
    fn meta_video_frames_are_read_as_written(
        (source, mark) in any::<(u16, bool)>(),
        timestamp in 0..0x8000u16,
        payload in payload(),
    ) {
        let frame = Frame::Video(MetaVideo {
            source: CallNumber::from_bits(source),
            mark,
            timestamp,
            payload: &payload,
        });
        let datagram = frame.to_vec();
        prop_assert_eq!(Frame::decode(&datagram), Ok(frame));
    }

    #[test]
    fn other_meta_frames_are_read_as_written(
        command in (0..0x80u8).prop_filter("trunk", |command| *command != MetaTrunk::COMMAND),
        data: u8,
        payload in payload(),
    ) {
        let frame = Frame::Meta(MetaOther { command, data, payload: &payload });
        let datagram = frame.to_vec();
        prop_assert_eq!(Frame::decode(&datagram), Ok(frame));
    }

    /// Whole entries are read as written, and those before the cut where the frame is cut.
    #[test]
    fn trunk_frames_are_read_as_written(
        (timestamps, unused_bits, timestamp) in any::<(bool, u8, u32)>(),
        calls in vec((any::<u16>(), any::<u16>(), payload()), 0..6),
        cut: Index,
    ) {
        let entries: Vec<_> = calls
            .iter()
            .map(|(source, timestamp, payload)| TrunkEntry {
                source: CallNumber::from_bits(*source),
                timestamp: timestamps.then_some(*timestamp),
                payload,
            })
            .collect();
        let mut body = Vec::new();
        let mut ends = Vec::new();
        for entry in &entries {
            entry.encode(&mut body).unwrap();
            ends.push(body.len());
        }
        let trunk = MetaTrunk {
            command_data: unused_bits & !1 | u8::from(timestamps),
            timestamp: Timestamp::from_millis(timestamp),
            body: &body,
        };
        let datagram = Frame::Trunk(trunk).to_vec();
        prop_assert_eq!(Frame::decode(&datagram), Ok(Frame::Trunk(trunk)));
        prop_assert_eq!(&trunk.entries().collect::<Vec<_>>(), &entries);

        let cut = cut.index(body.len() + 1);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let damaged = MetaTrunk { body: &body[..cut], ..trunk };
        let mut read = damaged.entries();
        prop_assert_eq!(read.by_ref().collect::<Vec<_>>(), &entries[..whole]);
        let consumed = whole.checked_sub(1).map_or(0, |last| ends[last]);
        prop_assert_eq!(read.rest(), &body[consumed..cut]);
    }

    #[test]
    fn the_last_of_repeated_elements_is_found(elements in elements(), (first, last) in any::<(u16, u16)>()) {
        let repeated = IeWriter::new().ie(Ie::Refresh(first)).finish().unwrap();
        let last = IeWriter::new().ie(Ie::Refresh(last)).finish().unwrap();
        let payload = [repeated, elements, last.clone()].concat();
        let ies = Ies::parse(&payload, 0).unwrap();
        prop_assert_eq!(ies.find(IeId::Refresh), Some(&last[2..]));
    }
}

#[test]
fn every_truncation_of_every_recorded_datagram_is_accepted_or_refused() {
    let datagrams = every_datagram();
    assert!(datagrams.len() > 2000, "{}", datagrams.len());
    for datagram in datagrams {
        for length in 0..=datagram.len() {
            let cut = &datagram[..length];
            assert_eq!(exercise(cut), is_frame(cut), "{cut:02x?}");
        }
    }
}

#[test]
fn errors_say_what_and_where() {
    for (datagram, message) in [
        (&[][..], "a frame needs 4 octets, the datagram has 0"),
        (&[0x80, 1, 0], "a frame needs 4 octets, the datagram has 3"),
        (
            &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6],
            "a full frame needs 12 octets, the datagram has 11",
        ),
        (
            &[0, 0, 0x80, 1, 0],
            "a meta video frame needs 6 octets, the datagram has 5",
        ),
        (
            &[0, 0, 1, 0, 0, 0, 0],
            "a meta trunk frame needs 8 octets, the datagram has 7",
        ),
        (
            &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1, 54, 0, 19],
            "information element 19 at offset 14 has no length octet",
        ),
        (
            &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1, 54, 0, 19, 2, 0],
            "information element 19 at offset 14 claims 2 octets, 1 are left",
        ),
    ] {
        assert_eq!(Frame::decode(datagram).unwrap_err().to_string(), message);
    }
}

#[test]
fn trunk_entries_hold_65535_octets_and_no_more() {
    let audio = vec![0xff; 65_536];
    let mut entry = TrunkEntry {
        source: CallNumber::from_bits(2),
        timestamp: Some(0),
        payload: &audio[1..],
    };
    let mut body = Vec::new();
    entry.encode(&mut body).unwrap();
    assert_eq!(body.len(), 6 + 65_535);
    entry.payload = &audio;
    let error = entry.encode(&mut body).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a trunk entry would need 65536 octets, 65535 is the most it holds"
    );
    assert_eq!(body.len(), 6 + 65_535);
}
