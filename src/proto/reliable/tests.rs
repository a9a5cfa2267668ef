//! Two streams by hand: what is sent, acknowledged, asked for again and given up.

use super::*;

fn pair(now: Instant) -> (Reliable, Reliable) {
    (
        Reliable::new(CallNumber::from_bits(100), RetryPolicy::QUICK, now),
        Reliable::new(CallNumber::from_bits(200), RetryPolicy::ASTERISK, now),
    )
}

fn deliver(to: &mut Reliable, datagram: &[u8], now: Instant) -> Receipt {
    let Ok(Frame::Full(frame)) = Frame::decode(datagram) else {
        panic!("not a full frame: {datagram:02x?}");
    };
    let receipt = to.receive(&frame, now);
    if receipt == Receipt::Deliver {
        to.settle(&frame);
    }
    receipt
}

fn ping(from: &mut Reliable, now: Instant) -> Vec<u8> {
    from.send(FrameType::Iax, Command::Ping, Vec::new(), now);
    from.poll_transmit().unwrap()
}

#[test]
fn an_acknowledgement_echoes_timestamp_and_iseqno() {
    let now = Instant::now();
    let (mut ours, mut theirs) = pair(now);
    let request = ping(&mut ours, now + Duration::from_millis(7));
    assert_eq!(deliver(&mut theirs, &request, now), Receipt::Deliver);
    let ack = theirs.poll_transmit().unwrap();
    // 0x80c8 from 200, 0x0064 to 100, timestamp 7, OSeqno 0 = the PING's ISeqno, ISeqno 1, IAX, ACK.
    assert_eq!(ack, [0x80, 0xc8, 0, 0x64, 0, 0, 0, 7, 0, 1, 6, 4]);
    assert_eq!(deliver(&mut ours, &ack, now), Receipt::Bookkeeping);
    assert!(ours.is_acknowledged());
    assert_eq!(ours.poll_timeout(), None);
}

#[test]
fn intervals_grow_and_end() {
    let now = Instant::now();
    for (policy, sent_at, end) in [
        (RetryPolicy::QUICK, vec![0.5, 1.5, 3.5], 7.5),
        (RetryPolicy::ASTERISK, vec![2.0, 12.0, 22.0], 32.0),
        (RetryPolicy::RFC, vec![1.0, 3.0, 7.0, 15.0], 25.0),
    ] {
        let mut dialogue = Reliable::new(CallNumber::from_bits(2), policy, now);
        let first = ping(&mut dialogue, now);
        for expected in sent_at {
            let (due, _) = dialogue.poll_timeout().unwrap();
            assert_eq!(due, now + Duration::from_secs_f64(expected));
            assert_eq!(dialogue.handle_timeout(due), Ok(()));
            let again = dialogue.poll_transmit().unwrap();
            assert_eq!(again[2] & 0x80, 0x80, "R is set");
            assert_eq!(again[4..], first[4..], "timestamp and numbers stay");
        }
        let (due, _) = dialogue.poll_timeout().unwrap();
        assert_eq!(due, now + Duration::from_secs_f64(end));
        let gave_up = dialogue.handle_timeout(due).unwrap_err();
        assert_eq!(gave_up, GaveUp(Kind::iax(Command::Ping)));
        assert_eq!(dialogue.poll_timeout(), None);
    }
}

#[test]
fn a_gap_is_asked_for_once_in_100_ms_and_resent_in_order() {
    let now = Instant::now();
    let (mut ours, mut theirs) = pair(now);
    let first = ping(&mut ours, now);
    let second = ping(&mut ours, now);
    let third = ping(&mut ours, now);
    assert_eq!(deliver(&mut theirs, &second, now), Receipt::Gap);
    assert_eq!(deliver(&mut theirs, &third, now), Receipt::Gap);
    let vnak = theirs.poll_transmit().unwrap();
    assert_eq!(vnak[11], Command::Vnak.get());
    assert_eq!(theirs.poll_transmit(), None, "one VNAK a gap");
    deliver(&mut ours, &vnak, now);
    for original in [&first, &second, &third] {
        let again = ours.poll_transmit().unwrap();
        assert_eq!(again[8], original[8]);
        assert_eq!(deliver(&mut theirs, &again, now), Receipt::Deliver);
    }
    deliver(&mut ours, &vnak, now);
    assert_eq!(
        ours.poll_transmit(),
        None,
        "a second VNAK at once is not obeyed"
    );
}

#[test]
fn duplicates_are_acknowledged_and_not_delivered() {
    let now = Instant::now();
    let (mut ours, mut theirs) = pair(now);
    let request = ping(&mut ours, now);
    deliver(&mut theirs, &request, now);
    let ack = theirs.poll_transmit().unwrap();
    assert_eq!(deliver(&mut theirs, &request, now), Receipt::Duplicate);
    assert_eq!(theirs.poll_transmit().unwrap(), ack);
}

#[test]
fn acknowledgements_outside_the_window_are_ignored() {
    let now = Instant::now();
    let (mut ours, mut theirs) = pair(now);
    let request = ping(&mut ours, now);
    deliver(&mut theirs, &request, now);
    let mut ack = theirs.poll_transmit().unwrap();
    ack[9] = 9;
    deliver(&mut ours, &ack, now);
    assert!(!ours.is_acknowledged());
}

#[test]
fn sequence_numbers_survive_the_wrap() {
    let mut now = Instant::now();
    let (mut ours, mut theirs) = pair(now);
    for _ in 0..600 {
        now += Duration::from_millis(20);
        let request = ping(&mut ours, now);
        assert_eq!(deliver(&mut theirs, &request, now), Receipt::Deliver);
        let ack = theirs.poll_transmit().unwrap();
        deliver(&mut ours, &ack, now);
        assert!(ours.is_acknowledged());
    }
}

#[test]
fn timestamps_increase_where_the_clock_stands() {
    let now = Instant::now();
    let (mut ours, _) = pair(now);
    let stamps: Vec<u32> = (0..3)
        .map(|_| {
            ours.send(FrameType::Iax, Command::Ping, Vec::new(), now)
                .millis()
        })
        .collect();
    assert_eq!(stamps, [0, 3, 6]);
}

#[test]
fn a_peer_that_acknowledges_nothing_fills_no_memory() {
    let now = Instant::now();
    let (mut ours, _) = pair(now);
    for _ in 0..100 {
        ours.send_echo(Command::Pong, Vec::new(), Timestamp::ZERO, now);
    }
    assert_eq!(ours.pending.len(), 1, "one echo at a time");
    for _ in 0..100 {
        ours.send(FrameType::Iax, Command::Ping, Vec::new(), now);
    }
    assert_eq!(ours.pending.len(), MAX_OUTSTANDING);
    assert_eq!(
        std::iter::from_fn(|| ours.poll_transmit()).count(),
        MAX_OUTSTANDING
    );
    assert_eq!(ours.poll_timeout().unwrap().0, now);
    assert!(ours.handle_timeout(now).is_err(), "the dialogue ends");
    assert_eq!(ours.poll_timeout(), None);
}

#[test]
fn an_unproven_source_gets_one_datagram_for_one() {
    let now = Instant::now();
    let patience = Duration::from_secs(8);
    let mut client = Reliable::new(CallNumber::from_bits(100), RetryPolicy::QUICK, now);
    let mut server = Reliable::unproven(CallNumber::from_bits(200), patience, now);
    let request = ping(&mut client, now);
    let Ok(Frame::Full(frame)) = Frame::decode(&request) else {
        panic!()
    };
    for receipt in [Receipt::Deliver, Receipt::Duplicate, Receipt::Duplicate] {
        assert_eq!(server.receive(&frame, now), receipt);
        if receipt == Receipt::Deliver {
            server.send(FrameType::Iax, Command::RegAuth, Vec::new(), now);
        }
        let answer = server.poll_transmit().unwrap();
        assert_eq!(answer[11], Command::RegAuth.get());
        assert_eq!(server.poll_transmit(), None, "one for one");
    }
    assert!(server.handle_timeout(now + patience).is_err());
    assert_eq!(server.poll_transmit(), None, "nothing unasked");
}
