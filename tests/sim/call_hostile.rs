//! Peers that mean no good, and peers that do not know what they mean: random frames at every stage of both
//! ends of a call, and at the switchboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    proto::{
        account::{Account, CallTokenRule, EncryptionRule},
        auth::{Credentials, Method, md5_result},
        call::{Call, CallEvent, Challenge, DialConfig, EncryptionOffer, Manners, Reason, Stage},
        cipher::CallKey,
        contract::{Input, Machine as _, SocketKey},
        endpoint::EndpointEvent,
        switchboard::{SwitchboardEvent, fault::Fault},
    },
    types::{CallNumber, PeerAddr, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        format::Formats,
        frame::{Frame, FullFrame, Numbers},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    exchange::{Exchange, millis},
    noise::{self, Seeming},
    support::{peer, seconds, seed},
};

const OURS: CallNumber = CallNumber::from_bits(1000);
const THEIRS: CallNumber = CallNumber::from_bits(2000);

/// The key of a call whose challenge and secret everybody knows.
fn key() -> CallKey {
    CallKey::derive(b"123456789", b"s3cret")
}

/// A call, and what the other end would know of it.
struct Victim {
    call: Call,
    now: Instant,
    seeming: Seeming,
    endings: usize,
    stages: BTreeSet<Stage>,
    /// Seals and opens, and decides what to seal.
    rng: StdRng,
}

impl Victim {
    fn new(call: Call, now: Instant) -> Self {
        Self {
            call,
            now,
            seeming: Seeming {
                source: THEIRS,
                destination: OURS,
                oseqno: SeqNo::ZERO,
                iseqno: SeqNo::ZERO,
            },
            endings: 0,
            stages: BTreeSet::new(),
            rng: StdRng::from_seed([7; 32]),
        }
    }

    fn caller(encryption: EncryptionOffer, number: u64, now: Instant) -> Self {
        let config = DialConfig {
            number: "600".to_owned(),
            context: None,
            credentials: Some(Credentials::with_secret("alice", "s3cret")),
            caller: None,
            formats: vec![Formats::ULAW, Formats::ALAW],
            encryption,
            offer_token: true,
            renumbers: false,
            manners: Manners::OURS,
            seed: seed(number),
        };
        let mut victim = Self::new(Call::dial(config, OURS, now), now);
        victim.drain();
        victim
    }

    fn callee(encrypt: bool, is_proven: bool, number: u64, now: Instant) -> Self {
        let elements = IeWriter::new()
            .ie(Ie::CalledNumber(Text(b"600")))
            .ie(Ie::Capability(12))
            .finish()
            .unwrap();
        let frame = FullFrame {
            frame_type: FrameType::Iax,
            subclass: Command::New.into(),
            payload: &elements,
            ..FullFrame::poke_from(THEIRS, Timestamp::ZERO)
        };
        let mut call = if is_proven {
            Call::incoming(&frame, OURS, Manners::ASTERISK, seed(number), now)
        } else {
            Call::unproven(
                &frame,
                OURS,
                Manners::ASTERISK,
                seconds(8),
                seed(number),
                now,
            )
        };
        let challenge = Challenge {
            methods: &[Method::Md5],
            text: "123456789",
            user: b"alice",
            encrypt_with: encrypt.then_some(b"s3cret"),
        };
        call.challenge(&challenge, now);
        let mut victim = Self::new(call, now);
        victim.seeming.oseqno = SeqNo::new(1);
        victim.drain();
        victim
    }

    /// Takes what it says, and learns from it what a peer would.
    fn drain(&mut self) -> usize {
        let mut sent = 0;
        while let Some(datagram) = self.call.poll_transmit() {
            sent += 1;
            assert!(sent <= 64, "no end of datagrams");
            let plain = key().decrypt(&datagram).unwrap_or(datagram);
            if let Ok(Frame::Full(frame)) = Frame::decode(&plain)
                && frame.source == OURS
            {
                self.seeming.oseqno = frame.iseqno;
                if frame.is_numbered() {
                    self.seeming.iseqno = frame.oseqno.next();
                }
            }
        }
        while let Some(event) = self.call.poll_event() {
            assert_eq!(self.endings, 0, "{event:?} after the end");
            match event {
                CallEvent::Ended(_) => self.endings += 1,
                CallEvent::Proof(_) if self.rng.random() => {
                    self.call.trust();
                    self.call.accept(Formats::ULAW, self.now);
                }
                _ => {}
            }
        }
        while self.call.poll_trunk().is_some() {}
        self.stages.insert(self.call.stage());
        sent
    }

    fn hear(&mut self, datagram: &[u8]) {
        let sealed = key().encrypt(datagram, &mut self.rng);
        let is_sealed = self.call.is_encrypted() && self.rng.random_range(0..8) > 0;
        let datagram = if is_sealed { &sealed } else { datagram };
        self.call.handle_datagram(datagram, self.now);
        let sent = self.drain();
        assert!(sent <= 20, "{sent} datagrams for one");
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((due, why)) = self.call.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            self.call.handle_timeout(self.now);
            self.drain();
            let next = self.call.poll_timeout();
            // Too much that is not acknowledged gives up at once.
            let is_later = next.is_none_or(|(due, _)| due > self.now);
            if !is_later {
                self.call.handle_timeout(self.now);
                self.drain();
            }
            let next = self.call.poll_timeout();
            assert!(
                next.is_none_or(|(due, _)| due > self.now),
                "{why}: {next:?}"
            );
        }
        self.now = until;
    }

    fn act(&mut self, rng: &mut StdRng) {
        let now = self.now;
        match rng.random_range(0..9) {
            0 => self.call.ping(now),
            8 => self.call.answer(now),
            1 => self.call.send_digit(b'1', rng.random(), now),
            2 => self.call.send_text(b"hello", now),
            3 => self.call.set_trunked(rng.random()),
            4 if rng.random_range(0..20) == 0 => {
                self.call.hang_up(Reason::code(16), now);
            }
            _ => {
                let format = [Formats::ULAW, Formats::ALAW, Formats::GSM][rng.random_range(0..3)];
                self.call.send_audio(&[0x55; 160], format, 20, now);
            }
        }
        self.drain();
    }

    /// Nobody says anything any more: it must notice.
    fn assert_ends(&mut self) {
        self.wait(seconds(300));
        assert_eq!(self.call.stage(), Stage::Over, "{:?}", self.call);
        assert_eq!(self.endings, 1);
        assert_eq!(self.call.poll_timeout(), None);
        let noise = [0x87, 0xd0, 0x03, 0xe8, 0, 0, 0, 0, 0, 0, 6, 2];
        self.hear(&noise);
        assert_eq!(self.call.poll_timeout(), None);
    }
}

/// A peer that goes on as it should, as far as the caller's next stage.
fn lead(victim: &mut Victim, rng: &mut StdRng) {
    let (next, elements) = match rng.random_range(0..5) {
        0 => (
            Command::AuthReq,
            IeWriter::new()
                .ie(Ie::AuthMethods(2))
                .ie(Ie::Challenge(b"123456789"))
                .ie(Ie::Encryption(1))
                .ie(Ie::Username(Text(b"alice"))),
        ),
        1 => {
            let proof = md5_result(b"123456789", b"s3cret");
            let elements = IeWriter::new().ie(Ie::Md5Result(Text(proof.as_bytes())));
            let frame = noise::command(victim.seeming, Command::AuthRep, elements);
            // The first frame that is encrypted, where one is.
            let sealed = key().encrypt(&frame, rng);
            return victim.hear(if rng.random() { &sealed } else { &frame });
        }
        2 | 3 => (Command::Accept, IeWriter::new().ie(Ie::Format(4))),
        _ => (Command::Ack, IeWriter::new()),
    };
    let frame = noise::command(victim.seeming, next, elements);
    victim.hear(&frame);
}

#[test]
fn no_peer_makes_a_call_panic_leak_or_last() {
    let mut stages = BTreeMap::<&str, BTreeSet<Stage>>::new();
    for round in 0..600u64 {
        let now = Instant::now();
        let mut rng = StdRng::from_seed(seed(round));
        let (name, mut victim) = match round % 6 {
            0 | 1 => ("caller", Victim::caller(EncryptionOffer::None, round, now)),
            2 => (
                "encrypted caller",
                Victim::caller(EncryptionOffer::Required, round, now),
            ),
            3 => ("callee", Victim::callee(false, true, round, now)),
            4 => ("encrypted callee", Victim::callee(true, true, round, now)),
            _ => ("unproven callee", Victim::callee(false, false, round, now)),
        };
        for _ in 0..rng.random_range(1..300) {
            match rng.random_range(0..10) {
                0 => lead(&mut victim, &mut rng),
                1 => victim.act(&mut rng),
                2 => victim.wait(millis(rng.random_range(0..3000))),
                _ => {
                    let frame = noise::any(victim.seeming, &mut rng);
                    victim.hear(&frame);
                }
            }
        }
        victim.assert_ends();
        stages.entry(name).or_default().extend(victim.stages);
    }
    for (name, reached) in stages {
        assert_eq!(reached.len(), 5, "{name} was only {reached:?}");
    }
}

/// Somebody who calls, as the switchboard sees it.
#[derive(Clone)]
struct Mallory {
    peer: PeerAddr,
    token: Vec<u8>,
    challenge: Vec<u8>,
    seeming: Seeming,
}

impl Mallory {
    fn new(host: u8, number: u16) -> Self {
        Self {
            peer: peer(&format!("192.0.2.{host}:4569")),
            token: vec![],
            challenge: vec![],
            seeming: Seeming {
                source: CallNumber::from_bits(number),
                destination: CallNumber::NONE,
                oseqno: SeqNo::ZERO,
                iseqno: SeqNo::ZERO,
            },
        }
    }

    fn say(&self, rng: &mut StdRng) -> Vec<u8> {
        let user = ["alice", "open", "old", "secret", "nobody"][rng.random_range(0..5)];
        let number = rng.random_range(598..612u32).to_string();
        match rng.random_range(0..10) {
            0 | 1 => {
                let first = Seeming {
                    destination: CallNumber::NONE,
                    oseqno: SeqNo::ZERO,
                    iseqno: SeqNo::ZERO,
                    ..self.seeming
                };
                let elements = IeWriter::new()
                    .ie(Ie::CalledNumber(Text(number.as_bytes())))
                    .ie(Ie::Username(Text(user.as_bytes())))
                    .ie(Ie::Encryption(rng.random_range(0..2)))
                    .ie(Ie::Capability(rng.random()));
                let elements = match rng.random_range(0..8) {
                    0 => elements,
                    1 => elements.ie(Ie::CallToken(b"")),
                    _ => elements.ie(Ie::CallToken(&self.token)),
                };
                noise::command(first, Command::New, elements)
            }
            2 | 3 => {
                let proof = md5_result(&self.challenge, b"s3cret");
                let elements = IeWriter::new().ie(Ie::Md5Result(Text(proof.as_bytes())));
                noise::command(self.seeming, Command::AuthRep, elements)
            }
            4 | 5 => noise::command(self.seeming, Command::Ack, IeWriter::new()),
            _ => noise::any(self.seeming, rng),
        }
    }

    fn hear(&mut self, payload: &[u8]) {
        let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
            return;
        };
        if let Some(token) = frame.ies().find(IeId::CallToken) {
            self.token = token.to_vec();
        } else if frame.source != CallNumber::STATELESS {
            if let Some(challenge) = frame.ies().find(IeId::Challenge) {
                self.challenge = challenge.to_vec();
            }
            self.seeming.destination = frame.source;
            self.seeming.oseqno = frame.iseqno;
            if frame.is_numbered() {
                self.seeming.iseqno = frame.oseqno.next();
            }
        }
    }
}

fn accounts() -> Vec<Account> {
    let account = |name| Account {
        trunk: true,
        ..Account::new(name, "s3cret")
    };
    vec![
        account("alice"),
        Account {
            methods: vec![],
            secret: None,
            ..account("open")
        },
        Account {
            call_token: CallTokenRule::Optional,
            ..account("old")
        },
        Account {
            encryption: EncryptionRule::Optional,
            ..account("secret")
        },
    ]
}

#[test]
fn no_caller_makes_the_switchboard_panic_or_leak() {
    let mut accepted = 0;
    for round in 0..60u64 {
        let faults: &[Fault] = match round % 6 {
            4 => &[Fault::Inval],
            5 => &[Fault::Drop(3), Fault::OneWay, Fault::OtherPort],
            _ => &[],
        };
        let mut exchange = Exchange::new(accounts(), faults);
        let mut rng = StdRng::from_seed(seed(round + 5000));
        exchange.register("192.0.2.3:4569");
        let mut callers: Vec<Mallory> = (0..12u8)
            .map(|which| Mallory::new(which % 4 + 1, 2000 + u16::from(which)))
            .collect();
        let start = exchange.now;
        for _ in 0..1500 {
            let which = rng.random_range(0..callers.len());
            let payload = callers[which].say(&mut rng);
            let input = Input::Datagram {
                socket: SocketKey(rng.random_range(0..2)),
                source: callers[which].peer,
                payload: &payload,
            };
            exchange.provider.handle_input(input, exchange.now);
            if rng.random_range(0..20) == 0 {
                exchange.now += millis(rng.random_range(0..2000));
                exchange.provider.handle_timeout(exchange.now);
            }
            hear(&mut exchange, &mut callers);
        }
        let counts = exchange.provider.endpoint().switchboard().unwrap().counts();
        accepted += counts.accepted;
        // Nobody says anything any more.
        while let Some((due, why)) = exchange.provider.poll_timeout() {
            assert!(due > exchange.now || exchange.now == start, "{why}");
            exchange.now = due.max(exchange.now);
            exchange.provider.handle_timeout(exchange.now);
            hear(&mut exchange, &mut []);
            assert!(exchange.now < start + seconds(4000), "{why} never ends");
        }
        assert_eq!(exchange.lines(), 0);
        let count = |wanted: fn(&SwitchboardEvent) -> bool| {
            exchange
                .switchboard_events()
                .filter(|event| wanted(event))
                .count()
        };
        let began = count(|event| matches!(event, SwitchboardEvent::Accepted { .. }));
        let ended = count(|event| {
            matches!(
                event,
                SwitchboardEvent::Ended {
                    lasted: Some(_),
                    ..
                }
            )
        });
        assert_eq!(began, ended, "each call that was accepted ended once");
    }
    assert!(accepted > 500, "{accepted} calls were accepted");
}

fn hear(exchange: &mut Exchange, callers: &mut [Mallory]) {
    while let Some(transmit) = exchange.provider.poll_transmit() {
        for caller in callers
            .iter_mut()
            .filter(|caller| caller.peer == transmit.peer)
        {
            let number = Numbers::of(&transmit.payload);
            if let Some(Numbers::Full { destination, .. }) = number
                && destination == caller.seeming.source
            {
                caller.hear(&transmit.payload);
            }
        }
    }
    while let Some(event) = exchange.provider.poll_event() {
        if let EndpointEvent::Switchboard(_) = event {
            exchange.events.push(event);
        }
    }
}
