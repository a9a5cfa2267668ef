//! The JSON report: schema version 1.
//!
//! These types are the contract; the engine's own may change. What was not measured is absent or
//! null. Keys this version does not know survive reading and writing again.

pub mod calls;
mod lifetime;
mod neighbours;
mod number;
mod other_family;
mod refresh;
pub mod seen;
mod snat;
mod taint;
mod time;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use lifetime::{Controls, Edge, Gone, Lifetime};
pub use neighbours::Neighbours;
pub use number::Number;
pub use other_family::OtherFamily;
pub use refresh::{LowTtl, RefreshedBy};
pub use snat::{Refused, Router, RuleChange};
pub use taint::{Flow, Leak, Table, Taint, TaintedEntry, Timers};
pub use time::Time;

/// The version of the contract that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Keys that this version does not know.
pub type Unknown = BTreeMap<String, serde_json::Value>;

/// One report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this contract.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The command that was run: `check`, `nat lifetime`…
    pub command: String,
    /// When the command began.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Time,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Whom it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in one sentence for the owner of the PBX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The command was stopped before its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// What is wrong, the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What was measured.
    #[serde(default)]
    pub measurements: Measurements,
    /// What to change on a router (`snat`), in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleChange>>,
    /// The rest.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The program that wrote a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `iax2-natcheck`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The host that a report was made on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The operating system: `Linux`.
    pub os: Option<String>,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// The address of the main socket.
    pub local_address: Option<SocketAddr>,
}

/// The provider that a report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// As the user named it.
    pub name: String,
    /// What the name stood for.
    pub address: Option<SocketAddr>,
    /// The account.
    pub user: Option<String>,
}

/// The whole report in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong, calls still come through or may do so.
    Warning,
    /// Calls are lost.
    Critical,
    /// The main question could not be answered.
    Unknown,
}

impl Verdict {
    /// As plug-ins of monitoring write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A question stays open.
    Unknown,
    /// Something is wrong, calls still come through or may do so.
    Warning,
    /// Calls are lost.
    Critical,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its stable name.
    pub id: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: String,
    /// The facts it rests on.
    #[serde(default)]
    pub because: Vec<String>,
    /// The ways to mend it, the best first.
    #[serde(default)]
    pub do_this: Vec<String>,
}

/// What was measured; a part that was not is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurements {
    /// POKEs to the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachability: Option<Reachability>,
    /// The same to the reflector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflector: Option<Reachability>,
    /// The provider's address of the other family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_family: Option<OtherFamily>,
    /// The live registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
    /// What the Asterisk on this host says of its own registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asterisk: Option<Asterisk>,
    /// Where the NAT mapped one socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// Whom the NAT lets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Filtering>,
    /// How long idle mappings live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// Test calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<calls::Calls>,
    /// A call to the registered account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<calls::Callback>,
    /// Whether what arrives equals what left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Whether strangers reach the real service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Inbound>,
    /// The boxes on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<Hops>,
    /// The share of the time in which calls can come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<Reachable>,
    /// Flows that a NAT keeps wrong: on the router the entries themselves, from the LAN a suspicion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<Taint>,
    /// Packets to our own public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hairpin: Option<Hairpin>,
    /// What the router does for hosts that want a port mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_mapping: Option<PortMapping>,
    /// The box in front of the PBX, where somebody says which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The router that rules are proposed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// The capture that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<seen::Capture>,
    /// Every attempt to register in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registrations: Option<Vec<seen::SeenRegistration>>,
    /// The registrations by account and apparent address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Vec<seen::Binding>>,
    /// Every call in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_seen: Option<Vec<seen::SeenCall>>,
    /// POKEs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualify: Option<Vec<seen::SeenPokes>>,
    /// What captures of both sides of a NAT tell of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translations: Option<seen::Translated>,
    /// The messages of the call that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<seen::Ladder>,
    /// The rest.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// POKEs and PONGs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reachability {
    /// POKEs sent.
    pub sent: u32,
    /// PONGs received.
    pub received: u32,
    /// Round-trip times.
    pub rtt_ms: Option<Spread>,
    /// The server demanded a call token.
    pub call_token_required: Option<bool>,
    /// An ICMP error about the POKEs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<String>,
    /// Another address that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_from: Option<SocketAddr>,
}

/// The spread of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The least.
    pub min: Number,
    /// The middle one.
    pub median: Number,
    /// The greatest.
    pub max: Number,
}

/// A registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// `registered`, `rejected`, `token-refused`, `auth-unsupported` or `timeout`.
    pub state: String,
    /// The method that was accepted: `none`, `plaintext`, `md5` or `rsa`.
    pub auth: Option<String>,
    /// The refresh granted.
    pub refresh_s: Option<Number>,
    /// From one registration to the next.
    pub reregister_after_s: Option<Number>,
    /// Our address as the registrar saw it last.
    pub apparent_address: Option<SocketAddr>,
    /// From the first request to the end.
    pub elapsed_ms: Option<Number>,
    /// The registrar's words for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The registrar's number for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_code: Option<u8>,
}

/// What Asterisk says of its registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Asterisk {
    /// The account.
    pub user: String,
    /// The state in Asterisk's words.
    pub state: String,
    /// The refresh in force.
    pub refresh_s: Option<Number>,
    /// The address the registrar saw.
    pub perceived: Option<SocketAddr>,
}

/// Where the NAT mapped one socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mapping {
    /// `none`, `endpoint-independent`, `address-dependent`, `address-and-port-dependent` or
    /// `unknown`.
    pub behaviour: Option<String>,
    /// Addresses are translated.
    pub nat: Option<bool>,
    /// The mapping keeps the port of the socket.
    pub port_preserved: Option<bool>,
    /// How ports are chosen: `preserved`, `sequential` or `random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_allocation: Option<String>,
    /// Even ports stay even and odd ones odd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity_preserved: Option<bool>,
    /// `paired`: all mappings of this host have one public address; `arbitrary`: they have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
    /// A mapping stays where it is while others are opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_under_load: Option<bool>,
    /// Sockets whose mapping never opened although others did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unopened: Option<u32>,
    /// Two hosts that send from one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Neighbours>,
    /// What was seen.
    #[serde(default)]
    pub observations: Vec<Observation>,
    /// Who was asked and did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<SocketAddr>,
}

/// What one peer saw of one socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The socket's own address.
    pub local: SocketAddr,
    /// Who looked.
    pub peer: SocketAddr,
    /// What it saw.
    pub mapped: SocketAddr,
    /// When, since the survey began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_s: Option<Number>,
    /// How it was learned: `reflector`, `stun` or `registrar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// Whom the NAT lets in to a socket that has sent to one endpoint alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filtering {
    /// `none`, `endpoint-independent`, `address-dependent`, `address-and-port-dependent` or
    /// `unknown`.
    pub behaviour: Option<String>,
    /// The endpoint that was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// How it was asked: `reflector` or `stun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Answers from another address come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_address: Option<bool>,
    /// Answers from another port of the same address come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_port: Option<bool>,
    /// Rounds of questions, each with a control probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls: Option<Controls>,
}

/// What left compared with what arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// Somebody on the way rewrites the content; null: not known.
    pub rewritten: Option<bool>,
    /// Datagrams compared.
    pub compared: u32,
    /// Octets of each.
    pub octets: u32,
}

/// POKEs of a stranger to the PBX's port at the public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inbound {
    /// Where they went.
    pub address: SocketAddr,
    /// The stranger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SocketAddr>,
    /// One was answered; null: not known.
    pub answered: Option<bool>,
}

/// The boxes on the way to the reflector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hops {
    /// Those that are proven to keep state, the nearest first.
    #[serde(default)]
    pub nats: Vec<NatHop>,
    /// How many hops away the reflector is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<u8>,
    /// The hop of the outermost box that filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outermost: Option<u8>,
    /// All routers on the way, the nearest first; null: one that reports nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Option<IpAddr>>,
}

/// A box that keeps state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NatHop {
    /// How many hops away; 1 is the nearest.
    pub hop: u8,
    /// Its address on our side.
    pub address: Option<IpAddr>,
    /// After how long it forgets an idle exchange; null: it kept it for as long as was tried.
    #[serde(default, skip_serializing_if = "Gone::is_unknown")]
    pub exchange_s: Gone,
    /// The longest idle time after which it was proven to remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive_s: Option<Number>,
}

/// The share of the time in which calls can come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reachable {
    /// From 0 to 1.
    pub fraction: Option<Number>,
    /// How long the way stays open after a registration; null: longer than was tried.
    pub open_s: Option<Number>,
    /// From one registration to the next.
    pub cycle_s: Option<Number>,
}

/// Packets from this host to its own public address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hairpin {
    /// One came back in; null: none could be sent.
    pub supported: Option<bool>,
    /// It came from the public address of its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_source: Option<bool>,
    /// How many were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
}

/// Which port mapping protocols the router speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortMapping {
    /// `UPnP` IGD.
    pub upnp: bool,
    /// NAT-PMP.
    pub nat_pmp: bool,
    /// PCP.
    pub pcp: bool,
    /// The router that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The public address, where all that tell one agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_address: Option<IpAddr>,
    /// What the router says of itself over `UPnP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What each protocol that is spoken did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Mapper>,
}

/// One port mapping protocol that the router speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mapper {
    /// `upnp`, `nat_pmp` or `pcp`.
    pub name: String,
    /// The public address that it tells.
    pub external_address: Option<IpAddr>,
    /// A mapping was made for the test.
    pub mapping_made: bool,
    /// The router says that it is gone again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_removed: Option<bool>,
    /// Why an order was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A box of the knowledge base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Who makes it.
    pub vendor: String,
    /// Which of theirs.
    pub product: String,
    /// Who says that it is this one: `user` or `upnp`.
    pub by: String,
    /// How sure its settings are: `verified`, `secondary` or `unverified`.
    pub confidence: String,
}
