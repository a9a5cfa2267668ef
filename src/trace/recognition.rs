//! IAX2 on any port: what begins a dialogue is told from everything else.

use crate::wire::iax2::{command::Command, frame::Frame, ie::IeId};

/// Whether a datagram on any port begins a dialogue of IAX2 beyond doubt: numbers as in a first frame, a command that
/// begins one, and nothing but elements behind it.
pub(super) fn begins_a_dialogue(datagram: &[u8]) -> bool {
    let Ok(Frame::Full(full)) = Frame::decode(datagram) else {
        return false;
    };
    let begins = match full.command() {
        Some(Command::New | Command::RegReq | Command::RegRel) => {
            full.ies().find(IeId::Username).is_some()
                || full.ies().find(IeId::Version).is_some()
                || full.ies().find(IeId::CallToken).is_some()
        }
        Some(Command::Poke) => full
            .ies()
            .all(|ie| matches!(IeId::from(ie.id), IeId::CallToken | IeId::Probe)),
        _ => false,
    };
    begins
        && full.destination.is_none()
        && full.source.get() > 0
        && full.oseqno.get() == 0
        && full.iseqno.get() == 0
}
