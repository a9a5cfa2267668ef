//! What the guardian wants done: effects as data. Only the shell acts; a dry run prints them.
//!
//! The shell takes one decision, carries it out, and answers with an [`ActionOutcome`] as an
//! observation. Until then, or until the decision's limit has passed, there is no other.

use std::{fmt, time::Duration};

use crate::{guard::observation::ProviderId, types::PeerAddr};

/// Numbers decisions in the order in which they were taken, over restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

/// One action, for one provider or for all, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its number; the outcome names it.
    pub id: ActionId,
    /// The provider it is for.
    pub provider: ProviderId,
    /// What is to be done.
    pub action: Action,
    /// Why, with the facts, in one sentence.
    pub reason: String,
    /// How long the shell may take. After that the guardian counts it as failed.
    pub limit: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep Asterisk's packets to these addresses from leaving, for at most this long; the kernel lifts it
    /// by itself. The same again extends it. Done once it is in place.
    Hold {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
        /// When the kernel lifts it unless it is extended.
        lasting: Duration,
    },
    /// Lift a hold or a quiet period. Nothing happens where there is none.
    Release {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
    },
    /// Delete the entries of Asterisk's flow to these addresses from the router's table, and no other. Done
    /// also where there is none.
    DeleteEntry {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
    },
    /// As [`Action::Hold`], for a time that outlasts the NAT's timer, and not extended.
    Quiet {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
        /// How long; the kernel lifts it by itself.
        lasting: Duration,
    },
    /// Have Asterisk register now with all its providers: `iax2 reload`. Calls go on.
    Reregister,
    /// Send four zero octets from Asterisk's own address and port to these addresses until told otherwise.
    /// Given again with other figures, those hold from then on.
    KeepOpen {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
        /// From one to the next.
        every: Duration,
        /// The IP time to live; `None`: the host's default.
        ttl: Option<u8>,
    },
    /// Stop it. Nothing happens where there is none.
    StopKeepOpen {
        /// The provider's addresses.
        peers: Vec<PeerAddr>,
    },
    /// Unload the IAX2 channel, wait, load it again. Refused by the shell when a call is up.
    ReloadModule {
        /// Between unloading and loading.
        pause: Duration,
    },
    /// Load the IAX2 channel that an interrupted [`Action::ReloadModule`] has left unloaded.
    LoadModule,
    /// Run a command of the configuration.
    Run {
        /// Program and arguments; no shell reads them.
        command: Vec<String>,
    },
    /// Tell a person.
    Notify {
        /// What is wrong, and what to do: plain sentences.
        text: String,
    },
}

/// The kinds of actions, as the configuration allows them and as metrics count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// [`Action::Hold`].
    Hold,
    /// [`Action::Release`].
    Release,
    /// [`Action::DeleteEntry`].
    DeleteEntry,
    /// [`Action::Quiet`].
    Quiet,
    /// [`Action::Reregister`].
    Reregister,
    /// [`Action::KeepOpen`].
    KeepOpen,
    /// [`Action::StopKeepOpen`].
    StopKeepOpen,
    /// [`Action::ReloadModule`].
    ReloadModule,
    /// [`Action::LoadModule`].
    LoadModule,
    /// [`Action::Run`].
    Run,
    /// [`Action::Notify`].
    Notify,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Hold,
        Self::Release,
        Self::DeleteEntry,
        Self::Quiet,
        Self::Reregister,
        Self::KeepOpen,
        Self::StopKeepOpen,
        Self::ReloadModule,
        Self::LoadModule,
        Self::Run,
        Self::Notify,
    ];

    /// The name in the configuration, in incidents and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::DeleteEntry => "delete-entry",
            Self::Quiet => "quiet",
            Self::Reregister => "reregister",
            Self::KeepOpen => "keep-open",
            Self::StopKeepOpen => "stop-keep-open",
            Self::ReloadModule => "reload-module",
            Self::LoadModule => "load-module",
            Self::Run => "run",
            Self::Notify => "notify",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether it counts towards the budget: it may disturb. What undoes, ends or tells does not.
    #[must_use]
    pub const fn is_budgeted(self) -> bool {
        match self {
            Self::Hold
            | Self::DeleteEntry
            | Self::Quiet
            | Self::Reregister
            | Self::KeepOpen
            | Self::ReloadModule
            | Self::Run => true,
            Self::Release | Self::StopKeepOpen | Self::LoadModule | Self::Notify => false,
        }
    }
}

impl Action {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Hold { .. } => ActionKind::Hold,
            Self::Release { .. } => ActionKind::Release,
            Self::DeleteEntry { .. } => ActionKind::DeleteEntry,
            Self::Quiet { .. } => ActionKind::Quiet,
            Self::Reregister => ActionKind::Reregister,
            Self::KeepOpen { .. } => ActionKind::KeepOpen,
            Self::StopKeepOpen { .. } => ActionKind::StopKeepOpen,
            Self::ReloadModule { .. } => ActionKind::ReloadModule,
            Self::LoadModule => ActionKind::LoadModule,
            Self::Run { .. } => ActionKind::Run,
            Self::Notify { .. } => ActionKind::Notify,
        }
    }
}

/// One line that says what will be done.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { peers, lasting } => write!(
                f,
                "hold Asterisk's packets to {} for up to {} s",
                list(peers),
                seconds(*lasting)
            ),
            Self::Release { peers } => {
                write!(f, "let Asterisk's packets to {} go again", list(peers))
            }
            Self::DeleteEntry { peers } => write!(
                f,
                "delete the NAT entry of Asterisk's flow to {}",
                list(peers)
            ),
            Self::Quiet { peers, lasting } => write!(
                f,
                "keep Asterisk quiet towards {} for {} s",
                list(peers),
                seconds(*lasting)
            ),
            Self::Reregister => f.write_str("have Asterisk register now (iax2 reload)"),
            Self::KeepOpen { peers, every, ttl } => {
                let (peers, every) = (list(peers), seconds(*every));
                write!(f, "send four zero octets to {peers} every {every} s")?;
                ttl.map_or(Ok(()), |ttl| write!(f, " with TTL {ttl}"))
            }
            Self::StopKeepOpen { peers } => {
                write!(f, "stop sending zero octets to {}", list(peers))
            }
            Self::ReloadModule { pause } => write!(
                f,
                "unload chan_iax2.so, wait {} s, load it",
                seconds(*pause)
            ),
            Self::LoadModule => f.write_str("load chan_iax2.so"),
            Self::Run { command } => write!(f, "run {}", command.join(" ")),
            Self::Notify { text } => write!(f, "tell: {text}"),
        }
    }
}

fn list(peers: &[PeerAddr]) -> String {
    let words: Vec<String> = peers.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Seconds without needless digits.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionOutcome {
    /// Which decision.
    pub id: ActionId,
    /// What became of it.
    pub result: ActionResult,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It is done.
    Done,
    /// It was not tried: a call is up, a right is missing, a program is not there.
    Refused {
        /// Why, in words for a person.
        why: String,
    },
    /// It was tried and did not work.
    Failed {
        /// Why, in words for a person.
        why: String,
    },
    /// Dry run: it was printed only. The guardian goes on as if it were done.
    Printed,
}
