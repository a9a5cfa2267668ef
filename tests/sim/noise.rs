//! Frames as nobody sends them: valid, nearly valid, and not at all.

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, Control, FrameType},
        frame::{Frame, FullFrame, MiniFrame, Subclass},
        ie::IeWriter,
        ie_value::{Ie, Text},
        trunk::{MetaTrunk, TrunkEntry},
    },
};
use rand::{Rng as _, RngExt as _, rngs::StdRng};

/// Whose frames they seem to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeming {
    pub(crate) source: CallNumber,
    pub(crate) destination: CallNumber,
    /// The number that is expected next.
    pub(crate) oseqno: SeqNo,
    /// The number that would acknowledge everything.
    pub(crate) iseqno: SeqNo,
}

fn octets(rng: &mut StdRng, longest: usize) -> Vec<u8> {
    let mut octets = vec![0; rng.random_range(0..=longest)];
    rng.fill_bytes(&mut octets);
    octets
}

/// Elements of any kind, well formed.
fn elements(rng: &mut StdRng) -> Vec<u8> {
    let mut writer = IeWriter::new();
    for _ in 0..rng.random_range(0..6) {
        let value = octets(rng, 20);
        let (word, octet): (u16, u8) = (rng.random(), rng.random());
        writer = match rng.random_range(0..12) {
            0 => writer.ie(Ie::Cause(Text(&value))),
            1 => writer.ie(Ie::CauseCode(octet)),
            2 => writer.ie(Ie::Format(1 << (word % 32))),
            3 => writer.ie(Ie::Format2(1 << (word % 64))),
            4 => writer.ie(Ie::AuthMethods(word % 8)),
            5 => writer.ie(Ie::Challenge(&value)),
            6 => writer.ie(Ie::Encryption(word & 0x8001)),
            7 => writer.ie(Ie::CallToken(&value)),
            8 => writer.ie(Ie::Username(Text(b"alice"))),
            9 => writer.ie(Ie::CalledNumber(Text(b"600"))),
            10 => writer.ie(Ie::Capability(rng.random())),
            _ => writer.raw(octet, &value),
        };
    }
    writer.finish().unwrap_or_default()
}

/// A full frame: mostly in its place in the stream, sometimes next to it.
pub(crate) fn full(seeming: Seeming, rng: &mut StdRng) -> Vec<u8> {
    let (frame_type, subclass): (FrameType, Subclass) = match rng.random_range(0..20) {
        0..10 => (FrameType::Iax, Subclass::from_raw(rng.random_range(0..44))),
        10..13 => {
            let control = [
                Control::Answer,
                Control::Ringing,
                Control::Busy,
                Control::StopTones,
                Control::Hold,
            ][rng.random_range(0..5)];
            (FrameType::Control, control.into())
        }
        13..16 => (FrameType::Voice, Subclass::from_raw(rng.random())),
        16 => (FrameType::Text, Subclass::from_raw(0)),
        17 => (FrameType::DtmfEnd, Subclass::from_raw(b'1')),
        18 => (FrameType::DtmfBegin, Subclass::from_raw(rng.random())),
        _ => (
            FrameType::from(rng.random::<u8>()),
            Subclass::from_raw(rng.random()),
        ),
    };
    let payload = if frame_type == FrameType::Iax && rng.random_range(0..8) > 0 {
        elements(rng)
    } else {
        octets(rng, 200)
    };
    let beside = |number: SeqNo, rng: &mut StdRng| match rng.random_range(0..8) {
        0 => SeqNo::new(number.get().wrapping_add(rng.random_range(0..4))),
        1 => SeqNo::new(number.get().wrapping_sub(rng.random_range(0..4))),
        2 => SeqNo::new(rng.random()),
        _ => number,
    };
    let timestamp = match rng.random_range(0..3) {
        0 => rng.random(),
        _ => rng.random_range(0..200_000),
    };
    Frame::Full(FullFrame {
        source: seeming.source,
        destination: seeming.destination,
        retransmission: rng.random_range(0..8) == 0,
        timestamp: Timestamp::from_millis(timestamp),
        oseqno: beside(seeming.oseqno, rng),
        iseqno: beside(seeming.iseqno, rng),
        frame_type,
        subclass,
        payload: &payload,
    })
    .to_vec()
}

/// An IAX frame in its place.
pub(crate) fn command(seeming: Seeming, command: Command, elements: IeWriter) -> Vec<u8> {
    let payload = elements.finish().unwrap();
    Frame::Full(FullFrame {
        destination: seeming.destination,
        oseqno: seeming.oseqno,
        iseqno: seeming.iseqno,
        frame_type: FrameType::Iax,
        subclass: command.into(),
        payload: &payload,
        ..FullFrame::poke_from(seeming.source, Timestamp::ZERO)
    })
    .to_vec()
}

/// Whatever: a full frame, one cut short, one with a bit flipped, a mini frame, a trunk frame, noise.
pub(crate) fn any(seeming: Seeming, rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..12) {
        0 => {
            let mut frame = full(seeming, rng);
            frame.truncate(rng.random_range(0..=frame.len()));
            frame
        }
        1 => {
            let mut frame = full(seeming, rng);
            let at = rng.random_range(0..frame.len());
            frame[at] ^= 1 << rng.random_range(0..8);
            frame
        }
        2 | 3 => {
            let payload = octets(rng, 200);
            let mini = MiniFrame {
                source: seeming.source,
                timestamp: rng.random(),
                payload: &payload,
            };
            Frame::Mini(mini).to_vec()
        }
        4 => {
            let mut body = Vec::new();
            let timestamps = rng.random();
            for _ in 0..rng.random_range(0..5) {
                let payload = octets(rng, 200);
                let entry = TrunkEntry {
                    source: seeming.source,
                    timestamp: if timestamps { Some(rng.random()) } else { None },
                    payload: &payload,
                };
                entry.encode(&mut body).unwrap();
            }
            let trunk = MetaTrunk {
                command_data: u8::from(timestamps),
                timestamp: Timestamp::from_millis(rng.random()),
                body: &body,
            };
            Frame::Trunk(trunk).to_vec()
        }
        5 => octets(rng, 100),
        _ => full(seeming, rng),
    }
}
