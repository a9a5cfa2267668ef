//! The parts about rules for a router.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The router that rules are proposed for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Router {
    /// The interface to the provider.
    pub wan: String,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// The address is always the same; null: not known.
    #[serde(rename = "static")]
    pub is_static: Option<bool>,
    /// The other ways out.
    #[serde(default)]
    pub others: Vec<String>,
    /// The networks behind it.
    #[serde(default)]
    pub lans: Vec<String>,
    /// What is worth knowing, a sentence each without its full stop.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was not translated, each with its reason.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// A rule that was not translated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The rule, with its place.
    pub what: String,
    /// The reason, and what to do.
    pub why: String,
}

/// One change on a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleChange {
    /// What it is, in one line.
    pub title: String,
    /// The command, for a shell of the router.
    pub command: String,
    /// The command that takes it back; null where it is the way back itself.
    pub undo: Option<String>,
    /// The kinds of taint that it prevents.
    pub prevents: Vec<String>,
    /// Why.
    pub why: String,
    /// The file that the command writes, where it writes one: that is for the next boot or reconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}
