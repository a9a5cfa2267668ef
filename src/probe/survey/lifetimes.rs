//! The part of a survey that times mappings: who can answer late, or how the registrar alone tells; and
//! the account's binding goes back to the socket that had it.

use std::time::Instant;

use rand::RngExt as _;

use super::{
    CONTROL_SOCKET, FIRST_LIFETIME_SOCKET, Stage, Survey, SurveyEvent, SweepPlan, TICK,
    UnaidedPlan, sweep::Sweep,
};
use crate::{
    probe::{
        evidence::RegistrationState,
        lifetime::{
            Answerer, Lifetime, LifetimeConfig, LifetimeEvent,
            unaided::{Unaided, UnaidedConfig, UnaidedLifetime},
        },
    },
    proto::contract::Machine as _,
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
            budget: plan.budget,
            isolation: None,
            lossy: self.may_lose(),
            seed: self.rng.random(),
        };
        self.events.push_back(SurveyEvent::SweepBegun);
        let lifetime = Lifetime::new(config, now);
        self.lifetime = Some(Sweep::Aided(Box::new(lifetime)));
        self.tick = Some(now + TICK);
        self.drain_sweep();
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
        self.drain_sweep();
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
    pub(super) fn drain_sweep(&mut self) {
        let Some(lifetime) = &mut self.lifetime else {
            return;
        };
        while let Some(transmit) = lifetime.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        while let Some(event) = lifetime.poll_event() {
            if let LifetimeEvent::Edge { shape, alive, dead } = event {
                self.events
                    .push_back(SurveyEvent::Edge { shape, alive, dead });
            }
        }
    }
}
