//! What a survey is asked to do, and what it reports on its way.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    probe::{
        behaviour::Shape,
        calls::plan::{CallsConfig, CallsEvent},
        inbound::InboundPlan,
        lifetime::{LifetimeProgress, unaided::Unaided},
    },
    proto::{auth::Credentials, registration::RegistrationEvent, reliable::RetryPolicy},
    types::PeerAddr,
};

/// What to find out, of whom.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each switches one experiment, whatever the others do"
)]
pub struct SurveyConfig {
    /// The provider.
    pub provider: PeerAddr,
    /// A reflector on another host; the provider is asked whether it is one, too.
    pub reflector: Option<PeerAddr>,
    /// STUN servers.
    pub stun: Vec<PeerAddr>,
    /// The account to register; `None`: none is made.
    pub credentials: Option<Credentials>,
    /// The refresh to ask for.
    pub refresh: Duration,
    /// The refresh to judge with, instead of the granted one.
    pub assumed_refresh: Option<Duration>,
    /// Give the account's registration up instead of making one.
    pub release_only: bool,
    /// Send POKEs to the provider.
    pub reach: bool,
    /// Send some from the port of the user's choice too, to see whether its flow is dead at the NAT.
    pub same_port: bool,
    /// Look at the mapping of one socket.
    pub mapping: bool,
    /// Send packets to our own public address.
    pub hairpin: bool,
    /// The lifetimes to measure; `None`: none.
    pub sweep: Option<SweepPlan>,
    /// The test calls to place; `None`: none.
    pub calls: Option<Box<CallsConfig>>,
    /// The extension that rings the account, to be called late in the interval of registrations.
    pub callback: Option<String>,
    /// There is a second LAN address: the driver binds the siblings' sockets to it.
    pub sibling: bool,
    /// What else to find out.
    pub beside: BTreeSet<Experiment>,
    /// Which port strangers are to reach.
    pub inbound: InboundPlan,
    /// How to time each of several boxes on the way; `None`: only where they stand is found out.
    pub hop_timers: Option<SweepPlan>,
    /// Wait for what keeps a mapping open even where that takes longer than all lifetimes do.
    pub wait_for_refreshes: bool,
    /// When frames of the registration are sent again.
    pub retry: RetryPolicy,
    /// Seed of everything random.
    pub seed: [u8; 32],
}

impl SurveyConfig {
    /// The whole survey with the defaults of the command line.
    #[must_use]
    pub fn new(provider: PeerAddr, seed: [u8; 32]) -> Self {
        Self {
            provider,
            reflector: None,
            stun: Vec::new(),
            credentials: None,
            refresh: Duration::from_secs(60),
            assumed_refresh: None,
            release_only: false,
            reach: true,
            same_port: false,
            mapping: true,
            hairpin: false,
            sweep: Some(SweepPlan::default()),
            calls: None,
            callback: None,
            sibling: false,
            beside: Experiment::ALL.into_iter().collect(),
            inbound: InboundPlan::default(),
            hop_timers: None,
            wait_for_refreshes: false,
            retry: RetryPolicy::QUICK,
            seed,
        }
    }
}

/// An experiment that runs beside the registration, the mapping and the lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Experiment {
    /// Whom the NAT lets in.
    Filtering,
    /// Which boxes on the way keep state.
    Hops,
    /// Whether what arrives equals what left.
    Payload,
    /// Whether strangers reach the real service.
    Inbound,
    /// Which ports and addresses many sockets get.
    Depth,
    /// Who keeps a port that two hosts send from; only with [`SurveyConfig::sibling`].
    Neighbours,
    /// Whether a busy mapping ends, while lifetimes are measured with a reflector.
    Busy,
    /// What keeps a mapping open, while lifetimes are measured with a reflector.
    Refreshes,
}

impl Experiment {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Filtering,
        Self::Hops,
        Self::Payload,
        Self::Inbound,
        Self::Depth,
        Self::Neighbours,
        Self::Busy,
        Self::Refreshes,
    ];
}

/// Which lifetimes are measured, and with how many mappings.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The shapes.
    pub shapes: Vec<Shape>,
    /// The longest idle time to try.
    pub longest: Duration,
    /// Mappings in flight, at most.
    pub budget: usize,
    /// Measure with the registrar alone; `None`: with a reflector or a STUN server.
    pub unaided: Option<UnaidedPlan>,
}

/// How lifetimes are measured with the registrar alone.
#[derive(Clone, Debug)]
pub struct UnaidedPlan {
    /// The method; `None`: the one that the NAT allows.
    pub method: Option<Unaided>,
    /// There is a second LAN address: the driver binds the siblings' sockets to it.
    pub sibling: bool,
    /// The account; its name alone is enough for [`Unaided::Token`].
    pub credentials: Credentials,
}

impl UnaidedPlan {
    /// Whether this registers, which moves the account's binding.
    #[must_use]
    pub fn needs_account(&self) -> bool {
        self.method != Some(Unaided::Token)
    }
}

impl Default for SweepPlan {
    fn default() -> Self {
        Self {
            shapes: Shape::ALL.to_vec(),
            longest: Duration::from_secs(300),
            budget: 512,
            unaided: None,
        }
    }
}

/// What the survey reports on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum SurveyEvent {
    /// Something of the registration happened.
    Registration(RegistrationEvent),
    /// The provider was asked, and answered or did not.
    Reached,
    /// The mapping was seen from everywhere that answers.
    Mapped,
    /// One of the experiments beside them is over.
    Done,
    /// The lifetimes are being measured.
    SweepBegun,
    /// Twice a second while lifetimes are measured: how far that is.
    Progress(LifetimeProgress),
    /// The edge of one shape is known.
    Edge {
        /// Which.
        shape: Shape,
        /// The longest idle time that was survived.
        alive: Option<Duration>,
        /// The shortest that was not.
        dead: Option<Duration>,
    },
    /// Something of the test calls happened.
    Calls(CallsEvent),
    /// The call to the registered socket arrived or did not.
    CalledBack,
    /// Everything is done.
    Finished,
}
