//! How fast datagrams are read and written on one core, and that reading allocates nothing.
//!
//! `cargo bench --bench decode`. The targets: 10 million full frames with four elements and 50 million
//! mini frames a second; no line about allocations under any `decode` row.

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame, MiniFrame, Subclass},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
        trunk::{MetaTrunk, TrunkEntry},
    },
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Datagrams in one iteration, all different, so that the clock is not what is measured.
const BATCH: u16 = 1024;

fn main() {
    divan::main();
}

/// Elements of a REGREQ that answers a challenge.
fn elements() -> Vec<u8> {
    IeWriter::new()
        .ie(Ie::Username(Text(b"alice")))
        .ie(Ie::Refresh(60))
        .ie(Ie::Md5Result(Text(b"4baba087e040a1502fb69e3ce2473a0e")))
        .ie(Ie::CallToken(&[]))
        .finish()
        .unwrap_or_default()
}

fn full(number: u16, payload: &[u8]) -> Frame<'_> {
    Frame::Full(FullFrame {
        source: CallNumber::from_bits(number),
        destination: CallNumber::from_bits(number.wrapping_mul(3)),
        retransmission: false,
        timestamp: Timestamp::from_millis(number.into()),
        oseqno: SeqNo::new(1),
        iseqno: SeqNo::new(1),
        frame_type: FrameType::Iax,
        subclass: Subclass::from(Command::RegReq),
        payload,
    })
}

fn mini(number: u16, payload: &[u8]) -> Frame<'_> {
    Frame::Mini(MiniFrame {
        source: CallNumber::from_bits(number + 2),
        timestamp: number,
        payload,
    })
}

/// Datagrams one behind the other, as a receive buffer holds them.
fn datagrams<'a>(payload: &'a [u8], make: fn(u16, &'a [u8]) -> Frame<'a>) -> Vec<Vec<u8>> {
    (0..BATCH)
        .map(|number| make(number, payload).to_vec())
        .collect()
}

/// Header and the value of every element.
#[divan::bench]
fn decode_full_with_4_elements(bencher: Bencher<'_, '_>) {
    let datagrams = datagrams(&elements(), full);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for datagram in black_box(&datagrams) {
            if let Ok(Frame::Full(frame)) = Frame::decode(datagram) {
                black_box((
                    frame.source,
                    frame.destination,
                    frame.timestamp,
                    frame.command(),
                ));
                for raw in frame.ies() {
                    black_box(Ie::read(raw));
                }
            }
        }
    });
}

/// Header and one element by its id.
#[divan::bench]
fn decode_full_and_find_one(bencher: Bencher<'_, '_>) {
    let datagrams = datagrams(&elements(), full);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for datagram in black_box(&datagrams) {
            if let Ok(Frame::Full(frame)) = Frame::decode(datagram) {
                black_box(frame.ies().find(IeId::Refresh));
            }
        }
    });
}

/// 20 ms of audio.
#[divan::bench]
fn decode_mini(bencher: Bencher<'_, '_>) {
    let datagrams = datagrams(&[0xff; 160], mini);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for datagram in black_box(&datagrams) {
            let _ = black_box(Frame::decode(datagram));
        }
    });
}

/// A trunk frame of eight calls; the items are entries.
#[divan::bench]
fn decode_trunk_entries(bencher: Bencher<'_, '_>) {
    let mut body = Vec::new();
    for number in 0..8 {
        let entry = TrunkEntry {
            source: CallNumber::from_bits(number + 2),
            timestamp: Some(20),
            payload: &[0xff; 160],
        };
        let _ = entry.encode(&mut body);
    }
    let trunk = MetaTrunk {
        command_data: 1,
        timestamp: Timestamp::ZERO,
        body: &body,
    };
    let datagram = Frame::Trunk(trunk).to_vec();
    bencher
        .counter(ItemsCount::new(8u32 * 128))
        .bench_local(|| {
            for _ in 0..128 {
                if let Ok(Frame::Trunk(trunk)) = Frame::decode(black_box(&datagram)) {
                    for entry in trunk.entries() {
                        black_box(entry);
                    }
                }
            }
        });
}

/// Into a buffer that is used again.
#[divan::bench]
fn encode_full_with_4_elements(bencher: Bencher<'_, '_>) {
    encode(bencher, &elements(), full);
}

/// Into a buffer that is used again.
#[divan::bench]
fn encode_mini(bencher: Bencher<'_, '_>) {
    encode(bencher, &[0xff; 160], mini);
}

fn encode<'a>(bencher: Bencher<'_, '_>, payload: &'a [u8], make: fn(u16, &'a [u8]) -> Frame<'a>) {
    let frames: Vec<_> = (0..BATCH).map(|number| make(number, payload)).collect();
    let mut out = Vec::with_capacity(2048);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for frame in black_box(&frames) {
            out.clear();
            frame.encode(&mut out);
            black_box(&out);
        }
    });
}

/// The elements themselves, into a buffer of their own.
#[divan::bench]
fn write_4_elements(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            black_box(elements());
        }
    });
}
