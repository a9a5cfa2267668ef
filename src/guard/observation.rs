//! What the guardian is told: one thing that an observer saw, with the instant of it.
//!
//! Every observer is optional. What no observer tells is not known, and the guardian never takes the
//! absence of an observation for one. `at` is on one monotonic clock that the shell counts; an
//! observation whose `at` lies before a newer one of the same kind is old news and is ignored.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    check::taint::Kind,
    guard::action::ActionOutcome,
    types::{MappedAddr, PeerAddr},
};

/// Names one watched provider: its place in the configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(pub u16);

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was seen.
    pub at: Instant,
    /// What was seen.
    pub seen: Seen,
}

/// What an observer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Asterisk told how the registration stands: a line of `iax2 show registry`, `IAXregistry`, or
    /// an event of the manager interface.
    Registry {
        /// Whose line it is.
        provider: ProviderId,
        /// The state.
        state: RegistryState,
        /// The address Asterisk registers at, where the line shows one.
        peer: Option<PeerAddr>,
        /// "Perceived": the address that the registrar saw last.
        perceived: Option<MappedAddr>,
        /// The refresh in force.
        refresh: Option<Duration>,
    },
    /// A frame passed between Asterisk's own port and the provider.
    OwnPort {
        /// The provider.
        provider: ProviderId,
        /// The frame.
        frame: OwnPortFrame,
    },
    /// A POKE from a fresh port, which shares no NAT entry with Asterisk, has ended.
    Poke {
        /// The provider.
        provider: ProviderId,
        /// How it ended.
        outcome: PokeOutcome,
    },
    /// The provider's name was looked up.
    Resolved {
        /// The provider.
        provider: ProviderId,
        /// Its addresses, in order; empty where the name does not resolve now.
        peers: Vec<PeerAddr>,
    },
    /// The way out of this host, or of this router, as it is now.
    Wan(Wan),
    /// The entry of Asterisk's flow to the provider in the table of this router.
    Entry {
        /// The provider.
        provider: ProviderId,
        /// The entry; `None`: there is none.
        entry: Option<FlowEntry>,
    },
    /// The Asterisk process.
    Asterisk(Process),
    /// The memory that Asterisk holds.
    Memory {
        /// Its resident set, in octets.
        resident: u64,
    },
    /// All calls that are up now, those of other channels included. Empty: none is.
    Calls(Vec<CallUp>),
    /// How long the NAT keeps a mapping, measured.
    Lifetime {
        /// Towards which provider.
        provider: ProviderId,
        /// Of which class of flow.
        class: TimerClass,
        /// The shortest idle time after which it was gone.
        dead: Duration,
    },
    /// The host was suspended; its timers stood still, those of the NAT did not.
    Slept {
        /// For how long.
        lasted: Duration,
    },
    /// The wall clock was set. Nothing here depends on it; it is told so that a log can say it.
    ClockSet {
        /// By how many seconds; negative: back.
        by_s: i64,
    },
    /// An observer cannot see any more. What it told before is forgotten: it may be old.
    Blind {
        /// Which one.
        observer: Observer,
        /// Why, in words for a person.
        reason: String,
    },
    /// An observer sees again, or for the first time.
    Sees(Observer),
    /// What became of the action that was polled last.
    Outcome(ActionOutcome),
}

/// Who observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observer {
    /// Asterisk, by its manager interface or its command line: registry, calls.
    Asterisk,
    /// The table of processes: running, restarted, memory.
    Process,
    /// The passive capture of Asterisk's own port.
    Capture,
    /// Links, addresses and routes, by rtnetlink.
    Wan,
    /// The router's table of connections.
    Conntrack,
    /// POKEs from fresh ports.
    Poke,
    /// The resolver of names.
    Resolver,
}

impl Observer {
    /// The name in messages, metrics and states.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asterisk => "asterisk",
            Self::Process => "process",
            Self::Capture => "capture",
            Self::Wan => "wan",
            Self::Conntrack => "conntrack",
            Self::Poke => "poke",
            Self::Resolver => "resolver",
        }
    }
}

/// How a registration stands, in Asterisk's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegistryState {
    /// Never tried, or the name did not resolve.
    Unregistered,
    /// A request is out. Also for a moment in every healthy refresh.
    RequestSent,
    /// The challenge is answered, and the registrar is not heard of since.
    AuthSent,
    /// The registrar accepted it. It stays so while the mapping dies.
    Registered,
    /// The registrar refused it; a naked REGREJ shows as this as well.
    Rejected,
    /// Four requests were not answered.
    Timeout,
    /// The registrar asks for a secret, and the line has none.
    NoAuthentication,
    /// Asterisk has no such line.
    Absent,
    /// Another word; what it means is not known.
    Other,
}

impl RegistryState {
    /// Reads Asterisk's word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "Unregistered" => Self::Unregistered,
            "Request Sent" => Self::RequestSent,
            "Auth. Sent" => Self::AuthSent,
            "Registered" => Self::Registered,
            "Rejected" => Self::Rejected,
            "Timeout" => Self::Timeout,
            "No Authentication" => Self::NoAuthentication,
            _ => Self::Other,
        }
    }

    /// Asterisk's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unregistered => "Unregistered",
            Self::RequestSent => "Request Sent",
            Self::AuthSent => "Auth. Sent",
            Self::Registered => "Registered",
            Self::Rejected => "Rejected",
            Self::Timeout => "Timeout",
            Self::NoAuthentication => "No Authentication",
            Self::Absent => "no such registration",
            Self::Other => "unknown",
        }
    }
}

/// A frame between Asterisk's own port and the provider, as the wire of this host carried it. A packet
/// that a hold keeps back is not on the wire, and the keepalives that the guardian ordered are not told.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnPortFrame {
    /// REGREQ left.
    RegReq {
        /// It repeats an earlier one.
        again: bool,
    },
    /// Anything else left: POKE, a call's frames. It refreshes the entry as well.
    OtherSent,
    /// CALLTOKEN or REGAUTH came: the flow is answered.
    Challenge,
    /// REGACK came.
    RegAck {
        /// APPARENT ADDR: the address that the registrar saw.
        apparent: Option<MappedAddr>,
        /// The refresh granted.
        refresh: Option<Duration>,
    },
    /// REGREJ with a cause came.
    RegRej {
        /// CAUSE.
        cause: Option<String>,
        /// CAUSECODE.
        code: Option<u8>,
    },
    /// REGREJ or REJECT without elements came from call number 1: the token was refused, the external
    /// port changed, or the address has too many calls.
    NakedReject,
    /// INVAL came: the far end does not know the call.
    Inval,
    /// Anything else came: the flow is answered.
    OtherReceived,
}

impl OwnPortFrame {
    /// Whether it came from the provider.
    #[must_use]
    pub const fn is_received(&self) -> bool {
        !matches!(self, Self::RegReq { .. } | Self::OtherSent)
    }
}

/// How a POKE from a fresh port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PokeOutcome {
    /// PONG came.
    Answered {
        /// After this time.
        rtt: Duration,
    },
    /// No repetition of it was answered.
    Silent,
    /// A router or the far host said that it cannot be delivered.
    Unreachable,
    /// This host could not send it: no route, no address, or refused by a filter of its own.
    NotSent,
}

/// The way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wan {
    /// The link has a carrier and is up; `None`: not known.
    pub link: Option<bool>,
    /// The address of the way out; `None`: not known, or see `has_address`.
    pub address: Option<IpAddr>,
    /// The way out has an address; `None`: not known.
    pub has_address: Option<bool>,
    /// There is a route to the providers; `None`: not known.
    pub route: Option<bool>,
}

impl Wan {
    /// Whether nothing can leave; `None` where too little is known.
    #[must_use]
    pub fn is_down(&self) -> Option<bool> {
        let parts = [self.link, self.has_address, self.route];
        if parts.contains(&Some(false)) {
            Some(true)
        } else if parts.contains(&Some(true)) {
            Some(false)
        } else {
            None
        }
    }
}

/// Which of a NAT's timers rules an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerClass {
    /// No answer was seen, or the exchange was over at once: 30 s on Linux.
    Exchange,
    /// Packets went both ways for longer (`[ASSURED]`): 120 s on Linux.
    Stream,
}

impl TimerClass {
    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Stream => "stream",
        }
    }
}

/// The entry of Asterisk's flow in the router's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// The timer that rules it.
    pub class: TimerClass,
    /// That timer's length, where it was read.
    pub timer: Option<Duration>,
    /// What is left of it, where it was read.
    pub left: Option<Duration>,
    /// What `check::taint` makes of it; `None`: it could not be judged.
    pub kind: Option<Kind>,
}

/// The Asterisk process and its IAX2 channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It runs and its IAX2 channel is loaded.
    Up,
    /// It runs, and its IAX2 channel is not loaded.
    NoModule,
    /// It does not run.
    Down,
    /// It runs, and it is another process than before. [`Process::Up`] or [`Process::NoModule`] follows.
    Restarted,
}

/// A call that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallUp {
    /// The provider it goes over; `None`: over none of the watched ones, or not known.
    pub provider: Option<ProviderId>,
    /// Whether it carries audio.
    pub audio: Audio,
}

/// Whether a call carries audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audio {
    /// Both ways.
    Both,
    /// Proven that at least one direction has been silent for long: nobody talks there any more.
    Dead,
    /// Not known; taken for [`Audio::Both`] by everything that could end the call.
    NotKnown,
}
