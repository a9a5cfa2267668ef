//! The journal of incidents: a line of JSON for each that has ended.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    guard::{action::ActionResult, diagnosis::Incident},
    net::clock,
};

/// An incident as it is told. Times are RFC 3339, UTC; by the clock as it is at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The name of the provider.
    pub provider: String,
    /// When it began.
    pub began_at: String,
    /// When it ended; absent while it lasts.
    pub ended_at: Option<String>,
    /// How long it lasted, in seconds.
    pub lasted_s: f64,
    /// How long the provider could not reach the PBX, in seconds.
    pub unreachable_s: f64,
    /// What explains it best.
    pub cause: String,
    /// The kind of taint, where the router's table told.
    pub taint: Option<String>,
    /// The facts.
    pub because: Vec<String>,
    /// What was done, oldest first.
    pub actions: Vec<ToldAction>,
    /// How many actions there were; the list holds the first ones.
    pub acted: u32,
}

/// An action as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToldAction {
    /// When it was decided.
    pub at: String,
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: String,
    /// How it ended: `done`, `printed`, `refused: …`, `failed: …`; absent where that is not known.
    pub result: Option<String>,
}

impl Told {
    /// Tells an incident of the provider with this name.
    #[must_use]
    pub fn of(incident: &Incident, provider: &str) -> Self {
        let now = clock::now();
        let ended = incident.ended;
        Self {
            provider: provider.to_owned(),
            began_at: wall(incident.began),
            ended_at: ended.map(wall),
            lasted_s: seconds(
                ended
                    .unwrap_or(now)
                    .saturating_duration_since(incident.began),
            ),
            unreachable_s: seconds(incident.unreachable),
            cause: incident.cause.as_str().to_owned(),
            taint: incident.taint.map(|kind| kind.as_str().to_owned()),
            because: incident.because.clone(),
            actions: incident
                .actions
                .iter()
                .map(|acted| ToldAction {
                    at: wall(acted.at),
                    action: acted.kind.as_str().to_owned(),
                    reason: acted.reason.clone(),
                    result: acted.result.as_ref().map(words),
                })
                .collect(),
            acted: incident.acted,
        }
    }
}

impl Told {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let cause = match &self.taint {
            Some(taint) => format!("{} ({taint})", self.cause),
            None => self.cause.clone(),
        };
        let mut text = format!(
            "{}  {}: {cause}, unreachable for {} s\n",
            self.began_at, self.provider, self.unreachable_s
        );
        for fact in &self.because {
            let _ = writeln!(text, "  - {fact}");
        }
        for action in &self.actions {
            let result = action.result.as_deref().unwrap_or("not known");
            let (at, action, reason) = (&action.at, &action.action, &action.reason);
            let _ = writeln!(text, "  {at} {action}: {result} ({reason})");
        }
        text
    }
}

/// How an action ended, in words.
pub(super) fn words(result: &ActionResult) -> String {
    match result {
        ActionResult::Done => "done".to_owned(),
        ActionResult::Printed => "printed".to_owned(),
        ActionResult::Refused { why } => format!("refused: {why}"),
        ActionResult::Failed { why } => format!("failed: {why}"),
    }
}

/// The same in one word, for those who count.
pub(super) const fn word(result: &ActionResult) -> &'static str {
    match result {
        ActionResult::Done => "done",
        ActionResult::Printed => "printed",
        ActionResult::Refused { .. } => "refused",
        ActionResult::Failed { .. } => "failed",
    }
}

/// What the wall clock said then, by what it says now.
pub(super) fn wall(at: Instant) -> String {
    let ago = clock::now().saturating_duration_since(at);
    let then = SystemTime::now()
        .checked_sub(ago)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_millis(then).to_string()
}

/// Whole milliseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Adds a line. What cannot be written is logged in full instead: nothing is lost.
    pub(super) fn add(&self, told: &Told) {
        let mut line = match serde_json::to_string(told) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!("an incident cannot be written down: {error}");
                return;
            }
        };
        line.push('\n');
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::error!(
                "{} cannot be written ({error}); the incident: {}",
                self.path.display(),
                line.trim_end()
            );
        }
    }
}
