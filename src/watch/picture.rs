//! How it goes: what status, metrics and the service manager are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    guard::{
        action::{ActionKind, ActionResult},
        diagnosis::{Diagnosis, GuardEvent},
        machine::Guard,
        observation::{Observation, Observer, PokeOutcome, ProviderId, Seen},
    },
    types::MappedAddr,
    watch::{
        journal::{Told, wall, word, words},
        observe::Shared,
    },
};

/// What the guardian itself does not keep.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Since when each provider has been what it is.
    since: BTreeMap<ProviderId, Instant>,
    perceived: BTreeMap<ProviderId, Option<MappedAddr>>,
    pub(super) rtt: BTreeMap<ProviderId, Option<Duration>>,
    pub(super) incidents: BTreeMap<ProviderId, u64>,
    pub(super) unreachable: BTreeMap<ProviderId, Duration>,
    pub(super) acted: BTreeMap<(ProviderId, ActionKind, &'static str), u64>,
    pub(super) blind: BTreeMap<Observer, String>,
    pub(super) watching: BTreeSet<Observer>,
    pub(super) resident: Option<u64>,
    last: BTreeMap<ProviderId, (Instant, String, Option<String>)>,
}

impl Picture {
    /// Notes what was seen.
    pub(super) fn observe(&mut self, observation: &Observation) {
        match &observation.seen {
            Seen::Registry {
                provider,
                perceived,
                ..
            } => {
                self.perceived.insert(*provider, *perceived);
            }
            Seen::Poke { provider, outcome } => {
                let rtt = match outcome {
                    PokeOutcome::Answered { rtt } => Some(*rtt),
                    PokeOutcome::Silent | PokeOutcome::Unreachable | PokeOutcome::NotSent => None,
                };
                self.rtt.insert(*provider, rtt);
            }
            Seen::Memory { resident } => self.resident = Some(*resident),
            Seen::Blind { observer, reason } => {
                self.watching.insert(*observer);
                self.blind.insert(*observer, reason.clone());
            }
            Seen::Sees(observer) => {
                self.watching.insert(*observer);
                self.blind.remove(observer);
            }
            _ => {}
        }
    }

    /// Notes what happened.
    pub(super) fn happened(&mut self, event: &GuardEvent) {
        match event {
            GuardEvent::Diagnosed { provider, at, .. } => {
                self.since.insert(*provider, *at);
            }
            GuardEvent::Began(incident) => {
                *self.incidents.entry(incident.provider).or_default() += 1;
            }
            GuardEvent::Ended(incident) => {
                *self.unreachable.entry(incident.provider).or_default() += incident.unreachable;
            }
            GuardEvent::Acted { decision, result } => {
                let key = (decision.provider, decision.action.kind(), word(result));
                *self.acted.entry(key).or_default() += 1;
                let said = (!matches!(result, ActionResult::Done)).then(|| words(result));
                let action = decision.action.to_string();
                self.last
                    .insert(decision.provider, (crate::net::clock::now(), action, said));
            }
            _ => {}
        }
    }

    /// All of it, for those who ask.
    pub(super) fn view(&self, guard: &Guard, dry_run: bool, shared: &Shared) -> View {
        let providers = (0..)
            .map(ProviderId)
            .zip(&guard.policy().providers)
            .map(|(id, provider)| self.provider(guard, id, &provider.name))
            .collect();
        View {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            dry_run,
            providers,
            registrations: shared.with(|facts| {
                let own = facts.own.iter();
                own.map(|(name, line)| OwnView {
                    name: name.clone(),
                    registered: line.registered,
                    apparent: line.apparent.map(|address| address.to_string()),
                })
                .collect()
            }),
            blind: self
                .blind
                .iter()
                .map(|(observer, reason)| (observer.as_str().to_owned(), reason.clone()))
                .collect(),
            doing: guard
                .in_flight()
                .map(|decision| decision.action.to_string()),
            budget_left: guard.budget_left(),
        }
    }

    fn provider(&self, guard: &Guard, id: ProviderId, name: &str) -> ProviderView {
        let diagnosed = guard.diagnosed(id);
        ProviderView {
            name: name.to_owned(),
            address: guard.address(id).map(|address| address.to_string()),
            state: diagnosed
                .map_or(Diagnosis::NotKnown, |diagnosed| diagnosed.diagnosis)
                .as_str()
                .to_owned(),
            taint: diagnosed
                .and_then(|diagnosed| diagnosed.taint)
                .map(|kind| kind.as_str().to_owned()),
            since: self.since.get(&id).map(|at| wall(*at)),
            because: diagnosed.map_or_else(Vec::new, |diagnosed| diagnosed.because.clone()),
            registry: guard.registry(id).map(|state| state.as_str().to_owned()),
            perceived: self
                .perceived
                .get(&id)
                .copied()
                .flatten()
                .map(|address| address.to_string()),
            rtt_ms: self
                .rtt
                .get(&id)
                .copied()
                .flatten()
                .map(|rtt| (rtt.as_secs_f64() * 1e5).round() / 100.0),
            incident: guard.incident(id).map(|incident| Told::of(incident, name)),
            last_action: self.last.get(&id).map(|(at, action, said)| {
                let mut text = format!("{}: {action}", wall(*at));
                if let Some(said) = said {
                    let _ = write!(text, " ({said})");
                }
                text
            }),
        }
    }
}

/// How it goes, as `watch status --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The version of the guardian that runs.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// It says what it would do, and does nothing.
    pub dry_run: bool,
    /// The providers, in the order of the configuration.
    pub providers: Vec<ProviderView>,
    /// The registrations that the guardian holds itself.
    pub registrations: Vec<OwnView>,
    /// Observers that cannot see, and why.
    pub blind: BTreeMap<String, String>,
    /// The action that is being carried out.
    pub doing: Option<String>,
    /// How many more actions are allowed in this hour.
    pub budget_left: usize,
}

/// A registration that the guardian holds itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnView {
    /// Its name in the configuration.
    pub name: String,
    /// It is registered.
    pub registered: bool,
    /// The address that the registrar saw.
    pub apparent: Option<String>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderView {
    /// Its name in the configuration.
    pub name: String,
    /// Its address, where it is known.
    pub address: Option<String>,
    /// What it is found to be: `healthy`, `tainted`, …
    pub state: String,
    /// Which taint, where the router's table tells.
    pub taint: Option<String>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// The facts.
    pub because: Vec<String>,
    /// How the registration stands, in Asterisk's words.
    pub registry: Option<String>,
    /// The address that the registrar saw last.
    pub perceived: Option<String>,
    /// How long the last POKE took, in milliseconds; absent where it was not answered.
    pub rtt_ms: Option<f64>,
    /// The incident that lasts.
    pub incident: Option<Told>,
    /// What was done last, and when.
    pub last_action: Option<String>,
}

impl View {
    /// 0 where all are healthy, 2 where one is in trouble, else 1.
    #[must_use]
    pub fn status(&self) -> u8 {
        let worst =
            self.providers
                .iter()
                .map(|provider| match Diagnosis::from_name(&provider.state) {
                    Some(Diagnosis::Healthy) if provider.incident.is_none() => 0,
                    Some(state) if state.is_trouble() => 2,
                    _ => 1,
                });
        let held = self
            .registrations
            .iter()
            .map(|own| u8::from(!own.registered) * 2);
        worst.chain(held).max().unwrap_or(0)
    }

    /// One line for the service manager.
    #[must_use]
    pub fn line(&self) -> String {
        let healthy = self
            .providers
            .iter()
            .filter(|provider| provider.state == Diagnosis::Healthy.as_str())
            .count();
        let mut line = format!("{healthy} of {} providers healthy", self.providers.len());
        for provider in &self.providers {
            if provider.state != Diagnosis::Healthy.as_str() {
                let _ = write!(line, "; {}: {}", provider.name, provider.state);
            }
        }
        if let Some(doing) = &self.doing {
            let _ = write!(line, "; now: {doing}");
        }
        line
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for provider in &self.providers {
            let address = provider.address.as_deref().unwrap_or("address not known");
            let _ = writeln!(text, "{} ({address}): {}", provider.name, provider.state);
            if let Some(taint) = &provider.taint {
                let _ = writeln!(text, "  taint: {taint}");
            }
            if let Some(since) = &provider.since {
                let _ = writeln!(text, "  since {since}");
            }
            for fact in &provider.because {
                let _ = writeln!(text, "  - {fact}");
            }
            if let Some(perceived) = &provider.perceived {
                let _ = writeln!(text, "  seen by the provider as {perceived}");
            }
            if let Some(incident) = &provider.incident {
                let _ = writeln!(
                    text,
                    "  incident since {}: {}, unreachable for {} s, {} actions",
                    incident.began_at, incident.cause, incident.unreachable_s, incident.acted
                );
            }
            if let Some(last) = &provider.last_action {
                let _ = writeln!(text, "  last action {last}");
            }
        }
        for own in &self.registrations {
            let state = if own.registered {
                "registered"
            } else {
                "not registered"
            };
            let seen = own.apparent.as_deref().unwrap_or("an address not told");
            let _ = writeln!(text, "{} (held here): {state}, seen as {seen}", own.name);
        }
        for (observer, reason) in &self.blind {
            let _ = writeln!(text, "{observer} cannot be watched: {reason}");
        }
        if let Some(doing) = &self.doing {
            let _ = writeln!(text, "now: {doing}");
        }
        let dry = if self.dry_run {
            " (dry run: nothing is done)"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{} more actions are allowed in this hour{dry}",
            self.budget_left
        );
        text
    }
}
