//! What is known, with its age: the observations of one provider and of the host, kept as far as a
//! diagnosis needs them, and forgotten when they are old or their observer goes blind.

use std::time::{Duration, Instant};

use crate::{
    check::taint::Kind,
    guard::observation::{
        Audio, CallUp, FlowEntry, Observer, OwnPortFrame, PokeOutcome, Process, ProviderId,
        RegistryState, TimerClass, Wan,
    },
    proto::registration::reregister_after,
    types::PeerAddr,
};

/// What is not told again within this time is no longer known.
pub(crate) const KEPT: Duration = Duration::from_secs(180);
/// Calls are asked for often while something is to be done; an older answer says nothing.
const CALLS_KEPT: Duration = Duration::from_secs(30);

/// A fact and when it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<T> {
    /// When.
    pub(crate) at: Instant,
    /// What.
    pub(crate) what: T,
}

/// The fact, unless it is too old.
pub(crate) fn fresh<T: Copy>(seen: Option<Seen<T>>, now: Instant) -> Option<T> {
    seen.filter(|seen| now.saturating_duration_since(seen.at) <= KEPT)
        .map(|seen| seen.what)
}

/// Whether `at` is news after `last`.
fn is_news<T>(last: Option<&Seen<T>>, at: Instant) -> bool {
    last.is_none_or(|last| at >= last.at)
}

/// The registration as Asterisk told it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry {
    /// The state.
    pub(crate) state: RegistryState,
    /// Since when it has been waiting for an answer, or without registration; `None` while registered.
    pub(crate) unregistered_since: Option<Instant>,
    /// Since when it has been registered; `None` while it is not.
    pub(crate) registered_since: Option<Instant>,
    /// An attempt has failed since it was registered last.
    pub(crate) has_failed: bool,
}

/// What is known of Asterisk's own port by the capture, since an answer came last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnPort {
    /// When anything left last.
    pub(crate) sent: Option<Instant>,
    /// When anything came last.
    pub(crate) received: Option<Instant>,
    /// The first request that nothing has answered.
    pub(crate) unanswered_since: Option<Instant>,
    /// How many requests nothing has answered.
    pub(crate) unanswered: u32,
    /// The longest time between two of them.
    pub(crate) longest_gap: Option<Duration>,
    last_request: Option<Instant>,
    /// How many requests nothing has answered while fresh ports were answered.
    pub(crate) tried: u32,
    /// How many naked refusals came since a registration was accepted.
    pub(crate) naked: u32,
    /// The longest silence between two registrations, the last ones that were seen whole.
    pub(crate) idle: Option<Duration>,
    cycle: Option<Cycle>,
}

/// From one registration to the next.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    began: Instant,
    last_packet: Instant,
    idle: Duration,
}

/// The frames of one registration come closer together than this.
const EXCHANGE: Duration = Duration::from_secs(5);

impl OwnPort {
    /// Whatever was asked is answered, or does not count any more.
    fn forget_requests(&mut self) {
        self.tried = 0;
        self.unanswered = 0;
        self.unanswered_since = None;
        self.longest_gap = None;
        self.last_request = None;
    }

    /// Counts the silence between packets of either direction.
    fn count_idle(&mut self, begins: bool, interval: Duration, at: Instant) {
        let Some(cycle) = &mut self.cycle else {
            if begins {
                self.cycle = Some(Cycle {
                    began: at,
                    last_packet: at,
                    idle: Duration::ZERO,
                });
            }
            return;
        };
        let silence = at.saturating_duration_since(cycle.last_packet);
        cycle.idle = cycle.idle.max(silence);
        cycle.last_packet = cycle.last_packet.max(at);
        let lasted = at.saturating_duration_since(cycle.began);
        if begins && lasted >= EXCHANGE {
            // One that a reload has cut short, or whose retries nobody answered, tells nothing.
            if lasted + EXCHANGE >= interval && self.unanswered == 0 {
                self.idle = Some(cycle.idle);
            }
            *cycle = Cycle {
                began: at,
                last_packet: at,
                idle: Duration::ZERO,
            };
        }
    }
}

/// What is known of POKEs from fresh ports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Poke {
    /// The last one.
    pub(crate) last: Option<Seen<PokeOutcome>>,
    /// When one was answered last.
    pub(crate) answered: Option<Instant>,
    /// Since when each has been answered.
    pub(crate) answering_since: Option<Instant>,
    /// The provider has answered one, ever: its silence says something.
    pub(crate) has_answered: bool,
}

/// All that is known of one provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The registration.
    pub(crate) registry: Option<Seen<Registry>>,
    /// Asterisk's own port.
    pub(crate) own_port: OwnPort,
    /// Fresh ports.
    pub(crate) poke: Poke,
    /// Whether the name resolves.
    pub(crate) resolves: Option<Seen<bool>>,
    /// Where it is: what Asterisk uses, and what the name says.
    pub(crate) peer: Option<PeerAddr>,
    resolved: Vec<PeerAddr>,
    /// The entry in the router's table.
    pub(crate) entry: Option<Seen<Option<FlowEntry>>>,
    /// Since when the entry has been judged a taint.
    pub(crate) tainted_since: Option<Instant>,
    /// Measured timers.
    pub(crate) exchange: Option<Duration>,
    /// Measured timers.
    pub(crate) stream: Option<Duration>,
    /// The refresh in force.
    pub(crate) refresh: Option<Duration>,
}

impl Facts {
    /// The addresses that remedies are for, in order; empty while none is known.
    pub(crate) fn peers(&self) -> Vec<PeerAddr> {
        let mut peers = self.resolved.clone();
        peers.extend(self.peer);
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// The name leads elsewhere now than where Asterisk asks.
    pub(crate) fn has_moved(&self) -> bool {
        !self.resolved.is_empty() && self.peer.is_some_and(|peer| !self.resolved.contains(&peer))
    }

    /// Takes a line of the registry. Returns whether it is news.
    pub(crate) fn registry(
        &mut self,
        state: RegistryState,
        peer: Option<PeerAddr>,
        refresh: Option<Duration>,
        at: Instant,
    ) -> bool {
        if !is_news(self.registry.as_ref(), at) {
            return false;
        }
        let before = self.registry.map(|seen| seen.what);
        let is_registered = state == RegistryState::Registered;
        let failed = !matches!(
            state,
            RegistryState::Registered | RegistryState::RequestSent | RegistryState::AuthSent
        );
        let registry = Registry {
            state,
            unregistered_since: (!is_registered).then(|| {
                before
                    .and_then(|before| before.unregistered_since)
                    .unwrap_or(at)
            }),
            registered_since: is_registered.then(|| {
                before
                    .and_then(|before| before.registered_since)
                    .unwrap_or(at)
            }),
            has_failed: !is_registered
                && (failed || before.is_some_and(|before| before.has_failed)),
        };
        self.registry = Some(Seen { at, what: registry });
        if peer.is_some() {
            self.peer = peer;
        }
        if is_registered && refresh.is_some() {
            self.refresh = refresh; // after a timeout Asterisk shows its default again
        }
        true
    }

    /// Takes a frame of Asterisk's own port.
    pub(crate) fn own_port(&mut self, frame: &OwnPortFrame, at: Instant) {
        let interval = self.refresh.map_or(Duration::ZERO, reregister_after);
        let port = &mut self.own_port;
        if frame.is_received() {
            if port.received.is_some_and(|last| last > at) {
                return;
            }
            port.received = Some(at);
            port.forget_requests();
        } else {
            port.sent = Some(port.sent.map_or(at, |last| last.max(at)));
        }
        let begins = matches!(frame, OwnPortFrame::RegReq { again: false });
        port.count_idle(begins, interval, at);
        match frame {
            OwnPortFrame::RegReq { .. } => {
                if port.received.is_none_or(|received| received <= at) {
                    port.unanswered = port.unanswered.saturating_add(1);
                    if let Some(last) = port.last_request.replace(at) {
                        let gap = at.saturating_duration_since(last);
                        port.longest_gap = port.longest_gap.max(Some(gap));
                    }
                    port.unanswered_since.get_or_insert(at);
                    if self.poke.answering_since.is_some_and(|since| since <= at) {
                        port.tried = port.tried.saturating_add(1);
                    }
                }
            }
            OwnPortFrame::RegAck { refresh, .. } => {
                port.naked = 0;
                self.refresh = refresh.or(self.refresh);
            }
            OwnPortFrame::NakedReject => port.naked = port.naked.saturating_add(1),
            OwnPortFrame::RegRej { .. } => port.naked = 0,
            OwnPortFrame::OtherSent
            | OwnPortFrame::Challenge
            | OwnPortFrame::Inval
            | OwnPortFrame::OtherReceived => {}
        }
    }

    /// Takes the end of a POKE. Returns whether it is news.
    pub(crate) fn poke(&mut self, outcome: PokeOutcome, at: Instant) -> bool {
        if !is_news(self.poke.last.as_ref(), at) {
            return false;
        }
        self.poke.last = Some(Seen { at, what: outcome });
        if matches!(outcome, PokeOutcome::Answered { .. }) {
            self.poke.answered = Some(at);
            self.poke.answering_since.get_or_insert(at);
            self.poke.has_answered = true;
        } else {
            self.poke.answering_since = None;
            self.own_port.tried = 0;
        }
        true
    }

    /// Takes the addresses of the name. Returns whether others than before came.
    pub(crate) fn resolved(&mut self, peers: Vec<PeerAddr>, at: Instant) -> bool {
        if !is_news(self.resolves.as_ref(), at) {
            return false;
        }
        self.resolves = Some(Seen {
            at,
            what: !peers.is_empty(),
        });
        if peers.is_empty() || peers == self.resolved {
            return false; // where it was is the best that is known
        }
        let is_first = self.resolved.is_empty();
        self.resolved = peers;
        !is_first
    }

    /// Takes the entry of the router's table. Returns whether it is news.
    pub(crate) fn entry(&mut self, entry: Option<FlowEntry>, at: Instant) -> bool {
        if !is_news(self.entry.as_ref(), at) {
            return false;
        }
        self.entry = Some(Seen { at, what: entry });
        let is_taint = entry
            .and_then(|entry| entry.kind)
            .is_some_and(Kind::is_taint);
        if is_taint {
            self.tainted_since.get_or_insert(at);
        } else {
            self.tainted_since = None;
        }
        true
    }

    /// Takes a measured timer.
    pub(crate) fn lifetime(&mut self, class: TimerClass, dead: Duration) {
        match class {
            TimerClass::Exchange => self.exchange = Some(dead),
            TimerClass::Stream => self.stream = Some(dead),
        }
    }

    /// Forgets what an observer told that cannot see any more.
    pub(crate) fn forget(&mut self, observer: Observer) {
        match observer {
            Observer::Asterisk => self.registry = None,
            Observer::Capture => self.own_port = OwnPort::default(),
            Observer::Conntrack => {
                self.entry = None;
                self.tainted_since = None;
            }
            Observer::Poke => {
                self.poke.last = None;
                self.poke.answered = None;
                self.poke.answering_since = None;
            }
            Observer::Resolver => self.resolves = None,
            Observer::Process | Observer::Wan => {}
        }
    }

    /// Forgets what silence said so far: what caused it may be over.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        self.own_port.forget_requests();
        self.own_port.naked = 0;
        self.own_port.cycle = None;
        self.own_port.idle = None;
        self.poke.last = None;
        self.poke.answered = None;
        self.poke.answering_since = None;
        self.entry = None;
        self.tainted_since = None;
        if let Some(registry) = &mut self.registry {
            registry.what.has_failed = false;
            if let Some(since) = &mut registry.what.unregistered_since {
                *since = now;
            }
        }
    }
}

/// All that is known of the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFacts {
    /// The way out.
    pub(crate) wan: Option<Seen<Wan>>,
    /// When it became another last.
    pub(crate) wan_changed: Option<Instant>,
    /// Asterisk.
    pub(crate) process: Option<Seen<Process>>,
    /// Its resident set, in octets.
    pub(crate) memory: Option<u64>,
    calls: Option<Seen<()>>,
    up: Vec<CallUp>,
}

/// Whether something that could end calls may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallsUp {
    /// None, or proven dead ones only.
    None,
    /// Dead ones only, which still keep the module in use.
    Dead,
    /// There is one that carries audio, or may.
    Talking,
    /// Nobody tells, or too long ago.
    NotKnown,
}

impl HostFacts {
    /// Takes what the way out is.
    pub(crate) fn wan(&mut self, wan: Wan, at: Instant) {
        if !is_news(self.wan.as_ref(), at) {
            return;
        }
        if self.wan.is_some_and(|before| before.what != wan) {
            self.wan_changed = Some(at);
        }
        self.wan = Some(Seen { at, what: wan });
    }

    /// Takes how Asterisk's process is. Returns whether it is news.
    pub(crate) fn process(&mut self, process: Process, at: Instant) -> bool {
        if !is_news(self.process.as_ref(), at) {
            return false;
        }
        let before = self.process.map(|seen| seen.what);
        self.process = Some(Seen { at, what: process });
        before != Some(process)
    }

    /// Takes the calls that are up.
    pub(crate) fn calls(&mut self, calls: Vec<CallUp>, at: Instant) {
        if is_news(self.calls.as_ref(), at) {
            self.calls = Some(Seen { at, what: () });
            self.up = calls;
        }
    }

    /// The calls over `provider`, those included of which that is not known; of all with `None`.
    pub(crate) fn calls_up(&self, provider: Option<ProviderId>, now: Instant) -> CallsUp {
        let is_known = self
            .calls
            .is_some_and(|seen| now.saturating_duration_since(seen.at) <= CALLS_KEPT);
        if !is_known {
            return CallsUp::NotKnown;
        }
        let mut up = CallsUp::None;
        for call in &self.up {
            let is_meant =
                provider.is_none() || call.provider.is_none() || call.provider == provider;
            match call.audio {
                _ if !is_meant => {}
                Audio::Both | Audio::NotKnown => return CallsUp::Talking,
                Audio::Dead => up = CallsUp::Dead,
            }
        }
        up
    }

    /// Forgets what an observer told that cannot see any more.
    pub(crate) fn forget(&mut self, observer: Observer) {
        match observer {
            Observer::Asterisk => {
                self.calls = None;
                self.up.clear();
            }
            Observer::Process => {
                self.process = None;
                self.memory = None;
            }
            Observer::Wan => self.wan = None,
            Observer::Capture | Observer::Conntrack | Observer::Poke | Observer::Resolver => {}
        }
    }
}
