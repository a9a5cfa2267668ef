//! The observers: each looks at one thing and tells the guardian what it sees, and when it cannot see.
//!
//! All run on one thread. What is told is kept for a while only, so each tells again what has not
//! changed, and no more often than the guardian asks for.

pub(super) mod asterisk;
pub(super) mod clock;
pub(super) mod entry;
pub(super) mod names;
pub(super) mod pokes;
pub(super) mod port;
pub(super) mod process;
pub(super) mod wan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use crate::{
    guard::{
        diagnosis::Cadence,
        observation::{Observation, Observer, ProviderId, Seen},
    },
    net,
    types::{MappedAddr, PeerAddr},
};

/// What has not changed is told again after this time: the guardian forgets what is older.
pub(super) const AGAIN: Duration = Duration::from_secs(100);

/// The addresses of the providers, in the order of their numbers.
pub(super) type Peers = Vec<Vec<PeerAddr>>;

/// What every observer has.
#[derive(Clone, Debug)]
pub(super) struct Common {
    to: mpsc::Sender<Observation>,
    /// How often to look at each provider, in the order of their numbers.
    pub(super) cadence: watch::Receiver<Vec<Cadence>>,
    /// Where the providers are.
    pub(super) peers: watch::Receiver<Peers>,
    nudge: Nudge,
    /// What is shared beside the guardian.
    pub(super) shared: Shared,
}

/// Says to all observers that something has happened.
#[derive(Clone, Debug)]
pub(super) struct Nudge(Arc<watch::Sender<u64>>);

impl Nudge {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

/// What has been said since this observer listened last; nothing is missed while it does something else.
#[derive(Debug)]
pub(super) struct Nudges(watch::Receiver<u64>);

impl Nudges {
    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for this long, or until something has happened; then true.
    pub(super) async fn pause(&mut self, limit: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(limit) => false,
            () = self.next() => true,
        }
    }
}

/// What observers and effects tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Facts>>);

/// The facts behind [`Shared`].
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// When audio was seen last, by provider: in and out.
    pub(super) audio: BTreeMap<ProviderId, (Option<Instant>, Option<Instant>)>,
    /// Since when packets are seen.
    pub(super) capturing: Option<Instant>,
    /// Whose packets are held.
    pub(super) held: BTreeSet<PeerAddr>,
    /// The registrations of the guardian's own.
    pub(super) own: BTreeMap<String, OwnLine>,
}

/// How a registration of the guardian's own stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnLine {
    /// It is registered.
    pub(super) registered: bool,
    /// The address that the registrar saw.
    pub(super) apparent: Option<MappedAddr>,
}

impl Shared {
    /// Looks at the facts, or changes them.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Common {
    /// For observers that tell `to`.
    pub(super) const fn new(
        to: mpsc::Sender<Observation>,
        cadence: watch::Receiver<Vec<Cadence>>,
        peers: watch::Receiver<Peers>,
        nudge: Nudge,
        shared: Shared,
    ) -> Self {
        Self {
            to,
            cadence,
            peers,
            nudge,
            shared,
        }
    }

    /// Tells what was seen just now.
    pub(super) async fn tell(&self, seen: Seen) {
        self.tell_of(net::clock::now(), seen).await;
    }

    /// Tells what was seen then.
    pub(super) async fn tell_of(&self, at: Instant, seen: Seen) {
        // Nobody listens any more: the whole ends.
        let _ = self.to.send(Observation { at, seen }).await;
    }

    /// How often to look at what is common to all providers.
    pub(super) fn most_often(&self, which: impl Fn(&Cadence) -> Duration) -> Duration {
        let cadence = self.cadence.borrow();
        cadence.iter().map(which).min().unwrap_or(AGAIN)
    }

    /// Each provider and its addresses.
    pub(super) fn providers(&self) -> Vec<(ProviderId, Vec<PeerAddr>)> {
        let peers = self.peers.borrow();
        (0..).map(ProviderId).zip(peers.iter().cloned()).collect()
    }

    /// Says that something has happened that is worth a look at once.
    pub(super) fn nudge(&self) {
        self.nudge
            .0
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What is said so from now on.
    pub(super) fn nudges(&self) -> Nudges {
        Nudges(self.nudge.0.subscribe())
    }
}

/// What was told of an observer last.
#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    Sees,
    Blind(String),
}

/// Whether an observer sees, told once for each change.
#[derive(Debug)]
pub(super) struct Sight {
    observer: Observer,
    told: Told,
}

impl Sight {
    pub(super) const fn new(observer: Observer) -> Self {
        Self {
            observer,
            told: Told::Nothing,
        }
    }

    /// It sees.
    pub(super) async fn sees(&mut self, common: &Common) {
        if self.told != Told::Sees {
            self.told = Told::Sees;
            common.tell(Seen::Sees(self.observer)).await;
        }
    }

    /// It does not, and why. Whether that is news.
    pub(super) async fn blind(&mut self, common: &Common, reason: String) -> bool {
        let now = Told::Blind(reason.clone());
        if self.told == now {
            return false;
        }
        self.told = now;
        let observer = self.observer;
        common.tell(Seen::Blind { observer, reason }).await;
        true
    }
}
