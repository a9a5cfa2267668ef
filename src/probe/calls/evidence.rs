//! What a burst of test calls found: facts, call by call, and no verdict.

use std::time::Duration;

use crate::{
    probe::calls::wire_use::WireUse,
    proto::{
        auth::Method,
        call::{CallCounts, Carrier, Ending, Side},
        media::{directions::FarEnd, listener::AudioEvidence, report::ReceiverReport},
    },
    types::{LocalAddr, PeerAddr},
    wire::iax2::{
        command::{Command, Control},
        format::Formats,
        frame::Kind,
    },
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
    /// From NEW to the last datagram of the far end that belongs to the call.
    pub heard: Option<Duration>,
    /// From NEW to our HANGUP.
    pub hung_up: Option<Duration>,
    /// The oldest frame of ours that had not been acknowledged when we hung up.
    pub unacknowledged: Option<Kind>,
    /// It went as planned to its end: talked as long as it should, and then hung up by us; or the callee ended
    /// it and said that this is normal.
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
    /// Packets of audio that were never sent, because this host was late: the far end takes them for lost.
    pub left_out: u64,
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

/// A far end that was heard this shortly before our HANGUP had the call until then.
const LATELY: Duration = Duration::from_secs(1);
/// An answer on its way may come so long after our HANGUP.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// A frame that is given up left this long before, and once more since, by every policy of retransmission.
const GIVEN_UP: Duration = Duration::from_secs(5);

impl CallRecord {
    /// Whether the far end had the call until we hung up. A HANGUP whose acknowledgement is lost is never
    /// acknowledged: the far end has forgotten the call when it is sent again.
    #[must_use]
    pub fn lived_until_hangup(&self) -> bool {
        let (Some(heard), Some(hung_up)) = (self.heard, self.hung_up) else {
            return false;
        };
        heard + LATELY > hung_up && heard < hung_up + ON_ITS_WAY
    }

    /// The frame of ours that the far end lacks, however often it was sent, while it went on with the call.
    #[must_use]
    pub fn missing_frame(&self) -> Option<Kind> {
        let heard = self.heard?;
        match self.ending.as_ref()? {
            Ending::Unanswered { frame, heard: true } => {
                (heard + GIVEN_UP > self.ended?).then_some(*frame)
            }
            Ending::HungUp {
                by: Side::Us,
                acknowledged: false,
                ..
            } => (heard >= self.hung_up? + ON_ITS_WAY)
                .then_some(self.unacknowledged.unwrap_or(Kind::iax(Command::Hangup))),
            _ => None,
        }
    }

    /// Whether the call ended in a silence that a control probe has to look into.
    #[must_use]
    pub fn fell_silent(&self) -> bool {
        match &self.ending {
            Some(Ending::Unanswered { .. } | Ending::Stalled) => true,
            Some(Ending::HungUp {
                by: Side::Us,
                acknowledged: false,
                ..
            }) => self.answered.is_some() && !self.lived_until_hangup(),
            _ => false,
        }
    }
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
            Carrier::Trunk | Carrier::Queued => self.trunk += 1,
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
