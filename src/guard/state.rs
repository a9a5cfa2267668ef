//! What survives a restart of the guardian: budgets, growing gaps, open incidents, what was measured.
//!
//! Instants do not survive, so ages do. A clock that was set back makes nothing younger than it was when
//! it was saved. What lasts only while the guardian lives (holds, keepalives) is not saved: whoever
//! starts again finds none, and decides anew.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    check::taint::Kind,
    guard::{
        action::ActionKind,
        diagnosis::{Acted, Diagnosis, Incident},
        line::Line,
        machine::Guard,
        patience::{Backoff, Budget, HOUR},
        policy::Policy,
        remedy::SHORTEST_KEEP_OPEN,
    },
};

/// The only version there is.
const VERSION: u8 = 1;
/// Nothing that a state remembers matters for longer.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// The state of a guardian, as it is written to a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The version of this form.
    pub version: u8,
    /// When it was saved, in seconds since 1970.
    pub saved_at_s: u64,
    /// The number of the next decision.
    pub next_id: u64,
    /// The module was unloaded for a reload that was not finished.
    pub left_unloaded: bool,
    /// How long ago each action was that counts towards the budget, in seconds.
    pub spent_s: Vec<u64>,
    /// The same, of reloads of the module alone.
    pub reloads_s: Vec<u64>,
    /// The providers by their names.
    pub providers: BTreeMap<String, SavedProvider>,
}

/// The state of one provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedProvider {
    /// It has answered a POKE, ever.
    pub answers_poke: bool,
    /// The measured timer of short exchanges, in seconds.
    pub exchange_s: Option<f64>,
    /// The measured timer of streams, in seconds.
    pub stream_s: Option<f64>,
    /// The refresh in force, in seconds.
    pub refresh_s: Option<u64>,
    /// The mapping needs keepalives every so many seconds.
    pub keep_open_s: Option<f64>,
    /// Remedies tried since the last success.
    pub attempts: u32,
    /// In how many seconds the next one may be tried.
    pub next_in_s: Option<u64>,
    /// The next rung of the ladder of remedies.
    pub rung: usize,
    /// Quiet periods in this incident.
    pub quiets: u32,
    /// How long ago a person was told, by diagnosis, in seconds.
    pub told_s: BTreeMap<String, u64>,
    /// The open incident.
    pub incident: Option<SavedIncident>,
}

/// An open incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedIncident {
    /// How long ago it began, in seconds.
    pub began_s: u64,
    /// Its cause.
    pub cause: String,
    /// The taint.
    pub taint: Option<String>,
    /// The facts.
    pub because: Vec<String>,
    /// What was done.
    pub actions: Vec<SavedAction>,
    /// How many actions there were.
    pub acted: u32,
    /// For how many seconds the provider could not reach the PBX.
    pub unreachable_s: f64,
}

/// An action within an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedAction {
    /// How long ago it was decided, in seconds.
    pub ago_s: u64,
    /// Its kind.
    pub kind: String,
    /// Why.
    pub reason: String,
}

impl Guard {
    /// What has to survive a restart. `wall` is what the wall clock says now.
    #[must_use]
    pub fn save(&self, wall: SystemTime) -> Saved {
        let now = self.now;
        Saved {
            version: VERSION,
            saved_at_s: unix(wall),
            next_id: self.next_id,
            left_unloaded: self.left_unloaded,
            spent_s: self.budget.ages(now).map(|age| age.as_secs()).collect(),
            reloads_s: self.reloads.ages(now).map(|age| age.as_secs()).collect(),
            providers: self
                .lines
                .iter()
                .map(|line| (line.policy.name.clone(), line.save(now)))
                .collect(),
        }
    }

    /// A guardian that remembers. Of a state in another form it remembers nothing.
    #[must_use]
    pub fn restore(
        policy: Policy,
        saved: &Saved,
        seed: [u8; 32],
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let mut guard = Self::new(policy, seed, now);
        if saved.version != VERSION {
            return guard;
        }
        let away = Duration::from_secs(unix(wall).saturating_sub(saved.saved_at_s));
        let aged = |seconds: &u64| {
            away.saturating_add(Duration::from_secs(*seconds))
                .min(LONGEST)
        };
        let recent = |ages: &[u64]| {
            let young: Vec<_> = ages.iter().map(aged).filter(|age| *age < HOUR).collect();
            Budget::spent_before(young, now)
        };
        guard.next_id = saved.next_id.clamp(1, u64::MAX / 2);
        guard.left_unloaded = saved.left_unloaded;
        guard.budget = recent(&saved.spent_s);
        guard.reloads = recent(&saved.reloads_s);
        for line in &mut guard.lines {
            if let Some(provider) = saved.providers.get(&line.policy.name) {
                line.restore(provider, away, now);
            }
        }
        guard
    }
}

impl Line {
    fn save(&self, now: Instant) -> SavedProvider {
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        SavedProvider {
            answers_poke: self.facts.poke.has_answered,
            exchange_s: self.facts.exchange.map(|timer| timer.as_secs_f64()),
            stream_s: self.facts.stream.map(|timer| timer.as_secs_f64()),
            refresh_s: self.facts.refresh.map(|refresh| refresh.as_secs()),
            keep_open_s: self.needs_open.map(|every| every.as_secs_f64()),
            attempts: self.remedies.attempts,
            next_in_s: self
                .remedies
                .not_before
                .map(|due| due.saturating_duration_since(now).as_secs()),
            rung: self.rung,
            quiets: self.quiets,
            told_s: self
                .told
                .iter()
                .map(|(cause, at)| (cause.as_str().to_owned(), ago(*at)))
                .collect(),
            incident: self.incident.as_ref().map(|incident| SavedIncident {
                began_s: ago(incident.began),
                cause: incident.cause.as_str().to_owned(),
                taint: incident.taint.map(|kind| kind.as_str().to_owned()),
                because: incident.because.clone(),
                actions: incident
                    .actions
                    .iter()
                    .map(|acted| SavedAction {
                        ago_s: ago(acted.at),
                        kind: acted.kind.as_str().to_owned(),
                        reason: acted.reason.clone(),
                    })
                    .collect(),
                acted: incident.acted,
                unreachable_s: incident.unreachable.as_secs_f64(),
            }),
        }
    }

    fn restore(&mut self, saved: &SavedProvider, away: Duration, now: Instant) {
        let at = |seconds: u64| {
            let age = away.saturating_add(Duration::from_secs(seconds));
            now.checked_sub(age.min(LONGEST)).unwrap_or(now)
        };
        let timer = |seconds: Option<f64>| {
            Duration::try_from_secs_f64(seconds?)
                .ok()
                .filter(|timer| *timer < LONGEST)
        };
        self.facts.poke.has_answered = saved.answers_poke;
        self.facts.exchange = timer(saved.exchange_s);
        self.facts.stream = timer(saved.stream_s);
        self.facts.refresh = saved.refresh_s.map(Duration::from_secs);
        self.needs_open =
            timer(saved.keep_open_s).filter(|every| (SHORTEST_KEEP_OPEN..=HOUR).contains(every));
        let next_in = saved.next_in_s.map(Duration::from_secs);
        self.remedies = Backoff {
            attempts: saved.attempts,
            not_before: next_in.map(|wait| now + wait.saturating_sub(away).min(HOUR)),
        };
        self.rung = saved.rung.min(ActionKind::ALL.len());
        self.quiets = saved.quiets;
        for (cause, seconds) in &saved.told_s {
            if let Some(cause) = Diagnosis::from_name(cause) {
                self.told.insert(cause, at(*seconds));
            }
        }
        let Some(incident) = &saved.incident else {
            return;
        };
        let Some(cause) = Diagnosis::from_name(&incident.cause) else {
            return;
        };
        self.resume(
            Incident {
                provider: self.id,
                began: at(incident.began_s),
                ended: None,
                cause,
                taint: incident.taint.as_deref().and_then(kind),
                because: incident.because.clone(),
                actions: incident
                    .actions
                    .iter()
                    .filter_map(|acted| {
                        Some(Acted {
                            at: at(acted.ago_s),
                            kind: ActionKind::from_name(&acted.kind)?,
                            reason: acted.reason.clone(),
                            result: None,
                        })
                    })
                    .collect(),
                acted: incident.acted,
                unreachable: timer(Some(incident.unreachable_s)).unwrap_or_default(),
            },
            now,
        );
    }
}

fn unix(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn kind(name: &str) -> Option<Kind> {
    [
        Kind::WrongSourceMasquerade,
        Kind::NullBinding,
        Kind::StaleSource,
        Kind::WrongUplink,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == name)
}
