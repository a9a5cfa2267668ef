//! Which action, if any, a provider needs now. The least that may cure it comes first; each that did not
//! help makes room for the next one.

use std::time::{Duration, Instant};

use crate::{
    check::taint::Kind,
    guard::{
        action::{Action, ActionKind},
        diagnosis::Diagnosis,
        facts::{HostFacts, fresh},
        health::Look,
        line::{HOLD, Line, Restraint},
        observation::{PokeOutcome, Process, TimerClass},
        patience::HOUR,
        policy::{MARGIN, Policy},
    },
};

/// A keepalive is not sent more often than this.
pub(crate) const SHORTEST_KEEP_OPEN: Duration = Duration::from_secs(2);
/// What a person need not hear of before it has lasted so long.
const TELL_AFTER: Duration = Duration::from_secs(600);
/// What one look cannot tell from a passing moment must last so long.
const UNEXPLAINED: Duration = Duration::from_secs(60);
/// The longest time for which a way that flaps must be up before a hold is lifted.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);

/// What a provider needs.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The action.
    pub(crate) action: Action,
    /// Why.
    pub(crate) reason: String,
    /// It begins a remedy: what follows it, the next step last, itself included.
    pub(crate) begins: Option<Vec<ActionKind>>,
}

/// What the decision needs to know besides the provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// The policy.
    pub(crate) policy: &'a Policy,
    /// The host.
    pub(crate) host: &'a HostFacts,
    /// A reload of the module was not finished.
    pub(crate) left_unloaded: bool,
    /// Now.
    pub(crate) now: Instant,
}

impl Line {
    /// The next action, unless none is due.
    pub(crate) fn propose(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let now = around.now;
        if around.left_unloaded
            && around.host.process.map(|seen| seen.what) == Some(Process::NoModule)
            && !self.is_barred(ActionKind::LoadModule, now)
        {
            return propose_one(Action::LoadModule, "a reload of it was interrupted");
        }
        if let Some(stop) = self.stop_keeping_open(around) {
            return Some(stop);
        }
        match self.restraint {
            Some(Restraint::Quiet { until, .. }) if now < until => return None,
            Some(Restraint::Held { since, lifts }) if self.plan.is_empty() => {
                return self.while_held(since, lifts, around);
            }
            Some(Restraint::Held { .. } | Restraint::Quiet { .. }) | None => {}
        }
        if let Some(next) = self.plan.last() {
            return self.step(*next, around);
        }
        if self.seen.diagnosis == Diagnosis::Healthy {
            return self.resume_keeping_open(around);
        }
        match self.confirmed()? {
            Diagnosis::NotKnown | Diagnosis::Healthy | Diagnosis::InTransit => None,
            Diagnosis::WanDown => self.hold(around).or_else(|| self.tell_later(around)),
            Diagnosis::ProviderDown => self.without_provider(around),
            Diagnosis::Tainted => self.ladder(
                &[
                    ActionKind::DeleteEntry,
                    ActionKind::Quiet,
                    ActionKind::ReloadModule,
                    ActionKind::Run,
                ],
                around,
            ),
            Diagnosis::Unanswered => {
                let since = self.trouble_since.unwrap_or(now);
                if now.saturating_duration_since(since) < UNEXPLAINED {
                    return None;
                }
                let rungs = [ActionKind::Quiet, ActionKind::ReloadModule, ActionKind::Run];
                self.ladder(&rungs, around)
            }
            Diagnosis::Hole => self.keep_open(around).or_else(|| self.tell(around)),
            Diagnosis::NotResolved => {
                let resolves = fresh(self.facts.resolves, now) == Some(true);
                if resolves && self.remedies.allows(now) && self.can(ActionKind::Reregister, now) {
                    return self.begin(vec![ActionKind::Reregister], around);
                }
                self.tell(around)
            }
            Diagnosis::AsteriskDown => {
                if self.can(ActionKind::Run, now) && self.remedies.allows(now) {
                    return self.begin(vec![ActionKind::Run], around);
                }
                self.tell(around)
            }
            Diagnosis::Rejected | Diagnosis::TokenRefused | Diagnosis::NotConfigured => {
                // Longer than from one attempt to the next: one refusal is soon over.
                let since = self.trouble_since.unwrap_or(now);
                let lasts = now.saturating_duration_since(since) >= UNEXPLAINED;
                lasts.then(|| self.tell(around)).flatten()
            }
        }
    }

    /// What a hold waits for. Its end is the proof of the path, and of the old entry's death.
    fn while_held(
        &self,
        since: Instant,
        lifts: Instant,
        around: Surroundings<'_>,
    ) -> Option<Proposal> {
        let now = around.now;
        let is_down = around.host.wan.and_then(|wan| wan.what.is_down());
        let rests_on_silence = is_down != Some(true);
        if self.is_barred(ActionKind::Release, now) {
            return None; // the kernel lifts it soon
        }
        if rests_on_silence {
            if let Some(release) = self.release(since, is_down, around) {
                return Some(release);
            }
            if now.saturating_duration_since(since) >= around.policy.longest_hold {
                let reason = "it was held for long enough; Asterisk may try for itself";
                return propose_one(self.release_action(), reason);
            }
        }
        let due = lifts.checked_sub(HOLD / 2).unwrap_or(lifts);
        if now >= due && !self.is_barred(ActionKind::Hold, now) {
            let action = Action::Hold {
                peers: self.restrained.clone(),
                lasting: HOLD,
            };
            return propose_one(action, "the way is not proven to be back yet");
        }
        None
    }

    fn release(
        &self,
        since: Instant,
        is_down: Option<bool>,
        around: Surroundings<'_>,
    ) -> Option<Proposal> {
        let now = around.now;
        let back = around
            .host
            .wan_changed
            .map_or(since, |changed| changed.max(since));
        let settled = now.saturating_duration_since(back) >= self.settling();
        let proof = if self.facts.poke.has_answered {
            let last = fresh(self.facts.poke.last, now);
            let answered = matches!(last, Some(PokeOutcome::Answered { .. }))
                && self.facts.poke.answered.is_some_and(|at| at > back);
            answered.then_some("a fresh port is answered")
        } else {
            // A provider that answers no POKE: the link must do.
            let is_up = is_down == Some(false) && now.saturating_duration_since(back) >= MARGIN;
            is_up.then_some("the way out is up")
        };
        let proof = proof.filter(|_| settled)?;
        let entry = self.facts.entry.filter(|entry| entry.at > back);
        let kind = entry.map(|entry| entry.what.and_then(|entry| entry.kind));
        let mut plan = vec![];
        if self.can(ActionKind::Reregister, now) {
            plan.push(ActionKind::Reregister);
        }
        plan.push(ActionKind::Release);
        let over = match (entry, kind) {
            (Some(entry), _) if entry.what.is_none() => "the table has no entry of the flow",
            (_, Some(Some(Kind::Healthy))) => "the table's entry of the flow is right",
            (_, Some(Some(_))) if self.can(ActionKind::DeleteEntry, now) => {
                plan.push(ActionKind::DeleteEntry);
                "the table's entry of the flow is wrong"
            }
            _ => {
                let slipped = self.facts.own_port.sent.map_or(since, |at| at.max(since));
                let timer = self.nat_timer(around.policy, now);
                if now < slipped + timer + MARGIN {
                    return None;
                }
                "what slipped out before is forgotten by the NAT"
            }
        };
        let action = match plan.last() {
            Some(ActionKind::DeleteEntry) => Action::DeleteEntry {
                peers: self.restrained.clone(),
            },
            _ => self.release_action(),
        };
        Some(Proposal {
            action,
            reason: format!("{proof} and {over}"),
            begins: Some(plan),
        })
    }

    fn release_action(&self) -> Action {
        Action::Release {
            peers: self.restrained.clone(),
        }
    }

    /// How long a way must be up before a hold is lifted: the longer, the more often it went down.
    pub(crate) fn settling(&self) -> Duration {
        match self.holds.attempts {
            0..=2 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 2).min(6)).min(LONGEST_SETTLING),
        }
    }

    /// The timer of the NAT entry: of its class where that is known, else the longer one.
    pub(crate) fn nat_timer(&self, policy: &Policy, now: Instant) -> Duration {
        let entry = fresh(self.facts.entry, now).flatten();
        let class = entry.map_or(TimerClass::Stream, |entry| entry.class);
        let (measured, assumed) = match class {
            TimerClass::Exchange => (self.facts.exchange, policy.exchange),
            TimerClass::Stream => (self.facts.stream, policy.stream),
        };
        let read = entry.and_then(|entry| entry.timer);
        let known = match measured {
            Some(measured) if !assumed.given => measured,
            _ => assumed.length,
        };
        read.unwrap_or(known)
    }

    fn hold(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let peers = self.facts.peers();
        if peers.is_empty()
            || self.restraint.is_some()
            || !self.can(ActionKind::Hold, around.now)
            || !self.holds.allows(around.now)
        {
            return None;
        }
        let action = Action::Hold {
            peers,
            lasting: HOLD,
        };
        let mut proposal = propose_one(action, &self.words())?;
        proposal.begins = Some(vec![ActionKind::Hold]);
        Some(proposal)
    }

    /// The provider is silent. On a host behind the router that looks like an outage of the WAN.
    fn without_provider(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let now = around.now;
        let peers = self.facts.peers();
        let has_moved = self.facts.has_moved();
        if has_moved && self.remedies.allows(now) && self.can(ActionKind::Reregister, now) {
            return self.begin(vec![ActionKind::Reregister], around);
        }
        let is_router = fresh(self.facts.entry, now).is_some();
        let is_silent = matches!(
            fresh(self.facts.poke.last, now),
            Some(PokeOutcome::Silent | PokeOutcome::Unreachable)
        );
        if is_silent
            && !is_router
            && !peers.is_empty()
            && let Some(hold) = self.hold(around)
        {
            return Some(hold);
        }
        self.tell_later(around)
    }

    fn keep_open(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let peers = self.facts.peers();
        if peers.is_empty() || !self.can(ActionKind::KeepOpen, around.now) {
            return None;
        }
        let hole = self.hole(around)?;
        let action = Action::KeepOpen {
            peers,
            every: (hole.timer / 2).max(SHORTEST_KEEP_OPEN),
            ttl: self.policy.keep_open_ttl,
        };
        let mut proposal = propose_one(action, &self.words())?;
        proposal.begins = Some(vec![ActionKind::KeepOpen]);
        self.remedies.allows(around.now).then_some(proposal)
    }

    /// An incident, or a restart, has interrupted the keepalives.
    fn resume_keeping_open(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let every = self.needs_open.filter(|_| self.kept_open.is_none())?;
        let peers = self.facts.peers();
        if peers.is_empty() || !self.can(ActionKind::KeepOpen, around.now) {
            return None;
        }
        let action = Action::KeepOpen {
            peers,
            every,
            ttl: self.policy.keep_open_ttl,
        };
        propose_one(action, "the mapping was found to need it")
    }

    /// Keepalives would keep a wrong entry alive as well, and a right one needs none without a hole.
    fn stop_keeping_open(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let kept = self.kept_open.as_ref()?;
        if self.is_barred(ActionKind::StopKeepOpen, around.now) {
            return None;
        }
        let reason = match self.confirmed() {
            Some(cause) if cause.is_trouble() => self.words(),
            Some(Diagnosis::Healthy) if self.hole(around).is_none() => {
                "the mapping stays open without it".to_owned()
            }
            _ if self.restraint.is_some() => "Asterisk is kept quiet".to_owned(),
            _ => return None,
        };
        let peers = kept.peers.clone();
        propose_one(Action::StopKeepOpen { peers }, &reason)
    }

    fn hole(&self, around: Surroundings<'_>) -> Option<crate::guard::health::Hole> {
        self.look_at(around.policy, around.host, None, around.now)
            .hole()
    }

    /// The provider as it is looked at.
    pub(crate) fn look_at<'a>(
        &'a self,
        policy: &'a Policy,
        host: &'a HostFacts,
        sibling: Option<Instant>,
        now: Instant,
    ) -> Look<'a> {
        Look {
            facts: &self.facts,
            host,
            policy,
            held_since: self.restraint.map(Restraint::since),
            kept_open: self.kept_open.is_some(),
            sibling,
            now,
        }
    }

    /// The next rung; when all have been tried, a person hears of it too.
    fn ladder(&self, rungs: &[ActionKind], around: Surroundings<'_>) -> Option<Proposal> {
        let now = around.now;
        let has_peers = !self.facts.peers().is_empty();
        let rungs: Vec<ActionKind> = rungs
            .iter()
            .copied()
            .filter(|kind| self.can(*kind, now))
            .filter(|kind| has_peers || matches!(kind, ActionKind::ReloadModule | ActionKind::Run))
            .filter(|kind| *kind != ActionKind::ReloadModule || has_memory(around))
            .collect();
        let told = if self.rung >= rungs.len() {
            self.tell(around)
        } else {
            self.tell_later(around)
        };
        if told.is_some() {
            return told;
        }
        if !self.remedies.allows(now) {
            return None;
        }
        let first = *rungs.get(self.rung).or(rungs.last())?;
        let mut plan = vec![first];
        let registers_again = matches!(first, ActionKind::DeleteEntry | ActionKind::Quiet);
        if registers_again && self.can(ActionKind::Reregister, now) {
            plan.insert(0, ActionKind::Reregister);
        }
        self.begin(plan, around)
    }

    fn begin(&self, plan: Vec<ActionKind>, around: Surroundings<'_>) -> Option<Proposal> {
        let mut proposal = self.step(*plan.last()?, around)?;
        proposal.begins = Some(plan);
        Some(proposal)
    }

    /// One step of a remedy.
    fn step(&self, kind: ActionKind, around: Surroundings<'_>) -> Option<Proposal> {
        let known = self.facts.peers();
        let peers = if self.restrained.is_empty() {
            known
        } else {
            self.restrained.clone()
        };
        let action = match kind {
            ActionKind::DeleteEntry => Action::DeleteEntry { peers },
            ActionKind::Quiet => Action::Quiet {
                peers,
                lasting: self.quiet_time(around),
            },
            ActionKind::Release => Action::Release { peers },
            ActionKind::Reregister => Action::Reregister,
            ActionKind::ReloadModule => Action::ReloadModule {
                pause: self.quiet_time(around),
            },
            ActionKind::Run => Action::Run {
                command: self.policy.run.clone(),
            },
            ActionKind::LoadModule => Action::LoadModule,
            ActionKind::Hold
            | ActionKind::KeepOpen
            | ActionKind::StopKeepOpen
            | ActionKind::Notify => return None, // never a step of a longer plan
        };
        propose_one(action, &self.words())
    }

    /// Longer than the NAT's timer, and twice as long each time that it was not long enough.
    fn quiet_time(&self, around: Surroundings<'_>) -> Duration {
        let timer = self.nat_timer(around.policy, around.now);
        (timer + MARGIN).saturating_mul(1 << self.quiets.min(3))
    }

    fn tell_later(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let began = self.incident.as_ref()?.began;
        let lasts = around.now.saturating_duration_since(began);
        (lasts >= TELL_AFTER).then(|| self.tell(around)).flatten()
    }

    fn tell(&self, around: Surroundings<'_>) -> Option<Proposal> {
        let cause = self.seen.diagnosis;
        let began = self.incident.as_ref().map(|incident| incident.began);
        let is_told = self.told.get(&cause).is_some_and(|at| {
            let again = around.policy.tell_again;
            let again = match began {
                Some(began) if *at < began => again.min(HOUR), // it was another incident
                _ => again,
            };
            around.now.saturating_duration_since(*at) < again
        });
        if is_told || !self.can(ActionKind::Notify, around.now) {
            return None;
        }
        let name = &self.policy.name;
        let text = format!("{name}: {}; {}", self.words(), what_to_do(cause));
        let mut proposal = propose_one(Action::Notify { text }, &self.words())?;
        proposal.begins = Some(vec![]);
        Some(proposal)
    }

    /// The diagnosis and its facts in one sentence.
    fn words(&self) -> String {
        let facts = self.seen.because.join(", ");
        match self.seen.taint {
            Some(kind) => format!(
                "{} ({}): {facts}",
                self.seen.diagnosis.as_str(),
                kind.as_str()
            ),
            None => format!("{}: {facts}", self.seen.diagnosis.as_str()),
        }
    }
}

fn has_memory(around: Surroundings<'_>) -> bool {
    match (around.policy.most_memory, around.host.memory) {
        (Some(most), Some(held)) => held <= most,
        _ => true,
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every caller answers with an option"
)]
fn propose_one(action: Action, reason: &str) -> Option<Proposal> {
    Some(Proposal {
        action,
        reason: reason.to_owned(),
        begins: None,
    })
}

/// What a person can do.
const fn what_to_do(cause: Diagnosis) -> &'static str {
    match cause {
        Diagnosis::Rejected => {
            "compare user and secret of the register line with what the provider gave you"
        }
        Diagnosis::TokenRefused => {
            "run iax2-natcheck check: a NAT that changes the external port, or too many calls, make this"
        }
        Diagnosis::Hole => {
            "let Asterisk ask more often than the NAT forgets: in iax.conf, for a peer with the \
             provider's host, qualify=yes and qualifyfreqok below the timer, or allow keep-open"
        }
        Diagnosis::AsteriskDown => "start Asterisk, and look into its log for why it ended",
        Diagnosis::NotConfigured => {
            "write the register line into iax.conf, or take the provider out of this configuration"
        }
        Diagnosis::NotResolved => "correct the name of the provider, or the resolver of this host",
        Diagnosis::WanDown => "look at the link to the internet",
        Diagnosis::ProviderDown => "ask the provider whether it has an outage",
        Diagnosis::Tainted => {
            "on the router, run iax2-natcheck taint --fix, and iax2-natcheck snat for rules that \
             prevent it"
        }
        Diagnosis::Unanswered | Diagnosis::NotKnown | Diagnosis::Healthy | Diagnosis::InTransit => {
            "run iax2-natcheck check to find out more"
        }
    }
}
