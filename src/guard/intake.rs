//! What each observation changes in what is known.

use std::time::Instant;

use crate::{
    guard::{
        action::ActionKind,
        diagnosis::{Diagnosis, GuardEvent},
        line::Line,
        machine::{Guard, Whose},
        observation::{Observer, OwnPortFrame, Process, RegistryState, Seen, Wan},
    },
    types::MappedAddr,
};

impl Guard {
    /// Keeps what was seen. Returned is whom it concerns; `None`: it changes nothing that is not looked at
    /// soon anyway.
    pub(crate) fn take(&mut self, seen: Seen, at: Instant) -> Option<Whose> {
        let now = self.now;
        let everybody = Some(Whose::All { counts: false });
        match seen {
            Seen::Registry { provider, .. }
            | Seen::OwnPort { provider, .. }
            | Seen::Poke { provider, .. }
            | Seen::Entry { provider, .. }
            | Seen::Resolved { provider, .. }
            | Seen::Lifetime { provider, .. } => {
                let line = self.line_mut(provider)?;
                let counts = line.take(seen, at)?;
                Some(Whose::One { provider, counts })
            }
            Seen::Wan(wan) => {
                self.take_wan(wan, at);
                everybody
            }
            Seen::Asterisk(process) => {
                self.take_process(process, at);
                Some(Whose::All { counts: true })
            }
            Seen::Memory { resident } => {
                self.host.memory = Some(resident);
                None
            }
            Seen::Calls(calls) => {
                self.host.calls(calls, at);
                everybody
            }
            Seen::Slept { .. } => {
                for line in &mut self.lines {
                    line.anew(now);
                }
                everybody
            }
            Seen::ClockSet { .. } => None,
            Seen::Blind { observer, reason } => {
                self.take_blind(observer, reason);
                everybody
            }
            Seen::Sees(observer) => {
                if self.blind.remove(&observer) {
                    self.events.push_back(GuardEvent::Sees(observer));
                }
                None
            }
            Seen::Outcome(outcome) => {
                self.ended(outcome.id, outcome.result);
                everybody
            }
        }
    }

    fn take_wan(&mut self, wan: Wan, at: Instant) {
        let now = self.now;
        let was_down = self.host.wan.and_then(|wan| wan.what.is_down()) == Some(true);
        self.host.wan(wan, at);
        let is_down = wan.is_down() == Some(true);
        for line in &mut self.lines {
            if is_down {
                line.plan.clear();
            } else if was_down {
                line.anew(now); // what silence said was the outage's
            }
        }
    }

    fn take_blind(&mut self, observer: Observer, reason: String) {
        self.host.forget(observer);
        for line in &mut self.lines {
            line.facts.forget(observer);
        }
        if self.blind.insert(observer) {
            self.events
                .push_back(GuardEvent::Blind { observer, reason });
        }
    }

    fn take_process(&mut self, process: Process, at: Instant) {
        let now = self.now;
        if process == Process::Up {
            self.left_unloaded &= self.is_reloading();
        }
        let is_news = self.host.process(process, at);
        if is_news && process != Process::Up {
            self.host.forget(Observer::Asterisk);
            for line in &mut self.lines {
                line.facts.forget(Observer::Asterisk);
                if process == Process::Restarted {
                    line.plan.clear();
                    line.anew(now);
                }
            }
        }
    }

    fn is_reloading(&self) -> bool {
        self.in_flight().is_some_and(|decision| {
            matches!(
                decision.action.kind(),
                ActionKind::ReloadModule | ActionKind::LoadModule
            )
        })
    }
}

impl Line {
    /// Keeps what was seen of this provider. Returned is whether it counts as a look; `None`: it is old
    /// news, or changes nothing that is not looked at soon anyway.
    fn take(&mut self, seen: Seen, at: Instant) -> Option<bool> {
        let facts = &mut self.facts;
        let is_news = match seen {
            Seen::Registry {
                state,
                peer,
                perceived,
                refresh,
                ..
            } => {
                let is_news = facts.registry(state, peer, refresh, at);
                if is_news && state == RegistryState::Registered {
                    self.apparent(perceived);
                }
                is_news
            }
            Seen::OwnPort { frame, .. } => {
                facts.own_port(&frame, at);
                if let OwnPortFrame::RegAck { apparent, .. } = frame {
                    self.apparent(apparent);
                }
                // A frame of a call comes every 20 ms.
                let is_well = self.seen.diagnosis == Diagnosis::Healthy;
                return (!is_well).then_some(false);
            }
            Seen::Poke { outcome, .. } => facts.poke(outcome, at),
            Seen::Entry { entry, .. } => facts.entry(entry, at),
            Seen::Resolved { peers, .. } => {
                facts.resolved(peers, at);
                return Some(false);
            }
            Seen::Lifetime { class, dead, .. } => {
                facts.lifetime(class, dead);
                return Some(false);
            }
            Seen::Wan(_)
            | Seen::Asterisk(_)
            | Seen::Memory { .. }
            | Seen::Calls(_)
            | Seen::Slept { .. }
            | Seen::ClockSet { .. }
            | Seen::Blind { .. }
            | Seen::Sees(_)
            | Seen::Outcome(_) => return None, // of the host
        };
        is_news.then_some(true)
    }

    /// Takes the address that the registrar saw. What it was before is kept until the next look tells it.
    fn apparent(&mut self, address: Option<MappedAddr>) {
        if let Some(address) = address
            && self.apparent != Some(address)
        {
            self.moved_from = self.moved_from.or(self.apparent);
            self.apparent = Some(address);
        }
    }
}
