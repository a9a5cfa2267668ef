//! What the guardian makes of the observations: the state of one provider, and of one incident.

use std::time::{Duration, Instant};

use crate::{
    check::taint::Kind,
    guard::{
        action::{ActionKind, ActionResult, Decision},
        observation::{Observer, ProviderId},
    },
    types::MappedAddr,
};

/// The state of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Diagnosis {
    /// Too little is known.
    NotKnown,
    /// Registered, and nothing speaks against it.
    Healthy,
    /// A registration is under way: wait.
    InTransit,
    /// Registered, but the mapping dies before the next registration.
    Hole,
    /// Nothing can leave: no link, no address or no route.
    WanDown,
    /// The provider answers nobody here, neither Asterisk's port nor a fresh one.
    ProviderDown,
    /// The registrar refuses the account: a matter for a person.
    Rejected,
    /// The registrar refuses the token: the external port changes on the way, or too many calls.
    TokenRefused,
    /// Asterisk's own port is not answered and a fresh one is, or the table shows the wrong entry.
    Tainted,
    /// Asterisk's own port is not answered, and there is nothing to compare that with.
    Unanswered,
    /// Asterisk does not run, or its IAX2 channel is not loaded.
    AsteriskDown,
    /// The name of the provider does not resolve.
    NotResolved,
    /// Asterisk has no such registration: a matter for a person.
    NotConfigured,
}

impl Diagnosis {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NotKnown,
        Self::Healthy,
        Self::InTransit,
        Self::Hole,
        Self::WanDown,
        Self::ProviderDown,
        Self::Rejected,
        Self::TokenRefused,
        Self::Tainted,
        Self::Unanswered,
        Self::AsteriskDown,
        Self::NotResolved,
        Self::NotConfigured,
    ];

    /// The name in incidents, states and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotKnown => "not-known",
            Self::Healthy => "healthy",
            Self::InTransit => "in-transit",
            Self::Hole => "hole",
            Self::WanDown => "wan-down",
            Self::ProviderDown => "provider-down",
            Self::Rejected => "rejected",
            Self::TokenRefused => "token-refused",
            Self::Tainted => "tainted",
            Self::Unanswered => "unanswered",
            Self::AsteriskDown => "asterisk-down",
            Self::NotResolved => "not-resolved",
            Self::NotConfigured => "not-configured",
        }
    }

    /// The diagnosis of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether calls are lost while it lasts.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::NotKnown | Self::Healthy | Self::InTransit)
    }
}

/// A diagnosis with the facts it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosed {
    /// What it is.
    pub diagnosis: Diagnosis,
    /// Which taint, where the router's table tells.
    pub taint: Option<Kind>,
    /// One observation proves it, rather than several together.
    pub proven: bool,
    /// How much of the time the provider cannot reach the PBX while this lasts, and it is no health:
    /// 100, or less where the mapping dies and comes back.
    pub lost_percent: u8,
    /// The facts.
    pub because: Vec<String>,
}

/// An action within an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// When it was decided.
    pub at: Instant,
    /// Its kind.
    pub kind: ActionKind,
    /// Why.
    pub reason: String,
    /// How it ended; `None`: not yet.
    pub result: Option<ActionResult>,
}

/// A time in which a provider could not reach the PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which provider.
    pub provider: ProviderId,
    /// The first observation of it.
    pub began: Instant,
    /// The observation that ended it; `None` while it lasts.
    pub ended: Option<Instant>,
    /// The diagnosis that explains it best: the last confirmed one that is a cause.
    pub cause: Diagnosis,
    /// Which taint, where the router's table told.
    pub taint: Option<Kind>,
    /// The facts.
    pub because: Vec<String>,
    /// What was done, oldest first; the first ones where there were many.
    pub actions: Vec<Acted>,
    /// How many actions there were.
    pub acted: u32,
    /// How long the provider could not reach the PBX.
    pub unreachable: Duration,
}

/// What happened, in the past tense.
#[derive(Clone, Debug, PartialEq)]
pub enum GuardEvent {
    /// The state of a provider changed.
    Diagnosed {
        /// Which provider.
        provider: ProviderId,
        /// When.
        at: Instant,
        /// Its new state.
        diagnosed: Diagnosed,
    },
    /// An incident began.
    Began(Incident),
    /// An incident ended.
    Ended(Incident),
    /// The registrar sees the PBX at another address than before.
    Moved {
        /// Which provider.
        provider: ProviderId,
        /// The address before.
        from: MappedAddr,
        /// The address now.
        to: MappedAddr,
    },
    /// An action was decided; [`Decision`] is the one that `poll_action` gives. The next stretch of a hold
    /// is not told.
    Decided(Decision),
    /// An action that was due waits. Told once for each cause.
    Withheld {
        /// For which provider.
        provider: ProviderId,
        /// Which.
        kind: ActionKind,
        /// Why: a call with audio, the budget, the gap to the last one.
        why: String,
    },
    /// An action ended.
    Acted {
        /// The decision.
        decision: Decision,
        /// How.
        result: ActionResult,
    },
    /// An observer went blind.
    Blind {
        /// Which.
        observer: Observer,
        /// Why.
        reason: String,
    },
    /// It sees again.
    Sees(Observer),
}

/// How often the shell should look now, so that nothing is asked more often than needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// From one POKE to the next.
    pub poke: Duration,
    /// From one look at Asterisk's registry and calls to the next, besides its events.
    pub registry: Duration,
    /// From one look at the router's table to the next.
    pub entry: Duration,
}
