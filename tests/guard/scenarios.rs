//! One fault at a time: what is diagnosed, what is done, and how long it takes.

use std::time::Duration;

use iax2_natcheck::{
    check::taint::Kind,
    guard::{
        action::ActionKind,
        diagnosis::{Diagnosis, GuardEvent},
        observation::Observer,
        policy::Policy,
    },
};

use crate::world::{Site, World, s};

const ROUTER: Site = Site {
    router: true,
    capture: true,
};
const BEHIND: Site = Site {
    router: false,
    capture: true,
};
const BLIND: Site = Site {
    router: false,
    capture: false,
};
const SITES: [Site; 3] = [ROUTER, BEHIND, BLIND];

/// A world that has been well for half an hour.
fn well(site: Site, change: impl FnOnce(&mut Policy)) -> World {
    let mut policy = World::policy(2);
    change(&mut policy);
    let mut world = World::new(site, policy, 7);
    world.run(s(1800));
    for line in [0, 1] {
        let diagnosis = world.diagnosis(line);
        assert_eq!(diagnosis, Diagnosis::Healthy, "{}", world.story());
    }
    world.decisions.clear();
    world.incidents.clear();
    world
}

fn usual(_: &mut Policy) {}

/// The timer of short exchanges is known, so that keepalives are sent and entries are streams.
fn known(policy: &mut Policy) {
    policy.exchange.given = true;
}

fn kinds(world: &World) -> Vec<ActionKind> {
    world
        .decisions
        .iter()
        .map(|(_, decision)| decision.action.kind())
        .collect()
}

fn only(allowed: &'static [ActionKind]) -> impl Fn(&mut Policy) {
    move |policy| {
        for provider in &mut policy.providers {
            provider.remedies = allowed.iter().copied().collect();
        }
    }
}

/// Runs until both providers reach the PBX and nothing is held, and for ten minutes more.
fn recovers(world: &mut World, within: Duration) -> Duration {
    let took = world.until(within, |world| world.reaches(0) && world.reaches(1));
    world.run(s(600));
    assert!(world.reaches(0) && world.reaches(1), "{}", world.story());
    for line in [0, 1] {
        assert_eq!(
            world.diagnosis(line),
            Diagnosis::Healthy,
            "{}",
            world.story()
        );
    }
    took
}

#[test]
fn a_healthy_day_needs_nothing_but_keepalives() {
    for site in SITES {
        let mut world = World::new(site, World::policy(2), 1);
        world.run(s(86_400));
        let done = kinds(&world);
        let usual = [ActionKind::KeepOpen];
        assert!(done.iter().all(|kind| usual.contains(kind)), "{done:?}");
        assert!(done.len() <= 2, "{done:?}");
    }
}

#[test]
fn the_hole_is_found_and_closed() {
    let mut world = World::new(ROUTER, World::policy(1), 1);
    world.run(s(300));
    assert_eq!(kinds(&world), [ActionKind::KeepOpen], "{}", world.story());
    assert_eq!(world.incidents.len(), 1);
    assert_eq!(world.incidents[0].cause, Diagnosis::Hole);
    world.run(s(600));
    for _ in 0..600 {
        world.run(s(1));
        assert!(world.reaches(0), "{}", world.story());
    }
    assert_eq!(world.diagnosis(0), Diagnosis::Healthy);
}

#[test]
fn without_keepalives_a_person_hears_of_the_hole_once() {
    let mut policy = World::policy(1);
    only(&[ActionKind::Notify])(&mut policy);
    let mut world = World::new(ROUTER, policy, 1);
    world.run(s(3600));
    assert_eq!(kinds(&world), [ActionKind::Notify], "{}", world.story());
    let text = world.decisions[0].1.action.to_string();
    assert!(text.contains("qualify=yes"), "{text}");
}

/// The router: each taint is deleted as soon as it is seen, the provider beside it is left alone.
#[test]
fn on_the_router_a_taint_is_deleted() {
    let mut world = well(ROUTER, usual);
    world.taint(0);
    let took = recovers(&mut world, s(60));
    let done = kinds(&world);
    assert!(done.contains(&ActionKind::DeleteEntry), "{done:?}");
    assert!(!done.contains(&ActionKind::Quiet), "{done:?}");
    assert!(
        world
            .decisions
            .iter()
            .all(|(_, decision)| decision.provider.0 == 0)
    );
    assert_eq!(world.incidents[0].taint, Some(Kind::NullBinding));
    // Registered as it still is, nothing is sure before the next registration fails.
    assert!(took < s(56), "{took:?}");
}

#[test]
fn on_the_router_an_outage_ends_within_two_seconds() {
    for (fallback, clears) in [(false, true), (true, true), (true, false)] {
        let mut world = well(ROUTER, usual);
        world.fallback = fallback;
        world.set_wan(false, clears);
        world.run(s(180));
        assert!(
            kinds(&world).contains(&ActionKind::Hold),
            "{}",
            world.story()
        );
        world.set_wan(true, true);
        let took = recovers(&mut world, s(60));
        assert!(took <= s(2), "{took:?} {}", world.story());
        assert_eq!(world.incidents[0].cause, Diagnosis::WanDown);
        let done = &world.incidents[0].actions;
        assert!(done.len() < 8, "the stretches of a hold are one: {done:?}");
        let released = done.iter().any(|acted| acted.kind == ActionKind::Release);
        assert!(released, "{done:?}");
        let unreachable = world.incidents[0].unreachable;
        assert!(
            (180..190).contains(&unreachable.as_secs()),
            "{unreachable:?}"
        );
    }
}

#[test]
fn on_the_router_what_slipped_out_is_deleted_before_the_release() {
    // Without the right to hold in time, the entry of the outage is there when the way is back.
    let mut world = well(ROUTER, usual);
    world.fallback = true;
    world.set_wan(false, true);
    world.taint(0);
    world.run(s(20));
    world.set_wan(true, false);
    let took = recovers(&mut world, s(60));
    assert!(took <= s(3), "{took:?}");
}

#[test]
fn a_changed_address_is_followed_at_once_on_the_router() {
    let mut world = well(ROUTER, usual);
    world.change_address();
    let took = recovers(&mut world, s(60));
    assert!(took <= s(3), "{took:?} {}", world.story());
    assert_eq!(world.incidents[0].taint, Some(Kind::StaleSource));
}

#[test]
fn a_link_without_an_address_is_waited_for() {
    let mut world = well(ROUTER, usual);
    world.set_address(false);
    world.run(s(45));
    world.set_address(true);
    let took = recovers(&mut world, s(60));
    assert!(took <= s(3), "{took:?} {}", world.story());
}

/// Behind the router: the taint is inferred, and waited out by the longer of its timers.
#[test]
fn behind_the_router_a_taint_is_kept_quiet() {
    let mut world = well(BEHIND, known);
    world.change_address();
    let took = recovers(&mut world, s(400));
    let done = kinds(&world);
    assert!(done.contains(&ActionKind::Quiet), "{done:?}");
    // Up to 50 s to the next registration, its retries, and 125 s of quiet.
    assert!(took < s(200), "{took:?} {}", world.story());
    assert_eq!(world.incidents[0].cause, Diagnosis::Tainted);
    println!("address change behind the router: {took:?}");
}

#[test]
fn behind_the_router_an_outage_is_held() {
    for site in [BEHIND, BLIND] {
        let mut world = well(site, usual);
        world.fallback = true;
        world.set_wan(false, true);
        world.run(s(420));
        assert!(
            kinds(&world).contains(&ActionKind::Hold),
            "{}",
            world.story()
        );
        world.set_wan(true, true);
        let took = recovers(&mut world, s(120));
        assert!(took <= s(7), "{took:?} {}", world.story());
        assert_eq!(world.incidents[0].cause, Diagnosis::ProviderDown);
    }
}

#[test]
fn a_provider_that_is_down_for_three_minutes_is_no_taint() {
    for site in SITES {
        let mut world = well(site, usual);
        world.lines[0].up = false;
        world.run(s(180));
        world.lines[0].up = true;
        let took = recovers(&mut world, s(150));
        let done = kinds(&world);
        for never in [
            ActionKind::DeleteEntry,
            ActionKind::Quiet,
            ActionKind::ReloadModule,
        ] {
            assert!(!done.contains(&never), "{done:?} {}", world.story());
        }
        assert!(
            world
                .decisions
                .iter()
                .all(|(_, decision)| decision.provider.0 == 0)
        );
        assert!(took < s(130), "{took:?} {}", world.story());
        assert_eq!(world.incidents[0].cause, Diagnosis::ProviderDown);
    }
}

#[test]
fn a_refused_account_is_told_to_a_person_and_never_hammered() {
    for site in SITES {
        let mut world = well(site, usual);
        world.lines[0].accepts = false;
        world.run(s(6 * 3600));
        let done = kinds(&world);
        let mut expected = vec![ActionKind::Notify];
        if done.contains(&ActionKind::StopKeepOpen) {
            expected.insert(0, ActionKind::StopKeepOpen);
        }
        assert_eq!(done, expected, "{}", world.story());
        world.lines[0].accepts = true;
        recovers(&mut world, s(120));
        assert_eq!(world.incidents[0].cause, Diagnosis::Rejected);
    }
}

#[test]
fn a_refused_token_is_no_refused_account() {
    let mut world = well(BEHIND, usual);
    world.lines[0].refuses_token = true;
    world.run(s(600));
    assert_eq!(world.diagnosis(0), Diagnosis::TokenRefused);
    let done = kinds(&world);
    assert!(!done.contains(&ActionKind::Reregister), "{done:?}");
}

#[test]
fn a_flapping_way_makes_no_storm() {
    for site in SITES {
        let mut world = well(site, usual);
        world.fallback = true;
        for _ in 0..300 {
            world.set_wan(false, true);
            world.run(s(1));
            world.set_wan(true, true);
            world.run(s(1));
        }
        let extends = |reason: &str| reason.starts_with("the way is not proven");
        let begun = world
            .decisions
            .iter()
            .filter(|(_, decision)| !extends(&decision.reason));
        let done = begun.count();
        assert!(done <= 40, "{done} {}", world.story());
        let took = recovers(&mut world, s(300));
        println!("flapping, router {}: {done} actions, {took:?}", site.router);
    }
}

#[test]
fn a_call_with_audio_is_waited_for() {
    for site in SITES {
        let mut world = well(site, |policy| {
            for provider in &mut policy.providers {
                provider.remedies = Policy::REMEDIES.into_iter().collect();
                provider.run = vec!["true".into()];
            }
        });
        // The law in `Laws` fails on anything that would end it.
        let end = world.now + s(900);
        world.lines[0].call = Some(end);
        world.taint(0);
        world.run(s(900));
        let withheld = world.events.iter().any(
            |event| matches!(event, GuardEvent::Withheld { why, .. } if why == "a call is up"),
        );
        assert!(withheld, "{}", world.story());
        recovers(&mut world, s(400));
    }
}

#[test]
fn asterisk_restarts_without_a_remedy() {
    for site in SITES {
        let mut world = well(site, usual);
        world.set_asterisk(false);
        world.run(s(90));
        assert_eq!(
            world.diagnosis(0),
            Diagnosis::AsteriskDown,
            "{}",
            world.story()
        );
        world.set_asterisk(true);
        let took = recovers(&mut world, s(30));
        assert!(took < s(2), "{took:?}");
        let done = kinds(&world);
        let harmless = [
            ActionKind::Notify,
            ActionKind::KeepOpen,
            ActionKind::StopKeepOpen,
        ];
        assert!(done.iter().all(|kind| harmless.contains(kind)), "{done:?}");
    }
}

#[test]
fn killed_in_the_middle_of_each_remedy_it_takes_up_where_it_was() {
    // A hold.
    let mut world = well(ROUTER, usual);
    world.fallback = true;
    world.set_wan(false, true);
    world.until(s(60), |world| kinds(world).contains(&ActionKind::Hold));
    world.kill(s(10));
    world.run(s(60));
    world.set_wan(true, true);
    recovers(&mut world, s(60));

    // A quiet period.
    let mut world = well(BEHIND, known);
    world.change_address();
    world.until(s(300), |world| kinds(world).contains(&ActionKind::Quiet));
    world.run(s(20));
    world.kill(s(5));
    recovers(&mut world, s(600));
    let lines: Vec<u16> = world.incidents.iter().map(|one| one.provider.0).collect();
    assert_eq!(lines, [0, 1], "{:?}", world.incidents);

    // A reload of the module: the channel is left unloaded.
    let mut world = well(BEHIND, |policy| {
        known(policy);
        only(&[ActionKind::KeepOpen, ActionKind::ReloadModule])(policy);
    });
    world.change_address();
    world.until(s(400), |world| {
        kinds(world).contains(&ActionKind::ReloadModule)
    });
    world.run(s(20));
    world.kill(s(5));
    world.until(s(30), |world| {
        kinds(world).contains(&ActionKind::LoadModule)
    });
    let took = world.until(s(900), |world| world.reaches(0) && world.reaches(1));
    println!("killed in a reload: {took:?}");

    // Keepalives go on at once.
    let mut world = well(BEHIND, known);
    world.kill(s(5));
    world.run(s(20));
    assert_eq!(
        kinds(&world),
        [ActionKind::KeepOpen; 2],
        "{}",
        world.story()
    );
}

#[test]
fn what_does_not_help_grows_rare_and_a_person_hears_of_it() {
    // The provider answers POKEs and nothing from Asterisk's port: no remedy can cure that.
    let mut world = well(BEHIND, usual);
    world.loss = 1;
    world.run(s(6 * 3600));
    let quiets = kinds(&world)
        .iter()
        .filter(|kind| **kind == ActionKind::Quiet)
        .count();
    assert!((3..40).contains(&quiets), "{quiets} {}", world.story());
    assert!(kinds(&world).contains(&ActionKind::Notify));
    world.loss = 0;
    recovers(&mut world, s(3600));
}

#[test]
fn where_nobody_tells_of_calls_a_person_hears_of_the_taint() {
    let mut world = well(BEHIND, known);
    world.mute_calls = true;
    world.run(s(60)); // what was told of calls before is too old then
    world.change_address();
    world.run(s(1800));
    let done = kinds(&world);
    assert!(done.contains(&ActionKind::Notify), "{done:?}");
    assert!(!done.contains(&ActionKind::Quiet), "{done:?}");
    world.mute_calls = false;
    recovers(&mut world, s(400));
}

#[test]
fn one_refusal_is_no_matter_for_a_person() {
    let mut world = well(BEHIND, usual);
    world.lines[0].accepts = false;
    world.until(s(60), |world| world.diagnosis(0) == Diagnosis::Rejected);
    world.run(s(10));
    world.lines[0].accepts = true;
    recovers(&mut world, s(60));
    let done = kinds(&world);
    assert!(!done.contains(&ActionKind::Notify), "{done:?}");
}

#[test]
fn a_blind_guardian_does_nothing() {
    let mut world = well(BEHIND, usual);
    for observer in [Observer::Asterisk, Observer::Poke, Observer::Capture] {
        world.blind(observer, true);
    }
    let seen = world
        .events
        .iter()
        .any(|event| matches!(event, GuardEvent::Blind { .. }));
    assert!(seen);
    assert_eq!(world.diagnosis(0), Diagnosis::NotKnown);
}
