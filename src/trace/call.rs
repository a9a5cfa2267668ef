//! One call: set-up, who answers for what, audio both ways, and how it ends (RFC 5456 §6.2).

mod live;

use std::time::Duration;

use super::{mark::Mark, media::Media, name::Name};
use crate::{
    proto::media::report::ReceiverReport,
    types::CallNumber,
    wire::iax2::{format::Formats, frame::Kind},
};

pub(super) use live::Live;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who placed the call.
    Caller,
    /// Who was called.
    Callee,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// 0 for the caller, 1 for the callee.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Caller => 0,
            Self::Callee => 1,
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It is under way when the capture ends.
    #[default]
    Open,
    /// HANGUP.
    HungUp {
        /// Who hung up.
        by: Side,
        /// The other end acknowledged it.
        acknowledged: bool,
    },
    /// REJECT.
    Rejected {
        /// Who refused.
        by: Side,
    },
    /// REJECT from call number 1 without a cause; whether the NEW before it carried a token.
    TokenRefused {
        /// It did.
        had_token: bool,
    },
    /// INVAL: one end says that it knows no such call.
    Invalid {
        /// Who says so.
        by: Side,
        /// The last full frame that it got before.
        about: Option<Kind>,
    },
    /// NEW was sent again and again, and no frame came.
    Unanswered,
    /// No frame came any more, of either end or of one.
    Silent {
        /// The end that was not heard any more; `None`: both stopped.
        of: Option<Side>,
    },
}

/// Whether the frames of a call can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secret {
    /// It is not encrypted.
    #[default]
    Plain,
    /// It is encrypted, and was read with the secret.
    Opened,
    /// It is encrypted, and only its outside was seen.
    Sealed,
}

/// The address of one end changed in mid-call.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Which end's.
    pub side: Side,
    /// From here.
    pub from: std::net::SocketAddr,
    /// To here.
    pub to: std::net::SocketAddr,
    /// The last frame from the old address.
    pub before: Mark,
    /// The first frame from the new one.
    pub after: Mark,
    /// Frames from the new one.
    pub frames: u32,
}

/// Words of the way to the telephone: bits of [`Call::progress`].
pub const RINGING: u8 = 1;
/// The called telephone is busy.
pub const BUSY: u8 = 2;
/// The far end is congested.
pub const CONGESTION: u8 = 4;
/// The call makes progress.
pub const PROGRESS: u8 = 8;

/// One call.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct Call {
    /// Which, from 1, in the order of their first frames.
    pub id: u32,
    /// The place of its flow among those of the capture.
    pub flow: u32,
    /// Which end of the flow the caller is.
    pub caller: usize,
    /// The call numbers of caller and callee.
    pub numbers: [CallNumber; 2],
    /// The account.
    pub user: Option<Name>,
    /// The number called.
    pub called: Option<Name>,
    /// The number of the caller.
    pub calling: Option<Name>,
    /// The first frame.
    pub first: Mark,
    /// The last frame of each end.
    pub last: [Option<Mark>; 2],
    /// It was under way when the capture began, so that caller and callee may be the other way round.
    pub began_before: bool,
    /// NEWs, with retransmissions.
    pub requests: u16,
    /// The callee asked for a call token.
    pub token: bool,
    /// The last NEW carried one.
    pub had_token: bool,
    /// Methods offered: [`auth_method`](crate::wire::iax2::ie_value::auth_method) bits.
    pub offered: u16,
    /// ACCEPT.
    pub accepted: Option<Mark>,
    /// CONTROL ringing.
    pub ringing: Option<Mark>,
    /// CONTROL answer.
    pub answered: Option<Mark>,
    /// The frame that ended it.
    pub ended: Option<Mark>,
    /// How.
    pub end: End,
    /// The cause in words.
    pub cause: Option<Name>,
    /// The cause as a number.
    pub cause_code: Option<u8>,
    /// The agreed format.
    pub format: Formats,
    /// Whether its frames can be read.
    pub secret: Secret,
    /// What was said of the way to the telephone: bits.
    pub progress: u8,
    /// The audio of each end.
    pub media: [Media; 2],
    /// Full frames of each end that were sent again.
    pub retransmissions: [u16; 2],
    /// VNAKs of each end.
    pub vnaks: [u16; 2],
    /// Digits of each end.
    pub digits: [Option<Name>; 2],
    /// Text frames.
    pub texts: u16,
    /// The last receiver report of each end.
    pub reports: [Option<Box<ReceiverReport>>; 2],
    /// The shortest round trip from the place of the capture to each end.
    pub round_trips: [Option<Duration>; 2],
    /// An end whose address changed.
    pub moved: Option<Box<Moved>>,
    /// It was transferred to other hosts, so that its end is not seen.
    pub transferred: bool,
}

impl Call {
    /// The words in it.
    pub(super) fn names_mut(&mut self) -> [&mut Option<Name>; 6] {
        let [one, other] = &mut self.digits;
        [
            &mut self.user,
            &mut self.called,
            &mut self.calling,
            &mut self.cause,
            one,
            other,
        ]
    }
}
