//! From what a provider needs to a decision: calls, the budget, and one action at a time.

use std::time::Duration;

use crate::guard::{
    action::{Action, ActionId, ActionKind, ActionResult, Decision},
    diagnosis::GuardEvent,
    facts::CallsUp,
    machine::Guard,
    observation::Process,
    remedy::{Proposal, Surroundings},
};

impl Guard {
    /// Decides on at most one action.
    pub(crate) fn decide(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        let mut proposals = vec![];
        for (place, line) in self.lines.iter().enumerate() {
            let proposal = line.propose(Surroundings {
                policy: &self.policy,
                host: &self.host,
                left_unloaded: self.left_unloaded,
                now: self.now,
            });
            proposals.extend(proposal.map(|proposal| (place, proposal)));
        }
        // What ends something comes first; what concerns all providers last, when each is made ready.
        proposals.sort_by_key(|(_, proposal)| match proposal.action.kind() {
            ActionKind::StopKeepOpen | ActionKind::Release => 0,
            ActionKind::Reregister | ActionKind::ReloadModule => 2,
            _ => 1,
        });
        for (place, proposal) in proposals {
            let kind = proposal.action.kind();
            let gate = self.gate(place, kind);
            let Some(line) = self.lines.get_mut(place) else {
                return;
            };
            match gate {
                Gate::Go => return self.commit(place, proposal),
                // Asterisk asks again by itself soon enough.
                Gate::Wait(_)
                    if kind == ActionKind::Reregister && line.plan.last() == Some(&kind) =>
                {
                    line.plan.pop();
                }
                Gate::Wait(why) => {
                    let provider = line.id;
                    if line.withheld.replace((kind, why)) != Some((kind, why)) {
                        let why = why.to_owned();
                        self.events.push_back(GuardEvent::Withheld {
                            provider,
                            kind,
                            why,
                        });
                    }
                }
            }
        }
    }

    /// Whether an action may be done now.
    fn gate(&mut self, place: usize, kind: ActionKind) -> Gate {
        let now = self.now;
        let Some(line) = self.lines.get(place) else {
            return Gate::Wait("there is no such provider");
        };
        if !kind.is_budgeted() || line.goes_on_with(kind) {
            return Gate::Go;
        }
        let runs = self.host.process.map(|seen| seen.what) != Some(Process::Down);
        let calls = match kind {
            ActionKind::Hold | ActionKind::Quiet | ActionKind::DeleteEntry if runs => {
                self.host.calls_up(Some(line.id), now)
            }
            // Even a dead call keeps the module in use.
            ActionKind::ReloadModule if runs => match self.host.calls_up(None, now) {
                CallsUp::Dead => CallsUp::Talking,
                calls => calls,
            },
            _ => CallsUp::None,
        };
        match calls {
            CallsUp::Talking => return Gate::Wait("a call is up"),
            CallsUp::NotKnown => return Gate::Wait("nobody tells whether a call is up"),
            CallsUp::None | CallsUp::Dead => {}
        }
        let reloads_left = kind != ActionKind::ReloadModule
            || self.reloads.left(self.policy.reloads_per_hour, now) > 0;
        if !reloads_left || self.budget.left(self.policy.per_hour, now) == 0 {
            return Gate::Wait("the budget of this hour is spent");
        }
        Gate::Go
    }

    fn commit(&mut self, place: usize, proposal: Proposal) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        let kind = proposal.action.kind();
        if kind.is_budgeted() && !line.goes_on_with(kind) {
            self.budget.spend(now);
        }
        if kind == ActionKind::ReloadModule {
            self.reloads.spend(now);
            self.left_unloaded = true;
        }
        if let Some(plan) = proposal.begins {
            line.begin_plan(kind, plan, &self.policy, &mut self.rng, now);
        }
        let decision = Decision {
            id: ActionId(self.next_id),
            provider: line.id,
            limit: limit(&proposal.action),
            action: proposal.action,
            reason: proposal.reason,
        };
        self.next_id = self.next_id.saturating_add(1);
        line.decided(&decision, now);
        if !line.extends(kind) {
            self.events.push_back(GuardEvent::Decided(decision.clone()));
        }
        self.in_flight = Some((decision.clone(), now + decision.limit));
        self.ready = Some(decision);
    }

    /// Takes the end of the action in flight; another's is old news.
    pub(crate) fn ended(&mut self, id: ActionId, result: ActionResult) {
        let Some((decision, _)) = self.in_flight.take_if(|(decision, _)| decision.id == id) else {
            return;
        };
        let now = self.now;
        self.ready = None;
        let worked = matches!(result, ActionResult::Done | ActionResult::Printed);
        let kind = decision.action.kind();
        let is_load = matches!(kind, ActionKind::ReloadModule | ActionKind::LoadModule);
        let refused = matches!(result, ActionResult::Refused { .. });
        if is_load && (worked || (refused && kind == ActionKind::ReloadModule)) {
            self.left_unloaded = false;
        }
        if is_load && result == ActionResult::Done {
            self.host.process(Process::Up, now);
        }
        if worked && (is_load || kind == ActionKind::Reregister) {
            // Asterisk has registered with all its providers anew.
            for line in &mut self.lines {
                if line.incident.is_some() && line.restraint.is_none() {
                    line.plan.pop_if(|next| *next == ActionKind::Reregister);
                    line.anew(now);
                }
            }
        }
        if let Some(line) = self.line_mut(decision.provider) {
            line.acted(&decision, &result, now);
        }
        self.events
            .push_back(GuardEvent::Acted { decision, result });
    }
}

/// Whether an action may be done now.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Go,
    Wait(&'static str),
}

/// How long the shell may take.
fn limit(action: &Action) -> Duration {
    let seconds = Duration::from_secs;
    match action {
        Action::Hold { .. }
        | Action::Release { .. }
        | Action::Quiet { .. }
        | Action::KeepOpen { .. }
        | Action::StopKeepOpen { .. } => seconds(5),
        Action::DeleteEntry { .. } | Action::Reregister | Action::LoadModule => seconds(20),
        Action::ReloadModule { pause } => *pause + seconds(30),
        Action::Run { .. } => seconds(120),
        Action::Notify { .. } => seconds(30),
    }
}
