//! The whole survey of one provider: every experiment, in an order in which none poisons the next.
//!
//! Each experiment has sockets of its own, so that most run side by side: POKEs, the registration and the
//! mapping at once; the lifetimes as soon as the mapping tells who can answer late, with the caution of a
//! path that loses packets until the POKEs say otherwise. While the lifetimes are measured the
//! registration is renewed as a PBX would, from its own socket and in its own rhythm, so that a mapping
//! that changes within a refresh shows in what the registrar sees.

mod beside;
mod calls;
mod config;
mod found;
mod lifetimes;
mod machine;
mod record;
mod sweep;

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use self::config::{Experiment, SurveyConfig, SurveyEvent, SweepPlan, UnaidedPlan};
use self::{beside::Beside, record::Record, sweep::Sweep};
use crate::{
    probe::{
        callback::Callback,
        calls::Calls,
        evidence::RegistrationState,
        hairpin::{Hairpin, HairpinConfig},
        lifetime::Lifetime,
        mapping::{Mapping, MappingConfig},
        reach::{Reach, ReachConfig},
        refresh::Refresh,
    },
    proto::{
        contract::{Input, Machine as _, SocketKey, Transmit},
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
    },
    types::{LocalAddr, PeerAddr},
};

/// The machine.
#[derive(Debug)]
pub struct Survey {
    config: SurveyConfig,
    rng: StdRng,
    born: Instant,
    reach: Option<Reach>,
    reflector_reach: Option<Reach>,
    same_port: Option<Reach>,
    registration: Option<Registration>,
    mapping: Option<Mapping>,
    /// What the reflector sees of the socket of the registration.
    registered_mapping: Option<Mapping>,
    hairpin: Option<Hairpin>,
    hairpin_waits: bool,
    beside: Beside,
    lifetime: Option<Sweep>,
    busy: Option<Lifetime>,
    refresh: Option<Refresh>,
    calls: Option<Calls>,
    callback: Option<Callback>,
    /// What the socket of the calls is bound to, once it is open.
    calls_local: Option<(SocketKey, LocalAddr)>,
    record: Option<Record>,
    renew: Option<Instant>,
    /// A measurement has moved the account's binding, and it was not yet moved back.
    owes_binding: bool,
    retries: u8,
    tick: Option<Instant>,
    stopped: bool,
    stage: Stage,
    outbox: VecDeque<Transmit>,
    events: VecDeque<SurveyEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Registration and mapping; POKEs begin here too.
    First,
    /// Lifetimes, calls, and renewals of the registration.
    Sweep,
    /// Nothing more is sent.
    Over,
}

/// The socket of the registration: the one that may have a port of the user's choice.
pub const REGISTRATION_SOCKET: SocketKey = SocketKey(0);
const REACH_SOCKET: SocketKey = SocketKey(1);
const REFLECTOR_REACH_SOCKET: SocketKey = SocketKey(2);
const MAPPING_SOCKET: SocketKey = SocketKey(3);
const CONTROL_SOCKET: SocketKey = SocketKey(4);
/// The socket of the test calls, where the registration has the first one.
pub const CALLS_SOCKET: SocketKey = SocketKey(5);
const CALLBACK_SOCKET: SocketKey = SocketKey(6);
const HAIRPIN_SOCKETS: [SocketKey; 2] = [SocketKey(7), SocketKey(8)];
const FIRST_LIFETIME_SOCKET: u32 = beside::END;
/// The keys of busy mappings, and of what keeps mappings open, out of everybody's way.
const BUSY_SOCKETS: Range<u32> = 1 << 22..1 << 23;
const REFRESH_SOCKETS: Range<u32> = 1 << 23..1 << 24;
/// How often the mapping is looked at again: more often than any NAT known forgets one.
const MAPPING_AGAIN: Duration = Duration::from_secs(4);

/// A registration that timed out is tried so often again where the line loses packets, as any client would:
/// four losses in a row are no silence.
const RETRIES: u8 = 2;
/// The same where POKEs are answered and none was lost: ten of them do not show every loss.
const RETRIES_CLEAN: u8 = 1;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(500);

impl Survey {
    /// Begins.
    #[must_use]
    pub fn new(config: SurveyConfig, now: Instant) -> Self {
        let mut survey = Self {
            rng: StdRng::from_seed(config.seed),
            born: now,
            reach: None,
            reflector_reach: None,
            same_port: None,
            registration: None,
            mapping: None,
            registered_mapping: None,
            hairpin: None,
            hairpin_waits: false,
            beside: Beside::default(),
            lifetime: None,
            busy: None,
            refresh: None,
            calls: None,
            callback: None,
            calls_local: None,
            record: None,
            renew: None,
            owes_binding: false,
            retries: 0,
            tick: None,
            stopped: false,
            stage: Stage::First,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        survey.begin(now);
        survey.drain(now);
        survey
    }

    /// Whether everything is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Ends the survey early: what was found stays. A reflector is told to send nothing more. Where the
    /// account's binding was moved, the survey goes on until it is moved back.
    pub fn stop(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        self.stopped = true;
        self.beside.stop(now);
        self.drain_beside(now);
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.stop(now);
            while let Some(transmit) = lifetime.poll_transmit() {
                self.outbox.push_back(transmit);
            }
        }
        self.stop_refresh(now);
        if let Some(calls) = &mut self.calls {
            calls.stop(now);
        }
        self.drain_calls();
        if self.owes_binding {
            self.drain(now);
        } else {
            self.finish();
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.config.reach {
            let config = ReachConfig::new(self.config.provider, REACH_SOCKET, self.rng.random());
            self.reach = Some(Reach::new(config, now));
        }
        if let Some(peer) = self
            .config
            .reflector
            .filter(|peer| *peer != self.config.provider)
        {
            let config = ReachConfig::new(peer, REFLECTOR_REACH_SOCKET, self.rng.random());
            self.reflector_reach = Some(Reach::new(config, now));
        }
        if self.config.same_port {
            let (peer, seed) = (self.config.provider, self.rng.random());
            let config = ReachConfig::within(peer, REGISTRATION_SOCKET, seed);
            self.same_port = Some(Reach::new(config, now));
        }
        self.begin_callback();
        if self.config.credentials.is_some() {
            self.register(now);
        }
        let reflectors = self.reflectors();
        self.beside = Beside::new(&self.config, &reflectors, &mut self.rng, now);
        if self.config.mapping || self.config.sweep.is_some() {
            let config = MappingConfig {
                // Without a registration the user's port is free for this.
                socket: match self.config.credentials {
                    Some(_) => MAPPING_SOCKET,
                    None => REGISTRATION_SOCKET,
                },
                reflectors,
                stun: self.config.stun.clone(),
                hold: self.beside.needs_strangers(),
                again: MAPPING_AGAIN,
                epoch: self.born,
                seed: self.rng.random(),
            };
            self.mapping = Some(Mapping::new(config, now));
        }
        self.hairpin_waits = self.config.hairpin;
    }

    /// Begins once nobody needs the servers' other addresses to be strangers: it asks them, too.
    fn begin_hairpin(&mut self, now: Instant) {
        if std::mem::take(&mut self.hairpin_waits) {
            let config = HairpinConfig {
                sockets: HAIRPIN_SOCKETS,
                reflectors: self.reflectors(),
                stun: self.config.stun.clone(),
                seed: self.rng.random(),
            };
            self.hairpin = Some(Hairpin::new(&config, now));
        }
    }

    /// Who is asked for the mapping: the provider too, for what it sees is what calls depend on.
    fn reflectors(&self) -> Vec<PeerAddr> {
        let provider = self.config.provider;
        let other = self.config.reflector.filter(|peer| *peer != provider);
        other.into_iter().chain([provider]).collect()
    }

    /// Has the reflector look at the socket of the registration, once the registrar has told what it saw:
    /// two destinations of one socket. The provider is not asked, so its flow is left as it is.
    fn look_at_registration(&mut self, now: Instant) {
        let provider = self.config.provider;
        let reflector = self.config.reflector.filter(|peer| *peer != provider);
        let seen = self.record.as_ref().map(Record::evidence);
        let (Some(reflector), Some(seen), None) = (reflector, seen, &self.registered_mapping)
        else {
            return;
        };
        let (Some(local), Some(_), true) = (seen.local, seen.apparent.first(), self.config.mapping)
        else {
            return;
        };
        let config = MappingConfig {
            socket: REGISTRATION_SOCKET,
            reflectors: vec![reflector],
            stun: Vec::new(),
            hold: false,
            // The survey ends before.
            again: Duration::from_secs(24 * 3600),
            epoch: self.born,
            seed: self.rng.random(),
        };
        let mut mapping = Mapping::new(config, now);
        let socket = REGISTRATION_SOCKET;
        mapping.handle_input(Input::Opened { socket, local }, now);
        self.registered_mapping = Some(mapping);
    }

    fn register(&mut self, now: Instant) {
        let Some(credentials) = self.config.credentials.clone() else {
            return;
        };
        self.renew = None;
        self.record.get_or_insert_with(|| {
            Record::new(
                &credentials.user,
                self.config.assumed_refresh,
                self.config.release_only,
                now,
            )
        });
        let config = RegistrationConfig {
            registrar: self.config.provider,
            socket: REGISTRATION_SOCKET,
            credentials,
            refresh: self.config.refresh,
            release: self.config.release_only,
            offer_token: true,
            retry: self.config.retry,
            seed: self.rng.random(),
        };
        self.registration = Some(Registration::new(config, now));
    }

    /// Takes what the children have to say and to send.
    fn drain(&mut self, now: Instant) {
        let (mut reached, mut outbox) = (false, vec![]);
        for reach in self.all_reaches() {
            while let Some(transmit) = reach.poll_transmit() {
                outbox.push(transmit);
            }
            while reach.poll_event().is_some() {
                reached = true;
            }
        }
        self.outbox.extend(outbox);
        if reached {
            self.events.push_back(SurveyEvent::Reached);
            let lossy = self.may_lose();
            if let Some(lifetime) = &mut self.lifetime {
                lifetime.note_loss(lossy);
            }
        }
        self.drain_registration(now);
        if self.registration_is_over() {
            self.look_at_registration(now);
        }
        self.drain_beside(now);
        for mapping in [&mut self.mapping, &mut self.registered_mapping]
            .into_iter()
            .flatten()
        {
            while let Some(transmit) = mapping.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while mapping.poll_event().is_some() {
                self.events.push_back(SurveyEvent::Mapped);
            }
        }
        if let Some(hairpin) = &mut self.hairpin {
            while let Some(transmit) = hairpin.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while hairpin.poll_event().is_some() {}
        }
        self.drain_sweep(now);
        self.advance(now);
    }

    /// What the others have to send, and who waits for them.
    fn drain_beside(&mut self, now: Instant) {
        while let Some(transmit) = self.beside.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        while self.beside.poll_event().is_some() {
            self.events.push_back(SurveyEvent::Done);
        }
        if !self.beside.needs_strangers() {
            if let Some(mapping) = &mut self.mapping {
                mapping.release(now);
            }
            self.begin_hairpin(now);
        }
    }

    fn drain_registration(&mut self, now: Instant) {
        let Some(mut registration) = self.registration.take() else {
            return;
        };
        while let Some(transmit) = registration.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        let mut again = false;
        while let Some(event) = registration.poll_event() {
            if let Some(record) = &mut self.record
                && let Some(renew) = record.note(&event, now)
            {
                self.renew = Some(renew);
            }
            if let RegistrationEvent::Ended(outcome) = &event {
                self.tell_callback(outcome, now);
            }
            if matches!(event, RegistrationEvent::Ended(Outcome::TimedOut { .. })) {
                again = self.retries < self.retries_worth() && !self.is_registered();
            }
            self.events.push_back(SurveyEvent::Registration(event));
        }
        self.registration = Some(registration);
        if again {
            self.retries += 1;
            self.register(now);
            self.drain_registration(now);
        }
    }

    /// How often a registration that timed out is worth another try, by what came of the POKEs.
    fn retries_worth(&self) -> u8 {
        let reaches = self.reaches().map(Reach::evidence);
        let answered: Vec<bool> = reaches
            .filter(|seen| seen.received > 0)
            .map(|seen| seen.received < seen.sent)
            .collect();
        match answered.as_slice() {
            [] => 0,
            lost if lost.contains(&true) => RETRIES,
            _ => RETRIES_CLEAN,
        }
    }

    fn is_registered(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.evidence().state == RegistrationState::Registered)
    }

    /// Goes on to the next stage when this one is done.
    fn advance(&mut self, now: Instant) {
        if self.stage == Stage::First && self.is_first_stage_done() {
            self.stage = Stage::Sweep;
            self.begin_sweep(now);
            self.begin_calls(now);
        }
        self.drain_calls();
        let swept = self.is_swept();
        if self.stage == Stage::Sweep && swept {
            self.restore_binding(now);
        }
        let done = self.stopped
            || (self.all_reached()
                && self.hairpin.as_ref().is_none_or(Hairpin::is_finished)
                && self.mapping.as_ref().is_none_or(Mapping::is_settled)
                && self.beside.is_finished()
                && self.calls_are_over());
        if self.stage == Stage::Sweep && swept && done && self.registration_is_over() {
            self.stop_refresh(now);
            self.finish();
        }
    }

    fn registration_is_over(&self) -> bool {
        self.registration
            .as_ref()
            .is_none_or(Registration::is_ended)
    }

    fn is_first_stage_done(&self) -> bool {
        [&self.mapping, &self.registered_mapping]
            .into_iter()
            .flatten()
            .all(Mapping::has_heard)
            && self.registration_is_over()
    }

    fn all_reached(&self) -> bool {
        self.reaches()
            .chain(&self.same_port)
            .all(Reach::is_finished)
    }

    fn all_reaches(&mut self) -> impl Iterator<Item = &mut Reach> {
        [
            &mut self.reach,
            &mut self.reflector_reach,
            &mut self.same_port,
        ]
        .into_iter()
        .flatten()
    }

    /// Those that tell what the path loses: from fresh ports.
    fn reaches(&self) -> impl Iterator<Item = &Reach> {
        [&self.reach, &self.reflector_reach].into_iter().flatten()
    }

    /// Whether the path may lose packets: until the POKEs are over, nobody knows.
    fn may_lose(&self) -> bool {
        self.reaches()
            .any(|reach| !reach.is_finished() || reach.evidence().received < reach.evidence().sent)
    }

    fn finish(&mut self) {
        self.stage = Stage::Over;
        self.events.push_back(SurveyEvent::Finished);
    }
}
