//! The part of a survey that times mappings: who can answer late, or how the registrar alone tells; and
//! the account's binding goes back to the socket that had it.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::{
    BUSY_SOCKETS, CONTROL_SOCKET, Experiment, FIRST_LIFETIME_SOCKET, REFRESH_SOCKETS, Stage,
    Survey, SurveyEvent, SweepPlan, TICK, UnaidedPlan, sweep::Sweep,
};
use crate::{
    probe::{
        behaviour::Shape,
        busy,
        evidence::RegistrationState,
        lifetime::{
            Answerer, Lifetime, LifetimeConfig, LifetimeEvent,
            unaided::{Unaided, UnaidedConfig, UnaidedLifetime},
        },
        mapping::Mapping,
        refresh::{Refresh, RefreshConfig},
    },
    proto::contract::{Machine as _, SocketKey},
};

impl Survey {
    /// Begins to time mappings, where anybody can tell.
    pub(super) fn begin_sweep(&mut self, now: Instant) {
        let (Some(mapping), Some(plan)) = (&self.mapping, self.config.sweep.clone()) else {
            return;
        };
        if let Some(unaided) = &plan.unaided {
            self.begin_unaided(unaided.clone(), &plan, now);
            return;
        }
        let answerer = match (mapping.reflector(), mapping.stun_alternate()) {
            (Some(found), _) => Answerer::Reflector(found.peer),
            (None, Some((server, _))) => Answerer::Stun(server),
            (None, None) => return,
        };
        let config = LifetimeConfig {
            answerer,
            control: CONTROL_SOCKET,
            first_socket: FIRST_LIFETIME_SOCKET,
            shapes: plan.shapes,
            longest: plan.longest,
            idles: Vec::new(),
            budget: plan.budget,
            isolation: None,
            lossy: self.may_lose(),
            seed: self.rng.random(),
        };
        if let Answerer::Reflector(reflector) = answerer
            && self.config.beside.contains(&Experiment::Busy)
        {
            let (longest, lossy) = (plan.longest, self.may_lose());
            let first = SocketKey(BUSY_SOCKETS.start);
            let seed = self.rng.random();
            self.busy = busy::begin(reflector, longest, first, lossy, seed, now);
        }
        self.events.push_back(SurveyEvent::SweepBegun);
        let lifetime = Lifetime::new(config, now);
        self.lifetime = Some(Sweep::Aided(Box::new(lifetime)));
        self.tick = Some(now + TICK);
        self.drain_sweep(now);
    }

    /// Begins to find out what keeps a mapping open, once it is known how long an idle one lives.
    fn begin_refresh(&mut self, alive: Duration, dead: Duration, now: Instant) {
        let reflector = self.mapping.as_ref().and_then(Mapping::reflector);
        let wanted = self.config.beside.contains(&Experiment::Refreshes);
        let (Some(found), true, None) = (reflector, wanted, &self.refresh) else {
            return;
        };
        let config = RefreshConfig {
            reflector: found.peer,
            alive,
            dead,
            distance: self.beside.distance(),
            first_socket: SocketKey(REFRESH_SOCKETS.start),
            lossy: self.may_lose(),
            seed: self.rng.random(),
        };
        self.refresh = Refresh::new(config, now);
        self.drain_refresh();
    }

    /// Whether nothing more is to be learned of lifetimes, or is not worth the time: what keeps a mapping open is
    /// looked at while the longest timer is waited for, and beyond only where that was asked for.
    pub(super) fn is_swept(&self) -> bool {
        let waits = self.config.wait_for_refreshes && !self.stopped;
        self.lifetime.as_ref().is_none_or(Sweep::is_finished)
            && (self.stopped || !self.busy_is_open())
            && (!waits || self.refresh.as_ref().is_none_or(Refresh::is_finished))
    }

    fn busy_is_open(&self) -> bool {
        let found = self.lifetime.as_ref().and_then(Sweep::evidence);
        let ends: Option<Vec<Duration>> =
            found.and_then(|found| found.shapes.iter().map(|(_, edge)| edge.dead).collect());
        let longest = ends.and_then(|ends| ends.into_iter().max());
        let busy = self.busy.as_ref();
        busy.is_some_and(|busy| busy::is_open(busy, longest))
    }

    /// Ends what goes on beside the lifetimes; the reflector is told.
    pub(super) fn stop_refresh(&mut self, now: Instant) {
        if let Some(busy) = self.busy.as_mut().filter(|busy| !busy.is_finished()) {
            busy.stop(now);
        }
        if let Some(refresh) = &mut self.refresh {
            refresh.stop(now);
        }
        self.drain_refresh();
    }

    fn drain_refresh(&mut self) {
        if let Some(busy) = &mut self.busy {
            while let Some(transmit) = busy.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while busy.poll_event().is_some() {}
        }
        let Some(refresh) = &mut self.refresh else {
            return;
        };
        while let Some(transmit) = refresh.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        while refresh.poll_event().is_some() {
            self.events.push_back(SurveyEvent::Done);
        }
    }

    /// Begins to measure in the way that was asked for, or in one that the NAT allows. Without a registration
    /// that was taken only a token can be had.
    fn begin_unaided(&mut self, unaided: UnaidedPlan, plan: &SweepPlan, now: Instant) {
        let needs_account = unaided.needs_account();
        let Some(method) = unaided.method.or_else(|| self.fitting(unaided.sibling)) else {
            return;
        };
        if needs_account && !self.is_registered() {
            return;
        }
        let config = UnaidedConfig {
            method,
            registrar: self.config.provider,
            credentials: unaided.credentials,
            refresh: self.config.refresh,
            retry: self.config.retry,
            first_socket: FIRST_LIFETIME_SOCKET,
            longest: plan.longest,
            budget: plan.budget,
            seed: self.rng.random(),
        };
        self.events.push_back(SurveyEvent::SweepBegun);
        let sweep = Sweep::Unaided(Box::new(UnaidedLifetime::new(config, now)));
        self.owes_binding = needs_account;
        self.lifetime = Some(sweep);
        self.tick = Some(now + TICK);
        self.drain_sweep(now);
    }

    /// The method that fits what the first registration showed of the NAT.
    fn fitting(&self, sibling: bool) -> Option<Unaided> {
        let seen = self.record.as_ref()?.evidence();
        if seen.state != RegistrationState::Registered {
            return None;
        }
        let local = seen.local?.get();
        let (_, mapped) = seen.apparent.last()?;
        Some(if mapped.get().port() != local.port() {
            Unaided::Drift
        } else if sibling && mapped.get().ip() != local.ip() {
            Unaided::Sibling
        } else {
            Unaided::Qualify
        })
    }

    /// Whether a measurement that was asked for may move the account's binding.
    pub(super) fn may_move_binding(&self) -> bool {
        let plan = self.config.sweep.as_ref();
        plan.and_then(|plan| plan.unaided.as_ref())
            .is_some_and(UnaidedPlan::needs_account)
    }

    /// Whether the registration is renewed in the rhythm of a PBX: not beside a measurement that moves the
    /// binding itself.
    pub(super) fn is_renewing(&self) -> bool {
        self.stage == Stage::Sweep && !self.owes_binding
    }

    /// Registers once more from the socket that had the binding before it was measured with.
    pub(super) fn restore_binding(&mut self, now: Instant) {
        if std::mem::take(&mut self.owes_binding) {
            self.register(now);
            self.drain_registration(now);
        }
    }

    /// Takes what the measurement has to say and to send.
    pub(super) fn drain_sweep(&mut self, now: Instant) {
        self.drain_refresh();
        let Some(lifetime) = &mut self.lifetime else {
            return;
        };
        let mut exchange = None;
        while let Some(transmit) = lifetime.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        while let Some(event) = lifetime.poll_event() {
            if let LifetimeEvent::Edge { shape, alive, dead } = event {
                if shape == Shape::Exchange {
                    exchange = alive.zip(dead);
                }
                self.events
                    .push_back(SurveyEvent::Edge { shape, alive, dead });
            }
        }
        if let Some((alive, dead)) = exchange {
            self.begin_refresh(alive, dead, now);
        }
    }
}
