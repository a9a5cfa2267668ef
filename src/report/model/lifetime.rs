//! The part about idle mappings: when they end, and what keeps them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Number, RefreshedBy};

/// How long idle mappings live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lifetime {
    /// How they were measured: `reflector`, `stun`, `drift`, `sibling`, `qualify` or `token`.
    pub method: Option<String>,
    /// How sure that is: `direct`, `inferred` or `lower-bound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// One packet out, none in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_way: Option<Edge>,
    /// Packets both ways within two seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Edge>,
    /// Packets both ways for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Edge>,
    /// Inbound packets alone keep a mapping open.
    pub inbound_refreshes: Option<bool>,
    /// What else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_by: Option<RefreshedBy>,
    /// The age at which a mapping ends although packets of ours pass all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<Edge>,
    /// From the first packet to the last.
    pub elapsed_s: Option<Number>,
    /// The longest idle time tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_s: Option<Number>,
    /// Mappings opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mappings: Option<u32>,
    /// Control probes beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls: Option<Controls>,
    /// The boxes of the knowledge base that keep such timers unless changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<String>,
}

/// Control probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controls {
    /// How many were sent.
    pub sent: u32,
    /// How many were answered.
    pub received: u32,
}

/// The edge between alive and gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The longest idle time after which a mapping was proven alive.
    pub alive_s: Option<Number>,
    /// The shortest after which it was proven gone.
    #[serde(default, skip_serializing_if = "Gone::is_unknown")]
    pub dead_s: Gone,
}

/// When a mapping was proven gone: a number, `null` for one that outlived all that was tried, and
/// absent where the measurement does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Gone {
    /// Not known.
    #[default]
    Unknown,
    /// It outlived the longest idle time tried.
    Outlived,
    /// After this many seconds.
    After(Number),
}

impl Gone {
    /// The seconds, where it was proven gone.
    #[must_use]
    pub const fn seconds(self) -> Option<Number> {
        match self {
            Self::After(seconds) => Some(seconds),
            Self::Unknown | Self::Outlived => None,
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde passes fields by reference
    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl JsonSchema for Gone {
    fn schema_name() -> Cow<'static, str> {
        "Gone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "After how many seconds it was gone; null: it outlived the longest time tried.",
            "type": ["number", "null"],
            "minimum": 0
        })
    }
}

impl Serialize for Gone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.seconds().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Gone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Number>::deserialize(deserializer)?.map_or(Self::Outlived, Self::After))
    }
}
