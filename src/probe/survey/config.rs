//! What a survey is asked to do, and what it reports on its way.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    probe::{behaviour::Shape, inbound::InboundPlan, lifetime::LifetimeProgress},
    proto::{auth::Credentials, registration::RegistrationEvent, reliable::RetryPolicy},
    types::PeerAddr,
};

/// What to find out, of whom.
#[derive(Clone, Debug)]
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
    /// Look at the mapping of one socket.
    pub mapping: bool,
    /// What else to find out.
    pub beside: BTreeSet<Experiment>,
    /// The lifetimes to measure; `None`: none.
    pub sweep: Option<SweepPlan>,
    /// Which port strangers are to reach.
    pub inbound: InboundPlan,
    /// How to time each of several boxes on the way; `None`: only where they stand is found out.
    pub hop_timers: Option<SweepPlan>,
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
            mapping: true,
            beside: Experiment::ALL.into_iter().collect(),
            sweep: Some(SweepPlan::default()),
            inbound: InboundPlan::default(),
            hop_timers: None,
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
}

impl Experiment {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Filtering,
        Self::Hops,
        Self::Payload,
        Self::Inbound,
        Self::Depth,
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
}

impl Default for SweepPlan {
    fn default() -> Self {
        Self {
            shapes: Shape::ALL.to_vec(),
            longest: Duration::from_secs(300),
            budget: 512,
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
    /// Everything is done.
    Finished,
}
