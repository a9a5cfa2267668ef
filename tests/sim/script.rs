//! Servers that follow a script, and what a survey finds of them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    check::{Context, FindingId, Judgement, Question, Verdict, judge},
    lab::{nat::NatConfig, world::World},
    probe::{
        evidence::{Evidence, RegistrationState},
        survey::{Survey, SurveyConfig},
    },
    proto::{
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit},
        stateless,
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text},
    },
};

use crate::support::{CLIENT, EXTERNAL, SERVER, ip, peer, seconds, seed, site, sockets};

/// The key of the server's other address.
pub(crate) const OTHER_ADDRESS: SocketKey = SocketKey(2);
pub(crate) const OTHER: &str = "203.0.113.2:4569";

/// What a script makes of one request: datagrams, each from a socket.
pub(crate) type Answers = Vec<(SocketKey, Vec<u8>)>;

/// A server that follows a script.
pub(crate) struct Scripted<F> {
    pub(crate) script: F,
    pub(crate) outbox: VecDeque<Transmit>,
    pub(crate) requests: u32,
}

impl<F: FnMut(&FullFrame<'_>, PeerAddr, u32) -> Answers> Machine for Scripted<F> {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, _now: Instant) {
        let Input::Datagram {
            source, payload, ..
        } = input
        else {
            return;
        };
        let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
            panic!("the client sent no full frame: {payload:02x?}");
        };
        let is_request = matches!(frame.command(), Some(Command::RegReq | Command::RegRel));
        self.requests += u32::from(is_request);
        for (socket, payload) in (self.script)(&frame, source, self.requests) {
            self.outbox.push_back(Transmit {
                socket,
                peer: source,
                payload,
                ttl: None,
            });
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

pub(crate) struct Found {
    pub(crate) evidence: Evidence,
    pub(crate) judgement: Judgement,
    pub(crate) took: Duration,
    pub(crate) requests: u32,
}

/// Surveys a server that follows `script`.
pub(crate) fn survey(
    script: impl FnMut(&FullFrame<'_>, PeerAddr, u32) -> Answers + 'static,
) -> Found {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![NatConfig::linux(ip(EXTERNAL))], 0.0, 1);
    let machine = Scripted {
        script,
        outbox: VecDeque::new(),
        requests: 0,
    };
    let server = world.server(sockets(), machine);
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        ..SurveyConfig::new(peer(SERVER), seed(1))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    // A registration ends within 60 s, a sweep of nothing sooner.
    let ended = world.run_until_done(start + seconds(130), || client.machine().is_finished());
    assert!(ended, "the survey does not end");
    let took = world.now() - start;
    // Nothing comes after what was under way.
    world.run_until(world.now() + seconds(1));
    let sent = world.traffic().sent;
    world.run_until(start + seconds(1000));
    assert_eq!(world.traffic().sent, sent, "still sending");
    let evidence = client.machine().evidence();
    let judgement = judge(&evidence, &context());
    let requests = server.machine().requests;
    Found {
        evidence,
        judgement,
        took,
        requests,
    }
}

pub(crate) fn context() -> Context {
    Context {
        question: Question::Reachability,
        provider: peer(SERVER),
        credentials: true,
        refresh: None,
        device: None,
    }
}

impl Found {
    pub(crate) fn ids(&self) -> Vec<FindingId> {
        self.judgement
            .findings
            .iter()
            .map(|found| found.id)
            .collect()
    }

    pub(crate) fn state(&self) -> Option<RegistrationState> {
        self.evidence.registration.as_ref().map(|found| found.state)
    }

    /// The facts of the first finding.
    pub(crate) fn because(&self) -> String {
        self.judgement
            .findings
            .first()
            .map(|found| found.because.join("\n"))
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(&self, state: RegistrationState, id: FindingId, fact: &str) {
        assert_eq!(self.state(), Some(state));
        assert_eq!(self.ids(), [id], "{}", self.because());
        let verdict = if id == FindingId::NotMeasured {
            Verdict::Unknown
        } else {
            Verdict::Critical
        };
        assert_eq!(self.judgement.verdict, verdict);
        assert!(self.because().contains(fact), "{fact}: {}", self.because());
        assert!(!self.judgement.summary.is_empty());
    }
}

pub(crate) fn from_here(payload: Vec<u8>) -> Answers {
    vec![(SocketKey(0), payload)]
}

/// Answers POKE as any IAX2 peer does, and leaves the rest to `other`.
pub(crate) fn poked(
    frame: &FullFrame<'_>,
    other: impl FnOnce(&FullFrame<'_>) -> Option<Vec<u8>>,
) -> Answers {
    match frame.command() {
        Some(Command::Poke) => from_here(stateless::reply(frame, Command::Pong, &[])),
        Some(Command::RegReq) => other(frame).map(from_here).unwrap_or_default(),
        _ => vec![],
    }
}

/// A frame of a dialogue that the server has opened, in answer to `frame`.
pub(crate) fn answer(frame: &FullFrame<'_>, command: Command, elements: IeWriter) -> Vec<u8> {
    Frame::Full(FullFrame {
        source: CallNumber::from_bits(77),
        destination: frame.source,
        retransmission: false,
        timestamp: frame.timestamp,
        oseqno: frame.iseqno,
        iseqno: frame.oseqno.next(),
        frame_type: FrameType::Iax,
        subclass: command.into(),
        payload: &elements.finish().unwrap(),
    })
    .to_vec()
}

pub(crate) fn challenge(frame: &FullFrame<'_>, methods: u16, nonce: &[u8]) -> Vec<u8> {
    let elements = IeWriter::new()
        .ie(Ie::AuthMethods(methods))
        .ie(Ie::Challenge(nonce))
        .ie(Ie::Username(Text(b"alice")));
    answer(frame, Command::RegAuth, elements)
}

pub(crate) fn has(frame: &FullFrame<'_>, id: IeId) -> bool {
    frame.ies().find(id).is_some_and(|data| !data.is_empty())
}

pub(crate) fn token(frame: &FullFrame<'_>) -> Vec<u8> {
    let elements = IeWriter::new()
        .ie(Ie::CallToken(b"abcdefgh"))
        .finish()
        .unwrap();
    stateless::reply(frame, Command::CallToken, &elements)
}
