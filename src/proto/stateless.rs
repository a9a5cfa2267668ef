//! Replies that keep no state: from call number 1, timestamp echoed, never sent again. Deployed
//! peers since 2009 answer every unproven request this way; RFC 5456 does not have it.

use crate::{
    types::{CallNumber, SeqNo},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
    },
};

/// The reply to `request` with this command and these elements. Its `ISeqno` is the request's plus one,
/// as from Asterisk; where the request is the first of a dialogue, as it should be, that equals what
/// RFC 5456 §7.1 asks for.
#[must_use]
pub fn reply(request: &FullFrame<'_>, command: Command, elements: &[u8]) -> Vec<u8> {
    Frame::Full(FullFrame {
        source: CallNumber::STATELESS,
        destination: request.source,
        retransmission: false,
        timestamp: request.timestamp,
        oseqno: SeqNo::ZERO,
        iseqno: request.iseqno.next(),
        frame_type: FrameType::Iax,
        subclass: command.into(),
        payload: elements,
    })
    .to_vec()
}

/// INVAL in answer to `frame`, which belongs to no call of ours (RFC 5456 §6.9.2). Call numbers are
/// swapped; `None` for frames that INVAL must not answer.
#[must_use]
pub fn invalid(frame: &FullFrame<'_>) -> Option<Vec<u8>> {
    let unanswerable = !frame.is_numbered() || frame.destination.is_none();
    (!unanswerable).then(|| {
        Frame::Full(FullFrame {
            source: frame.destination,
            destination: frame.source,
            retransmission: false,
            timestamp: frame.timestamp,
            oseqno: frame.iseqno,
            iseqno: frame.oseqno.next(),
            frame_type: FrameType::Iax,
            subclass: Command::Inval.into(),
            payload: &[],
        })
        .to_vec()
    })
}

/// An ACK of a frame that belongs to no dialogue we keep: of a state-less PONG, or of the last frame
/// of a dialogue that has ended.
#[must_use]
pub fn acknowledgement(frame: &FullFrame<'_>, local: CallNumber) -> Vec<u8> {
    Frame::Full(FullFrame {
        source: local,
        destination: frame.source,
        retransmission: false,
        timestamp: frame.timestamp,
        oseqno: frame.iseqno,
        iseqno: frame.oseqno.next(),
        frame_type: FrameType::Iax,
        subclass: Command::Ack.into(),
        payload: &[],
    })
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a live Asterisk, recorded.
    #[test]
    fn replies_as_recorded() {
        for (request, command, answer) in [
            (
                "804d0000000004d20000061e",
                Command::Pong,
                "8001004d000004d200010603",
            ),
            (
                "804e01f4000000630507061e",
                Command::Pong,
                "8001004e0000006300080603",
            ),
            (
                "805000000000000500000601",
                Command::Reject,
                "800100500000000500010606",
            ),
            (
                "80540000000000060000060d",
                Command::RegRej,
                "800100540000000600010610",
            ),
        ] {
            let request = octets(request);
            let Ok(Frame::Full(frame)) = Frame::decode(&request) else {
                panic!()
            };
            assert_eq!(reply(&frame, command, &[]), octets(answer));
        }
    }

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }
}
