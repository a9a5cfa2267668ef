//! Every message over the wire, whole and cut.

use super::*;

fn requests() -> Vec<Request> {
    vec![
        Request::Hello,
        Request::Ask(Ask {
            token: *b"abcdefgh",
            nonce: Nonce {
                session: 0xdead_beef,
                index: 7,
            },
            at_once: true,
            from: AnswerFrom {
                other_port: true,
                other_address: false,
            },
            delays: vec![Duration::from_secs(29), Duration::from_secs(55)],
            repeats: 3,
            spacing: Duration::from_millis(100),
            ttl: 0,
        }),
        Request::Status {
            token: *b"abcdefgh",
            session: 9,
            indices: vec![1, 2, 500],
        },
        Request::Cancel {
            token: *b"abcdefgh",
            session: 9,
        },
        Request::Knock {
            token: *b"abcdefgh",
            nonce: Nonce {
                session: 9,
                index: 3,
            },
            port: 4569,
        },
        Request::Mirror(Mirror {
            token: *b"abcdefgh",
            nonce: Nonce {
                session: 9,
                index: 1,
            },
            bait: b"192.168.1.10:4569".to_vec(),
        }),
    ]
}

fn answers() -> Vec<Answer> {
    let mapped = MappedAddr::new("[2001:db8::7]:40123".parse().unwrap());
    vec![
        Answer::Hello {
            token: *b"abcdefgh",
            lifetime: Duration::from_secs(300),
            mapped,
            other_port: Some(4570),
            other_address: Some("2001:db8::2".parse().unwrap()),
        },
        Answer::Echo {
            nonce: Nonce {
                session: 1,
                index: 2,
            },
            which: 1,
            repeat: 2,
            elapsed: Duration::from_millis(29_100),
            mapped,
        },
        Answer::Status {
            session: 9,
            arrived: vec![2, 500],
        },
        Answer::Refused {
            reason: Refused::Quota,
            mapped,
        },
        Answer::Mirrored(Mirrored {
            nonce: Nonce {
                session: 9,
                index: 1,
            },
            length: 113,
            hidden: mapped,
            plain: mapped,
            octets: vec![7; 12 + 2 + 18 + 17],
        }),
    ]
}

#[test]
fn every_message_survives_the_wire() {
    for request in requests() {
        let poke = request.to_poke(CallNumber::from_bits(77), Timestamp::from_millis(5));
        let Ok(Frame::Full(frame)) = Frame::decode(&poke) else {
            panic!()
        };
        assert_eq!(frame.command(), Some(Command::Poke));
        assert_eq!(
            Request::read(frame.ies().find(IeId::Probe).unwrap()),
            Some(request)
        );
    }
    for answer in answers() {
        assert_eq!(
            Answer::read(&pong(&answer.to_octets()).as_frame()),
            Some(answer)
        );
    }
}

#[test]
fn no_answer_is_longer_than_its_request() {
    let longest = |octets: &[u8]| octets.len();
    let [hello, ask, status, _, knock, mirror] = requests().try_into().unwrap();
    let [to_hello, echo, to_status, refused, mirrored] = answers().try_into().unwrap();
    for (request, answer) in [
        (hello, to_hello),
        (ask.clone(), echo.clone()),
        (knock, echo),
        (status, to_status),
        (ask, refused),
        (mirror, mirrored),
    ] {
        let poke = request.to_poke(CallNumber::from_bits(77), Timestamp::ZERO);
        let answer = 12 + 2 + longest(&answer.to_octets());
        assert!(
            answer <= poke.len(),
            "{request:?}: {answer} > {}",
            poke.len()
        );
    }
}

#[test]
fn cut_messages_are_none_or_shorter_ones() {
    for request in requests() {
        let poke = request.to_poke(CallNumber::from_bits(77), Timestamp::ZERO);
        for end in 0..poke.len().saturating_sub(14) {
            let _ = Request::read(&poke[14..14 + end]);
        }
    }
    for answer in answers() {
        let octets = answer.to_octets();
        for end in 0..octets.len() {
            let _ = Answer::read(&pong(&octets[..end]).as_frame());
        }
    }
}

struct Pong(Vec<u8>);

impl Pong {
    fn as_frame(&self) -> FullFrame<'_> {
        match Frame::decode(&self.0) {
            Ok(Frame::Full(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }
}

fn pong(probe: &[u8]) -> Pong {
    let mut octets = poke(CallNumber::STATELESS, Timestamp::ZERO, probe);
    octets[11] = Command::Pong.get();
    Pong(octets)
}
