//! One registration under way, seen from the registrar.

use std::time::Instant;

use crate::{
    proto::{account::Account, auth::Method, contract::SocketKey, reliable::Reliable},
    types::CallNumber,
    wire::iax2::{
        command::{Command, FrameType},
        ie::IeWriter,
        ie_value::{Ie, Text},
    },
};

/// How far the dialogue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first request is being handled.
    Opened,
    /// The challenge is out.
    Challenged,
    /// REGACK or REGREJ is out; its acknowledgement ends the dialogue.
    Closing,
}

/// One dialogue.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) reliable: Reliable,
    pub(super) socket: SocketKey,
    /// The peer's call number, as its first request gave it.
    pub(super) remote: CallNumber,
    /// `None`: no such user, which the peer must not learn.
    pub(super) account: Option<usize>,
    /// The name as the peer gave it.
    pub(super) user: Vec<u8>,
    /// A call token proved the source address, or the answer to a challenge did.
    pub(super) proven: bool,
    /// REGREL instead of REGREQ.
    pub(super) release: bool,
    pub(super) challenge: String,
    pub(super) stage: Stage,
    pub(super) ends: Instant,
    /// The deadline that stands in the registrar's list.
    pub(super) armed: Option<Instant>,
}

impl Dialogue {
    /// Sends REGAUTH: the account's methods, or MD5 as for most accounts where there is none.
    pub(super) fn challenge(&mut self, account: Option<&Account>, now: Instant) {
        let methods = account.map_or(Method::Md5.bit(), |account| {
            account
                .methods
                .iter()
                .fold(0, |bits, method| bits | method.bit())
        });
        let elements = IeWriter::new()
            .ie(Ie::AuthMethods(methods))
            .ie(Ie::Challenge(self.challenge.as_bytes()))
            .ie(Ie::Username(Text(&self.user)));
        self.stage = Stage::Challenged;
        self.send(Command::RegAuth, elements, now);
    }

    /// Sends the last frame of the dialogue.
    pub(super) fn finish(&mut self, command: Command, elements: IeWriter, now: Instant) {
        self.stage = Stage::Closing;
        self.send(command, elements, now);
    }

    /// Tells the peer that its command is none that we know (RFC 5456 §6.9.4).
    pub(super) fn unsupported(&mut self, command: u8, now: Instant) {
        let elements = IeWriter::new().ie(Ie::IaxUnknown(command));
        self.send(Command::Unsupport, elements, now);
    }

    fn send(&mut self, command: Command, elements: IeWriter, now: Instant) {
        // Every element is ours, or came out of an element of the peer: none exceeds 255 octets.
        let payload = elements.finish().unwrap_or_default();
        self.reliable.send(FrameType::Iax, command, payload, now);
    }
}
