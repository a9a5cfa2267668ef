//! One watched provider: what is known of it, what has been done about it, and its incident.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use crate::{
    guard::{
        action::{Action, ActionKind, ActionResult, Decision},
        diagnosis::{Acted, Diagnosed, Diagnosis, GuardEvent, Incident},
        facts::Facts,
        observation::ProviderId,
        patience::{Agreement, Backoff},
        policy::{Policy, ProviderPolicy},
    },
    types::{MappedAddr, PeerAddr},
};

/// Healthy for this long, an incident is over even without another look.
const OVER: Duration = Duration::from_secs(20);
/// An attempt longer ago than this does not slow the next one.
const LONG_AGO: Duration = Duration::from_secs(600);
/// The first time that an action which does not work is left alone; doubled each time.
const BARRED: Duration = Duration::from_secs(60);
/// Facts and actions that an incident keeps.
const KEPT_IN_INCIDENT: usize = 16;

/// What keeps Asterisk's packets to the provider from leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restraint {
    /// Until it is released.
    Held {
        /// Since when.
        since: Instant,
        /// When the kernel lifts it unless it is extended.
        lifts: Instant,
    },
    /// Until the NAT's timer is over.
    Quiet {
        /// Since when.
        since: Instant,
        /// When the kernel lifts it.
        until: Instant,
    },
}

impl Restraint {
    /// Since when.
    pub(crate) const fn since(self) -> Instant {
        match self {
            Self::Held { since, .. } | Self::Quiet { since, .. } => since,
        }
    }

    /// When the kernel lifts it by itself.
    pub(crate) const fn lifts(self) -> Instant {
        match self {
            Self::Held { lifts, .. } => lifts,
            Self::Quiet { until, .. } => until,
        }
    }
}

/// Keepalives that are being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptOpen {
    /// To whom.
    pub(crate) peers: Vec<PeerAddr>,
    /// How often.
    pub(crate) every: Duration,
}

/// A kind of action that did not work, and is left alone for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barred {
    /// Until when.
    pub(crate) until: Instant,
    times: u32,
}

/// One watched provider.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Which.
    pub(crate) id: ProviderId,
    /// What may be done.
    pub(crate) policy: ProviderPolicy,
    /// What is known.
    pub(crate) facts: Facts,
    /// The address that the registrar saw last.
    pub(crate) apparent: Option<MappedAddr>,
    /// The one before, until that was told.
    pub(crate) moved_from: Option<MappedAddr>,
    /// What the last looks saw.
    pub(crate) agreement: Agreement,
    /// The last look.
    pub(crate) seen: Diagnosed,
    /// What holds Asterisk back.
    pub(crate) restraint: Option<Restraint>,
    /// The addresses of the restraint.
    pub(crate) restrained: Vec<PeerAddr>,
    /// What keeps the mapping open.
    pub(crate) kept_open: Option<KeptOpen>,
    /// The mapping needs keepalives this often, unless something else is found.
    pub(crate) needs_open: Option<Duration>,
    /// What is still to be done of a remedy, the next step last.
    pub(crate) plan: Vec<ActionKind>,
    /// The next rung of the ladder of remedies, in this incident.
    pub(crate) rung: usize,
    /// Quiet periods in this incident.
    pub(crate) quiets: u32,
    /// Gaps between remedies.
    pub(crate) remedies: Backoff,
    /// Gaps between holds.
    pub(crate) holds: Backoff,
    /// When what was told last.
    pub(crate) told: BTreeMap<Diagnosis, Instant>,
    /// What does not work.
    pub(crate) barred: BTreeMap<ActionKind, Barred>,
    /// What waits, and why: told once.
    pub(crate) withheld: Option<(ActionKind, &'static str)>,
    /// The incident.
    pub(crate) incident: Option<Incident>,
    /// Since when it has been in trouble without a break.
    pub(crate) trouble_since: Option<Instant>,
    /// Since when it has been healthy without a break.
    pub(crate) healthy_since: Option<Instant>,
    counted_until: Option<Instant>,
    last_attempt: Option<Instant>,
}

impl Line {
    /// A provider of which nothing is known.
    pub(crate) fn new(id: ProviderId, provider: ProviderPolicy, policy: &Policy) -> Self {
        Self {
            id,
            policy: provider,
            facts: Facts::default(),
            apparent: None,
            moved_from: None,
            agreement: Agreement::new(policy.agreeing, policy.samples),
            seen: Diagnosed {
                diagnosis: Diagnosis::NotKnown,
                taint: None,
                proven: false,
                lost_percent: 100,
                because: vec!["nothing was seen yet".to_owned()],
            },
            restraint: None,
            restrained: Vec::new(),
            kept_open: None,
            needs_open: None,
            plan: Vec::new(),
            rung: 0,
            quiets: 0,
            remedies: Backoff::NEW,
            holds: Backoff::NEW,
            told: BTreeMap::new(),
            barred: BTreeMap::new(),
            withheld: None,
            incident: None,
            trouble_since: None,
            healthy_since: None,
            counted_until: None,
            last_attempt: None,
        }
    }

    /// What is known of it, under the policy and the number of `fresh`.
    pub(crate) fn renewed(self, fresh: Self) -> Self {
        let incident = self.incident.map(|incident| Incident {
            provider: fresh.id,
            ..incident
        });
        Self {
            id: fresh.id,
            policy: fresh.policy,
            agreement: fresh.agreement,
            plan: Vec::new(),
            incident,
            ..self
        }
    }

    /// The diagnosis that may be acted upon.
    pub(crate) fn confirmed(&self) -> Option<Diagnosis> {
        let diagnosis = self.seen.diagnosis;
        (self.seen.proven || self.agreement.confirms(diagnosis)).then_some(diagnosis)
    }

    /// Whether this kind may be tried: allowed, and not known to fail.
    pub(crate) fn can(&self, kind: ActionKind, now: Instant) -> bool {
        self.policy.allows(kind) && !self.is_barred(kind, now)
    }

    /// Whether this kind has failed not long ago.
    pub(crate) fn is_barred(&self, kind: ActionKind, now: Instant) -> bool {
        self.barred
            .get(&kind)
            .is_some_and(|barred| barred.until > now)
    }

    /// Whether this kind only goes on with what has been decided before: the next stretch of a hold, or
    /// keepalives that an incident has interrupted.
    pub(crate) fn goes_on_with(&self, kind: ActionKind) -> bool {
        self.extends(kind) || (kind == ActionKind::KeepOpen && self.needs_open.is_some())
    }

    /// Takes a look. What is `sampled` counts towards agreement.
    pub(crate) fn look(&mut self, seen: Diagnosed, sampled: bool, now: Instant) -> Vec<GuardEvent> {
        let mut events = vec![];
        if sampled {
            self.agreement.look(seen.diagnosis, now);
        }
        if seen.diagnosis != self.seen.diagnosis || seen.taint != self.seen.taint {
            events.push(GuardEvent::Diagnosed {
                provider: self.id,
                at: now,
                diagnosed: seen.clone(),
            });
        }
        if let (Some(from), Some(to)) = (self.moved_from.take(), self.apparent) {
            let provider = self.id;
            events.push(GuardEvent::Moved { provider, from, to });
        }
        self.count_unreachable(now);
        self.seen = seen;
        match self.seen.diagnosis {
            Diagnosis::Healthy => {
                self.trouble_since = None;
                self.healthy_since.get_or_insert(now);
            }
            // A moment's wait neither begins an incident nor ends one.
            Diagnosis::NotKnown | Diagnosis::InTransit => self.healthy_since = None,
            _ => {
                self.healthy_since = None;
                self.trouble_since.get_or_insert(now);
            }
        }
        events.extend(self.account(now));
        events
    }

    /// Begins, extends or ends the incident.
    fn account(&mut self, now: Instant) -> Option<GuardEvent> {
        if let Some(since) = self.healthy_since {
            let is_over = self.agreement.confirms(Diagnosis::Healthy)
                || now.saturating_duration_since(since) >= OVER;
            return is_over.then(|| self.end(since)).flatten();
        }
        let cause = self.confirmed().filter(|seen| seen.is_trouble())?;
        if let Some(incident) = &mut self.incident {
            if explains(cause, self.seen.proven) > explains(incident.cause, false) {
                incident.cause = cause;
            }
            incident.taint = self.seen.taint.or(incident.taint);
            for fact in &self.seen.because {
                if incident.because.len() < KEPT_IN_INCIDENT && !incident.because.contains(fact) {
                    incident.because.push(fact.clone());
                }
            }
            return None;
        }
        let began = self.trouble_since.unwrap_or(now);
        let incident = Incident {
            provider: self.id,
            began,
            ended: None,
            cause,
            taint: self.seen.taint,
            because: self.seen.because.clone(),
            actions: Vec::new(),
            acted: 0,
            unreachable: now.saturating_duration_since(began) * u32::from(self.seen.lost_percent)
                / 100,
        };
        if self.is_long_ago(now) {
            self.remedies = Backoff::NEW;
        }
        self.counted_until = Some(now);
        self.incident = Some(incident.clone());
        Some(GuardEvent::Began(incident))
    }

    fn end(&mut self, ended: Instant) -> Option<GuardEvent> {
        let mut incident = self.incident.take()?;
        incident.ended = Some(ended.max(incident.began));
        self.rung = 0;
        self.quiets = 0;
        self.plan.clear();
        self.withheld = None;
        Some(GuardEvent::Ended(incident))
    }

    /// Whether the last remedy is so long ago that it does not count any more.
    fn is_long_ago(&self, now: Instant) -> bool {
        self.last_attempt
            .is_none_or(|last| now.saturating_duration_since(last) >= LONG_AGO)
    }

    /// Counts the time since the last look as it was found to be then.
    pub(crate) fn count_unreachable(&mut self, now: Instant) {
        let since = self.counted_until.replace(now).unwrap_or(now);
        let Some(incident) = &mut self.incident else {
            return;
        };
        if self.healthy_since.is_none() && self.seen.diagnosis != Diagnosis::NotKnown {
            let passed = now.saturating_duration_since(since);
            incident.unreachable += passed * u32::from(self.seen.lost_percent) / 100;
        }
    }

    /// A remedy begins, with the action `first`.
    pub(crate) fn begin_plan(
        &mut self,
        first: ActionKind,
        plan: Vec<ActionKind>,
        policy: &Policy,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let (min, max) = (policy.min_gap, policy.max_gap);
        self.plan = plan;
        match first {
            ActionKind::Notify => {
                self.told.insert(self.seen.diagnosis, now);
            }
            ActionKind::Hold => {
                let is_old = self
                    .holds
                    .not_before
                    .is_some_and(|due| now.saturating_duration_since(due) >= LONG_AGO);
                if is_old {
                    self.holds = Backoff::NEW;
                }
                self.holds.count(min, max, rng, now);
            }
            ActionKind::DeleteEntry | ActionKind::Release if self.restraint.is_some() => {}
            ActionKind::DeleteEntry
            | ActionKind::Quiet
            | ActionKind::Release
            | ActionKind::Reregister
            | ActionKind::KeepOpen
            | ActionKind::StopKeepOpen
            | ActionKind::ReloadModule
            | ActionKind::LoadModule
            | ActionKind::Run => {
                self.last_attempt = Some(now);
                self.rung += 1;
                self.quiets += u32::from(first == ActionKind::Quiet);
                self.remedies.count(min, max, rng, now);
            }
        }
    }

    /// Takes up an incident that was open before a restart. How it went on meanwhile is not known.
    pub(crate) fn resume(&mut self, incident: Incident, now: Instant) {
        self.incident = Some(incident);
        self.counted_until = Some(now);
    }

    /// Whether a decision is only the next stretch of a hold.
    pub(crate) fn extends(&self, kind: ActionKind) -> bool {
        kind == ActionKind::Hold && self.restraint.is_some()
    }

    /// Notes a decision.
    pub(crate) fn decided(&mut self, decision: &Decision, now: Instant) {
        self.withheld = None;
        if self.extends(decision.action.kind()) {
            return;
        }
        let Some(incident) = &mut self.incident else {
            return;
        };
        incident.acted = incident.acted.saturating_add(1);
        if incident.actions.len() < KEPT_IN_INCIDENT {
            incident.actions.push(Acted {
                at: now,
                kind: decision.action.kind(),
                reason: decision.reason.clone(),
                result: None,
            });
        }
    }

    /// Notes how a decision ended, and what that changes.
    pub(crate) fn acted(&mut self, decision: &Decision, result: &ActionResult, now: Instant) {
        let kind = decision.action.kind();
        if let Some(acted) = self.incident.as_mut().and_then(|incident| {
            let actions = incident.actions.iter_mut().rev();
            actions
                .into_iter()
                .find(|acted| acted.kind == kind && acted.result.is_none())
        }) {
            acted.result = Some(result.clone());
        }
        match result {
            ActionResult::Done | ActionResult::Printed => self.done(&decision.action, now),
            ActionResult::Refused { .. } | ActionResult::Failed { .. } => self.failed(kind, now),
        }
    }

    fn done(&mut self, action: &Action, now: Instant) {
        self.barred.remove(&action.kind());
        if self.plan.last() == Some(&action.kind()) {
            self.plan.pop();
        }
        match action {
            Action::Hold { peers, lasting } => {
                let since = match self.restraint {
                    Some(Restraint::Held { since, .. }) => since,
                    _ => now,
                };
                let lifts = now + *lasting;
                self.restraint = Some(Restraint::Held { since, lifts });
                self.restrained.clone_from(peers);
            }
            Action::Quiet { peers, lasting } => {
                let until = now + *lasting;
                self.restraint = Some(Restraint::Quiet { since: now, until });
                self.restrained.clone_from(peers);
            }
            Action::Release { .. } => self.released(now),
            Action::DeleteEntry { .. } => {
                self.facts.entry = None;
                self.facts.tainted_since = None;
                if self.restraint.is_none() {
                    self.anew(now);
                }
            }
            Action::Reregister | Action::ReloadModule { .. } | Action::LoadModule => self.anew(now),
            Action::KeepOpen { peers, every, .. } => {
                self.kept_open = Some(KeptOpen {
                    peers: peers.clone(),
                    every: *every,
                });
                self.needs_open = Some(*every);
                self.agreement.clear();
            }
            Action::StopKeepOpen { .. } => self.kept_open = None,
            Action::Run { .. } | Action::Notify { .. } => {}
        }
    }

    fn failed(&mut self, kind: ActionKind, now: Instant) {
        let times = self.barred.get(&kind).map_or(0, |barred| barred.times);
        self.barred.insert(
            kind,
            Barred {
                until: now + BARRED.saturating_mul(1 << times.min(6)),
                times: times.saturating_add(1),
            },
        );
        self.rung = self.rung.saturating_sub(1);
        self.plan.clear();
    }

    /// The restraint is lifted: what silence said while it lasted is void.
    pub(crate) fn released(&mut self, now: Instant) {
        self.restraint = None;
        self.restrained.clear();
        self.anew(now);
    }

    /// The next looks begin from nothing.
    pub(crate) fn anew(&mut self, now: Instant) {
        self.facts.begin_anew(now);
        self.agreement.clear();
    }

    /// The instants at which something changes by itself.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        let extension = match self.restraint {
            Some(Restraint::Held { lifts, .. }) => lifts.checked_sub(HOLD / 2),
            Some(Restraint::Quiet { .. }) | None => None,
        };
        let extension = extension.map(|due| (due, "extend the hold"));
        let lifted = self
            .restraint
            .map(|restraint| (restraint.lifts(), "go on after the kernel's lifting"));
        let over = self
            .healthy_since
            .filter(|_| self.incident.is_some())
            .map(|since| (since + OVER, "end the incident"));
        let gaps = [self.remedies.not_before, self.holds.not_before]
            .into_iter()
            .flatten()
            .filter(|_| self.incident.is_some())
            .map(|due| (due, "try the next remedy"));
        let barred = self
            .barred
            .values()
            .filter(|_| self.incident.is_some() || self.kept_open.is_some())
            .map(|barred| (barred.until, "try again what failed"));
        let own = extension.into_iter().chain(lifted);
        own.chain(over).chain(gaps).chain(barred)
    }
}

/// How long the kernel keeps a hold that nobody extends.
pub(crate) const HOLD: Duration = Duration::from_secs(60);

/// How well a diagnosis explains an incident: a cause more than what follows from it.
const fn explains(cause: Diagnosis, proven: bool) -> u8 {
    match cause {
        Diagnosis::NotKnown | Diagnosis::Healthy | Diagnosis::InTransit => 0,
        Diagnosis::Unanswered => 1,
        Diagnosis::ProviderDown | Diagnosis::Hole => 2,
        Diagnosis::NotResolved
        | Diagnosis::Rejected
        | Diagnosis::TokenRefused
        | Diagnosis::NotConfigured => 3,
        Diagnosis::Tainted if proven => 5,
        Diagnosis::Tainted => 4,
        Diagnosis::AsteriskDown | Diagnosis::WanDown => 5,
    }
}
