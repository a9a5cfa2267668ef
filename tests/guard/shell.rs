//! The shell of the simulated world: its observers, and what it does when told to.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    check::taint::Kind,
    guard::{
        action::{Action, ActionOutcome, ActionResult, Decision},
        diagnosis::GuardEvent,
        observation::{
            Audio, CallUp, FlowEntry, Observation, Observer, PokeOutcome, Process, ProviderId,
            RegistryState, Seen, TimerClass, Wan,
        },
    },
};

use super::{Source, World, s};

impl World {
    /// What happened, for a failing test.
    pub fn story(&self) -> String {
        let mut lines: Vec<String> = self
            .events
            .iter()
            .map(|event| self.line_of(event))
            .collect();
        let from = lines.len().saturating_sub(80);
        lines.drain(..from);
        lines.join("\n")
    }

    pub(super) fn line_of(&self, event: &GuardEvent) -> String {
        let ago = |at: Instant| format!("{:8.1} s ago", (self.now - at).as_secs_f64());
        match event {
            GuardEvent::Diagnosed {
                provider,
                at,
                diagnosed,
            } => format!("{} {provider:?} {diagnosed:?}", ago(*at)),
            GuardEvent::Decided(decision) => {
                let mut all = self.decisions.iter();
                let at = all.find(|(_, taken)| taken.id == decision.id);
                let at = at.map(|(at, _)| ago(*at)).unwrap_or_default();
                let (provider, action) = (decision.provider, &decision.action);
                format!("{at} {provider:?} → {action}")
            }
            GuardEvent::Began(incident) => format!("{} began", ago(incident.began)),
            GuardEvent::Ended(incident) => format!(
                "{} ended: {:?} unreachable {:?}",
                ago(incident.ended.unwrap()),
                incident.cause,
                incident.unreachable
            ),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn look(&mut self, place: usize) {
        let now = self.now;
        let provider = ProviderId(u16::try_from(place).unwrap());
        let cadence = self.guard.cadence(provider);
        let line = &self.lines[place];
        if line.poked + cadence.poke <= now {
            let outcome = if self.wan_works() && line.up && line.answers_poke {
                let rtt = Duration::from_millis(10);
                PokeOutcome::Answered { rtt }
            } else if self.site.router && !self.wan_works() && !self.fallback {
                PokeOutcome::NotSent
            } else {
                PokeOutcome::Silent
            };
            self.lines[place].poked = now;
            self.observe(Seen::Poke { provider, outcome });
        }
        if self.lines[place].asked + cadence.registry <= now {
            self.lines[place].asked = now;
            if self.asterisk == Process::Up {
                self.tell_calls();
                let line = &self.lines[place];
                let registered = line.registration.state == RegistryState::Registered;
                let seen = Seen::Registry {
                    provider,
                    state: line.registration.state,
                    peer: Some(line.peer),
                    perceived: None,
                    refresh: registered.then_some(s(60)),
                };
                self.observe(seen);
            } else {
                self.tell_host();
            }
        }
        if self.site.router && self.lines[place].looked + cadence.entry <= now {
            self.lines[place].looked = now;
            let seen = self.entry(place);
            self.observe(Seen::Entry {
                provider,
                entry: seen,
            });
        }
    }

    pub(super) fn entry(&self, place: usize) -> Option<FlowEntry> {
        let entry = self.lines[place]
            .entry
            .filter(|entry| entry.expires > self.now)?;
        let kind = match entry.source {
            Source::Wan(address) if address == self.address => Kind::Healthy,
            Source::Wan(_) => Kind::StaleSource,
            Source::Private => Kind::NullBinding,
            Source::Inner => Kind::WrongSourceMasquerade,
        };
        Some(FlowEntry {
            class: if entry.stream {
                TimerClass::Stream
            } else {
                TimerClass::Exchange
            },
            timer: Some(if entry.stream {
                self.stream
            } else {
                self.exchange
            }),
            left: Some(entry.expires - self.now),
            kind: self.wan_works().then_some(kind),
        })
    }

    pub(super) fn tell_host(&mut self) {
        self.tell_wan();
        self.observe(Seen::Asterisk(self.asterisk));
    }

    pub(super) fn tell_wan(&mut self) {
        let wan = if self.site.router {
            self.wan
        } else {
            Wan {
                link: Some(true),
                address: None,
                has_address: Some(true),
                route: Some(true),
            }
        };
        if self.told_wan.replace(wan) != Some(wan) {
            self.observe(Seen::Wan(wan));
            // A shell looks at once when the way changes.
            for line in &mut self.lines {
                for last in [&mut line.poked, &mut line.asked, &mut line.looked] {
                    *last = last.checked_sub(s(3600)).unwrap();
                }
            }
        }
    }

    pub(super) fn tell_calls(&mut self) {
        let now = self.now;
        self.told_calls = (0..)
            .zip(&self.lines)
            .filter(|(_, line)| line.call.is_some_and(|until| until > now))
            .map(|(id, _)| ProviderId(id))
            .collect();
        let calls = self.told_calls.iter().map(|id| CallUp {
            provider: Some(*id),
            audio: Audio::Both,
        });
        let calls = calls.collect();
        if !self.mute_calls {
            self.observe(Seen::Calls(calls));
        }
    }

    /// An observer tells something of its own.
    pub fn tell(&mut self, seen: Seen) {
        self.observe(seen);
    }

    /// An observer goes blind, or sees again.
    pub fn blind(&mut self, observer: Observer, blind: bool) {
        self.observe(if blind {
            let reason = "a test".to_owned();
            Seen::Blind { observer, reason }
        } else {
            Seen::Sees(observer)
        });
    }

    pub(super) fn observe(&mut self, seen: Seen) {
        let at = self.now;
        self.guard.handle_observation(Observation { at, seen }, at);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(event) = self.guard.poll_event() {
            if let GuardEvent::Ended(incident) = &event {
                self.incidents.push(incident.clone());
            }
            self.events.push(event);
        }
        while let Some(decision) = self.guard.poll_action() {
            let diagnosis = self.guard.diagnosed(decision.provider).unwrap().diagnosis;
            self.laws
                .decided(&decision, diagnosis, &self.told_calls, self.now);
            self.act(&decision);
            self.decisions.push((self.now, decision));
        }
    }

    pub(super) fn act(&mut self, decision: &Decision) {
        let now = self.now;
        let place = usize::from(decision.provider.0);
        match &decision.action {
            Action::Hold { lasting, .. } | Action::Quiet { lasting, .. } => {
                self.lines[place].held_until = Some(now + *lasting);
            }
            Action::Release { .. } => self.lines[place].held_until = None,
            Action::DeleteEntry { .. } => self.lines[place].entry = None,
            Action::Reregister => self.start_registrations(),
            Action::KeepOpen { every, .. } => self.lines[place].keep_open = Some((*every, now)),
            Action::StopKeepOpen { .. } => self.lines[place].keep_open = None,
            Action::ReloadModule { pause } => {
                self.asterisk = Process::NoModule;
                self.module_due = Some((now + *pause, decision.id));
                return;
            }
            Action::LoadModule => {
                self.asterisk = Process::Up;
                self.start_registrations();
            }
            Action::Run { .. } | Action::Notify { .. } => {}
        }
        let outcome = ActionOutcome {
            id: decision.id,
            result: ActionResult::Done,
        };
        self.outcome = Some((now + Duration::from_millis(20), outcome));
    }
}
