//! First requests of strangers at the registrar's door: forged, unproven, out of sequence. They cost no state
//! and gain nothing.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    probe::provider::Provider,
    proto::contract::{Input, Machine, SocketKey},
    types::{CallNumber, PeerAddr, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    registration::accounts,
    support::{peer, provider, seconds, sockets},
};

/// A first request, as a client of this name sends it.
fn request(command: Command, source: u16, user: &str, token: Option<&[u8]>) -> Vec<u8> {
    let mut elements = IeWriter::new().ie(Ie::Username(Text(user.as_bytes())));
    if command == Command::RegReq {
        elements = elements.ie(Ie::Refresh(60));
    }
    if let Some(token) = token {
        elements = elements.ie(Ie::CallToken(token));
    }
    let elements = elements.finish().unwrap();
    let frame = FullFrame {
        payload: &elements,
        frame_type: FrameType::Iax,
        subclass: command.into(),
        ..FullFrame::poke_from(CallNumber::from_bits(source), Timestamp::from_millis(3))
    };
    Frame::Full(frame).to_vec()
}

/// Gives a server one datagram and returns what it answers.
fn exchange(server: &mut Provider, source: PeerAddr, payload: &[u8], now: Instant) -> Vec<Vec<u8>> {
    let input = Input::Datagram {
        socket: SocketKey(0),
        source,
        payload,
    };
    server.handle_input(input, now);
    let mut answers = Vec::new();
    while let Some(transmit) = server.poll_transmit() {
        assert_eq!(transmit.peer, source, "answered somebody else");
        answers.push(transmit.payload);
    }
    while server.poll_event().is_some() {}
    answers
}

#[test]
fn a_flood_of_forged_requests_leaves_no_state_and_is_not_amplified() {
    let start = Instant::now();
    let mut server = provider(accounts(), &sockets(), 1, start);
    let mut rng = StdRng::seed_from_u64(1);
    let (mut sent, mut answered) = (0, 0);
    for round in 0..20_000u32 {
        let now = start + Duration::from_micros(u64::from(round) * 50);
        let source = format!(
            "198.51.100.{}:{}",
            rng.random_range(1..255),
            rng.random_range(1..=u16::MAX)
        );
        let source = peer(&source);
        let user =
            ["alice", "nobody", "x", "open", "rsa", "a-rather-long-name"][rng.random_range(0..6)];
        let command = [Command::RegReq, Command::RegRel][rng.random_range(0..2)];
        let forged: [u8; 8] = rng.random();
        let token = match rng.random_range(0..5) {
            0 => None,
            1 => Some(&[][..]),
            2 => Some(&forged[..rng.random_range(1..8)]),
            _ => Some(&forged[..]),
        };
        let request = request(command, rng.random_range(1..0x8000), user, token);
        let answers = exchange(&mut server, source, &request, now);
        assert!(answers.len() <= 1, "{answers:?}");
        for answer in answers {
            assert!(
                answer.len() <= request.len(),
                "{request:02x?}: {answer:02x?}"
            );
            answered += 1;
        }
        sent += 1;
        let registrar = server.endpoint().registrar().unwrap();
        assert_eq!(registrar.dialogues(), 0, "a dialogue for {request:02x?}");
    }
    println!("{answered} of {sent} answered");
    assert_eq!(server.poll_timeout(), None, "something waits");
}

#[test]
fn an_unproven_address_is_told_nothing_twice() {
    let start = Instant::now();
    let mut server = provider(accounts(), &sockets(), 1, start);
    let first = request(Command::RegReq, 77, "old", None);
    let victim = peer("198.51.100.99:4569");
    assert_eq!(exchange(&mut server, victim, &first, start).len(), 1);
    let end = start + seconds(100);
    while let Some((due, _)) = server.poll_timeout()
        && due < end
    {
        server.handle_timeout(due);
        assert_eq!(server.poll_transmit(), None, "sent again by itself");
    }
    assert_eq!(server.endpoint().registrar().unwrap().dialogues(), 0);

    // A flood of such requests leaves no more than a few dialogues, and these end.
    for number in 0..5_000u16 {
        let source = peer(&format!(
            "198.51.{}.{}:4569",
            number / 250,
            number % 250 + 1
        ));
        let now = start + Duration::from_millis(u64::from(number));
        let request = request(Command::RegReq, 77, "old", None);
        assert!(exchange(&mut server, source, &request, now).len() <= 1);
        assert!(server.endpoint().registrar().unwrap().dialogues() <= 64);
    }
    server.handle_timeout(start + seconds(200));
    assert_eq!(server.endpoint().registrar().unwrap().dialogues(), 0);
}

#[test]
fn a_first_request_out_of_sequence_leaves_nothing() {
    let start = Instant::now();
    let mut server = provider(accounts(), &sockets(), 1, start);
    let source = peer("198.51.100.99:4569");
    let asked = request(Command::RegReq, 77, "alice", Some(&[]));
    let answers = exchange(&mut server, source, &asked, start);
    let Ok(Frame::Full(frame)) = Frame::decode(&answers[0]) else {
        panic!("{answers:?}");
    };
    let token = frame.ies().find(IeId::CallToken).unwrap().to_vec();
    let mut odd = request(Command::RegReq, 77, "alice", Some(&token));
    odd[8] = 5; // OSeqno
    exchange(&mut server, source, &odd, start);
    server.handle_timeout(start + seconds(50));
    while server.poll_transmit().is_some() {}
    assert_eq!(server.endpoint().registrar().unwrap().dialogues(), 0);
    // The same call number is taken when it begins as it should.
    let later = start + seconds(51);
    let asked = exchange(&mut server, source, &asked, later);
    let Ok(Frame::Full(frame)) = Frame::decode(&asked[0]) else {
        panic!("{asked:?}");
    };
    let token = frame.ies().find(IeId::CallToken).unwrap().to_vec();
    let good = request(Command::RegReq, 77, "alice", Some(&token));
    let answers = exchange(&mut server, source, &good, later);
    assert!(!answers.is_empty(), "the number is dead");
}
