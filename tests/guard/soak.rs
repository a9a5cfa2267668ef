//! Thirty days of random faults: memory stays flat, every incident is explained, nothing is done while
//! nothing is wrong.

use std::{collections::BTreeMap, time::Duration};

use iax2_natcheck::guard::{diagnosis::Diagnosis, observation::ProviderId};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::world::{Site, World, s};

const DAYS: u32 = 30;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Outage { fallback: bool, clears: bool },
    NoAddress,
    NewAddress,
    ProviderDown(usize),
    Refused(usize),
    AsteriskDown,
    Flapping,
    Loss,
    Taint(usize),
}

impl Fault {
    fn random(rng: &mut StdRng) -> Self {
        let line = rng.random_range(0..2);
        match rng.random_range(0..10) {
            0 | 1 => Self::Outage {
                fallback: rng.random(),
                clears: rng.random(),
            },
            2 => Self::NoAddress,
            3 => Self::NewAddress,
            4 => Self::ProviderDown(line),
            5 => Self::Refused(line),
            6 => Self::AsteriskDown,
            7 => Self::Flapping,
            8 => Self::Loss,
            _ => Self::Taint(line),
        }
    }

    /// What may rightly be made of it.
    fn explains(self, site: Site, cause: Diagnosis) -> bool {
        let way_out = if site.router {
            matches!(
                cause,
                Diagnosis::WanDown | Diagnosis::Tainted | Diagnosis::ProviderDown
            )
        } else {
            matches!(cause, Diagnosis::ProviderDown | Diagnosis::Tainted)
        };
        match self {
            Self::Outage { .. } | Self::NoAddress | Self::Flapping => way_out,
            Self::NewAddress | Self::Taint(_) => cause == Diagnosis::Tainted,
            Self::ProviderDown(_) => cause == Diagnosis::ProviderDown,
            Self::Refused(_) => cause == Diagnosis::Rejected,
            Self::AsteriskDown => cause == Diagnosis::AsteriskDown,
            // Packets of Asterisk's alone are lost: that is what a taint looks like from here.
            Self::Loss => matches!(cause, Diagnosis::Tainted | Diagnosis::Unanswered),
        }
    }

    fn happen(self, world: &mut World, lasts: Duration) {
        match self {
            Self::Outage { fallback, clears } => {
                world.fallback = fallback;
                world.set_wan(false, clears);
                world.run(lasts);
                world.set_wan(true, clears);
            }
            Self::NoAddress => {
                world.set_address(false);
                world.run(lasts);
                world.set_address(true);
            }
            Self::NewAddress => world.change_address(),
            Self::ProviderDown(line) => {
                world.lines[line].up = false;
                world.run(lasts);
                world.lines[line].up = true;
            }
            Self::Refused(line) => {
                world.lines[line].accepts = false;
                world.run(lasts);
                world.lines[line].accepts = true;
            }
            Self::AsteriskDown => {
                world.set_asterisk(false);
                world.run(lasts);
                world.set_asterisk(true);
            }
            Self::Flapping => {
                for _ in 0..60 {
                    world.set_wan(false, true);
                    world.run(s(1));
                    world.set_wan(true, true);
                    world.run(s(1));
                }
            }
            Self::Loss => {
                world.loss = 3;
                world.run(lasts);
                world.loss = 0;
            }
            Self::Taint(line) => world.taint(line),
        }
    }
}

fn soak(site: Site, seed: u8) {
    let mut rng = StdRng::from_seed([seed; 32]);
    let mut policy = World::policy(2);
    policy.exchange.given = site.capture; // then keepalives are sent, and entries are streams
    let mut world = World::new(site, policy, seed);
    world.run(s(1800));
    let begin = world.now;
    let (mut faults, mut incidents) = (0, 0);
    let mut causes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sizes: Vec<usize> = vec![];
    let mut slowest = Duration::ZERO;
    while world.now - begin < s(86_400) * DAYS {
        // Hours without a fault, at whose begin all is well: nothing is done.
        let calm = world.now;
        world.incidents.clear();
        world.run(s(rng.random_range(600..4 * 3600)));
        let needless = world.decisions.iter().any(|(at, _)| *at >= calm);
        assert!(!needless, "{}", world.story());
        world.decisions.clear();
        world.events.clear();
        assert!(world.incidents.is_empty(), "{:?}", world.incidents);

        let fault = Fault::random(&mut rng);
        if rng.random_range(0..4) == 0 {
            let line = rng.random_range(0..2);
            world.lines[line].call = Some(world.now + s(rng.random_range(60..900)));
        }
        fault.happen(&mut world, s(rng.random_range(5..2400)));
        faults += 1;
        let ends = world.now + s(7200);
        let healed = world.now;
        let is_well = |world: &World| {
            [0, 1].into_iter().all(|line| {
                world.reaches(line.into())
                    && world.diagnosis(line) == Diagnosis::Healthy
                    && world.guard.incident(ProviderId(line)).is_none()
            })
        };
        while !is_well(&world) {
            let found = world.guard.diagnosed(ProviderId(0));
            assert!(
                world.now < ends,
                "{fault:?}: {found:?} {:?}",
                world.decisions
            );
            world.run(s(5));
        }
        slowest = slowest.max(world.now - healed);
        world.run(s(900)); // what was begun is ended, such as keepalives
        for incident in &world.incidents {
            incidents += 1;
            *causes.entry(incident.cause.as_str()).or_default() += 1;
            assert!(!incident.because.is_empty(), "{fault:?}: {incident:?}");
            let is_hole = incident.cause == Diagnosis::Hole; // keepalives stop during trouble
            assert!(
                is_hole || fault.explains(site, incident.cause),
                "{fault:?}: {incident:?}"
            );
            let lasted = incident.ended.unwrap() - incident.began;
            assert!(incident.unreachable <= lasted + s(1), "{incident:?}");
        }
        let guard = format!("{:?}", world.guard);
        sizes.push(guard.len());
    }
    // The guardian's whole state, written out: no longer in the last week than it was in the first.
    let week = sizes.len() / 4;
    let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap();
    let (first, last) = (most(&sizes[..week]), most(&sizes[sizes.len() - week..]));
    assert!(last <= first * 5 / 4, "{first} → {last}");
    println!(
        "router {}, capture {}: {faults} faults, {incidents} incidents {causes:?}, {:?}, slowest \
         recovery {slowest:?}, state {first} → {last}",
        site.router, site.capture, world.laws.counted
    );
    assert!(faults > 100 && incidents > 50);
}

#[test]
fn thirty_days_on_the_router() {
    soak(
        Site {
            router: true,
            capture: true,
        },
        1,
    );
}

#[test]
fn thirty_days_behind_the_router() {
    soak(
        Site {
            router: false,
            capture: true,
        },
        2,
    );
}

#[test]
fn thirty_days_without_a_capture() {
    soak(
        Site {
            router: false,
            capture: false,
        },
        3,
    );
}
