//! The part of the report on test calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Number, Spread};

/// Test calls to one extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Calls {
    /// The extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// Calls placed.
    pub attempted: u32,
    /// Calls answered.
    pub answered: u32,
    /// Calls that went as planned to their end.
    pub completed: u32,
    /// Calls that ended by INVAL, by a naked REJECT, or by a HANGUP without a cause.
    pub raw_hangups: u32,
    /// Calls that ended by INVAL.
    pub invals: u32,
    /// `none`, `random` or `systematic`; null where the calls do not tell.
    pub pattern: Option<String>,
    /// What the pattern rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern_because: Option<String>,
    /// The share of failing calls that the burst is compatible with (Wilson, 95 %).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<Interval>,
    /// The symptoms of the calls that failed, and how often each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signatures: BTreeMap<String, u32>,
    /// From NEW to ACCEPT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_ms: Option<Spread>,
    /// From NEW to ANSWER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<Spread>,
    /// Round trips of PING, and of the first frame that was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<Spread>,
    /// Round trips through the far end's media path (LAGRQ).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<Spread>,
    /// The agreed format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// The method by which the account was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// Frames were encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// A call token was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_token: Option<bool>,
    /// Full frames of ours that had to be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmissions: Option<u32>,
    /// What the far end told of the way to its telephone, each word once, in order: of the first call that
    /// was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<String>,
    /// The audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// What a listener hears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Audio>,
    /// The jitter buffer that would be late for one packet in a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_buffer: Option<JitterBuffer>,
    /// What the far end says that it received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far_end: Option<FarEnd>,
    /// Digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtmf: Option<Dtmf>,
    /// Texts that came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// What calls take on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// The calls that failed, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

/// A call to the registered account, late in the interval of registrations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Callback {
    /// The extension that rings the account.
    pub extension: String,
    /// The late call arrived; null where it is not known.
    pub arrives: Option<bool>,
    /// The late call.
    pub late: Option<Attempt>,
    /// The call right after the next registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Attempt>,
}

/// One such call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Attempt {
    /// How long the registration had been acknowledged.
    pub after_s: Number,
    /// A NEW came; null where the provider did not come to ring the account.
    pub arrived: Option<bool>,
    /// From the caller's NEW to the one that came.
    pub took_ms: Option<Number>,
}

/// An interval from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Its lower end.
    pub low: Number,
    /// Its upper end.
    pub high: Number,
}

/// Packets of audio, of all calls together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Media {
    /// Packets sent.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
    /// Packets lost: of an echo those of ours that never came back, whichever way they were lost; else
    /// those of the far end, by the holes in its clock.
    pub lost: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicated: u64,
    /// Interarrival jitter (RFC 3550), the highest at the end of a call.
    pub jitter_ms: Option<Number>,
    /// Audio passes one way alone, or not at all; null where it is not known.
    pub one_way: Option<bool>,
    /// Audio reaches the far end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound: Option<bool>,
    /// Audio reaches us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound: Option<bool>,
    /// Packets of ours that came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned: Option<u64>,
    /// Those of them that came after a later one, whichever way they were overtaken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_out_of_order: Option<u64>,
    /// Packets lost on the way to the far end; null where nothing tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_outbound: Option<u64>,
    /// Packets lost on the way to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_inbound: Option<u64>,
    /// Runs of lost packets on the way to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<u64>,
    /// The longest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_gap_ms: Option<Number>,
    /// From the sending of our audio to its return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<Delay>,
    /// What carried the packets that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carriers: Option<Carriers>,
}

/// The delay of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delay {
    /// The shortest.
    pub min: Number,
    /// The middle one.
    pub median: Number,
    /// 95 of 100 are no longer.
    pub p95: Number,
    /// The longest.
    pub max: Number,
}

/// Packets by what carried them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Carriers {
    /// Full VOICE frames.
    pub full: u64,
    /// Mini frames.
    pub mini: u64,
    /// Entries of trunk frames.
    pub trunk: u64,
}

/// An estimate by ITU-T G.107, in the direction that is worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Audio {
    /// The transmission rating R.
    pub r_factor: Number,
    /// The mean opinion score, 1 to 4.5.
    pub mos: Number,
    /// Where the listener is: `here` or `far-end`.
    pub listener: String,
    /// From mouth to ear: half the round trip, 20 ms to fill a packet, and the jitter buffer.
    pub one_way_ms: Number,
    /// Packets lost, in percent.
    pub loss_percent: Number,
    /// How much longer bursts of loss are than by chance.
    pub burst_ratio: Number,
    /// What the codec takes off R by itself (G.113).
    pub codec_ie: Number,
    /// How robust the codec is against loss (G.113), without concealment.
    pub codec_bpl: Option<Number>,
}

/// A jitter buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JitterBuffer {
    /// Its depth.
    pub depth_ms: u64,
    /// The setting of Asterisk's `iax.conf`.
    pub maxjitterbuffer: u32,
    /// The same.
    pub jittertargetextra: u32,
    /// The same.
    pub resyncthreshold: u32,
}

/// The far end's last receiver report of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FarEnd {
    /// It has counted; an Asterisk without jitter buffer reports zeros and has not.
    pub measured: bool,
    /// Frames received.
    pub received: u32,
    /// Frames lost.
    pub lost: u32,
    /// Frames lost lately, in percent.
    pub loss_percent: u8,
    /// Jitter.
    pub jitter_ms: u32,
    /// The depth of its jitter buffer.
    pub delay_ms: u16,
    /// Frames that came too late to be played.
    pub dropped: u32,
    /// Frames out of order.
    pub out_of_order: u32,
}

/// Digits of the calls together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dtmf {
    /// Sent in the first call.
    pub sent: String,
    /// Received in it.
    pub received: String,
}

/// Bits a second on the wire, as IP packets, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Wire {
    /// Of one plain call, measured.
    pub plain_bps: Option<Number>,
    /// Of one trunked call among as many as there were, measured.
    pub trunked_bps: Option<Number>,
    /// The most trunked calls at once.
    pub trunked_at_once: u32,
    /// The line named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_bps: Option<u64>,
    /// Plain calls that it carries, computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_plain_calls: Option<u64>,
    /// Trunked calls that it carries, computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_trunked_calls: Option<u64>,
}

/// One call that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Which, from 1.
    pub call: usize,
    /// Its symptom.
    pub signature: String,
    /// Its audio was trunked.
    pub trunked: bool,
    /// From NEW to its end.
    pub after_s: Option<Number>,
    /// What was seen.
    pub what: String,
    /// POKEs after it fell silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<SilenceControl>,
}

/// POKEs after a call fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilenceControl {
    /// From the socket of the call: sent.
    pub same_sent: u32,
    /// Answered.
    pub same_received: u32,
    /// From a fresh socket: sent.
    pub fresh_sent: u32,
    /// Answered.
    pub fresh_received: u32,
}
