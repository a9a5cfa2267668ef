//! What the guardian may do, and how patient it is: the part of the configuration that it obeys.

use std::{collections::BTreeSet, time::Duration};

use crate::guard::action::ActionKind;

/// Asterisk's longest silence between two requests while the registrar does not answer: sent at 0, 2, 12
/// and 22 s, and again at 50 s.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(28);
/// Within this time a request that no observer saw answered is under way: it is repeated after 2 and 12 s.
pub const TRANSIT: Duration = Duration::from_secs(14);
/// What is added to a NAT's timer before it is taken for over.
pub const MARGIN: Duration = Duration::from_secs(5);

/// The whole policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// So many of the last [`Policy::samples`] looks must agree before anything is done, unless one
    /// observation proves it.
    pub agreeing: u8,
    /// How many looks are remembered.
    pub samples: u8,
    /// The shortest time from one remedy to the next for the same provider; doubled each time that one
    /// did not help.
    pub min_gap: Duration,
    /// The longest such time.
    pub max_gap: Duration,
    /// How many actions that may disturb there are in any hour, for all providers together.
    pub per_hour: u16,
    /// How many of them may be [`ActionKind::ReloadModule`].
    pub reloads_per_hour: u16,
    /// How long a hold that rests on silence alone may last before Asterisk may try again.
    pub longest_hold: Duration,
    /// After this long, what only a person can cure is told again.
    pub tell_again: Duration,
    /// No reload of the module while Asterisk holds more memory than this, in octets: each leaks some.
    pub most_memory: Option<u64>,
    /// The NAT's timer for short exchanges: given, or assumed until one is measured.
    pub exchange: Timer,
    /// The NAT's timer for streams.
    pub stream: Timer,
    /// The watched providers, in the order of their [`ProviderId`](crate::guard::observation::ProviderId).
    pub providers: Vec<ProviderPolicy>,
}

/// A timer of the NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its length.
    pub length: Duration,
    /// The user gave it; else it is the usual one, and what is measured counts more.
    pub given: bool,
}

/// What holds for one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderPolicy {
    /// Its name in the configuration.
    pub name: String,
    /// What may be done; always tried in the fixed order, least first.
    pub remedies: BTreeSet<ActionKind>,
    /// The command of [`ActionKind::Run`].
    pub run: Vec<String>,
    /// The TTL of keepalives: one that reaches the NAT in question.
    pub keep_open_ttl: Option<u8>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            agreeing: 3,
            samples: 5,
            min_gap: Duration::from_secs(10),
            max_gap: Duration::from_secs(1800),
            per_hour: 20,
            reloads_per_hour: 2,
            longest_hold: Duration::from_secs(600),
            tell_again: Duration::from_secs(86_400),
            most_memory: None,
            exchange: Timer {
                length: Duration::from_secs(30),
                given: false,
            },
            stream: Timer {
                length: Duration::from_secs(120),
                given: false,
            },
            providers: Vec::new(),
        }
    }
}

impl Policy {
    /// What may be done unless the configuration says otherwise: what neither ends calls nor unloads
    /// anything.
    pub const USUAL_REMEDIES: [ActionKind; 6] = [
        ActionKind::Hold,
        ActionKind::DeleteEntry,
        ActionKind::Quiet,
        ActionKind::Reregister,
        ActionKind::KeepOpen,
        ActionKind::Notify,
    ];
    /// The remedies that a configuration may name, least first.
    pub const REMEDIES: [ActionKind; 8] = [
        ActionKind::Hold,
        ActionKind::DeleteEntry,
        ActionKind::Quiet,
        ActionKind::Reregister,
        ActionKind::KeepOpen,
        ActionKind::ReloadModule,
        ActionKind::Run,
        ActionKind::Notify,
    ];
}

impl ProviderPolicy {
    /// A provider with the usual remedies.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            remedies: Policy::USUAL_REMEDIES.into(),
            run: Vec::new(),
            keep_open_ttl: None,
        }
    }

    /// Whether this may be done.
    #[must_use]
    pub fn allows(&self, kind: ActionKind) -> bool {
        self.remedies.contains(&kind)
    }
}
