//! One call leg at the switchboard: whose it is, and what is played on it.

use std::time::Instant;

use super::{
    extension::{Extension, Step},
    lines::LineId,
};
use crate::{
    proto::{
        call::{Audio, Call},
        contract::SocketKey,
        numbers::Key,
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::format::Formats,
};

/// One call leg.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) call: Call,
    /// The socket it speaks from.
    pub(super) socket: SocketKey,
    pub(super) peer: PeerAddr,
    /// The peer's call number, or [`CallNumber::NONE`] while a callee has not shown it.
    pub(super) remote: CallNumber,
    /// `None`: no such user, which the peer must not learn.
    pub(super) account: Option<usize>,
    /// The name as the peer gave it; of a line that we dialled, the account's.
    pub(super) user: Vec<u8>,
    /// The number called, as it was given.
    pub(super) number: Vec<u8>,
    pub(super) standing: Standing,
    pub(super) part: Part,
    /// The other leg, where two are one call.
    pub(super) partner: Option<LineId>,
    /// Whether trunk frames carry its audio.
    pub(super) trunked: bool,
    /// When it was accepted.
    pub(super) began: Option<Instant>,
    /// When it is ended or, once it is over, forgotten, whatever the peer does.
    pub(super) limit: Instant,
    /// The deadline that stands in the list.
    pub(super) armed: Option<Instant>,
    /// Datagrams sent.
    pub(super) sent: u32,
    /// ANSWER has left.
    pub(super) answered: bool,
    /// Clock and length of the last packet of audio that came, in milliseconds.
    pub(super) heard: Option<(u32, u32)>,
}

/// How well an end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing proves its address.
    Unproven,
    /// A call token proved its address.
    Present,
    /// It has answered a challenge, or the account needs none; what was rung is known.
    Known,
}

/// What an end does.
#[derive(Debug)]
pub(super) enum Part {
    /// A caller of ours.
    Caller(Box<Caller>),
    /// A registered account that was rung.
    Rung,
}

/// What the switchboard knows of a caller.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) challenge: String,
    /// The account's calls must be encrypted.
    pub(super) requires_encryption: bool,
    /// The format that suits both, if any.
    pub(super) format: Option<Formats>,
    /// The caller's own number and name.
    pub(super) identity: (String, String),
    pub(super) extension: Option<Extension>,
    /// When the extension began to play.
    pub(super) playing: Option<Instant>,
    /// Steps played.
    pub(super) step: usize,
    pub(super) echoes: bool,
}

impl Line {
    pub(super) fn key(&self) -> Key {
        (self.peer, self.call.local())
    }

    pub(super) const fn caller(&self) -> Option<&Caller> {
        match &self.part {
            Part::Caller(caller) => Some(caller),
            Part::Rung => None,
        }
    }

    pub(super) const fn caller_mut(&mut self) -> Option<&mut Caller> {
        match &mut self.part {
            Part::Caller(caller) => Some(caller),
            Part::Rung => None,
        }
    }

    /// Whether its address is proven.
    pub(super) fn is_proven(&self) -> bool {
        self.standing > Standing::Unproven
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Instant {
        let call = self.call.poll_timeout().map(|(due, _)| due);
        let step = self
            .caller()
            .and_then(Caller::next_step)
            .map(|(due, _)| due);
        call.into_iter().chain(step).fold(self.limit, Instant::min)
    }

    /// Milliseconds of audio in a packet: as its octets tell, else as the sender's clock does.
    pub(super) fn length_of(&mut self, audio: &Audio) -> u32 {
        const USUAL: u32 = 20;
        const LONGEST: u32 = 200;
        let length = audio
            .format
            .duration(audio.payload.len())
            .unwrap_or_else(|| {
                self.heard.map_or(USUAL, |(clock, length)| {
                    let ahead = audio.timestamp.wrapping_sub(clock);
                    if (1..=LONGEST).contains(&ahead) {
                        ahead
                    } else {
                        length
                    }
                })
            });
        self.heard = Some((audio.timestamp, length));
        length
    }
}

impl Caller {
    /// The next step of the extension, and when it is due.
    pub(super) fn next_step(&self) -> Option<(Instant, Step)> {
        let began = self.playing?;
        let (after, step) = *self.extension?.steps().get(self.step)?;
        Some((began + after, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_small() {
        // What it holds elsewhere are frames under way and a few hundred octets of names.
        let octets = size_of::<Line>() + size_of::<Caller>();
        assert!(octets <= 4096, "{octets}");
    }
}
