//! The examples, run: against a provider of our own on loopback, or in simulation.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

#[path = "../examples/poke.rs"]
#[allow(dead_code)]
mod poke;
#[path = "../examples/register.rs"]
#[allow(dead_code)]
mod register;
#[path = "../examples/simulate.rs"]
#[allow(dead_code)]
mod simulate;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::ControlFlow,
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use iax2_natcheck::{
    config::users,
    lab::nat::Timers,
    net::{clock, drive::drive, sockets::Sockets, udp::Ground},
    probe::{
        behaviour::Shape,
        provider::{Provider, ProviderConfig},
    },
    proto::{
        account::Account,
        auth::Credentials,
        endpoint::{EndpointConfig, EndpointEvent, Profile},
        registrar::{RegistrarConfig, RegistrarEvent},
        registration::Outcome,
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
};
use tokio::sync::oneshot;

/// A provider in a thread of its own, and what happened there.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Vec<EndpointEvent>>,
}

impl Serving {
    fn start(accounts: Vec<Account>) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async {
                    let any = "127.0.0.1:0".parse().unwrap();
                    let mut sockets = Sockets::server(Ground::host(), &[any]).unwrap();
                    tell.send(sockets.bound().unwrap()[0].1.get()).unwrap();
                    let mut events = vec![];
                    drive(
                        &mut provider(accounts),
                        &mut sockets,
                        |event, _| {
                            events.push(event);
                            ControlFlow::<()>::Continue(())
                        },
                        stopped,
                    )
                    .await
                    .unwrap();
                    events
                })
        });
        Self {
            address: told.recv().unwrap(),
            stop,
            thread,
        }
    }

    fn stop(self) -> Vec<EndpointEvent> {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

fn provider(accounts: Vec<Account>) -> Provider {
    let now = clock::now();
    let clock = WallClock {
        at: now,
        says: SystemTime::now(),
    };
    let key = TokenKey::new([3; 16]);
    let config = ProviderConfig {
        endpoint: EndpointConfig {
            registrar: Some(RegistrarConfig {
                accounts,
                tokens: Tokens::for_calls(key.clone(), clock),
                clock,
                retry: RetryPolicy::QUICK,
                seed: [4; 32],
            }),
            switchboard: None,
            profile: Profile::Asterisk,
            seed: [5; 32],
        },
        tokens: Tokens::for_probes(key, clock),
        sockets: BTreeMap::new(),
        seed: [6; 32],
    };
    Provider::new(config, now)
}

#[test]
fn a_poke_is_answered() {
    let serving = Serving::start(vec![]);
    let answer = poke::poke(serving.address).unwrap();
    assert!(answer.contains("PONG"), "{answer}");
    serving.stop();
}

#[test]
fn an_account_registers_and_gives_it_up() {
    let serving = Serving::start(vec![Account::new("bob", "s3cret")]);
    let run = |secret: &str| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(register::register_and_release(
                serving.address,
                &Credentials::with_secret("bob", secret),
            ))
            .unwrap()
    };
    let [registered, released] = run("s3cret");
    let Some(Outcome::Acknowledged { refresh, apparent }) = registered else {
        panic!("{registered:?}");
    };
    assert_eq!(refresh, Duration::from_secs(60));
    assert_eq!(apparent.unwrap().get().ip(), serving.address.ip());
    assert!(
        matches!(released, Some(Outcome::Acknowledged { .. })),
        "{released:?}"
    );

    let [refused, _] = run("wrong");
    assert!(
        matches!(refused, Some(Outcome::Rejected { .. })),
        "{refused:?}"
    );

    let events = serving.stop();
    let happened = |wanted: fn(&EndpointEvent) -> bool| events.iter().filter(|e| wanted(e)).count();
    assert_eq!(
        happened(|event| matches!(
            event,
            EndpointEvent::Registrar(RegistrarEvent::Registered { .. })
        )),
        1
    );
    assert_eq!(
        happened(|event| matches!(
            event,
            EndpointEvent::Registrar(RegistrarEvent::Released { .. })
        )),
        1
    );
}

#[test]
fn the_sweep_finds_the_timers_of_the_simulated_nat() {
    let timers = Timers::linux(Duration::from_secs(20), Duration::from_secs(50));
    let evidence = simulate::sweep(timers).unwrap();
    let found = |wanted: Shape| {
        let (_, edge) = evidence.shapes.iter().find(|(shape, _)| *shape == wanted)?;
        edge.dead
    };
    assert_eq!(found(Shape::Exchange), Some(timers.exchange));
    assert_eq!(found(Shape::Stream), Some(timers.stream));
}

#[test]
fn the_sample_of_a_users_file_is_the_one_of_the_manual() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/users.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (comments, rest) = text.split_once("\n\n").unwrap();
    assert!(
        comments.lines().all(|line| line.starts_with('#')),
        "{comments}"
    );
    assert_eq!(rest, users::EXAMPLE);
    let accounts = users::parse(&text, &path).unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].name, "alice");
}
