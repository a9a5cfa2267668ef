//! Servers that are silent, wrong or broken: each has its finding, and none keeps a survey from its end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    check::{Context, FindingId, Verdict, judge},
    lab::{nat::NatConfig, world::World},
    probe::{
        evidence::RegistrationState,
        message::{Answer, Request},
        survey::{Survey, SurveyConfig},
    },
    proto::{
        account::Account,
        auth::Credentials,
        contract::{SocketKey, Unreachable},
        stateless,
    },
    types::{CallNumber, MappedAddr, PeerAddr, SeqNo},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::{Ie, Text, auth_method},
    },
};

use crate::{
    script::{
        Answers, Found, OTHER, OTHER_ADDRESS, Scripted, answer, challenge, context, from_here, has,
        poked, survey, token,
    },
    support::{CLIENT, EXTERNAL, SERVER, ip, peer, provider, seconds, seed, site, sockets},
};

#[test]
fn silence() {
    let found = survey(|_, _, _| vec![]);
    found.is(
        RegistrationState::Timeout,
        FindingId::ProviderUnreachable,
        "none answered",
    );
    assert!(found.took <= seconds(12), "{:?}", found.took);
    assert_eq!(found.requests, 4);
}

#[test]
fn only_poke_is_answered() {
    let found = survey(|frame, _, _| poked(frame, |_| None));
    found.is(
        RegistrationState::Timeout,
        FindingId::RegistrationTimeout,
        "POKEs are answered",
    );
    assert!(found.took <= seconds(20), "{:?}", found.took);
}

#[test]
fn another_address_answers() {
    // Everything comes from the other address, which the NAT lets in where it filters nothing.
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![NatConfig::rfc4787(ip(EXTERNAL))], 0.0, 1);
    let script = |frame: &FullFrame<'_>, _: PeerAddr, _: u32| -> Answers {
        let answers = poked(frame, |frame| Some(token(frame)));
        let moved = answers
            .into_iter()
            .map(|(_, payload)| (OTHER_ADDRESS, payload));
        moved.collect()
    };
    let machine = Scripted {
        script,
        outbox: VecDeque::new(),
        requests: 0,
    };
    let _server = world.server(sockets(), machine);
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        ..SurveyConfig::new(peer(SERVER), seed(1))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    assert!(world.run_until_done(start + seconds(60), || client.machine().is_finished()));
    let evidence = client.machine().evidence();
    let registration = evidence.registration.clone().unwrap();
    assert_eq!(registration.answered_from, Some(peer(OTHER)));
    assert_eq!(registration.state, RegistrationState::Timeout);
    let judgement = judge(&evidence, &context());
    let [found] = &judgement.findings[..] else {
        panic!("{:?}", judgement.findings);
    };
    assert_eq!(found.id, FindingId::ProviderUnreachable);
    assert!(found.title.contains(OTHER), "{}", found.title);
    assert_eq!(judgement.verdict, Verdict::Critical);
}

#[test]
fn a_naked_refusal() {
    let naked = |frame: &FullFrame<'_>| Some(stateless::reply(frame, Command::RegRej, &[]));
    let found = survey(move |frame, _, _| poked(frame, naked));
    found.is(
        RegistrationState::TokenRefused,
        FindingId::TokenRefused,
        "from call number 1",
    );
    let found = survey(move |frame, _, _| {
        poked(frame, |frame| {
            if has(frame, IeId::CallToken) {
                naked(frame)
            } else {
                Some(token(frame))
            }
        })
    });
    found.is(
        RegistrationState::TokenRefused,
        FindingId::TokenRefused,
        "port changed",
    );
    assert_eq!(found.evidence.registration.unwrap().call_token, Some(true));
}

#[test]
fn a_refusal_with_a_cause() {
    let found = survey(|frame, _, _| {
        poked(frame, |frame| {
            let elements = IeWriter::new()
                .ie(Ie::Cause(Text(b"Registration Refused")))
                .ie(Ie::CauseCode(29));
            Some(answer(frame, Command::RegRej, elements))
        })
    });
    found.is(
        RegistrationState::Rejected,
        FindingId::RegistrationRejected,
        "\"Registration Refused\" (cause code 29)",
    );
}

#[test]
fn tokens_without_end() {
    let found = survey(|frame, _, _| poked(frame, |frame| Some(token(frame))));
    found.is(
        RegistrationState::TokenRefused,
        FindingId::TokenRefused,
        "port changed",
    );
    assert!(found.requests <= 5, "{} requests", found.requests);
}

#[test]
fn challenges_without_end() {
    let found = survey(|frame, _, _| {
        poked(frame, |frame| {
            Some(challenge(frame, auth_method::MD5, b"12345"))
        })
    });
    found.is(
        RegistrationState::Rejected,
        FindingId::RegistrationRejected,
        "kept asking",
    );
    assert!(found.requests <= 5, "{} requests", found.requests);
}

#[test]
fn nothing_but_inval() {
    let found = survey(|frame, _, _| {
        poked(frame, |frame| {
            let frame = FullFrame {
                destination: CallNumber::from_bits(9),
                ..*frame
            };
            stateless::invalid(&frame)
        })
    });
    found.is(
        RegistrationState::Rejected,
        FindingId::RegistrationRejected,
        "INVAL",
    );
    assert!(found.requests <= 3, "{} requests", found.requests);
}

#[test]
fn a_server_that_registers_nobody() {
    let found = survey(|frame, _, _| {
        poked(frame, |frame| {
            let elements = IeWriter::new().ie(Ie::IaxUnknown(Command::RegReq.get()));
            Some(answer(frame, Command::Unsupport, elements))
        })
    });
    found.is(
        RegistrationState::Rejected,
        FindingId::RegistrationRejected,
        "does not support",
    );
}

#[test]
fn garbage() {
    let garbage = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|at| u8::try_from(at * 37 % 256).unwrap() | 0x80)
            .collect()
    };
    for length in [0, 1, 4, 11, 12, 13, 40, 1400] {
        let found = survey(move |_, _, _| from_here(garbage(length)));
        found.is(
            RegistrationState::Timeout,
            FindingId::ProviderUnreachable,
            "none answered",
        );
        let found = survey(move |frame, _, _| poked(frame, |_| Some(garbage(length))));
        found.is(
            RegistrationState::Timeout,
            FindingId::RegistrationTimeout,
            "POKEs are answered",
        );
    }
}

#[test]
fn truncated_frames() {
    // A challenge cut at every octet: none is answered, unless what is left is a whole one.
    let whole = 12 + 4 + 7 + 7;
    for length in 0..whole {
        let found = survey(move |frame, _, _| {
            poked(frame, |frame| {
                let mut challenge = challenge(frame, auth_method::MD5, b"12345");
                assert_eq!(challenge.len(), whole);
                challenge.truncate(length);
                Some(challenge)
            })
        });
        let id = match length {
            // Without its elements a challenge offers nothing.
            12 | 16 => FindingId::AuthUnsupported,
            _ => FindingId::RegistrationTimeout,
        };
        assert!(
            found.ids() == [id] || found.ids() == [FindingId::RegistrationRejected],
            "{length}: {:?} {}",
            found.ids(),
            found.because()
        );
    }
}

#[test]
fn challenges_that_cannot_be_met() {
    for (methods, fact) in [
        (0, "none of them known"),
        (auth_method::PLAINTEXT, "plaintext"),
        (auth_method::RSA, "rsa"),
        (0x8000, "none of them known"),
    ] {
        let found =
            survey(move |frame, _, _| poked(frame, |frame| Some(challenge(frame, methods, b"1"))));
        found.is(
            RegistrationState::AuthUnsupported,
            FindingId::AuthUnsupported,
            fact,
        );
    }
}

/// Challenges, takes any answer, and acknowledges with these elements.
fn granting(nonce: &'static [u8], grant: fn(IeWriter) -> IeWriter) -> Found {
    survey(move |frame, _, _| {
        poked(frame, |frame| {
            Some(if has(frame, IeId::Md5Result) {
                answer(frame, Command::RegAck, grant(IeWriter::new()))
            } else {
                challenge(frame, auth_method::MD5, nonce)
            })
        })
    })
}

#[test]
fn a_server_that_registers_but_reflects_nothing() {
    let long: &[u8] = &[b'7'; 255];
    for nonce in [long, b"", b"1"] {
        let found = granting(nonce, |elements| elements.ie(Ie::Refresh(60)));
        found.is(
            RegistrationState::Registered,
            FindingId::NotMeasured,
            "no reflector",
        );
        assert_eq!(found.requests, 2);
    }
    // A refresh of nothing, or none at all, is no reason to register again and again.
    let found = granting(b"1", |elements| elements.ie(Ie::Refresh(0)));
    assert_eq!(
        (found.state(), found.requests),
        (Some(RegistrationState::Registered), 2)
    );
    let found = granting(b"1", |elements| elements);
    assert_eq!(
        found.evidence.registration.unwrap().refresh,
        Some(seconds(60))
    );
}

#[test]
fn a_refresh_of_nothing_is_no_hammer() {
    // The reflector is another host, so that the sweep goes on for a while.
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![NatConfig::linux(ip(EXTERNAL))], 0.0, 1);
    let script = |frame: &FullFrame<'_>, _: PeerAddr, _: u32| {
        poked(frame, |frame| {
            Some(answer(
                frame,
                Command::RegAck,
                IeWriter::new().ie(Ie::Refresh(0)),
            ))
        })
    };
    let machine = Scripted {
        script,
        outbox: VecDeque::new(),
        requests: 0,
    };
    let registrar = "203.0.113.9:4569";
    let server = world.server([(SocketKey(0), registrar.parse().unwrap())], machine);
    let sockets = sockets();
    let _reflector = world.server(sockets.clone(), provider(vec![], &sockets, 1, start));
    let config = SurveyConfig {
        credentials: Some(Credentials::named("alice")),
        reflector: Some(peer(SERVER)),
        ..SurveyConfig::new(peer(registrar), seed(1))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    assert!(world.run_until_done(start + seconds(400), || client.machine().is_finished()));
    let took = world.now() - start;
    assert!(took > seconds(100), "{took:?}");
    let most = took.as_secs() / 5 + 2;
    let requests = server.machine().requests;
    assert!(
        u64::from(requests) <= most,
        "{requests} requests in {took:?}"
    );
}

#[test]
fn a_closed_port() {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, vec![NatConfig::linux(ip(EXTERNAL))], 0.0, 1);
    let sockets = sockets();
    let accounts = vec![Account::new("alice", "s3cret")];
    let _server = world.server(sockets.clone(), provider(accounts, &sockets, 1, start));
    let closed = peer("203.0.113.1:5000");
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        ..SurveyConfig::new(closed, seed(1))
    };
    let client = world.client(site, ip(CLIENT), Survey::new(config, start));
    assert!(world.run_until_done(start + seconds(60), || client.machine().is_finished()));
    let evidence = client.machine().evidence();
    assert_eq!(
        evidence.reach.as_ref().unwrap().unreachable,
        Some(Unreachable::Port)
    );
    let context = Context {
        provider: closed,
        ..context()
    };
    let judgement = judge(&evidence, &context);
    let [found] = &judgement.findings[..] else {
        panic!("{:?}", judgement.findings);
    };
    assert_eq!(found.id, FindingId::ProviderUnreachable);
    assert!(found.title.contains("Nothing listens"), "{}", found.title);
    assert_eq!(judgement.verdict, Verdict::Critical);
}

/// What a false reflector does with a request that is no greeting.
fn false_reflector<A: FnMut(&Request, &FullFrame<'_>) -> Option<Vec<u8>> + 'static>(
    mut other: A,
) -> Found {
    survey(move |frame, source, _| {
        let request = frame.ies().find(IeId::Probe).and_then(Request::read);
        let mapped = MappedAddr::new(source.get());
        match request {
            Some(Request::Hello) => {
                let hello = Answer::Hello {
                    token: [7; 8],
                    lifetime: Duration::ZERO,
                    mapped,
                    other_port: None,
                    other_address: None,
                };
                from_here(pong(frame, &hello))
            }
            Some(request) => other(&request, frame).map(from_here).unwrap_or_default(),
            None => poked(frame, |frame| {
                Some(answer(
                    frame,
                    Command::RegAck,
                    IeWriter::new().ie(Ie::Refresh(60)),
                ))
            }),
        }
    })
}

fn pong(frame: &FullFrame<'_>, answer: &Answer) -> Vec<u8> {
    let elements = IeWriter::new()
        .ie(Ie::Probe(&answer.to_octets()))
        .finish()
        .unwrap();
    stateless::reply(frame, Command::Pong, &elements)
}

#[test]
fn a_reflector_that_only_greets() {
    let found = false_reflector(|_, _| None);
    found.is(
        RegistrationState::Registered,
        FindingId::NotMeasured,
        "no probe of an idle mapping gave a clear answer",
    );
    assert!(found.took <= seconds(60), "{:?}", found.took);
}

#[test]
fn a_reflector_that_refuses_everything() {
    let found = false_reflector(|_, frame| {
        let refused = Answer::Refused {
            reason: iax2_natcheck::probe::message::Refused::Quota,
            mapped: MappedAddr::new(
                EXTERNAL
                    .parse::<std::net::IpAddr>()
                    .map(|ip| (ip, 9).into())
                    .unwrap(),
            ),
        };
        Some(pong(frame, &refused))
    });
    found.is(
        RegistrationState::Registered,
        FindingId::NotMeasured,
        "the reflector refuses",
    );
}

#[test]
fn a_reflector_that_sends_requests_back() {
    let found = false_reflector(|_, frame| Some(Frame::Full(*frame).to_vec()));
    found.is(
        RegistrationState::Registered,
        FindingId::NotMeasured,
        "no probe of an idle mapping gave a clear answer",
    );
}

#[test]
fn frames_out_of_sequence() {
    // Every answer claims to be the sixth of its dialogue.
    let found = survey(|frame, _, _| {
        poked(frame, |frame| {
            let ahead = FullFrame {
                iseqno: SeqNo::new(5),
                ..*frame
            };
            Some(challenge(&ahead, auth_method::MD5, b"1"))
        })
    });
    assert_eq!(found.ids(), [FindingId::RegistrationTimeout]);
    assert!(found.requests <= 14, "{} requests", found.requests);
}
