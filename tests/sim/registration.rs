//! Our client registers with our provider over lines that lose, delay, reorder and duplicate: whatever
//! happens on the way, the end is the right one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::{
        link::{Faults, LinkConfig},
        nat::{NatConfig, Timers},
        world::{SiteConfig, World},
    },
    probe::provider::Provider,
    proto::{
        account::{Account, CallTokenRule},
        auth::{Credentials, Method, RsaKey, RsaPublic},
        contract::{Input, Machine, SocketKey, Transmit},
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
        reliable::RetryPolicy,
    },
    wire::iax2::command::Command,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, Seen, Tapped, ip, peer, provider, seconds, seed, sockets,
};

const SOCKET: SocketKey = SocketKey(0);

/// The accounts of the provider.
pub(crate) fn accounts() -> Vec<Account> {
    vec![
        Account::new("alice", "s3cret"),
        Account {
            secret: None,
            methods: vec![],
            ..Account::new("open", "")
        },
        Account {
            call_token: CallTokenRule::Optional,
            ..Account::new("old", "s3cret")
        },
        Account {
            methods: vec![Method::Plaintext],
            ..Account::new("clear", "s3cret")
        },
        Account {
            secret: None,
            methods: vec![Method::Rsa],
            rsa_public_key: Some(RsaPublic::from_pem(PUBLIC_KEY).unwrap()),
            ..Account::new("rsa", "")
        },
        Account {
            qualify: Some(seconds(20)),
            ..Account::new("watched", "s3cret")
        },
        Account::new("x", "s3cret"),
    ]
}

/// How a registration may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Acknowledged,
    Rejected,
    TokenRefused,
    AuthUnsupported,
    TimedOut,
    Unsupported,
}

impl End {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Acknowledged { .. } => Self::Acknowledged,
            Outcome::Rejected { .. } => Self::Rejected,
            Outcome::TokenRefused { .. } => Self::TokenRefused,
            Outcome::AuthUnsupported { .. } => Self::AuthUnsupported,
            Outcome::TimedOut { .. } => Self::TimedOut,
            Outcome::Unsupported => Self::Unsupported,
        }
    }
}

/// What is tried.
#[derive(Clone)]
struct Attempt {
    name: &'static str,
    credentials: Credentials,
    offer_token: bool,
    release: bool,
    /// How it ends unless the line eats it.
    end: End,
}

impl Attempt {
    fn new(name: &'static str, credentials: Credentials, end: End) -> Self {
        Self {
            name,
            credentials,
            offer_token: true,
            release: false,
            end,
        }
    }

    fn config(&self, number: u64) -> RegistrationConfig {
        RegistrationConfig {
            registrar: peer(SERVER),
            socket: SOCKET,
            credentials: self.credentials.clone(),
            refresh: seconds(60),
            release: self.release,
            offer_token: self.offer_token,
            retry: RetryPolicy::QUICK,
            seed: seed(number),
        }
    }
}

fn attempts() -> Vec<Attempt> {
    let secret = |user| Credentials::with_secret(user, "s3cret");
    let releasing = |attempt: Attempt| Attempt {
        release: true,
        ..attempt
    };
    vec![
        Attempt::new("right secret", secret("alice"), End::Acknowledged),
        Attempt::new(
            "wrong secret",
            Credentials::with_secret("alice", "guess"),
            End::Rejected,
        ),
        Attempt::new("unknown user", secret("nobody"), End::Rejected),
        Attempt::new(
            "no secret needed",
            Credentials::named("open"),
            End::Acknowledged,
        ),
        Attempt::new(
            "no secret given",
            Credentials::named("alice"),
            End::AuthUnsupported,
        ),
        Attempt {
            offer_token: false,
            ..Attempt::new(
                "token optional, none offered",
                secret("old"),
                End::Acknowledged,
            )
        },
        Attempt {
            offer_token: false,
            ..Attempt::new(
                "token optional, none offered, wrong secret",
                Credentials::with_secret("old", "guess"),
                End::Rejected,
            )
        },
        Attempt::new("token optional, offered", secret("old"), End::Acknowledged),
        Attempt {
            offer_token: false,
            ..Attempt::new(
                "token required, none offered",
                secret("alice"),
                End::TokenRefused,
            )
        },
        Attempt::new(
            "plaintext not allowed",
            secret("clear"),
            End::AuthUnsupported,
        ),
        Attempt::new(
            "plaintext allowed",
            Credentials {
                allow_plaintext: true,
                ..secret("clear")
            },
            End::Acknowledged,
        ),
        Attempt::new("qualified", secret("watched"), End::Acknowledged),
        Attempt::new("short name", secret("x"), End::Acknowledged),
        releasing(Attempt::new("release", secret("alice"), End::Acknowledged)),
        releasing(Attempt::new(
            "release with a wrong secret",
            Credentials::with_secret("alice", "guess"),
            End::Rejected,
        )),
    ]
}

/// What a line may do, drawn from a seed: loss up to `most_loss`.
fn line(rng: &mut StdRng, most_loss: f64) -> Faults {
    Faults {
        loss: rng.random_range(0.0..=most_loss),
        delay: Duration::from_millis(rng.random_range(1..250)),
        jitter: Duration::from_millis(rng.random_range(0..300)),
        duplicate: rng.random_range(0.0..0.25),
    }
}

struct Run {
    end: End,
    server: Tapped<Provider>,
    events: Vec<RegistrationEvent>,
    log: Vec<Seen>,
}

/// Makes one attempt, and waits until everything must be over.
fn run(attempt: &Attempt, faults: Faults, number: u64) -> Run {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(SiteConfig {
        nats: vec![NatConfig {
            timers: Timers::flat(seconds(300)),
            ..NatConfig::linux(ip(EXTERNAL))
        }],
        link: LinkConfig::both(faults, number),
        ..SiteConfig::default()
    });
    let sockets = sockets();
    let machine = Tapped::new(provider(accounts(), &sockets, number, start));
    let server = world.server(sockets, machine);
    let machine = Tapped::new(Registration::new(attempt.config(number), start));
    let client = world.client(site, ip(CLIENT), machine);
    let ended = world.run_until_done(start + seconds(61), || client.machine().machine.is_ended());
    assert!(ended, "{}: no end, seed {number}", attempt.name);
    // Bindings last for 70 s, dialogues for 40 s at most.
    world.run_until(start + seconds(62));
    let events: Vec<RegistrationEvent> = client
        .take_events()
        .into_iter()
        .map(|(_, event)| event)
        .collect();
    let ends: Vec<End> = events
        .iter()
        .filter_map(|event| match event {
            RegistrationEvent::Ended(outcome) => Some(End::of(outcome)),
            _ => None,
        })
        .collect();
    let [end] = ends[..] else {
        panic!("{}: ended {ends:?}, seed {number}", attempt.name);
    };
    let log = client.machine().log.clone();
    let now = world.now();
    let server = std::mem::replace(
        &mut *server.machine_mut(),
        Tapped::new(provider(vec![], &BTreeMap::new(), 0, now)),
    );
    Run {
        end,
        server,
        events,
        log,
    }
}

fn dialogues(server: &Tapped<Provider>) -> usize {
    server.machine.endpoint().registrar().unwrap().dialogues()
}

fn is_bound(server: &Tapped<Provider>, user: &str) -> bool {
    let registrar = server.machine.endpoint().registrar().unwrap();
    registrar.binding(user).is_some()
}

#[test]
fn a_sound_line_has_one_end() {
    for attempt in attempts() {
        let run = run(&attempt, Faults::NONE, 1);
        assert_eq!(run.end, attempt.end, "{}: {:?}", attempt.name, run.events);
        assert_eq!(dialogues(&run.server), 0, "{}", attempt.name);
        let bound = attempt.end == End::Acknowledged && !attempt.release;
        assert_eq!(is_bound(&run.server, &attempt.credentials.user), bound);
    }
}

#[test]
fn whatever_the_line_does_the_end_is_right_or_a_time_out() {
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let (mut light, mut light_timeouts) = (0, 0);
    for number in 0..150 {
        let mut rng = StdRng::seed_from_u64(number);
        for attempt in attempts() {
            let faults = line(&mut rng, 0.3);
            let run = run(&attempt, faults, number);
            let told = || {
                format!(
                    "{}, seed {number}, {faults:?}: {:?}",
                    attempt.name, run.events
                )
            };
            let (tried, timeouts) = counts.entry(attempt.name).or_default();
            *tried += 1;
            light += u32::from(faults.loss < 0.1);
            if run.end == End::TimedOut {
                *timeouts += 1;
                light_timeouts += u32::from(faults.loss < 0.1);
            } else {
                assert_eq!(run.end, attempt.end, "{}", told());
            }
            assert_eq!(dialogues(&run.server), 0, "left over: {}", told());
            // The provider may have taken what the client never heard of.
            let bound = is_bound(&run.server, &attempt.credentials.user);
            match (run.end, attempt.end) {
                (End::Acknowledged, _) => assert_eq!(bound, !attempt.release, "{}", told()),
                (_, End::Acknowledged) => {}
                _ => assert!(!bound, "{}", told()),
            }
            // Nobody sends more than every frame as often as the policy allows, twice over.
            assert!(run.log.len() < 120, "{} frames: {}", run.log.len(), told());
        }
    }
    for (name, (tried, timeouts)) in &counts {
        println!("{name}: {timeouts} of {tried} timed out");
    }
    println!("{light_timeouts} of {light} with less than 10 % loss");
    assert!(light_timeouts * 100 <= light, "{light_timeouts} of {light}");
}

/// The commands and lengths of what a server sent.
fn answers(server: &Tapped<Provider>) -> Vec<(Option<Command>, usize)> {
    let sent = server.log.iter().filter(|seen| seen.sent);
    sent.map(|seen| (seen.command(), seen.payload.len()))
        .collect()
}

#[test]
fn an_unknown_user_walks_the_path_of_a_wrong_secret() {
    let attempt = |user| {
        let credentials = Credentials::with_secret(user, "guess");
        run(
            &Attempt::new("", credentials, End::Rejected),
            Faults::NONE,
            3,
        )
    };
    let (known, unknown) = (attempt("alice"), attempt("mabel"));
    assert_eq!(answers(&known.server), answers(&unknown.server));
    let commands: Vec<_> = answers(&known.server)
        .into_iter()
        .map(|(command, _)| command)
        .collect();
    assert_eq!(
        commands,
        [Command::CallToken, Command::RegAuth, Command::RegRej].map(Some)
    );
    assert_eq!(known.events.last(), unknown.events.last());
}

#[test]
fn rsa_proves_and_a_wrong_key_does_not() {
    let with_key = |pem| Credentials {
        rsa_key: Some(RsaKey::from_pem(pem).unwrap()),
        ..Credentials::named("rsa")
    };
    for (pem, end) in [(PRIVATE_KEY, End::Acknowledged), (OTHER_KEY, End::Rejected)] {
        for number in 0..4 {
            let faults = line(&mut StdRng::seed_from_u64(number), 0.05);
            let run = run(&Attempt::new("rsa", with_key(pem), end), faults, number);
            assert_eq!(run.end, end, "{:?}", run.events);
        }
    }
}

#[test]
fn the_first_qualify_poke_is_answered_before_the_end() {
    let attempt = Attempt::new(
        "qualified",
        Credentials::with_secret("watched", "s3cret"),
        End::Acknowledged,
    );
    let run = run(&attempt, Faults::NONE, 5);
    let order: Vec<(bool, Command)> = run
        .log
        .iter()
        .filter_map(|seen| Some((seen.sent, seen.command()?)))
        .filter(|(_, command)| matches!(command, Command::Poke | Command::Pong | Command::RegAck))
        .take(3)
        .collect();
    assert_eq!(
        order,
        [
            (false, Command::Poke),
            (true, Command::Pong),
            (false, Command::RegAck)
        ]
    );
}

#[test]
fn a_release_removes_what_a_registration_made() {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(SiteConfig {
        nats: vec![NatConfig::linux(ip(EXTERNAL))],
        ..SiteConfig::default()
    });
    let sockets = sockets();
    let server = world.server(sockets.clone(), provider(accounts(), &sockets, 1, start));
    let bound = || {
        let server = server.machine();
        server
            .endpoint()
            .registrar()
            .unwrap()
            .binding("alice")
            .is_some()
    };
    for (number, (release, secret, after)) in (1..).zip([
        (false, "s3cret", true),
        (true, "guess", true),
        (true, "s3cret", false),
        (true, "s3cret", false),
        (false, "s3cret", true),
    ]) {
        let attempt = Attempt {
            release,
            ..Attempt::new(
                "",
                Credentials::with_secret("alice", secret),
                End::Acknowledged,
            )
        };
        let machine = Registration::new(attempt.config(number), world.now());
        let address = format!("192.168.1.{}", 10 + number);
        let client = world.client(site, ip(&address), machine);
        let deadline = world.now() + seconds(10);
        assert!(world.run_until_done(deadline, || client.machine().is_ended()));
        assert_eq!(bound(), after, "step {number}");
    }
}

/// Sends every datagram from a socket of its own and hears answers on all: what a NAT that picks a port for
/// each packet does.
struct Scattered<M> {
    machine: M,
    next: u32,
}

impl<M: Machine> Machine for Scattered<M> {
    type Event = M::Event;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram {
            source, payload, ..
        } = input
        {
            let input = Input::Datagram {
                socket: SOCKET,
                source,
                payload,
            };
            self.machine.handle_input(input, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.machine.poll_transmit()?;
        self.next += 1;
        Some(Transmit {
            socket: SocketKey(self.next),
            ..transmit
        })
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.machine.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.machine.poll_timeout()
    }
}

#[test]
fn a_port_that_changes_between_token_and_request_is_told() {
    for number in 0..20 {
        let start = Instant::now();
        let mut world = World::new(start);
        let site = world.site(SiteConfig {
            nats: vec![NatConfig::linux(ip(EXTERNAL))],
            ..SiteConfig::default()
        });
        let sockets = sockets();
        let server = world.server(
            sockets.clone(),
            provider(accounts(), &sockets, number, start),
        );
        let attempt = Attempt::new(
            "scattered",
            Credentials::with_secret("alice", "s3cret"),
            End::TokenRefused,
        );
        let machine = Scattered {
            machine: Registration::new(attempt.config(number), start),
            next: 0,
        };
        let client = world.client(site, ip(CLIENT), machine);
        world.run_until(start + seconds(61));
        let events = client.take_events();
        let Some((_, RegistrationEvent::Ended(outcome))) = events.last() else {
            panic!("no end: {events:?}");
        };
        assert_eq!(*outcome, Outcome::TokenRefused { had_token: true });
        assert_eq!(
            server.machine().endpoint().registrar().unwrap().dialogues(),
            0
        );
    }
}

/// Keys made for these tests; they open nothing.
const PRIVATE_KEY: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDvxxyBPA+ur5s9UD98KErPku8WnEPLDaZF9PtSIz67aDLr+X/O
xiRRzBw69ocpzTWEY5ItoPU2bLgbhas4iLQmQxS8BoM7KWhIZoBK609ALPFqx+HT
KIL7vEXbhB9s63PkIG7sQ/lZHQi0gdwbOReH51wefwygedfC9t4h45O0LwIDAQAB
AoGABMzXpT6ukbCySufwXWvxE3a9kpZORSJg0cW1wk8yUk4jttWn2VveHkUXy5Zj
3lJdX+keZAt03UIP7X0fkGIsOQ3ybj24hmuXKxLgV/F7rXHeGWbbopnZt82QfsBf
Ghs6WcBdqCx8/C+QhVV1Dx07+gzmYy8QDMiTFiGtYcQzPwECQQD+EjUJyC22EelT
e7lRGf1c4E9yEYKjsFrJS1x9oLFXR4JoXeY6kfZZrAlc7n93bD9bvRg4KigNIe3t
jtuRVsoLAkEA8Zkf7uwyHGSuSPw2tZlfY6sBZHDPcs8vI0+B+m0UGYwwzHmA72vv
7JcHouZ497M6U1c0Cu/EymTp9eR014D47QJBANljpMQA5rPRcY3/39l33mR4fSGB
wADk5Vk0xSestfCS/A7mwRY+S8YAQGamnqQFF9Ub37w2vdw2usi3okEiPG8CQGOH
uL8eMTq/Q4mv1f4UVFbkISu2yc+7iOjcHWkEvO4VchkayUJZTjtCsROsLROmk5W3
7CnBQ2o6DqSNXJFXgbUCQQCGn4FPm50hkqaSS5L00zC2ZlGuh6MY9JS1Y+BdBeUb
7Lggw+RBYtGr0cQPrCu+5hbcW3lDtBniu56+OB9Jv3QL
-----END RSA PRIVATE KEY-----
";
const OTHER_KEY: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIICXwIBAAKBgQDUU9u0HPXWTZyHZYosXIzj3EBz3jBpIM3gJrJwhpUjLOoZNIhc
frKkPkNg/GZsafkGhigppiuOlIQ3/fvbIO7E3WdW/TA+nPNO+wAitET/Nl+qDhit
uyiUhTqFfFb18VUvaokU+lsPW4zJT3opVvpE0EER+OJx6+nkC1w5x6tQbQIDAQAB
AoGBAKKwvp97sULLpSx5uS3UnH/bu+cMULu8zwL5o7Bk7tFNEPLPNczpp6gBrU8b
Fr/rU0yUbyG6mZVeZxEgI2L8EPaRlhT1F3JG92GQ06RDt7AhBO54vvY36tLQY4/Y
+/o9DKOqd0erPp7iDdoePVgEewMhTAmTdGHF+Pq2xMPnf8IBAkEA9PgcUKRZa+wd
odOO9rS+BbjNTREpRnhwbs3vYsjfSvC7JgjEL2/I0J3gw8MCiKCa5Y+R6KCtVIXn
12ybQd83/QJBAN3jeHH/zlxVAW0hs+GjE8DWazlF7AL6OzIVeIyWMCJ2ZTkRFlYp
6J04lV3gjljLvPDbIDlgnVhoBO6QvhFMzTECQQDnRCD/JNli4Kts7lxGnoXSww/W
1P/BjsyeXv7DpN3hUvlrw9Tq776G7LWYOs92iyEQ3gSiuKZKaIxivR6qBoFFAkEA
1+HgJvIewgDGsXov/KFgr6cujXu1Q7RYccMoFYhubqlIlLxGQjDmLEmIMd0wQb6A
Jsrb0Fdq3z/dRIs5EbXqkQJBALHuJ2xIgGu/l2pr0YmUa0KJ9pAbghmxrCXVgkR7
aO0c9/3UvAVicXnFJBWc58gAufkGaaLfIxZabPsUQQj0SDk=
-----END RSA PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDvxxyBPA+ur5s9UD98KErPku8W
nEPLDaZF9PtSIz67aDLr+X/OxiRRzBw69ocpzTWEY5ItoPU2bLgbhas4iLQmQxS8
BoM7KWhIZoBK609ALPFqx+HTKIL7vEXbhB9s63PkIG7sQ/lZHQi0gdwbOReH51we
fwygedfC9t4h45O0LwIDAQAB
-----END PUBLIC KEY-----
";
