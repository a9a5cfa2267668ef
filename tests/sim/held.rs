//! The registrations that the guardian holds itself, with our provider behind a simulated NAT: they
//! outlive the NAT's timer, outages and each other, and never hammer.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    guard::registrations::{Held, HeldChange, Registrations},
    lab::{
        link::{Faults, LinkConfig},
        nat::{NatConfig, Timers},
        world::{SiteConfig, SiteId, Station, World},
    },
    proto::{account::Account, auth::Credentials, contract::SocketKey, registration::Outcome},
    wire::iax2::command::Command,
};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, Tapped, ip, peer, provider, seconds, seed, sockets,
};

struct Run {
    world: World,
    start: Instant,
    site: SiteId,
    client: Station<Tapped<Registrations>>,
    changes: Vec<(usize, HeldChange)>,
}

fn held(user: &str, secret: &str) -> Held {
    Held {
        registrar: peer(SERVER),
        credentials: Credentials::with_secret(user, secret),
        refresh: seconds(60),
        mapping: None,
        may_move: true,
    }
}

fn run(lines: Vec<Held>, accounts: Vec<Account>, timers: Timers) -> Run {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(SiteConfig {
        nats: vec![NatConfig {
            timers,
            ..NatConfig::linux(ip(EXTERNAL))
        }],
        link: link(0.0),
        ..SiteConfig::default()
    });
    let sockets = sockets();
    let server = Tapped::new(provider(accounts, &sockets, 5, start));
    world.server(sockets, server);
    let machine = Tapped::new(Registrations::new(lines, seed(8), start));
    let client = world.client(site, ip(CLIENT), machine);
    Run {
        world,
        start,
        site,
        client,
        changes: vec![],
    }
}

fn link(loss: f64) -> LinkConfig {
    let faults = Faults {
        loss,
        delay: Duration::from_millis(5),
        ..Faults::default()
    };
    LinkConfig::both(faults, 3)
}

impl Run {
    fn until(&mut self, second: u64) {
        self.world.run_until(self.start + seconds(second));
        let events = self.client.take_events().into_iter();
        let changes = events.map(|(_, event)| (event.place, event.what));
        self.changes.extend(changes);
    }

    fn registered(&self, place: usize) -> bool {
        self.client.machine().machine.is_registered(place)
    }

    /// How many first requests were sent.
    fn requests(&self) -> usize {
        let station = self.client.machine();
        let sent = station.log.iter().filter(|seen| seen.sent);
        sent.filter(|seen| seen.command() == Some(Command::RegReq))
            .count()
    }
}

#[test]
fn many_are_renewed_in_time_and_told_once() {
    let users: Vec<String> = (0..100).map(|n| format!("user{n}")).collect();
    let accounts = users
        .iter()
        .map(|user| Account::new(user, "s3cret"))
        .collect();
    let lines = users.iter().map(|user| held(user, "s3cret")).collect();
    let mut run = run(lines, accounts, Timers::flat(seconds(300)));
    run.until(3);
    assert!(
        (0..100).all(|place| run.registered(place)),
        "{:?}",
        run.changes
    );
    run.until(600);
    assert!((0..100).all(|place| run.registered(place)));
    assert_eq!(run.changes.len(), 100, "a renewal is no news");
    // Three requests for each, every 45 to 50 s.
    let each = run.requests() / 3 / 100;
    assert!((12..=15).contains(&each), "{each}");
}

#[test]
fn a_known_timer_shortens_the_interval() {
    let line = Held {
        mapping: Some(seconds(20)),
        ..held("alice", "s3cret")
    };
    let accounts = vec![Account::new("alice", "s3cret")];
    let mut run = run(vec![line], accounts, Timers::flat(seconds(20)));
    run.until(3);
    let [(0, HeldChange::Registered { every, apparent })] = run.changes.as_slice() else {
        panic!("{:?}", run.changes);
    };
    assert_eq!(*every, seconds(18));
    assert_eq!(apparent.unwrap().get().ip(), ip(EXTERNAL));
}

#[test]
fn a_refused_account_is_given_up_after_three_attempts() {
    let accounts = vec![
        Account::new("alice", "s3cret"),
        Account::new("bob", "s3cret"),
    ];
    let lines = vec![held("alice", "guess"), held("bob", "s3cret")];
    let mut run = run(lines, accounts, Timers::flat(seconds(300)));
    run.until(7200);
    assert!(!run.registered(0) && run.registered(1));
    let of_alice = run.changes.iter().filter(|(place, _)| *place == 0);
    let [first, second, last] = of_alice.collect::<Vec<_>>()[..] else {
        panic!("{:?}", run.changes);
    };
    for failed in [first, second] {
        assert!(matches!(
            failed.1,
            HeldChange::Failed {
                outcome: Outcome::Rejected { .. },
                ..
            }
        ));
    }
    assert!(matches!(last.1, HeldChange::GivenUp { .. }));
}

#[test]
fn an_outage_is_waited_for_with_growing_gaps_from_a_fresh_port() {
    let accounts = vec![Account::new("alice", "s3cret")];
    let mut run = run(
        vec![held("alice", "s3cret")],
        accounts,
        Timers::flat(seconds(300)),
    );
    run.until(10);
    let first = run.client.machine().machine.socket(0);
    assert_eq!(first, Some(SocketKey(0)));
    let site = run.site;
    run.world.set_link(site, link(1.0));
    run.until(1210);
    assert!(!run.registered(0));
    let failures = |run: &Run| {
        run.changes
            .iter()
            .filter(|(_, change)| matches!(change, HeldChange::Failed { .. }))
            .count()
    };
    // 25 s of retries and up to 66 s of waiting each.
    assert!((12..=24).contains(&failures(&run)), "{:?}", run.changes);
    assert!(
        run.changes
            .iter()
            .any(|(_, change)| *change == HeldChange::Moved)
    );
    run.world.set_link(site, link(0.0));
    run.until(1210 + 100);
    assert!(run.registered(0), "{:?}", run.changes);
    assert_ne!(run.client.machine().machine.socket(0), first);
}

#[test]
fn a_lossy_line_loses_no_registration() {
    let accounts = vec![Account::new("alice", "s3cret")];
    let mut run = run(
        vec![held("alice", "s3cret")],
        accounts,
        Timers::flat(seconds(300)),
    );
    let site = run.site;
    run.world.set_link(site, link(0.1));
    run.until(3600);
    let failures = run
        .changes
        .iter()
        .filter(|(_, change)| matches!(change, HeldChange::Failed { .. }));
    assert!(failures.count() <= 3, "{:?}", run.changes);
    assert!(run.registered(0));
}
