//! What each observation changes in what is known.

use std::time::Instant;

use crate::guard::{
    action::ActionKind,
    diagnosis::GuardEvent,
    machine::{Guard, Sampled},
    observation::{Observer, Process, Seen, Wan},
};

impl Guard {
    /// Keeps what was seen. Returned is whose look it is.
    pub(crate) fn take(&mut self, seen: Seen, at: Instant) -> Sampled {
        let now = self.now;
        let of = |is_news: bool, provider| {
            if is_news {
                Sampled::One(provider)
            } else {
                Sampled::Nobody
            }
        };
        match seen {
            Seen::Registry {
                provider,
                state,
                peer,
                perceived: _,
                refresh,
            } => {
                let is_news = self
                    .line_mut(provider)
                    .is_some_and(|line| line.facts.registry(state, peer, refresh, at));
                of(is_news, provider)
            }
            Seen::OwnPort { provider, frame } => {
                if let Some(line) = self.line_mut(provider) {
                    line.facts.own_port(&frame, at);
                }
                Sampled::Nobody
            }
            Seen::Poke { provider, outcome } => {
                let is_news = self
                    .line_mut(provider)
                    .is_some_and(|line| line.facts.poke(outcome, at));
                of(is_news, provider)
            }
            Seen::Resolved { provider, peers } => {
                if let Some(line) = self.line_mut(provider) {
                    line.facts.resolved(peers, at);
                }
                Sampled::Nobody
            }
            Seen::Wan(wan) => {
                self.take_wan(wan, at);
                Sampled::Nobody
            }
            Seen::Entry { provider, entry } => {
                let is_news = self
                    .line_mut(provider)
                    .is_some_and(|line| line.facts.entry(entry, at));
                of(is_news, provider)
            }
            Seen::Asterisk(process) => {
                self.take_process(process, at);
                Sampled::All
            }
            Seen::Memory { resident } => {
                self.host.memory = Some(resident);
                Sampled::Nobody
            }
            Seen::Calls(calls) => {
                self.host.calls(calls, at);
                Sampled::Nobody
            }
            Seen::Lifetime {
                provider,
                class,
                dead,
            } => {
                if let Some(line) = self.line_mut(provider) {
                    line.facts.lifetime(class, dead);
                }
                Sampled::Nobody
            }
            Seen::Slept { .. } => {
                for line in &mut self.lines {
                    line.anew(now);
                }
                Sampled::Nobody
            }
            Seen::ClockSet { .. } => Sampled::Nobody,
            Seen::Blind { observer, reason } => {
                self.take_blind(observer, reason);
                Sampled::Nobody
            }
            Seen::Sees(observer) => {
                if self.blind.remove(&observer) {
                    self.events.push_back(GuardEvent::Sees(observer));
                }
                Sampled::Nobody
            }
            Seen::Outcome(outcome) => {
                self.ended(outcome.id, outcome.result);
                Sampled::Nobody
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
