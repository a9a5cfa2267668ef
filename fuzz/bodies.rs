//! What is fuzzed, as plain functions: libFuzzer calls them with what it makes up, `tests/fuzz.rs` with the corpus.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every target compiles all of it and uses its part"
)]

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::{
    check::passive,
    probe::provider::{Provider, ProviderConfig},
    proto::{
        account::{Account, CallTokenRule},
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit},
        endpoint::{EndpointConfig, Profile},
        registrar::RegistrarConfig,
        registration::{Registration, RegistrationConfig},
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
    trace::{
        anonymous::Anonymizer,
        pairing::{Matcher, Wire},
        reading::{Got, Reading},
        traced::{Limits, Settings},
        tracer::Tracer,
    },
    types::{LocalAddr, PeerAddr},
    wire::{
        iax2::{frame::Frame, ie_value::Ie, show::Show},
        pcap::{Decoder, Step},
        stun,
    },
};

/// A frame is read, shown, and written back as it came; without people it stays as long.
pub fn frames(octets: &[u8]) {
    let _ = Show(octets).to_string();
    assert_eq!(Anonymizer::new([1, 2]).datagram(octets).len(), octets.len());
    let Ok(frame) = Frame::decode(octets) else {
        return;
    };
    assert_eq!(frame.to_vec(), octets);
    if let Frame::Full(full) = frame {
        for element in full.ies() {
            let value = Ie::read(element);
            assert_eq!(value.id(), element.id);
        }
    }
    if let Frame::Trunk(trunk) = frame {
        for entry in trunk.entries() {
            assert!(entry.payload.len() <= octets.len());
        }
    }
}

/// A message of STUN is read, or refused.
pub fn stun(octets: &[u8]) {
    let is_stun = stun::is_stun(octets);
    if stun::parse(octets).is_ok() {
        assert!(is_stun);
    }
}

/// A capture is read, followed, paired with itself, and judged, in pieces as a stream gives them.
pub fn captures(octets: &[u8]) {
    let mut decoder = Decoder::new();
    let mut reading = Reading::new(0);
    let mut tracer = Tracer::new(Settings {
        seed: [1, 2],
        ports: vec![],
        secret: Some("s3cret".to_owned().into()),
        limits: Limits {
            calls: 50,
            registrations: 50,
            flows: 50,
            at_once: 50,
        },
    });
    let mut matcher = Matcher::new([1, 2]);
    let mut rest = octets;
    while !rest.is_empty() {
        match decoder.step(rest) {
            Ok(Step::Packet(length, packet)) => {
                assert!(length > 0 && length <= rest.len());
                match reading.take(&packet) {
                    Got::Datagram(seen) => {
                        tracer.handle_input(&seen);
                        matcher.handle_input(Wire::Lan, &seen, packet.time);
                        matcher.handle_input(Wire::Wan(1), &seen, packet.time);
                    }
                    Got::Icmp(error, mark) => tracer.handle_icmp(&error, mark),
                    Got::Nothing => {}
                }
                rest = rest.get(length..).unwrap_or_default();
            }
            Ok(Step::Skip(length)) => {
                let before = rest.len();
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                rest = rest.get(length..).unwrap_or_default();
                // Only the first look at a pcapng file takes nothing.
                assert!(rest.len() < before || decoder.packets() == 0);
            }
            Ok(Step::Need(needed)) => {
                assert!(needed > rest.len());
                assert!(!decoder.cut(rest).to_string().is_empty());
                break;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    let traced = tracer.finish();
    let pairing = matcher.finish();
    let _ = passive::judge(&traced, Some(&pairing));
}

const SOCKET: SocketKey = SocketKey(0);

/// A client and a registrar that talk to each other, while somebody sends what he likes to both.
///
/// Every instruction is an octet: the low three bits say what to do, the others how much. Nothing panics, nothing
/// answers without bound, and no deadline lies in the past.
pub fn machines(octets: &[u8]) {
    let mut now = Instant::now();
    let server_at = peer("203.0.113.1:4569");
    let client_at = peer("198.51.100.7:40000");
    let mut client = Registration::new(registration(server_at), now);
    let mut server = provider(now);
    let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
    let mut rest = octets;
    let mut steps = 0;
    while let Some((instruction, behind)) = rest.split_first() {
        rest = behind;
        steps += 1;
        if steps > 400 {
            break;
        }
        let amount = usize::from(instruction >> 3);
        match instruction & 7 {
            0 => {
                client.handle_input(
                    Input::Opened {
                        socket: SOCKET,
                        local: LocalAddr::new("192.168.1.10:40000".parse().expect("an address")),
                    },
                    now,
                );
            }
            1 => deliver(&mut server, to_server.pop_front(), client_at, now),
            2 => deliver(&mut client, to_client.pop_front(), server_at, now),
            3 => {
                let (made_up, behind) = rest.split_at(amount.min(rest.len()));
                rest = behind;
                deliver(&mut server, Some(made_up.to_vec()), client_at, now);
            }
            4 => {
                let (made_up, behind) = rest.split_at(amount.min(rest.len()));
                rest = behind;
                deliver(&mut client, Some(made_up.to_vec()), server_at, now);
            }
            // A good datagram with one octet changed.
            5 => change(to_server.front_mut(), amount, &mut rest),
            6 => change(to_client.front_mut(), amount, &mut rest),
            _ => {
                now += Duration::from_millis(amount as u64 * 200);
                client.handle_timeout(now);
                server.handle_timeout(now);
                for due in [client.poll_timeout(), server.poll_timeout()] {
                    assert!(due.is_none_or(|(due, _)| due > now));
                }
            }
        }
        to_server.extend(drain(&mut client));
        to_client.extend(drain(&mut server));
        to_server.truncate(50);
        to_client.truncate(50);
    }
}

fn deliver(machine: &mut impl Machine, payload: Option<Vec<u8>>, source: PeerAddr, now: Instant) {
    if let Some(payload) = payload {
        machine.handle_input(
            Input::Datagram {
                socket: SOCKET,
                source,
                payload: &payload,
            },
            now,
        );
    }
}

fn change(datagram: Option<&mut Vec<u8>>, at: usize, rest: &mut &[u8]) {
    let Some((value, behind)) = rest.split_first() else {
        return;
    };
    *rest = behind;
    if let Some(octet) = datagram.and_then(|datagram| datagram.get_mut(at)) {
        *octet = *value;
    }
}

fn drain<M: Machine>(machine: &mut M) -> Vec<Vec<u8>> {
    while machine.poll_event().is_some() {}
    let sent: Vec<Transmit> = std::iter::from_fn(|| machine.poll_transmit()).collect();
    assert!(sent.len() < 40, "{} datagrams at once", sent.len());
    sent.into_iter().map(|transmit| transmit.payload).collect()
}

fn peer(address: &str) -> PeerAddr {
    PeerAddr::new(address.parse().expect("an address"))
}

fn registration(registrar: PeerAddr) -> RegistrationConfig {
    RegistrationConfig {
        registrar,
        socket: SOCKET,
        credentials: Credentials::with_secret("alice", "s3cret"),
        refresh: Duration::from_secs(60),
        release: false,
        offer_token: true,
        retry: RetryPolicy::QUICK,
        seed: [1; 32],
    }
}

fn provider(now: Instant) -> Provider {
    let key = TokenKey::new([9; 16]);
    let clock = WallClock {
        at: now,
        says: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
    };
    let accounts = vec![
        Account::new("alice", "s3cret"),
        Account {
            call_token: CallTokenRule::Optional,
            ..Account::new("old", "s3cret")
        },
    ];
    let endpoint = EndpointConfig {
        registrar: Some(RegistrarConfig {
            accounts,
            tokens: Tokens::for_calls(key.clone(), clock),
            clock,
            retry: RetryPolicy::QUICK,
            seed: [2; 32],
        }),
        switchboard: None,
        profile: Profile::Asterisk,
        seed: [3; 32],
    };
    let config = ProviderConfig {
        endpoint,
        tokens: Tokens::for_probes(key, clock),
        sockets: [(SOCKET, peer("203.0.113.1:4569"))].into(),
        seed: [4; 32],
    };
    Provider::new(config, now)
}
