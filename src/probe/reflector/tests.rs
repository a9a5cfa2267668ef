//! What a reflector grants, refuses and forgets.

use std::time::SystemTime;

use super::*;
use crate::{
    proto::token::{TOKEN_LENGTH, TokenKey, WallClock},
    wire::iax2::frame::Frame,
};

/// A reflector, and a client that counts what it is answered.
struct Scene {
    reflector: Reflector,
    peer: PeerAddr,
    token: [u8; TOKEN_LENGTH],
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let clock = WallClock {
            at: now,
            says: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        };
        let tokens = Tokens::for_probes(TokenKey::new([1; 16]), clock);
        let peer = PeerAddr::new("[2001:db8::1]:4569".parse().unwrap());
        Self {
            token: tokens.issue(peer, now),
            reflector: Reflector::new(tokens, BTreeMap::new(), [2; 32], now),
            peer,
            now,
        }
    }

    fn from(&mut self, address: &str) {
        self.peer = PeerAddr::new(address.parse().unwrap());
        self.token = self.reflector.tokens.issue(self.peer, self.now);
    }

    /// Says this and returns the answers that come at once.
    fn say(&mut self, request: &Request) -> Vec<Answer> {
        let datagram = request.to_poke(CallNumber::from_bits(5), Timestamp::ZERO);
        let Ok(Frame::Full(frame)) = Frame::decode(&datagram) else {
            panic!()
        };
        let arrival = Arrival {
            socket: SocketKey(0),
            peer: self.peer,
            length: datagram.len(),
        };
        assert!(self.reflector.handle_frame(&frame, arrival, self.now));
        self.drain()
    }

    fn drain(&mut self) -> Vec<Answer> {
        std::iter::from_fn(|| self.reflector.poll_transmit())
            .map(|transmit| {
                let Ok(Frame::Full(frame)) = Frame::decode(&transmit.payload) else {
                    panic!()
                };
                Answer::read(&frame).unwrap()
            })
            .collect()
    }

    /// Asks for delayed answers; whether that was granted.
    fn ask(&mut self, session: u32, index: u32, delays: &[u64], repeats: u8) -> bool {
        let request = Request::Ask(Ask {
            token: self.token,
            nonce: Nonce { session, index },
            at_once: false,
            from: AnswerFrom::default(),
            delays: delays.iter().copied().map(Duration::from_secs).collect(),
            repeats,
            spacing: Duration::ZERO,
            ttl: 0,
        });
        let answers = self.say(&request);
        !answers.iter().any(|answer| {
            matches!(
                answer,
                Answer::Refused {
                    reason: Refused::Quota,
                    ..
                }
            )
        })
    }

    /// Lets all time up to then pass; how many answers came.
    fn pass(&mut self, until: Instant) -> usize {
        let mut count = 0;
        while let Some((due, _)) = self.reflector.poll_timeout()
            && due <= until
        {
            self.reflector.handle_timeout(due);
            count += self.drain().len();
        }
        self.now = until;
        count
    }
}

#[test]
fn answers_are_limited_and_not_the_requests_alone() {
    let mut scene = Scene::new();
    let start = scene.now;
    let (mut answers, mut index) = (0, 0);
    for turn in 1..=250 {
        for _ in 0..20 {
            index += 1;
            scene.ask(1, index, &[0, 0, 0, 0], 8);
        }
        answers += scene.pass(start + Duration::from_millis(20) * turn);
    }
    // 5 s of 2000, and one burst of 8192.
    assert!((10_000..=18_300).contains(&answers), "{answers}");
    assert!(scene.reflector.counts().refused > 0);
}

#[test]
fn a_whole_sweep_is_granted_at_once() {
    let mut scene = Scene::new();
    for index in 0..512 {
        let delays: &[u64] = if index % 3 == 0 { &[60, 90] } else { &[60] };
        assert!(scene.ask(1, index, delays, 6));
    }
}

#[test]
fn a_quota_is_for_a_whole_ipv6_64() {
    let mut scene = Scene::new();
    let granted = (1..=4200).filter(|host| {
        scene.from(&format!("[2001:db8::{host:x}]:4569"));
        scene.ask(1, *host, &[60], 1)
    });
    assert_eq!(granted.count(), MAX_PENDING);
    scene.from("[2001:db8:0:1::1]:4569");
    assert!(scene.ask(1, 1, &[60], 1), "the next /64 has its own");
    assert_eq!(scene.reflector.counts().clients, 2);
}

#[test]
fn a_cancel_removes_its_own_session_alone() {
    let mut scene = Scene::new();
    for session in [1, 2, 3] {
        assert!(scene.ask(session, 0, &[1, 2, 60], 2));
    }
    // Each session has had its first answer twice.
    assert_eq!(scene.pass(scene.now + Duration::from_millis(1500)), 6);
    let token = scene.token;
    scene.say(&Request::Cancel { token, session: 2 });
    assert_eq!(scene.reflector.pending(), 4);
    assert_eq!(scene.pass(scene.now + Duration::from_secs(600)), 8);
    let client = scene.reflector.clients.values().next();
    assert!(client.is_none_or(|client| client.pending.is_empty()));
}

#[test]
fn the_oldest_arrival_is_forgotten_first() {
    let mut scene = Scene::new();
    // Counting down: the oldest has the largest number.
    let count = u32::try_from(MAX_ARRIVALS).unwrap();
    for index in (0..=count).rev() {
        assert!(scene.ask(1, index, &[], 1));
    }
    let status = Request::Status {
        token: scene.token,
        session: 1,
        indices: vec![0, 1, count - 1, count],
    };
    let answers = scene.say(&status);
    let [Answer::Status { arrived, .. }] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(arrived, &[0, 1, count - 1]);
}

#[test]
fn a_knock_goes_to_the_proven_address_alone_and_not_often() {
    let mut scene = Scene::new();
    let sockets = (0..4).map(|key| {
        let address = format!("[2001:db8:f::{key}]:4569");
        (SocketKey(key), PeerAddr::new(address.parse().unwrap()))
    });
    scene.reflector.sockets = sockets.collect();
    let mut knock = |port, token| {
        let nonce = Nonce {
            session: 1,
            index: 1,
        };
        let request = Request::Knock { token, nonce, port };
        let datagram = request.to_poke(CallNumber::from_bits(5), Timestamp::ZERO);
        let Ok(Frame::Full(frame)) = Frame::decode(&datagram) else {
            panic!()
        };
        let arrival = Arrival {
            socket: SocketKey(0),
            peer: scene.peer,
            length: datagram.len(),
        };
        assert!(scene.reflector.handle_frame(&frame, arrival, scene.now));
        let sent: Vec<Transmit> = std::iter::from_fn(|| scene.reflector.poll_transmit()).collect();
        assert!(
            sent.iter()
                .all(|sent| sent.peer.get().ip() == scene.peer.get().ip())
        );
        assert!(sent.iter().all(|sent| sent.payload.len() <= datagram.len()));
        let strangers = sent.iter().filter(|sent| sent.socket == SocketKey(3));
        strangers
            .map(|sent| sent.peer.get().port())
            .collect::<Vec<_>>()
    };
    let token = scene.token;
    assert_eq!(knock(4569, token), [4569]);
    assert_eq!(knock(53, token), [0; 0], "a system's own service");
    assert_eq!(
        knock(4569, [0; TOKEN_LENGTH]),
        [0; 0],
        "nothing proves the address"
    );
    let granted = (0..40).filter(|_| !knock(4569, token).is_empty());
    assert_eq!(granted.count(), 15);
}
