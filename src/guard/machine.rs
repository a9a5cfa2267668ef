//! The guardian: observations in, at most one action at a time out.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};

use crate::guard::{
    action::{Action, ActionResult, Decision},
    diagnosis::{Cadence, Diagnosed, Diagnosis, GuardEvent, Incident},
    facts::HostFacts,
    line::Line,
    observation::{Observation, Observer, ProviderId, RegistryState},
    patience::Budget,
    policy::{LONGEST_SILENCE, Policy},
};
use crate::proto::registration::reregister_after;

/// After this long in trouble, nobody looks as often any more.
const OLD_TROUBLE: Duration = Duration::from_secs(600);
/// Right after the way out is back, everybody looks often.
const JUST_BACK: Duration = Duration::from_secs(30);

/// The guardian of some providers. See the [module](crate::guard).
#[derive(Debug)]
pub struct Guard {
    pub(crate) policy: Policy,
    pub(crate) lines: Vec<Line>,
    pub(crate) host: HostFacts,
    pub(crate) blind: BTreeSet<Observer>,
    pub(crate) budget: Budget,
    pub(crate) reloads: Budget,
    /// The decision that has no outcome yet, and when it counts as failed.
    pub(crate) in_flight: Option<(Decision, Instant)>,
    /// The same, until the shell takes it.
    pub(crate) ready: Option<Decision>,
    pub(crate) next_id: u64,
    /// The module was unloaded for a reload that may not have been finished.
    pub(crate) left_unloaded: bool,
    pub(crate) rng: StdRng,
    pub(crate) events: VecDeque<GuardEvent>,
    pub(crate) now: Instant,
}

impl Guard {
    /// A guardian that knows nothing yet. `seed` is for the jitter of its gaps.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 32], now: Instant) -> Self {
        let lines = (0..)
            .zip(&policy.providers)
            .map(|(id, provider)| Line::new(ProviderId(id), provider.clone(), &policy))
            .collect();
        Self {
            policy,
            lines,
            host: HostFacts::default(),
            blind: BTreeSet::new(),
            budget: Budget::default(),
            reloads: Budget::default(),
            in_flight: None,
            ready: None,
            next_id: 1,
            left_unloaded: false,
            rng: StdRng::from_seed(seed),
            events: VecDeque::new(),
            now,
        }
    }

    /// Takes one observation.
    pub fn handle_observation(&mut self, observation: Observation, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        let at = observation.at.min(now);
        if let Some(whose) = self.take(observation.seen, at) {
            self.look(whose);
            self.decide();
        }
    }

    /// Lets time pass up to `now`; a spurious call changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if let Some((decision, due)) = &self.in_flight
            && *due <= self.now
        {
            let id = decision.id;
            let why = "it has not ended within its time".to_owned();
            self.ended(id, ActionResult::Failed { why });
        }
        self.look(Whose::All { counts: false });
        self.decide();
    }

    /// The next action. There is no other until its outcome was observed or its limit has passed.
    pub fn poll_action(&mut self) -> Option<Decision> {
        self.ready.take()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<GuardEvent> {
        self.events.pop_front()
    }

    /// The next instant at which [`Guard::handle_timeout`] is due, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let action = self
            .in_flight
            .as_ref()
            .map(|(_, due)| (*due, "give the action up"));
        let budget = self
            .lines
            .iter()
            .any(|line| line.withheld.is_some())
            .then(|| self.budget.free_at())
            .flatten()
            .map(|due| (due, "act again within the budget"));
        self.lines
            .iter()
            .flat_map(Line::deadlines)
            .chain(action)
            .chain(budget)
            .filter(|(due, _)| *due > self.now)
            .min_by_key(|(due, _)| *due)
    }

    /// How often to look at a provider now; besides, at once when the way out changes.
    #[must_use]
    pub fn cadence(&self, provider: ProviderId) -> Cadence {
        let seconds = Duration::from_secs;
        let rest = Cadence {
            poke: seconds(60),
            registry: seconds(10),
            entry: seconds(10),
        };
        let Some(line) = self.line(provider) else {
            return rest;
        };
        let is_held = line.restraint.is_some();
        let since = line.incident.as_ref().map(|incident| incident.began);
        let at_rest = line.seen.diagnosis == Diagnosis::Healthy && since.is_none() && !is_held;
        let lasts = since.map_or(Duration::ZERO, |since| {
            self.now.saturating_duration_since(since)
        });
        let is_back = self
            .host
            .wan_changed
            .is_some_and(|changed| self.now.saturating_duration_since(changed) < JUST_BACK);
        if at_rest {
            rest
        } else if lasts > OLD_TROUBLE && !is_back {
            Cadence {
                entry: seconds(5),
                ..rest
            }
        } else {
            Cadence {
                poke: seconds(if is_back { 1 } else { 5 }),
                registry: seconds(if is_back { 1 } else { 2 }),
                entry: seconds(1),
            }
        }
    }

    /// What a provider is found to be.
    #[must_use]
    pub fn diagnosed(&self, provider: ProviderId) -> Option<&Diagnosed> {
        Some(&self.line(provider)?.seen)
    }

    /// How the registration stood when Asterisk was asked last.
    #[must_use]
    pub fn registry(&self, provider: ProviderId) -> Option<RegistryState> {
        Some(self.line(provider)?.facts.registry?.what.state)
    }

    /// Its open incident.
    #[must_use]
    pub fn incident(&self, provider: ProviderId) -> Option<&Incident> {
        self.line(provider)?.incident.as_ref()
    }

    /// The address that a POKE should ask: the one that Asterisk uses, else the first of the name's.
    #[must_use]
    pub fn address(&self, provider: ProviderId) -> Option<crate::types::PeerAddr> {
        let facts = &self.line(provider)?.facts;
        facts.peer.or_else(|| facts.peers().first().copied())
    }

    /// The decision that has no outcome yet.
    #[must_use]
    pub fn in_flight(&self) -> Option<&Decision> {
        self.in_flight.as_ref().map(|(decision, _)| decision)
    }

    /// How many more actions the budget allows in this hour.
    #[must_use]
    pub fn budget_left(&self) -> usize {
        let mut budget = self.budget.clone();
        budget.left(self.policy.per_hour, self.now)
    }

    /// Observers that cannot see.
    pub fn blind(&self) -> impl Iterator<Item = Observer> {
        self.blind.iter().copied()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Obeys another policy from now on. What is known of providers that keep their name stays. Returned is
    /// what undoes the remedies of providers that are gone: to be carried out before anything else.
    pub fn reconfigure(&mut self, policy: Policy, now: Instant) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut old = std::mem::take(&mut self.lines);
        let providers = (0..).zip(&policy.providers);
        self.lines = providers
            .map(|(id, provider)| {
                let kept = old
                    .iter()
                    .position(|line| line.policy.name == provider.name);
                let fresh = Line::new(ProviderId(id), provider.clone(), &policy);
                match kept.map(|place| old.swap_remove(place)) {
                    Some(line) => line.renewed(fresh),
                    None => fresh,
                }
            })
            .collect();
        self.policy = policy;
        // Numbers of providers may have moved: an outcome could be taken for another's.
        self.in_flight = None;
        self.ready = None;
        let mut undo = vec![];
        for line in old {
            if let Some(kept) = line.kept_open {
                undo.push(Action::StopKeepOpen { peers: kept.peers });
            }
            if line.restraint.is_some() {
                let peers = line.restrained;
                undo.push(Action::Release { peers });
            }
        }
        undo
    }

    fn line(&self, provider: ProviderId) -> Option<&Line> {
        self.lines.get(usize::from(provider.0))
    }

    pub(crate) fn line_mut(&mut self, provider: ProviderId) -> Option<&mut Line> {
        self.lines.get_mut(usize::from(provider.0))
    }

    /// Looks at those that it concerns.
    fn look(&mut self, whose: Whose) {
        let now = self.now;
        for place in 0..self.lines.len() {
            let Some(line) = self.lines.get(place) else {
                return;
            };
            let counts = match whose {
                Whose::One { provider, .. } if provider != line.id => continue,
                Whose::One { counts, .. } | Whose::All { counts } => counts,
            };
            let sibling = self.sibling(line);
            let Some(line) = self.lines.get_mut(place) else {
                return;
            };
            if line
                .restraint
                .is_some_and(|restraint| restraint.lifts() <= now)
            {
                line.released(now);
            }
            let look = line.look_at(&self.policy, &self.host, sibling, now);
            let seen = look.diagnose();
            let is_well = seen.diagnosis == Diagnosis::Healthy && line.restraint.is_none();
            let is_open = is_well && line.kept_open.is_some() && look.hole().is_none();
            if is_well {
                line.plan.clear();
            }
            if is_open {
                line.needs_open = None; // something else keeps it open now
            }
            self.events.extend(line.look(seen, counts, now));
        }
    }

    /// When another account was proven to get through over the same flow.
    fn sibling(&self, line: &Line) -> Option<Instant> {
        let peer = line.facts.peer?;
        self.lines
            .iter()
            .filter(|other| other.id != line.id && other.facts.peer == Some(peer))
            .filter_map(|other| {
                let registry = other.facts.registry?;
                let since = registry.what.registered_since?;
                // Registered for longer than it can be without having registered again.
                let interval = reregister_after(other.facts.refresh?) + LONGEST_SILENCE;
                let is_old = registry.at.saturating_duration_since(since) > interval;
                let renewed = is_old.then(|| registry.at.checked_sub(interval)).flatten();
                Some(renewed.unwrap_or(since).max(since))
            })
            .max()
    }
}

/// Whom an observation concerns, and whether it counts as another look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// One provider.
    One {
        /// Which.
        provider: ProviderId,
        /// It counts.
        counts: bool,
    },
    /// Every provider.
    All {
        /// It counts.
        counts: bool,
    },
}
