//! The audio of recorded calls: what a real Asterisk returns, and what it plays.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    proto::media::{
        directions::{FarEnd, Heard, directions},
        g711::Law,
        level_dbm0,
        listener::{AudioEvidence, Listener},
        signal::TestSignal,
        tone,
    },
    types::Timestamp,
    wire::{
        iax2::{command::FrameType, frame::Frame},
        link::Udp,
        pcap::Reader,
    },
};

/// One packet of audio.
struct Audio {
    at: Duration,
    /// From the host that called.
    ours: bool,
    law: Option<Law>,
    timestamp: Timestamp,
    payload: Vec<u8>,
}

/// The audio of a recorded call of `10.99.0.2` that lasts less than 65 s: no timestamp wraps.
fn audio(capture: &str) -> Vec<Audio> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures/ast16");
    let file = fs::read(path.join(capture)).unwrap();
    let mut formats = [None; 2];
    let mut audio = Vec::new();
    for packet in Reader::new(&file).unwrap() {
        let packet = packet.unwrap();
        let Some(udp) = Udp::read(packet.link, packet.octets).unwrap() else {
            continue;
        };
        let ours = udp.source.ip().to_string() == "10.99.0.2";
        let format = &mut formats[usize::from(ours)];
        let (timestamp, payload) = match Frame::decode(udp.payload).unwrap() {
            Frame::Full(full) if full.frame_type == FrameType::Voice => {
                *format = full.format();
                (full.timestamp, full.payload)
            }
            Frame::Mini(mini) => (Timestamp::from_millis(mini.timestamp.into()), mini.payload),
            _ => continue,
        };
        audio.push(Audio {
            at: packet.time,
            ours,
            law: format.and_then(Law::of),
            timestamp,
            payload: payload.to_vec(),
        });
    }
    audio
}

/// What our listener says of a recorded call.
fn listen(audio: &[Audio]) -> AudioEvidence {
    let start = Instant::now();
    let first = audio[0].at;
    let mut listener = Listener::new(TestSignal::new(1));
    let mut sent = 0;
    for packet in audio {
        let at = start + packet.at.checked_sub(first).unwrap();
        if packet.ours {
            listener.note_sent(sent, &packet.payload, at);
            sent += 1;
        } else {
            listener.handle_audio(&packet.payload, packet.law, packet.timestamp, at);
        }
    }
    listener.evidence()
}

#[test]
fn asterisks_echo_returns_what_it_gets_octet_by_octet() {
    let audio = audio("call600-alice.pcap");
    let AudioEvidence {
        sent,
        inbound,
        returned,
        variation,
    } = listen(&audio);
    assert_eq!(sent, 137);
    assert_eq!(
        (inbound.packets, inbound.lost, inbound.foreign),
        (137, 0, 0)
    );
    assert_eq!(
        (returned.blocks, returned.exact, returned.missing),
        (137, 137, 0)
    );
    assert_eq!((returned.duplicated, returned.out_of_order), (0, 0));
    let round_trip = returned.round_trip.unwrap();
    // Read off the capture: a network namespace away, with one answer of 2.3 ms.
    assert_eq!(round_trip.min, Duration::from_micros(26));
    assert_eq!(round_trip.max, Duration::from_micros(2343));
    assert!(round_trip.p95 < Duration::from_micros(150));
    assert!(inbound.jitter.unwrap() < Duration::from_millis(1));
    assert_eq!(variation.unwrap().packets, 137);

    let heard = Heard {
        sent,
        received: inbound.packets,
        returned: returned.blocks,
        report: None,
        voice_missing: false,
        far_end: FarEnd::Echo,
    };
    assert_eq!(directions(&heard).outbound.passes, Some(true));
}

#[test]
fn asterisks_milliwatt_is_a_tone_and_no_echo() {
    let audio = audio("call601-alice.pcap");
    let evidence = listen(&audio);
    assert_eq!(evidence.returned.blocks, 0);
    assert_eq!(evidence.inbound.foreign, evidence.inbound.packets);

    let mut samples = Vec::new();
    for packet in audio.iter().filter(|packet| !packet.ours) {
        Law::Mu.decode_block(&packet.payload, &mut samples);
    }
    assert!(samples.len() > 8000);
    // Asterisk plays it 0.2 dB louder than the milliwatt that it stands for.
    let level = level_dbm0(&samples).unwrap();
    assert!((0.0..0.3).contains(&level), "{level}");
    assert_eq!(turns_a_second(&samples), tone::FREQUENCY);
}

/// The frequency of a sine, in whole Hz, by its upward zero crossings.
fn turns_a_second(samples: &[i16]) -> u32 {
    let upward = |pair: &[i16]| pair[0] < 0 && pair[1] >= 0;
    let crossings: Vec<_> = samples
        .windows(2)
        .enumerate()
        .filter_map(|(at, pair)| upward(pair).then_some(at))
        .collect();
    let turns = crossings.len() - 1;
    let samples = crossings[turns] - crossings[0];
    u32::try_from((turns * 8000 + samples / 2) / samples).unwrap()
}
