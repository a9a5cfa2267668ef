//! What a datagram between the PBX's own port and a provider says to the guardian.

use crate::{
    guard::observation::OwnPortFrame,
    os::capture::Way,
    types::CallNumber,
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
        ie::IeId,
        ie_value::read_sockaddr,
    },
};

/// Reads it. What is no IAX2 keeps an entry alive, or proves a way, like anything else.
#[must_use]
pub(super) fn read(way: Way, payload: &[u8]) -> OwnPortFrame {
    let full = match Frame::decode(payload) {
        Ok(Frame::Full(full)) => Some(full),
        _ => None,
    };
    match (way, full) {
        (Way::Out, Some(full)) if full.command() == Some(Command::RegReq) => OwnPortFrame::RegReq {
            again: full.retransmission,
        },
        (Way::Out, _) => OwnPortFrame::OtherSent,
        (Way::In, Some(full)) => received(&full),
        (Way::In, None) => OwnPortFrame::OtherReceived,
    }
}

/// Whether it is media, of which only a sample is seen.
#[must_use]
pub(super) fn is_audio(payload: &[u8]) -> bool {
    matches!(
        Frame::decode(payload),
        Ok(Frame::Mini(_) | Frame::Video(_) | Frame::Trunk(_))
    )
}

fn received(full: &FullFrame<'_>) -> OwnPortFrame {
    let naked = full.source == CallNumber::STATELESS && full.payload.is_empty();
    match full.command() {
        Some(Command::CallToken | Command::RegAuth) => OwnPortFrame::Challenge,
        Some(Command::RegAck) => OwnPortFrame::RegAck {
            apparent: full.ies().find(IeId::ApparentAddr).and_then(read_sockaddr),
            refresh: full.ies().find(IeId::Refresh).and_then(|octets| {
                let seconds = u16::from_be_bytes(octets.try_into().ok()?);
                Some(std::time::Duration::from_secs(seconds.into()))
            }),
        },
        Some(Command::RegRej | Command::Reject) if naked => OwnPortFrame::NakedReject,
        Some(Command::RegRej) => OwnPortFrame::RegRej {
            cause: full
                .ies()
                .find(IeId::Cause)
                .map(|octets| String::from_utf8_lossy(octets).into_owned()),
            code: full
                .ies()
                .find(IeId::CauseCode)
                .and_then(|octets| octets.first().copied()),
        },
        Some(Command::Inval) => OwnPortFrame::Inval,
        _ => OwnPortFrame::OtherReceived,
    }
}
