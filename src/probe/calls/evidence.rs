//! What a burst of test calls found: facts, call by call, and no verdict.

use std::time::Duration;

use crate::{
    probe::calls::wire_use::WireUse,
    proto::{
        auth::Method,
        call::{CallCounts, Carrier, Ending},
        media::{directions::FarEnd, listener::AudioEvidence, report::ReceiverReport},
    },
    types::{LocalAddr, PeerAddr},
    wire::iax2::{command::Control, format::Formats},
};

/// A burst of calls to one extension.
#[derive(Clone, Debug, PartialEq)]
pub struct CallsEvidence {
    /// The extension.
    pub number: String,
    /// What it is known to do with audio.
    pub far_end: FarEnd,
    /// The line that the user asks about, in bits a second.
    pub uplink: Option<u64>,
    /// How many calls were to be placed.
    pub planned: u32,
    /// The local address they left from.
    pub local: Option<LocalAddr>,
    /// Each call that was placed, in order.
    pub calls: Vec<CallRecord>,
    /// What plain calls took on the wire, and trunked ones where there were any.
    pub plain: WireUse,
    /// The same of trunked calls.
    pub trunked: WireUse,
}

/// One call.
#[allow(clippy::struct_excessive_bools)] // facts, each by itself
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRecord {
    /// When NEW left, since the survey began.
    pub placed: Duration,
    /// Our audio was to leave in trunk frames.
    pub trunked: bool,
    /// A call token was asked for.
    pub token: bool,
    /// The method by which we proved who we are.
    pub method: Option<Method>,
    /// Frames were encrypted.
    pub encrypted: bool,
    /// The agreed format.
    pub format: Option<Formats>,
    /// From NEW to ACCEPT.
    pub accepted: Option<Duration>,
    /// From NEW to ANSWER.
    pub answered: Option<Duration>,
    /// From NEW to the last event; `None` while it is under way.
    pub ended: Option<Duration>,
    /// How it ended; `None` while it is under way.
    pub ending: Option<Ending>,
    /// It went as planned to its end: talked as long as it should, and then hung up by us; or the callee was
    /// busy or never answered, and we hung up.
    pub completed: bool,
    /// The control frames that came, in order, each kind once.
    pub progress: Vec<Control>,
    /// What was sent and came of full and mini frames.
    pub counts: CallCounts,
    /// Round trips: of PING and PONG, and of the first acknowledged frame.
    pub round_trips: Vec<Duration>,
    /// Round trips through the far end's media path (LAGRQ).
    pub lags: Vec<Duration>,
    /// The last receiver report of the far end.
    pub report: Option<ReceiverReport>,
    /// The audio, once any was sent.
    pub audio: Option<AudioEvidence>,
    /// Packets of audio that came, by what carried them: full, mini, trunk.
    pub carriers: Carriers,
    /// DTMF digits sent.
    pub digits_sent: Vec<u8>,
    /// DTMF digits whose end came.
    pub digits_received: Vec<u8>,
    /// Texts that came, at most a few.
    pub texts: Vec<Vec<u8>>,
    /// The far end changed its key so often.
    pub keys: u32,
    /// POKEs after the call fell silent, from its own socket and from a fresh one.
    pub control: Option<SilenceControl>,
    /// Another address than the provider's that a frame of this call came from.
    pub answered_elsewhere: Option<PeerAddr>,
}

/// How audio came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// Full VOICE frames.
    pub full: u64,
    /// Mini frames.
    pub mini: u64,
    /// Entries of trunk frames.
    pub trunk: u64,
}

impl Carriers {
    pub(super) fn count(&mut self, carrier: Carrier) {
        match carrier {
            Carrier::Full => self.full += 1,
            Carrier::Mini => self.mini += 1,
            Carrier::Trunk => self.trunk += 1,
        }
    }
}

/// POKEs after a call fell silent: sent and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SilenceControl {
    /// From the socket of the call.
    pub same: (u32, u32),
    /// From a fresh socket.
    pub fresh: (u32, u32),
}
