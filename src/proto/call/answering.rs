//! The callee's part of the set-up: a NEW that was let in, challenge, ACCEPT, REJECT, progress.

use std::time::{Duration, Instant};

use super::{
    Call, Ending, Manners, Reason, Secrecy, Side, Stage,
    dialling::{KEY_METHOD, encryption_element, offers_encryption},
};
use crate::{
    proto::{auth::Method, cipher::CallKey, reliable::Reliable},
    types::CallNumber,
    wire::iax2::{
        command::{Command, Control, FrameType},
        format::Formats,
        frame::{FullFrame, Kind},
        ie::IeWriter,
        ie_value::{Ie, Text},
    },
};

/// A challenge to a caller.
#[derive(Debug)]
pub struct Challenge<'a> {
    /// The methods that the account allows.
    pub methods: &'a [Method],
    /// The challenge's text.
    pub text: &'a str,
    /// The name the caller gave.
    pub user: &'a [u8],
    /// The account's secret where the call is to be encrypted, which the caller must have offered.
    pub encrypt_with: Option<&'a [u8]>,
}

impl Call {
    /// A call that `frame`, a NEW, asks for and that was let in. `local` is random, so that an answer to it
    /// proves who the caller is. Nothing is sent yet: say [`Call::challenge`], [`Call::accept`] or
    /// [`Call::reject`].
    #[must_use]
    pub fn incoming(
        frame: &FullFrame<'_>,
        local: CallNumber,
        manners: Manners,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let dialogue = Reliable::new(local, manners.retry, now);
        Self::incoming_in(dialogue, frame, manners, seed, now)
    }

    /// The same from a source that nothing has proven: each datagram is answered by one at most, nothing is
    /// sent again unasked, and what is not acknowledged within `patience` ends the call. It must be
    /// [trusted](Call::trust) before it is accepted.
    #[must_use]
    pub fn unproven(
        frame: &FullFrame<'_>,
        local: CallNumber,
        manners: Manners,
        patience: Duration,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let dialogue = Reliable::unproven(local, patience, now);
        Self::incoming_in(dialogue, frame, manners, seed, now)
    }

    fn incoming_in(
        dialogue: Reliable,
        frame: &FullFrame<'_>,
        manners: Manners,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut call = Self::new(dialogue, manners, seed, now);
        call.capability = offered_formats(frame);
        call.dialogue.receive(frame, now);
        call.unsettled = Some(FullFrame {
            payload: &[],
            ..*frame
        });
        call
    }

    /// The caller has proven where it is.
    pub fn trust(&mut self) {
        self.dialogue.trust(self.manners.retry);
    }

    /// The formats that the caller can do, or, at a caller, those it offered.
    #[must_use]
    pub const fn capability(&self) -> Formats {
        self.capability
    }

    /// Sends AUTHREQ. Where the call is to be encrypted, everything from the caller's answer on is.
    pub fn challenge(&mut self, challenge: &Challenge<'_>, now: Instant) {
        let bits = challenge
            .methods
            .iter()
            .fold(0, |bits, method| bits | method.bit());
        let mut elements = IeWriter::new()
            .ie(Ie::AuthMethods(bits))
            .ie(Ie::Challenge(challenge.text.as_bytes()));
        let secret = challenge
            .encrypt_with
            .filter(|_| challenge.methods.contains(&KEY_METHOD));
        if secret.is_some() {
            elements = elements.ie(encryption_element());
        }
        self.send(
            Command::AuthReq,
            elements.ie(Ie::Username(Text(challenge.user))),
            now,
        );
        // The challenge itself is in clear.
        self.flush();
        self.pending_key = secret.map(|secret| CallKey::derive(challenge.text.as_bytes(), secret));
    }

    /// Accepts the call with this format: it is linked.
    pub fn accept(&mut self, format: Formats, now: Instant) {
        if self.stage != Stage::Waiting {
            return;
        }
        let elements = IeWriter::new()
            .ie(Ie::Format(format.low_bits()))
            .ie(Ie::Format2(format.bits()));
        self.send(Command::Accept, elements, now);
        self.link(format, now);
    }

    /// Refuses the call (RFC 5456 §6.2.4).
    pub fn reject(&mut self, cause: Reason, now: Instant) {
        let elements = cause.write();
        let ending = Ending::Rejected {
            by: Side::Us,
            cause,
        };
        self.close(Command::Reject, elements, ending, now);
    }

    /// Answers the call: it is up.
    pub fn answer(&mut self, now: Instant) {
        if self.stage != Stage::Linked {
            return;
        }
        self.stage = Stage::Up;
        self.control(Control::Answer, now);
        if self.manners.stop_tones {
            self.control(Control::StopTones, now);
        }
    }

    /// Tells the peer how the call fares, once it is linked: ringing, progress, proceeding, busy, congestion,
    /// hold…
    pub fn control(&mut self, control: Control, now: Instant) {
        if matches!(self.stage, Stage::Linked | Stage::Up) {
            let kind = Kind {
                frame_type: FrameType::Control,
                subclass: control.into(),
            };
            self.send_other(kind, Vec::new(), now);
        }
    }

    pub(super) fn link(&mut self, format: Formats, now: Instant) {
        self.stage = Stage::Linked;
        self.format = Some(format);
        self.supervision
            .begin(self.manners.ping_every, self.manners.lag_every, now);
    }

    /// A frame came after a challenge that makes a key: where it is encrypted, everything is from now on.
    pub(super) fn try_pending_key(&mut self, datagram: &[u8]) {
        let Some(key) = &self.pending_key else {
            return;
        };
        let mut secrecy = Secrecy::new(key.clone());
        if secrecy.open_sealed(datagram).is_some() {
            self.secrecy = Some(Box::new(secrecy));
            self.pending_key = None;
        }
    }
}

/// Whether a NEW offers AES-128.
#[must_use]
pub fn offers_aes(frame: &FullFrame<'_>) -> bool {
    frame
        .ies()
        .map(Ie::read)
        .any(|ie| matches!(ie, Ie::Encryption(bits) if offers_encryption(bits)))
}

/// The formats of a NEW: CAPABILITY2, else CAPABILITY, else the one of FORMAT (RFC 5456 §6.2.2).
fn offered_formats(frame: &FullFrame<'_>) -> Formats {
    let (mut wide, mut narrow, mut format) = (None, None, 0);
    for ie in frame.ies().map(Ie::read) {
        match ie {
            Ie::Capability2(bits) => wide = Some(bits),
            Ie::Capability(bits) => narrow = Some(u64::from(bits)),
            Ie::Format2(bits) => format = bits,
            Ie::Format(bits) if format == 0 => format = u64::from(bits),
            _ => {}
        }
    }
    Formats::from_bits(wide.or(narrow).unwrap_or(format))
}
