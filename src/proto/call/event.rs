//! What a call reports, and how it ends.

use std::{fmt, time::Duration};

use crate::{
    proto::{
        auth::{AuthError, Method},
        media::report::ReceiverReport,
    },
    wire::iax2::{command::Control, format::Formats, frame::Kind, ie::IeWriter, ie_value::Ie},
};

/// What happened to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// A CALLTOKEN came; NEW was repeated with it.
    TokenReceived,
    /// The callee's challenge came and was answered.
    Challenged {
        /// The methods offered, as bits of AUTHMETHODS.
        offered: u16,
        /// The method of the answer.
        method: Method,
        /// Whether everything from here on is encrypted.
        encrypted: bool,
    },
    /// The caller's answer to our challenge came: the elements of AUTHREP. The owner of the accounts says
    /// [`Call::accept`](super::Call::accept) or [`Call::reject`](super::Call::reject).
    Proof(Vec<u8>),
    /// The callee accepted: the call is linked.
    Accepted {
        /// The format of both directions.
        format: Formats,
    },
    /// A control frame came that says how the call fares: ringing, progress, answer, busy, hold…
    Progress(Control),
    /// Audio came.
    Audio(Audio),
    /// A DTMF digit began (Asterisk alone says so) or ended.
    Dtmf {
        /// The digit's character.
        digit: u8,
        /// Whether this is its end.
        ended: bool,
    },
    /// Text came, without the NUL that Asterisk appends.
    Text(Vec<u8>),
    /// QUELCH (true) or UNQUELCH (false): the peer wants no media, or wants it again.
    Quelched(bool),
    /// PONG came.
    Pong {
        /// The round trip, where PING was sent once.
        round_trip: Option<Duration>,
        /// What the peer received of ours, where it says.
        report: Option<ReceiverReport>,
    },
    /// LAGRP came: the round trip through the peer's media path.
    Lag(Duration),
    /// The peer changed its key (RTKEY).
    KeyRotated,
    /// The peer proposed to take the media elsewhere (TXREQ); it was declined.
    TransferDeclined,
    /// The peer does not know this command.
    Unsupported(Option<u8>),
    /// The last event: how it ended.
    Ended(Ending),
}

/// One packet of audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Its format: that of the last VOICE frame, or the agreed one before any.
    pub format: Formats,
    /// The sender's clock, unwrapped to 32 bits, in milliseconds.
    pub timestamp: u32,
    /// The octets.
    pub payload: Vec<u8>,
    /// How it came.
    pub carrier: Carrier,
}

/// What carries audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// A full VOICE frame.
    Full,
    /// A mini frame.
    Mini,
    /// An entry of a trunk frame.
    Trunk,
    /// One more entry of the same trunk frame, or of one sent right behind it, where entries have no clocks of
    /// their own. Its sender was late; its timestamp tells when it was sent, not where it belongs.
    Queued,
}

/// Which end did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This one.
    Us,
    /// The other one.
    Peer,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// HANGUP.
    HungUp {
        /// Whose.
        by: Side,
        /// Its CAUSE and CAUSECODE.
        cause: Reason,
        /// Of ours: whether the peer acknowledged it.
        acknowledged: bool,
    },
    /// REJECT from a call number of the peer's, or ours to a caller.
    Rejected {
        /// Whose.
        by: Side,
        /// Its CAUSE and CAUSECODE.
        cause: Reason,
    },
    /// A naked REJECT from call number 1. With a token that was given: expired, or the external port changed
    /// on the way, or the address has too many calls.
    TokenRefused {
        /// Whether the refused NEW carried a token.
        had_token: bool,
    },
    /// A challenge came that we would not answer.
    AuthUnsupported {
        /// The methods offered, as bits of AUTHMETHODS.
        offered: u16,
        /// Why not.
        reason: AuthError,
    },
    /// Encryption was required and the callee would not.
    NotEncrypted,
    /// The callee accepted a format that was not offered, or named none.
    NoFormat(Formats),
    /// INVAL: the peer has no such call.
    Invalidated {
        /// The oldest frame that waited for its acknowledgement then.
        about: Option<Kind>,
    },
    /// A frame was sent as often as the policy allows and nothing acknowledged it.
    Unanswered {
        /// The frame.
        frame: Kind,
        /// Whether any frame of the peer had come before.
        heard: bool,
    },
    /// Every frame was acknowledged, and the call did not come further in time.
    Stalled,
}

/// CAUSE and CAUSECODE; a peer may give either, both or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// The words.
    pub text: Option<String>,
    /// The number (ITU-T Q.850).
    pub code: Option<u8>,
}

impl Reason {
    /// A number alone.
    #[must_use]
    pub const fn code(code: u8) -> Self {
        Self {
            text: None,
            code: Some(code),
        }
    }

    /// Whether there is neither; a code of 0 is Asterisk's for none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.is_none() && matches!(self.code, None | Some(0))
    }

    pub(super) fn write(&self) -> IeWriter {
        let mut elements = IeWriter::new();
        if let Some(text) = &self.text {
            elements = elements.ie(Ie::Cause(crate::wire::iax2::ie_value::Text(
                text.as_bytes(),
            )));
        }
        if let Some(code) = self.code {
            elements = elements.ie(Ie::CauseCode(code));
        }
        elements
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.text, self.code) {
            (Some(text), Some(code)) => write!(f, "{text} (cause {code})"),
            (Some(text), None) => f.write_str(text),
            (None, None | Some(0)) => f.write_str("no cause given"),
            (None, Some(code)) => write!(
                f,
                "{} (cause {code})",
                crate::wire::iax2::cause::Cause::from(code)
            ),
        }
    }
}
