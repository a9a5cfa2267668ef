//! What survives a restart, and what another configuration leaves in place.

use std::time::{Duration, Instant, SystemTime};

use iax2_natcheck::guard::{
    action::{Action, ActionKind},
    diagnosis::GuardEvent,
    machine::Guard,
    observation::{OwnPortFrame, ProviderId, Seen},
    policy::ProviderPolicy,
    state::{Saved, SavedProvider},
};
use proptest::prelude::*;

use crate::world::{Site, World, s};

const SITE: Site = Site {
    router: true,
    capture: true,
};

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + s(seconds)
}

/// A guardian in the middle of an outage, with part of its budget spent.
fn in_trouble() -> World {
    let mut world = World::new(SITE, World::policy(2), 4);
    world.run(s(600));
    world.set_wan(false, true);
    world.run(s(60));
    assert!(world.guard.incident(ProviderId(0)).is_some());
    world
}

fn restored(world: &World, saved: &Saved, at: u64) -> Guard {
    let policy = world.guard.policy().clone();
    Guard::restore(policy, saved, [1; 32], world.now, wall(at))
}

#[test]
fn budgets_and_incidents_survive() {
    let world = in_trouble();
    let saved = world.guard.save(wall(1000));
    let text = serde_json::to_string(&saved).unwrap();
    let again: Saved = serde_json::from_str(&text).unwrap();
    assert_eq!(again, saved);

    let guard = restored(&world, &again, 1010);
    assert_eq!(guard.budget_left(), world.guard.budget_left());
    let (before, after) = (
        world.guard.incident(ProviderId(0)).unwrap(),
        guard.incident(ProviderId(0)).unwrap(),
    );
    assert_eq!(after.cause, before.cause);
    assert_eq!(after.because, before.because);
    assert_eq!(after.acted, before.acted);
    assert!(before.began - after.began <= s(11), "it began when it did");

    // An hour later the budget is whole.
    let guard = restored(&world, &again, 1000 + 3700);
    assert_eq!(guard.budget_left(), usize::from(guard.policy().per_hour));
}

#[test]
fn a_clock_that_is_set_back_gives_no_budget_back() {
    let world = in_trouble();
    let saved = world.guard.save(wall(100_000));
    let guard = restored(&world, &saved, 100_000 - 3600);
    assert_eq!(guard.budget_left(), world.guard.budget_left());
}

#[test]
fn a_state_of_another_form_is_forgotten() {
    let world = in_trouble();
    let saved = Saved {
        version: 200,
        ..world.guard.save(wall(1000))
    };
    let guard = restored(&world, &saved, 1000);
    assert!(guard.incident(ProviderId(0)).is_none());
}

#[test]
fn another_configuration_keeps_what_is_known_and_undoes_the_rest() {
    let mut world = in_trouble();
    let mut policy = world.guard.policy().clone();
    policy.providers.remove(0);
    policy.providers.push(ProviderPolicy::new("new"));
    let before = world.guard.incident(ProviderId(1)).unwrap().clone();
    let undo = world.guard.reconfigure(policy.clone(), world.now);
    assert!(
        matches!(undo.as_slice(), [Action::Release { .. }]),
        "{undo:?}"
    );
    let after = world.guard.incident(ProviderId(0)).unwrap();
    assert_eq!(after.began, before.began);
    assert_eq!(after.provider, ProviderId(0));
    assert!(world.guard.incident(ProviderId(1)).is_none());
    // The same again changes nothing.
    assert!(world.guard.reconfigure(policy, world.now).is_empty());
    assert!(world.guard.incident(ProviderId(0)).is_some());
}

#[test]
fn another_apparent_address_is_told_once() {
    let mut world = World::new(SITE, World::policy(1), 4);
    let told = |world: &mut World, address: &str| {
        let apparent = Some(iax2_natcheck::types::MappedAddr::new(
            address.parse().unwrap(),
        ));
        world.tell(Seen::OwnPort {
            provider: ProviderId(0),
            frame: OwnPortFrame::RegAck {
                apparent,
                refresh: None,
            },
        });
        world.run(s(60));
        let moved = world.events.iter().filter_map(|event| match event {
            GuardEvent::Moved { from, to, .. } => Some(format!("{from} {to}")),
            _ => None,
        });
        moved.collect::<Vec<_>>()
    };
    assert!(told(&mut world, "198.51.100.7:4569").is_empty());
    assert!(told(&mut world, "198.51.100.7:4569").is_empty());
    let moved = "198.51.100.7:4569 198.51.100.8:4569";
    assert_eq!(told(&mut world, "198.51.100.8:4569"), [moved]);
    assert_eq!(told(&mut world, "198.51.100.8:4569"), [moved]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A file that somebody wrote by hand, or that is older than everything.
    #[test]
    fn no_state_is_too_strange(
        numbers in proptest::collection::vec(any::<u64>(), 8),
        floats in proptest::collection::vec(any::<f64>(), 3),
        words in proptest::collection::vec(".{0,12}", 3),
        now in any::<u32>(),
    ) {
        let provider = SavedProvider {
            exchange_s: Some(floats[0]),
            stream_s: Some(floats[1]),
            keep_open_s: Some(floats[2]),
            refresh_s: Some(numbers[0]),
            attempts: u32::MAX,
            next_in_s: Some(numbers[1]),
            rung: usize::MAX,
            quiets: u32::MAX,
            told_s: [("rejected".to_owned(), numbers[2]), (words[0].clone(), 1)].into(),
            ..SavedProvider::default()
        };
        let saved = Saved {
            version: 1,
            saved_at_s: numbers[3],
            next_id: numbers[4],
            left_unloaded: true,
            spent_s: vec![numbers[5], 5, 0],
            reloads_s: vec![numbers[6]],
            providers: [("p0".to_owned(), provider), (words[1].clone(), SavedProvider::default())]
                .into(),
        };
        let mut world = World::new(SITE, World::policy(2), 6);
        world.guard = Guard::restore(
            World::policy(2),
            &saved,
            [2; 32],
            Instant::now() + Duration::from_secs(1),
            wall(now.into()),
        );
        world.laws.remembers(ProviderId(0));
        world.now += s(2);
        world.run(s(3600));
        let allowed = [ActionKind::KeepOpen, ActionKind::StopKeepOpen];
        for (_, decision) in &world.decisions {
            prop_assert!(allowed.contains(&decision.action.kind()), "{decision:?}");
            if let Action::KeepOpen { every, .. } = decision.action {
                prop_assert!((s(2)..=s(3600)).contains(&every), "{every:?}");
            }
        }
    }
}
