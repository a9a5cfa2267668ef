//! Arbitrary datagrams, and good ones that were mangled on the way, thrown at every state of the machines:
//! nothing panics, nothing spins, nothing answers without bound, and everything ends.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::{nat::NatConfig, world::World},
    probe::survey::{Survey, SurveyConfig, SweepPlan},
    proto::{
        account::{Account, CallTokenRule},
        auth::Credentials,
        contract::{Input, Machine, SocketKey, Transmit},
        registration::{Registration, RegistrationConfig},
        reliable::RetryPolicy,
    },
    types::PeerAddr,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, Tapped, ip, peer, provider, seconds, seed, site, sockets,
};

fn accounts() -> Vec<Account> {
    vec![
        Account {
            qualify: Some(seconds(5)),
            ..Account::new("alice", "s3cret")
        },
        Account {
            call_token: CallTokenRule::Optional,
            ..Account::new("old", "s3cret")
        },
    ]
}

/// Breaks a datagram in one of the ways in which datagrams break, or are forged.
fn mangle(datagram: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut octets = datagram.to_vec();
    match rng.random_range(0..8) {
        0 => octets.truncate(rng.random_range(0..=octets.len())),
        1 => {
            let more = rng.random_range(0..300);
            octets.extend((0..more).map(|_| rng.random::<u8>()));
        }
        2 => {
            octets = (0..rng.random_range(0..120))
                .map(|_| rng.random())
                .collect();
        }
        // A full frame in form, with any command.
        3 if octets.len() >= 12 => {
            octets[10] = 6;
            octets[11] = rng.random_range(0..64);
        }
        // Any sequence number.
        4 if octets.len() >= 12 => {
            octets[8] = rng.random();
            octets[9] = rng.random();
        }
        // Any call number.
        5 if octets.len() >= 12 => {
            let at = rng.random_range(0..4);
            octets[at] ^= 1 << rng.random_range(0..8);
        }
        _ => {
            for _ in 0..rng.random_range(1..4) {
                if !octets.is_empty() {
                    let at = rng.random_range(0..octets.len());
                    octets[at] ^= 1 << rng.random_range(0..8);
                }
            }
        }
    }
    octets
}

/// Mangles some of what a machine sends, and sends some of it again.
struct Mangling<M> {
    machine: M,
    rng: StdRng,
    /// The share that is mangled.
    share: f64,
    extra: VecDeque<Transmit>,
}

impl<M: Machine> Mangling<M> {
    fn new(machine: M, number: u64, share: f64) -> Self {
        Self {
            machine,
            rng: StdRng::seed_from_u64(number),
            share,
            extra: VecDeque::new(),
        }
    }
}

impl<M: Machine> Machine for Mangling<M> {
    type Event = M::Event;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.machine.handle_input(input, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(extra) = self.extra.pop_front() {
            return Some(extra);
        }
        let transmit = self.machine.poll_transmit()?;
        if !self.rng.random_bool(self.share) {
            return Some(transmit);
        }
        let mangled = Transmit {
            payload: mangle(&transmit.payload, &mut self.rng),
            ..transmit.clone()
        };
        // Often the good one comes too, before or after.
        match self.rng.random_range(0..3) {
            0 => Some(mangled),
            1 => {
                self.extra.push_back(transmit);
                Some(mangled)
            }
            _ => {
                self.extra.push_back(mangled);
                Some(transmit)
            }
        }
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.machine.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.machine.poll_timeout()
    }
}

#[test]
fn surveys_of_a_mangling_provider_end() {
    for number in 0..60 {
        let start = Instant::now();
        let mut world = World::new(start);
        let site = site(
            &mut world,
            vec![NatConfig::linux(ip(EXTERNAL))],
            0.02,
            number,
        );
        let sockets = sockets();
        let share = [0.1, 0.5, 1.0][usize::try_from(number % 3).unwrap()];
        let machine = Mangling::new(provider(accounts(), &sockets, number, start), number, share);
        let _server = world.server(sockets, machine);
        let config = SurveyConfig {
            credentials: Some(Credentials::with_secret("alice", "s3cret")),
            sweep: Some(SweepPlan {
                longest: seconds(12),
                budget: 40,
                ..SweepPlan::default()
            }),
            ..SurveyConfig::new(peer(SERVER), seed(number))
        };
        let client = world.client(site, ip(CLIENT), Tapped::new(Survey::new(config, start)));
        let ended = world.run_until_done(start + seconds(600), || {
            client.machine().machine.is_finished()
        });
        assert!(ended, "no end, seed {number}");
        let machine = client.machine();
        let sent = machine.log.iter().filter(|seen| seen.sent).count();
        assert!(sent < 12_000, "{sent} datagrams, seed {number}");
    }
}

#[test]
fn providers_bear_mangling_clients() {
    for number in 0..400 {
        let start = Instant::now();
        let mut world = World::new(start);
        let site = site(
            &mut world,
            vec![NatConfig::linux(ip(EXTERNAL))],
            0.02,
            number,
        );
        let sockets = sockets();
        let server = world.server(
            sockets.clone(),
            Tapped::new(provider(accounts(), &sockets, number, start)),
        );
        let machine = Mangling::new(Registration::new(registration(number), start), number, 0.5);
        let client = world.client(site, ip(CLIENT), machine);
        let ended =
            world.run_until_done(start + seconds(61), || client.machine().machine.is_ended());
        assert!(ended, "no end, seed {number}");
        world.run_until(start + seconds(130));
        let server = server.machine();
        let sent = server.log.iter().filter(|seen| seen.sent).count();
        assert!(sent < 120, "{sent} datagrams, seed {number}");
        let registrar = server.machine.endpoint().registrar().unwrap();
        assert_eq!(registrar.dialogues(), 0, "seed {number}");
    }
}

fn registration(number: u64) -> RegistrationConfig {
    let user = ["alice", "old", "nobody"][usize::try_from(number % 3).unwrap()];
    RegistrationConfig {
        registrar: peer(SERVER),
        socket: SocketKey(0),
        credentials: Credentials::with_secret(user, "s3cret"),
        refresh: seconds(60),
        release: number % 5 == 4,
        offer_token: !number.is_multiple_of(7),
        retry: RetryPolicy::QUICK,
        seed: seed(number),
    }
}

/// Takes what a machine wants to send.
fn drain<M: Machine>(machine: &mut M) -> Vec<Transmit> {
    while machine.poll_event().is_some() {}
    std::iter::from_fn(|| machine.poll_transmit()).collect()
}

/// Two machines talk, and after every step one of them is bombarded with what was seen so far, mangled.
/// Returns how many datagrams were thrown.
fn bombard<A: Machine, B: Machine>(
    target: &mut A,
    other: &mut B,
    (source, target_socket, target_address): (PeerAddr, SocketKey, PeerAddr),
    rng: &mut StdRng,
    start: Instant,
) -> u32 {
    let mut now = start;
    let mut seen: Vec<Vec<u8>> = vec![b"\x80".to_vec()];
    let mut thrown = 0;
    let mut to_other: VecDeque<Transmit> = drain(target).into();
    let mut to_target: VecDeque<Transmit> = drain(other).into();
    for _ in 0..14 {
        now += Duration::from_millis(rng.random_range(1..400));
        for transmit in std::mem::take(&mut to_other) {
            seen.push(transmit.payload.clone());
            let input = Input::Datagram {
                socket: SocketKey(0),
                source: target_address,
                payload: &transmit.payload,
            };
            other.handle_input(input, now);
            to_target.extend(drain(other));
        }
        other.handle_timeout(now);
        to_target.extend(drain(other));
        let last = to_target.back().map(|transmit| transmit.payload.clone());
        seen.extend(last);
        for _ in 0..8 {
            let original = &seen[rng.random_range(0..seen.len())];
            let payload = mangle(original, rng);
            let input = Input::Datagram {
                socket: target_socket,
                source,
                payload: &payload,
            };
            target.handle_input(input, now);
            let answers = drain(target);
            assert!(
                answers.len() <= 3,
                "{} answers to {payload:02x?}",
                answers.len()
            );
            to_other.extend(answers);
            thrown += 1;
        }
        if rng.random_bool(0.6) {
            for transmit in std::mem::take(&mut to_target) {
                let input = Input::Datagram {
                    socket: target_socket,
                    source,
                    payload: &transmit.payload,
                };
                target.handle_input(input, now);
                to_other.extend(drain(target));
            }
        }
        target.handle_timeout(now);
        to_other.extend(drain(target));
        assert!(
            target.poll_timeout().is_none_or(|(due, _)| due > now),
            "a deadline that has passed: {:?}",
            target.poll_timeout().map(|(_, reason)| reason)
        );
    }
    thrown
}

#[test]
fn registrations_bear_anything() {
    let mut thrown = 0;
    for number in 0..600 {
        let start = Instant::now();
        let mut rng = StdRng::seed_from_u64(number);
        let mut client = Registration::new(registration(number), start);
        let mut server = provider(accounts(), &sockets(), number, start);
        let way = (peer(SERVER), SocketKey(0), peer("198.51.100.7:40000"));
        thrown += bombard(&mut client, &mut server, way, &mut rng, start);
        let mut sent = 0;
        for _ in 0..20 {
            let Some((due, _)) = client.poll_timeout() else {
                break;
            };
            client.handle_timeout(due);
            sent += drain(&mut client).len();
        }
        assert!(client.is_ended(), "no end, seed {number}");
        assert!(sent < 20, "{sent} datagrams, seed {number}");
    }
    println!("{thrown} datagrams thrown at registrations");
}

#[test]
fn providers_bear_anything() {
    let mut thrown = 0;
    for number in 0..600 {
        let start = Instant::now();
        let mut rng = StdRng::seed_from_u64(number);
        let mut client = Registration::new(registration(number), start);
        let mut server = provider(accounts(), &sockets(), number, start);
        let way = (peer("198.51.100.7:40000"), SocketKey(0), peer(SERVER));
        thrown += bombard(&mut server, &mut client, way, &mut rng, start);
        server.handle_timeout(start + seconds(60));
        drain(&mut server);
        let registrar = server.endpoint().registrar().unwrap();
        assert_eq!(registrar.dialogues(), 0, "seed {number}");
    }
    println!("{thrown} datagrams thrown at providers");
}

#[test]
fn surveys_bear_anything() {
    let mut thrown = 0;
    for number in 0..300 {
        let start = Instant::now();
        let mut rng = StdRng::seed_from_u64(number);
        let config = SurveyConfig {
            credentials: Some(Credentials::with_secret("alice", "s3cret")),
            reflector: (number % 2 == 0).then(|| peer("203.0.113.2:4569")),
            stun: vec![peer("203.0.113.3:3478")],
            ..SurveyConfig::new(peer(SERVER), seed(number))
        };
        let mut survey = Survey::new(config, start);
        let mut server = provider(accounts(), &sockets(), number, start);
        let socket = SocketKey(rng.random_range(0..20));
        let source = [SERVER, "203.0.113.2:4569", "203.0.113.3:3478"][rng.random_range(0..3)];
        let way = (peer(source), socket, peer("198.51.100.7:40000"));
        thrown += bombard(&mut survey, &mut server, way, &mut rng, start);
        let mut now = start;
        while let Some((due, reason)) = survey.poll_timeout() {
            assert!(due >= now, "{reason}");
            now = due;
            survey.handle_timeout(now);
            drain(&mut survey);
            assert!(
                now < start + seconds(700),
                "no end: {reason}, seed {number}"
            );
        }
        assert!(survey.is_finished(), "seed {number}");
    }
    println!("{thrown} datagrams thrown at surveys");
}
