//! What the experiments found: facts, each with what it rests on, and no verdict. "Not known" is
//! `None`.

use std::{net::IpAddr, time::Duration};

use crate::{
    probe::{
        behaviour::Shape, callback::CallbackEvidence, calls::evidence::CallsEvidence,
        neighbours::NeighboursEvidence, refresh::RefreshEvidence,
    },
    proto::contract::Unreachable,
    types::{LocalAddr, MappedAddr, PeerAddr},
};

/// Everything one survey found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// POKEs to the provider.
    pub reach: Option<ReachEvidence>,
    /// The same towards the reflector, where that is another host.
    pub reflector: Option<ReachEvidence>,
    /// POKEs to the provider from the port of the user's choice, in the time of `reach`, which asks
    /// from a fresh one.
    pub same_port: Option<ReachEvidence>,
    /// The live registration.
    pub registration: Option<RegistrationEvidence>,
    /// What the running Asterisk on this host says of its own registration.
    pub asterisk: Option<AsteriskEvidence>,
    /// Where the NAT mapped one socket, seen from several places.
    pub mapping: Option<MappingEvidence>,
    /// Which ports and addresses many sockets get.
    pub depth: Option<DepthEvidence>,
    /// What two hosts with one port get.
    pub neighbours: Option<NeighboursEvidence>,
    /// Whom the NAT lets in.
    pub filtering: Option<FilteringEvidence>,
    /// Which boxes stand on the way.
    pub hops: Option<HopsEvidence>,
    /// Whether what arrives equals what left.
    pub payload: Option<PayloadEvidence>,
    /// Whether strangers reach the real service.
    pub inbound: Option<InboundEvidence>,
    /// How long idle mappings live.
    pub lifetime: Option<LifetimeEvidence>,
    /// What keeps them open.
    pub refresh: Option<RefreshEvidence>,
    /// The ages at which mappings that packets of ours passed on all the time were there, and were gone.
    pub busy: Option<ShapeLifetime>,
    /// Whether hosts behind the NAT reach each other by their public addresses.
    pub hairpin: Option<HairpinEvidence>,
    /// The protocols by which a host asks its router to map a port.
    pub port_mapping: Option<PortMappingEvidence>,
    /// Test calls.
    pub calls: Option<CallsEvidence>,
    /// A call to the registered socket, late in the interval of registrations.
    pub callback: Option<CallbackEvidence>,
    /// The provider's address of the other family, where its name has one, and what a short look at that found.
    pub other_family: Option<(PeerAddr, Box<Self>)>,
    /// The survey was stopped before its end (by the user, or by the time limit).
    pub interrupted: bool,
}

/// A train of POKEs and the PONGs that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReachEvidence {
    /// Where they left from, once that was known.
    pub local: Option<LocalAddr>,
    /// POKEs sent, retransmissions not counted: none are made.
    pub sent: u32,
    /// PONGs that answered one of them, duplicates not counted.
    pub received: u32,
    /// Round-trip times, in the order of arrival.
    pub rtts: Vec<Duration>,
    /// The last ICMP error about these POKEs.
    pub unreachable: Option<Unreachable>,
    /// A PONG came, but from another address than the one asked (multi-homed server, or NAT on its
    /// side).
    pub answered_from: Option<PeerAddr>,
    /// The far end speaks our probe protocol.
    pub reflector: Option<bool>,
    /// The far end demanded a call token; `None`: no request was made that would tell.
    pub call_token_required: Option<bool>,
}

/// How a registration ended (the `registration.state` of the report).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegistrationState {
    /// REGACK.
    Registered,
    /// REGACK to a REGREL.
    Released,
    /// REGREJ with a cause.
    Rejected,
    /// Naked REGREJ from call number 1: token, port change or number limit.
    TokenRefused,
    /// A challenge that we would not answer.
    AuthUnsupported,
    /// No answer, or the answers stopped.
    Timeout,
}

/// One registration, or a series of them over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrationEvidence {
    /// The account.
    pub user: String,
    /// How the first one ended.
    pub state: RegistrationState,
    /// The method that the registrar accepted: `none`, `plaintext`, `md5` or `rsa`.
    pub auth: Option<&'static str>,
    /// The methods that the challenge offered, as the bits of AUTHMETHODS.
    pub offered_methods: Option<u16>,
    /// The refresh the registrar granted.
    pub refresh: Option<Duration>,
    /// The refresh the user told us to judge with, instead of the granted one.
    pub assumed_refresh: Option<Duration>,
    /// Our address as each REGACK gave it, in order, and when that came, since the survey began.
    pub apparent: Vec<(Duration, MappedAddr)>,
    /// The local address registered from.
    pub local: Option<LocalAddr>,
    /// A CALLTOKEN came in answer to the first request.
    pub call_token: Option<bool>,
    /// CAUSE and CAUSECODE of a REGREJ.
    pub cause: Option<String>,
    /// CAUSECODE of a REGREJ.
    pub cause_code: Option<u8>,
    /// From the first REGREQ to the end.
    pub elapsed: Duration,
    /// The last ICMP error about these frames.
    pub unreachable: Option<Unreachable>,
    /// INVAL frames received.
    pub invals: u32,
    /// A frame of this registration came from another address than the registrar's.
    pub answered_from: Option<PeerAddr>,
    /// How the renewals of a registration that was taken went.
    pub renewals: Renewals,
}

/// How the renewals of one registration went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewals {
    /// Renewals that came to an end.
    pub made: u32,
    /// How many of them failed.
    pub failed: u32,
    /// The most that failed in a row: one may be a lost packet too many, two are not.
    pub failed_in_a_row: u32,
    /// How the last one that failed ended.
    pub failure: Option<RegistrationState>,
}

/// One line of `iax2 show registry` on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct AsteriskEvidence {
    /// The account.
    pub user: String,
    /// The state's words as Asterisk prints them.
    pub state: String,
    /// The refresh in force.
    pub refresh: Option<Duration>,
    /// The address the registrar saw, unless unregistered.
    pub perceived: Option<MappedAddr>,
}

/// Where the NAT mapped one socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappingEvidence {
    /// What each peer saw, in the order asked; the same peer stands twice where it was asked again.
    pub observations: Vec<MappingObservation>,
    /// Peers asked that did not answer.
    pub unanswered: Vec<PeerAddr>,
    /// STUN servers whose MAPPED-ADDRESS differs from their XOR-MAPPED-ADDRESS: what they saw, and what stood
    /// in its place in the content.
    pub rewritten: Vec<(PeerAddr, MappedAddr, MappedAddr)>,
    /// A server said that its other address is not available (one-address reflector or STUN
    /// server): address-dependence cannot be told from endpoint-independence.
    pub one_address: bool,
}

/// What one peer saw of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingObservation {
    /// The socket's own address.
    pub local: LocalAddr,
    /// Who looked.
    pub peer: PeerAddr,
    /// What it saw.
    pub mapped: MappedAddr,
    /// When, since the survey began.
    pub at: Duration,
    /// How it was learned.
    pub via: MappingSource,
}

/// How a mapped address was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingSource {
    /// The reflector told.
    Reflector,
    /// XOR-MAPPED-ADDRESS of a STUN server.
    Stun,
    /// APPARENT ADDR of a REGACK.
    Registrar,
}

/// Packets from this host to its own public address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HairpinEvidence {
    /// One came back in; `None`: none was sent, for want of a public address to send to.
    pub supported: Option<bool>,
    /// It came from the public address of its sender (RFC 4787 REQ-9a).
    pub external_source: Option<bool>,
    /// Whether there is a NAT at all: without one there is nothing to test.
    pub translated: Option<bool>,
    /// Packets sent.
    pub sent: u32,
    /// Packets that came back in until that was enough.
    pub received: u32,
}

/// Which port mapping protocols the router speaks, and what came of a mapping made for the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMappingEvidence {
    /// The router that was asked; `None`: this host has no default route.
    pub gateway: Option<IpAddr>,
    /// `UPnP` IGD.
    pub upnp: Mapper,
    /// NAT-PMP.
    pub nat_pmp: Mapper,
    /// PCP.
    pub pcp: Mapper,
    /// What the router says of itself over `UPnP`.
    pub device: Option<String>,
}

/// One port mapping protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapper {
    /// The router speaks it.
    pub answered: bool,
    /// The public address that it tells.
    pub external: Option<IpAddr>,
    /// A mapping was made for the test, and whether it was removed again.
    pub mapping: Option<Removal>,
    /// Why an order was refused.
    pub refused: Option<String>,
}

/// What became of a mapping that was made for the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The router says that it is gone.
    Removed,
    /// The router did not say so; the mapping ends by itself within minutes.
    NotConfirmed,
}

impl PortMappingEvidence {
    /// The protocols with their names in the report.
    #[must_use]
    pub fn mappers(&self) -> [(&'static str, &Mapper); 3] {
        [
            ("upnp", &self.upnp),
            ("nat_pmp", &self.nat_pmp),
            ("pcp", &self.pcp),
        ]
    }

    /// The public address, where all protocols that tell one tell the same.
    #[must_use]
    pub fn external(&self) -> Option<IpAddr> {
        let mut told = self.mappers().into_iter().filter_map(|(_, it)| it.external);
        let first = told.next()?;
        told.all(|other| other == first).then_some(first)
    }
}

impl MappingSource {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Stun => "stun",
            Self::Registrar => "registrar",
        }
    }
}

/// Whom the NAT lets in to a socket that has sent to one endpoint alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilteringEvidence {
    /// The endpoint that was sent to; `None` where no server answered.
    pub server: Option<PeerAddr>,
    /// How it was asked.
    pub via: Option<MappingSource>,
    /// The socket's own address.
    pub local: Option<LocalAddr>,
    /// Where the server saw it.
    pub mapped: Option<MappedAddr>,
    /// The servers that answered have no second address and port to answer from.
    pub one_address: bool,
    /// An answer came in from another address (and port). `Some(false)`: none did, although that endpoint
    /// answers when it is asked directly.
    pub from_other_address: Option<bool>,
    /// The same from another port of the address that was sent to.
    pub from_other_port: Option<bool>,
    /// Rounds of questions, and those whose control was answered.
    pub rounds: (u32, u32),
}

/// Where one reflector saw many sockets of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepthEvidence {
    /// The reflector; `None` where none answered.
    pub server: Option<PeerAddr>,
    /// Each socket's own address and where it was seen, in the order they were opened.
    pub sockets: Vec<(LocalAddr, MappedAddr)>,
    /// Sockets that got no answer however often they asked, although others did.
    pub unopened: u32,
    /// The first was seen at the same place when all were open.
    pub stays: Option<bool>,
}

/// POKEs of a stranger to the PBX's port at our public address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundEvidence {
    /// The port.
    pub port: u16,
    /// The PBX takes calls there from hosts that it does not register with.
    pub needed: bool,
    /// Where they went; `None` where nobody could send any.
    pub address: Option<MappedAddr>,
    /// The stranger.
    pub from: Option<PeerAddr>,
    /// One was answered. `Some(false)`: none was, while control probes came back.
    pub answered: Option<bool>,
}

/// What left compared with what arrived, octet by octet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadEvidence {
    /// The reflector; `None` where none answered.
    pub server: Option<PeerAddr>,
    /// Answers that were compared; what follows shows in every one of them.
    pub answers: u32,
    /// Octets compared in each.
    pub octets: usize,
    /// Length of the datagram that left, and of the one that arrived.
    pub length: (usize, usize),
    /// What was changed on the way out.
    pub changed: Vec<ChangedOctet>,
    /// Our public address, and what stood in its place in the content of an answer.
    pub mapped: Option<(MappedAddr, MappedAddr)>,
}

impl PayloadEvidence {
    /// Whether somebody rewrote the content; `None`: too few answers came to tell.
    #[must_use]
    pub fn is_rewritten(&self) -> Option<bool> {
        let (sent, received) = self.length;
        let differs = sent != received || !self.changed.is_empty() || self.mapped.is_some();
        (self.answers >= 2).then_some(differs)
    }
}

/// An octet that arrived as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedOctet {
    /// Where in the datagram.
    pub offset: u32,
    /// As it left.
    pub sent: u8,
    /// As it arrived.
    pub received: u8,
}

/// The way to a reflector, hop by hop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HopsEvidence {
    /// The reflector; `None` where none answered.
    pub server: Option<PeerAddr>,
    /// The address of the socket that asked.
    pub local: Option<LocalAddr>,
    /// The smallest time to live that reaches the reflector: routers on the way, and one.
    pub distance: Option<u8>,
    /// The smallest time to live with which the reflector reaches us.
    pub back: Option<u8>,
    /// The routers in between, the nearest first, and the address that each reports packets from.
    pub routers: Vec<(u8, Option<IpAddr>)>,
    /// The hop of the outermost box that lets nobody in who was not sent to; `None`: not known.
    pub outermost: Option<u8>,
    /// The timers that were read.
    pub timers: Vec<HopTimer>,
}

/// What was found with all boxes but one kept open.
#[derive(Clone, Debug, PartialEq)]
pub struct HopTimer {
    /// The one: 1 is the nearest.
    pub hop: u8,
    /// How long an idle exchange lived.
    pub edge: ShapeLifetime,
    /// The end is this box's own: the others were proven to be open then.
    pub is_own: bool,
}

/// How the lifetimes were measured (the `lifetime.method` of the report).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeMethod {
    /// Our own reflector answered after each delay.
    Reflector,
    /// An RFC 5780 STUN server answered to RESPONSE-PORT after each delay.
    Stun,
    /// The port that the registrar saw from the same socket changed.
    Drift,
    /// The port that the registrar saw from a second LAN address became the first one's.
    Sibling,
    /// The registrar's own POKEs arrived.
    Qualify,
    /// The registrar still took a call token.
    Token,
}

impl LifetimeMethod {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Stun => "stun",
            Self::Drift => "drift",
            Self::Sibling => "sibling",
            Self::Qualify => "qualify",
            Self::Token => "token",
        }
    }

    /// How sure its edges are, in the word of the report: packets came through the mapping itself; its end
    /// was inferred from the ports that the NAT gives; or the mapping lived so long at least.
    #[must_use]
    pub const fn confidence(self) -> &'static str {
        match self {
            Self::Reflector | Self::Stun => "direct",
            Self::Drift | Self::Sibling | Self::Token => "inferred",
            Self::Qualify => "lower-bound",
        }
    }
}

/// Why a method found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inapplicable {
    /// The NAT keeps the port, so that a mapping that is made anew looks like one that lived.
    PortKept,
    /// There is no NAT: no port can tell.
    NotTranslated,
    /// The NAT does not keep the port, so that nobody can be seen to be given it.
    PortChanged,
    /// The NAT does not keep the port of the second address, or shows it with another public one.
    SiblingMoved,
    /// The registrar does not tell which address it sees.
    NoApparentAddress,
    /// The registrar did not take the registrations.
    NotRegistered,
    /// The registrar asks for no call token.
    NoToken,
    /// Packets that nobody asked for came on the mappings, or this host was too busy.
    Disturbed,
    /// The port never changed: the mapping outlived all idle times, or the NAT gives the same port again.
    NoChange,
    /// The port changed however short the idle time was.
    NeverAlive,
    /// The registrar sent no POKE.
    Silent,
}

/// Lifetimes of idle mappings.
#[derive(Clone, Debug, PartialEq)]
pub struct LifetimeEvidence {
    /// How they were measured.
    pub method: LifetimeMethod,
    /// What was found for each shape that was measured.
    pub shapes: Vec<(Shape, ShapeLifetime)>,
    /// Whether inbound packets alone keep a mapping open (RFC 4787 REQ-6a).
    pub inbound_refreshes: Option<bool>,
    /// From the first to the last packet of the sweep.
    pub elapsed: Duration,
    /// Mappings opened.
    pub mappings: u32,
    /// Control probes sent and answered during the sweep.
    pub controls: (u32, u32),
    /// Mappings that the answerer would not answer.
    pub refused: Refusals,
    /// The longest idle time tried.
    pub longest: Duration,
    /// Why the method found nothing, where it does not fit the NAT or the registrar.
    pub inapplicable: Option<Inapplicable>,
}

/// Requests that the answerer refused, by its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Too many answers were pending for this address.
    pub quota: u32,
    /// The token was not good for this address, or no longer.
    pub token: u32,
}

/// The edge of one shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShapeLifetime {
    /// The longest idle time after which a mapping was proven alive, below the edge.
    pub alive: Option<Duration>,
    /// The shortest idle time after which it was proven gone.
    pub dead: Option<Duration>,
    /// Every candidate outlived [`LifetimeEvidence::longest`]: `dead` is then `None` for that reason.
    pub outlived: bool,
    /// Each idle time tried and what came of it: alive, missed, or not known (`None`).
    pub samples: Vec<(Duration, Option<bool>)>,
}
