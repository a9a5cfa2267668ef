//! Peers that mean no good, at our registrar: frames by hand, one at a time.

use std::{iter, time::Instant};

use iax2_natcheck::{
    probe::provider::Provider,
    proto::{
        account::{Account, CallTokenRule},
        auth::{Method, md5_result},
        contract::{Input, Machine, SocketKey},
        door::Refusal,
        endpoint::EndpointEvent,
        registrar::RegistrarEvent,
    },
    types::{CallNumber, PeerAddr, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};

use crate::support::{peer, provider, seconds, sockets};

const NEVER_SEEN: CallNumber = CallNumber::NONE;

/// A frame that arrived, with what the tests ask of it.
#[derive(Debug)]
struct Got {
    command: Command,
    source: CallNumber,
    payload: Vec<u8>,
    length: usize,
}

impl Got {
    fn find(&self, id: IeId) -> Option<Vec<u8>> {
        let mut octets = vec![0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1];
        octets.extend(&self.payload);
        let Ok(Frame::Full(frame)) = Frame::decode(&octets) else {
            panic!("{self:?}");
        };
        frame.ies().find(id).map(<[u8]>::to_vec)
    }
}

/// Somebody at an address, who makes frames by hand.
#[derive(Clone, Copy)]
struct Hand {
    peer: PeerAddr,
    number: u16,
    destination: CallNumber,
    oseqno: u8,
    iseqno: u8,
}

impl Hand {
    fn at(address: &str) -> Self {
        Self {
            peer: peer(address),
            number: 77,
            destination: NEVER_SEEN,
            oseqno: 0,
            iseqno: 0,
        }
    }

    fn frame(self, command: Command, elements: IeWriter) -> Vec<u8> {
        let elements = elements.finish().unwrap();
        let frame = FullFrame {
            payload: &elements,
            frame_type: FrameType::Iax,
            subclass: command.into(),
            destination: self.destination,
            oseqno: SeqNo::new(self.oseqno),
            iseqno: SeqNo::new(self.iseqno),
            ..FullFrame::poke_from(CallNumber::from_bits(self.number), Timestamp::ZERO)
        };
        Frame::Full(frame).to_vec()
    }

    fn request(self, user: &str, token: Option<&[u8]>) -> Vec<u8> {
        let elements = IeWriter::new()
            .ie(Ie::Username(Text(user.as_bytes())))
            .ie(Ie::Refresh(60));
        let elements = match token {
            Some(token) => elements.ie(Ie::CallToken(token)),
            None => elements,
        };
        self.frame(Command::RegReq, elements)
    }

    fn say(self, server: &mut Provider, payload: &[u8], now: Instant) -> Vec<Got> {
        let input = Input::Datagram {
            socket: SocketKey(0),
            source: self.peer,
            payload,
        };
        server.handle_input(input, now);
        iter::from_fn(|| server.poll_transmit())
            .map(|transmit| {
                let Ok(Frame::Full(frame)) = Frame::decode(&transmit.payload) else {
                    panic!("{transmit:?}");
                };
                Got {
                    command: frame.command().unwrap(),
                    source: frame.source,
                    payload: frame.payload.to_vec(),
                    length: transmit.payload.len(),
                }
            })
            .collect()
    }

    fn token(self, server: &mut Provider, user: &str, now: Instant) -> Vec<u8> {
        let got = self.say(server, &self.request(user, Some(&[])), now);
        assert_eq!(commands(&got), [Command::CallToken]);
        got[0].find(IeId::CallToken).unwrap()
    }

    /// Asks with a good token; returns the challenge, and who to be in the dialogue from then on.
    fn open(self, server: &mut Provider, user: &str, now: Instant) -> (Self, Vec<u8>) {
        let token = self.token(server, user, now);
        let got = self.say(server, &self.request(user, Some(&token)), now);
        assert_eq!(commands(&got), [Command::RegAuth]);
        (self.after(&got[0]), got[0].find(IeId::Challenge).unwrap())
    }

    /// The same, having sent one frame and received this one.
    fn after(self, got: &Got) -> Self {
        Self {
            destination: got.source,
            oseqno: self.oseqno + 1,
            iseqno: self.iseqno + 1,
            ..self
        }
    }

    /// The second request, with this secret.
    fn prove(self, user: &str, challenge: &[u8], secret: &str) -> Vec<u8> {
        let result = md5_result(challenge, secret.as_bytes());
        let elements = IeWriter::new()
            .ie(Ie::Username(Text(user.as_bytes())))
            .ie(Ie::Md5Result(Text(result.as_bytes())));
        self.frame(Command::RegReq, elements)
    }
}

fn commands(got: &[Got]) -> Vec<Command> {
    got.iter().map(|got| got.command).collect()
}

fn dialogues(server: &Provider) -> usize {
    server.endpoint().registrar().unwrap().dialogues()
}

fn optional(name: &str) -> Account {
    Account {
        call_token: CallTokenRule::Optional,
        qualify: Some(seconds(20)),
        ..Account::new(name, "s3cret")
    }
}

fn server(accounts: Vec<Account>, now: Instant) -> Provider {
    provider(accounts, &sockets(), 1, now)
}

#[test]
fn a_first_request_with_numbers_of_none_is_dropped_and_counted() {
    let now = Instant::now();
    let mut server = server(vec![Account::new("alice", "s3cret")], now);
    let hand = Hand::at("198.51.100.9:4569");
    let token = hand.token(&mut server, "alice", now);
    let odd = [
        Hand { oseqno: 5, ..hand },
        Hand { iseqno: 5, ..hand },
        Hand { number: 0, ..hand },
        Hand { number: 1, ..hand },
    ];
    for odd in odd {
        let got = odd.say(&mut server, &odd.request("alice", Some(&token)), now);
        assert_eq!(commands(&got), [], "{:?}", (odd.oseqno, odd.number));
        assert_eq!(dialogues(&server), 0);
    }
    assert_eq!(server.endpoint().registrar().unwrap().counts().odd, 4);
    let got = hand.say(&mut server, &hand.request("alice", Some(&token)), now);
    assert_eq!(commands(&got), [Command::RegAuth]);
}

#[test]
fn an_unproven_request_is_answered_by_one_challenge_within_a_rate() {
    let now = Instant::now();
    let mut server = server(vec![optional("old")], now);
    let hand = Hand::at("198.51.100.9:4569");
    let request = hand.request("old", None);
    for copy in 0..50 {
        let got = hand.say(&mut server, &request, now);
        let expected = if copy < 10 {
            &[Command::RegAuth][..]
        } else {
            &[]
        };
        assert_eq!(commands(&got), expected, "copy {copy}");
        assert!(got.iter().all(|got| got.length <= request.len() + 11));
    }
    // Somebody who has seen no answer goes on all the same.
    let blind = Hand { oseqno: 1, ..hand };
    let got = blind.say(&mut server, &blind.prove("old", b"1", "guess"), now);
    assert_eq!(commands(&got), []);
    let counts = server.endpoint().registrar().unwrap().counts();
    assert_eq!((counts.unproven, counts.limited, counts.odd), (10, 40, 1));
}

#[test]
fn an_address_is_qualified_once_it_is_proven() {
    let now = Instant::now();
    let open = Account {
        secret: None,
        methods: vec![],
        ..optional("open")
    };
    let clear = Account {
        methods: vec![Method::Plaintext],
        ..optional("clear")
    };
    let mut server = server(vec![open, clear, optional("old")], now);
    let hand = Hand::at("198.51.100.9:4569");
    // Nothing would be asked, and nothing proven: the token is asked for after all.
    let got = hand.say(&mut server, &hand.request("open", None), now);
    assert_eq!(commands(&got), [Command::RegRej]);

    let got = hand.say(&mut server, &hand.request("clear", None), now);
    assert_eq!(commands(&got), [Command::RegAuth]);
    let next = hand.after(&got[0]);
    let password = IeWriter::new().ie(Ie::Password(Text(b"s3cret")));
    let got = next.say(&mut server, &next.frame(Command::RegReq, password), now);
    assert_eq!(commands(&got), [Command::RegAck]);

    let hand = Hand { number: 78, ..hand };
    let got = hand.say(&mut server, &hand.request("old", None), now);
    let challenge = got[0].find(IeId::Challenge).unwrap();
    let next = hand.after(&got[0]);
    let got = next.say(&mut server, &next.prove("old", &challenge, "s3cret"), now);
    assert_eq!(commands(&got), [Command::Poke, Command::RegAck]);
    // The PONG to it finds its account, once.
    let pong = Hand {
        number: 1,
        destination: got[0].source,
        oseqno: 0,
        iseqno: 1,
        ..hand
    };
    let answer = pong.frame(Command::Pong, IeWriter::new());
    assert_eq!(
        commands(&pong.say(&mut server, &answer, now)),
        [Command::Ack]
    );
    assert_eq!(commands(&pong.say(&mut server, &answer, now)), []);
}

#[test]
fn a_dialogue_holds_no_more_than_a_few_unacknowledged_frames() {
    let now = Instant::now();
    let mut server = server(vec![Account::new("alice", "s3cret")], now);
    let (hand, _) = Hand::at("198.51.100.9:4569").open(&mut server, "alice", now);
    // The REGAUTH is never acknowledged, nor is any PONG.
    let mut pongs = 0;
    for count in 0..100 {
        let ping = Hand {
            oseqno: hand.oseqno + count,
            iseqno: 0,
            ..hand
        };
        let got = ping.say(
            &mut server,
            &ping.frame(Command::Ping, IeWriter::new()),
            now,
        );
        assert_eq!(got.len(), 1);
        pongs += usize::from(got[0].command == Command::Pong);
    }
    assert_eq!(pongs, 1);
    assert_eq!(dialogues(&server), 1);

    // Commands that nobody knows are answered, but not without end, and the answer itself never.
    let next = |count: u8| Hand {
        oseqno: hand.oseqno + 100 + count,
        iseqno: 0,
        ..hand
    };
    let unsupport = next(0).frame(Command::Unsupport, IeWriter::new());
    let got = hand.say(&mut server, &unsupport, now);
    assert_eq!(commands(&got), [Command::Ack]);
    let mut answered = 0;
    for count in 1..50 {
        let unknown = next(count).frame(Command::Unknown(99), IeWriter::new());
        let got = hand.say(&mut server, &unknown, now);
        if commands(&got).contains(&Command::Unsupport) {
            answered += 1;
            assert_eq!(got[0].find(IeId::IaxUnknown), Some(vec![99]));
        }
    }
    assert_eq!(answered, 14, "16 with REGAUTH and PONG");
    server.handle_timeout(now);
    assert_eq!(dialogues(&server), 0);
}

#[test]
fn a_quota_is_for_a_whole_ipv6_64() {
    let now = Instant::now();
    let mut server = server(vec![Account::new("alice", "s3cret")], now);
    let mut refused = 0;
    for host in 1..=1100 {
        let hand = Hand::at(&format!("[2001:db8::{host:x}]:4569"));
        let token = hand.token(&mut server, "alice", now);
        let got = hand.say(&mut server, &hand.request("alice", Some(&token)), now);
        refused += usize::from(commands(&got) == [Command::RegRej]);
    }
    assert_eq!(dialogues(&server), 1024);
    assert_eq!(refused, 1100 - 1024);
    let (_, challenge) = Hand::at("[2001:db8:0:1::1]:4569").open(&mut server, "alice", now);
    assert_eq!(challenge.len(), 9, "the next /64 has its own");
}

#[test]
fn guessing_ends_soon_and_alike_for_unknown_users() {
    let start = Instant::now();
    for user in ["alice", "nobody"] {
        let mut server = server(vec![Account::new("alice", "s3cret")], start);
        let mut attempt = |number: u16, address: &str, secret: &str, now: Instant| {
            let hand = Hand {
                number,
                ..Hand::at(address)
            };
            let (hand, challenge) = hand.open(&mut server, user, now);
            let got = hand.say(&mut server, &hand.prove(user, &challenge, secret), now);
            let event = iter::from_fn(|| server.poll_event()).last().unwrap();
            (commands(&got), event)
        };
        let here = "198.51.100.9:4569";
        for number in 100..130 {
            let (got, event) = attempt(number, here, "guess", start);
            assert_eq!(got, [Command::RegRej]);
            let wanted = if number < 110 {
                Refusal::Credentials
            } else {
                Refusal::Guessing
            };
            let EndpointEvent::Registrar(RegistrarEvent::Refused { why, .. }) = event else {
                panic!("{event:?}");
            };
            assert_eq!(why, wanted, "{user}, {number}");
        }
        if user == "nobody" {
            continue;
        }
        // Nobody else is shut out, and who waits may try again.
        let others = attempt(200, "198.51.100.10:4569", "s3cret", start);
        assert_eq!(others.0, [Command::RegAck]);
        assert_eq!(attempt(201, here, "s3cret", start).0, [Command::RegRej]);
        let later = start + seconds(2);
        assert_eq!(attempt(202, here, "s3cret", later).0, [Command::RegAck]);
    }
}
