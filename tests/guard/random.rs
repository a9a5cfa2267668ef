//! Observations that no world would make: whatever is told, the laws hold, and when all is well in the
//! end, the guardian finds so.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    check::taint::Kind,
    guard::{
        action::{ActionOutcome, ActionResult},
        diagnosis::Diagnosis,
        machine::Guard,
        observation::{
            Audio, CallUp, FlowEntry, Observation, Observer, OwnPortFrame, PokeOutcome, Process,
            ProviderId, RegistryState, Seen, TimerClass, Wan,
        },
        policy::Policy,
    },
};
use proptest::prelude::*;

use crate::{
    laws::Laws,
    world::{World, s},
};

/// What happens in a random life.
#[derive(Clone, Debug)]
enum Step {
    See(Seen),
    /// The action in flight ends.
    End(bool),
    /// Nothing but time.
    Wait,
}

fn provider() -> impl Strategy<Value = ProviderId> {
    (0..3_u16).prop_map(ProviderId) // of which two exist
}

fn registry() -> impl Strategy<Value = Seen> {
    let state = prop_oneof![
        Just(RegistryState::Registered),
        Just(RegistryState::RequestSent),
        Just(RegistryState::AuthSent),
        Just(RegistryState::Timeout),
        Just(RegistryState::Rejected),
        Just(RegistryState::Unregistered),
        Just(RegistryState::NoAuthentication),
        Just(RegistryState::Absent),
        Just(RegistryState::Other),
    ];
    (provider(), state, any::<bool>()).prop_map(|(provider, state, other)| Seen::Registry {
        provider,
        state,
        peer: Some(peer(other)),
        perceived: None,
        refresh: Some(s(60)),
    })
}

fn peer(other: bool) -> iax2_natcheck::types::PeerAddr {
    let text = if other {
        "203.0.113.9:4569"
    } else {
        "203.0.113.1:4569"
    };
    iax2_natcheck::types::PeerAddr::new(text.parse().unwrap())
}

fn frame() -> impl Strategy<Value = OwnPortFrame> {
    prop_oneof![
        any::<bool>().prop_map(|again| OwnPortFrame::RegReq { again }),
        Just(OwnPortFrame::OtherSent),
        Just(OwnPortFrame::Challenge),
        Just(OwnPortFrame::RegAck {
            apparent: None,
            refresh: Some(s(60))
        }),
        Just(OwnPortFrame::RegRej {
            cause: None,
            code: Some(29)
        }),
        Just(OwnPortFrame::NakedReject),
        Just(OwnPortFrame::Inval),
        Just(OwnPortFrame::OtherReceived),
    ]
}

fn poke() -> impl Strategy<Value = PokeOutcome> {
    prop_oneof![
        Just(PokeOutcome::Answered { rtt: s(0) }),
        Just(PokeOutcome::Silent),
        Just(PokeOutcome::Unreachable),
        Just(PokeOutcome::NotSent),
    ]
}

fn entry() -> impl Strategy<Value = Option<FlowEntry>> {
    let kind = prop_oneof![
        Just(None),
        Just(Some(Kind::Healthy)),
        Just(Some(Kind::NullBinding)),
        Just(Some(Kind::StaleSource)),
    ];
    let entry = (kind, any::<bool>()).prop_map(|(kind, stream)| FlowEntry {
        class: if stream {
            TimerClass::Stream
        } else {
            TimerClass::Exchange
        },
        timer: Some(s(if stream { 120 } else { 30 })),
        left: None,
        kind,
    });
    proptest::option::of(entry)
}

fn calls() -> impl Strategy<Value = Seen> {
    let audio = prop_oneof![Just(Audio::Both), Just(Audio::Dead), Just(Audio::NotKnown)];
    let call = (proptest::option::of(provider()), audio)
        .prop_map(|(provider, audio)| CallUp { provider, audio });
    proptest::collection::vec(call, 0..3).prop_map(Seen::Calls)
}

fn seen() -> impl Strategy<Value = Seen> {
    let flag = || proptest::option::of(any::<bool>());
    let observer = prop_oneof![
        Just(Observer::Asterisk),
        Just(Observer::Process),
        Just(Observer::Capture),
        Just(Observer::Wan),
        Just(Observer::Conntrack),
        Just(Observer::Poke),
        Just(Observer::Resolver),
    ];
    let process = prop_oneof![
        3 => Just(Process::Up),
        1 => Just(Process::NoModule),
        1 => Just(Process::Down),
        1 => Just(Process::Restarted),
    ];
    prop_oneof![
        6 => registry(),
        4 => (provider(), frame()).prop_map(|(provider, frame)| Seen::OwnPort { provider, frame }),
        4 => (provider(), poke()).prop_map(|(provider, outcome)| Seen::Poke { provider, outcome }),
        2 => (flag(), flag(), flag()).prop_map(|(link, has_address, route)| {
            Seen::Wan(Wan { link, address: None, has_address, route })
        }),
        3 => (provider(), entry()).prop_map(|(provider, entry)| Seen::Entry { provider, entry }),
        2 => process.prop_map(Seen::Asterisk),
        3 => calls(),
        4 => Just(Seen::Calls(vec![])),
        1 => (provider(), any::<bool>()).prop_map(|(provider, some)| Seen::Resolved {
            provider,
            peers: if some { vec![peer(false)] } else { vec![] },
        }),
        1 => (provider(), 1..120_u64).prop_map(|(provider, dead)| Seen::Lifetime {
            provider,
            class: TimerClass::Exchange,
            dead: s(dead),
        }),
        1 => Just(Seen::Slept { lasted: s(3600) }),
        1 => (-5000..5000_i64).prop_map(|by_s| Seen::ClockSet { by_s }),
        1 => Just(Seen::Memory { resident: 1 << 30 }),
        1 => (observer, any::<bool>()).prop_map(|(observer, sees)| if sees {
            Seen::Sees(observer)
        } else {
            Seen::Blind { observer, reason: "chance".to_owned() }
        }),
    ]
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        12 => seen().prop_map(Step::See),
        4 => any::<bool>().prop_map(Step::End),
        1 => Just(Step::Wait),
    ];
    let delay = prop_oneof![6 => 0..3000_u64, 2 => 0..60_000_u64, 1 => 0..2_000_000_u64];
    (delay, step)
}

/// A guardian under observation.
struct Life {
    guard: Guard,
    laws: Laws,
    now: Instant,
    told: Vec<CallUp>,
}

impl Life {
    fn new() -> Self {
        let mut policy = Policy {
            per_hour: 6,
            reloads_per_hour: 1,
            ..World::policy(2)
        };
        for provider in &mut policy.providers {
            provider.remedies = Policy::REMEDIES.into_iter().collect();
            provider.run = vec!["true".to_owned()];
        }
        let now = Instant::now();
        Self {
            laws: Laws::new(policy.per_hour),
            guard: Guard::new(policy, [3; 32], now),
            now,
            told: vec![],
        }
    }

    /// Lets time pass, and every deadline within it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((due, why)) = self.guard.poll_timeout().filter(|(due, _)| *due <= end) {
            assert!(due >= self.now, "{why}");
            self.now = due;
            self.guard.handle_timeout(due);
            self.drain();
            let next = self.guard.poll_timeout();
            assert!(
                next.is_none_or(|(next, _)| next > due),
                "it spins: {next:?}"
            );
        }
        self.now = end;
        self.guard.handle_timeout(end);
        self.drain();
    }

    fn see(&mut self, seen: Seen) {
        if let Seen::Calls(calls) = &seen {
            self.told.clone_from(calls);
        }
        let at = self.now;
        self.guard.handle_observation(Observation { at, seen }, at);
        self.drain();
    }

    fn end(&mut self, well: bool) {
        let Some(id) = self.guard.in_flight().map(|decision| decision.id) else {
            return;
        };
        let why = "chance".to_owned();
        let result = if well {
            ActionResult::Done
        } else {
            ActionResult::Failed { why }
        };
        self.see(Seen::Outcome(ActionOutcome { id, result }));
    }

    fn drain(&mut self) {
        while self.guard.poll_event().is_some() {}
        if self.guard.in_flight().is_none() {
            self.laws.ended();
        }
        if let Some(decision) = self.guard.poll_action() {
            self.laws.ended(); // it ended within the machine, else there were no other
            let talking: Vec<ProviderId> = self
                .told
                .iter()
                .filter(|call| call.audio != Audio::Dead)
                .flat_map(|call| match call.provider {
                    Some(provider) => vec![provider],
                    None => vec![ProviderId(0), ProviderId(1)],
                })
                .collect();
            let diagnosis = self.guard.diagnosed(decision.provider).unwrap().diagnosis;
            let flying = self.guard.in_flight().map(|flying| flying.id);
            assert_eq!(flying, Some(decision.id));
            self.laws.decided(&decision, diagnosis, &talking, self.now);
            assert!(self.guard.poll_action().is_none(), "two at once");
        }
    }

    /// All is well, and everybody says so.
    fn heal(&mut self) {
        self.see(Seen::Asterisk(Process::Up));
        self.see(Seen::Wan(Wan {
            link: Some(true),
            address: None,
            has_address: Some(true),
            route: Some(true),
        }));
        for _ in 0..1800 {
            self.end(true);
            self.see(Seen::Asterisk(Process::Up));
            self.see(Seen::Calls(vec![]));
            for id in [0, 1] {
                let provider = ProviderId(id);
                self.see(Seen::OwnPort {
                    provider,
                    frame: OwnPortFrame::OtherReceived,
                });
                self.see(Seen::Registry {
                    provider,
                    state: RegistryState::Registered,
                    peer: Some(peer(false)),
                    perceived: None,
                    refresh: Some(s(60)),
                });
                let outcome = PokeOutcome::Answered { rtt: s(0) };
                self.see(Seen::Poke { provider, outcome });
                let entry = Some(FlowEntry {
                    class: TimerClass::Stream,
                    timer: Some(s(120)),
                    left: Some(s(100)),
                    kind: Some(Kind::Healthy),
                });
                self.see(Seen::Entry { provider, entry });
            }
            self.pass(s(2));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_and_a_healthy_world_ends_healthy(
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut life = Life::new();
        for (delay, step) in steps {
            life.pass(Duration::from_millis(delay));
            match step {
                Step::See(seen) => life.see(seen),
                Step::End(well) => life.end(well),
                Step::Wait => {}
            }
        }
        life.heal();
        for id in [0, 1] {
            let provider = ProviderId(id);
            let found = life.guard.diagnosed(provider).unwrap();
            prop_assert_eq!(found.diagnosis, Diagnosis::Healthy, "{:?}", found);
            prop_assert!(life.guard.incident(provider).is_none());
        }
    }
}
