//! Encrypted calls: their frames are read where the challenge was seen and the secret is given.

use md5::{Digest as _, Md5};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    proto::cipher::CallKey,
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        ie_value::Ie,
    },
};

/// What is known of the encryption of one call.
#[derive(Debug)]
pub(super) struct Secrecy {
    keys: Option<[CallKey; 2]>,
    /// What MD5 RESULT has to be for the secret to be that of this call.
    proof: String,
    proven: bool,
    /// Frames that were read.
    pub(super) opened: u32,
}

/// Octets of the shortest encrypted full frame: the numbers and two blocks.
const SHORTEST: usize = 36;

impl Secrecy {
    /// A call that is challenged with this, and encrypted from then on.
    pub(super) fn new(challenge: &[u8], secret: Option<&SecretString>) -> Self {
        let digest = |secret: &SecretString| -> [u8; 16] {
            Md5::new()
                .chain_update(challenge)
                .chain_update(secret.expose_secret().as_bytes())
                .finalize()
                .into()
        };
        let digest = secret.map(digest);
        let proof = digest.iter().flatten().map(|octet| format!("{octet:02x}"));
        Self {
            proof: proof.collect(),
            keys: digest.map(|digest| [CallKey::new(digest), CallKey::new(digest)]),
            proven: false,
            opened: 0,
        }
    }

    /// The frame in an encrypted datagram from one of the two ends; `None` where it cannot be read.
    pub(super) fn open(&mut self, end: usize, datagram: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.as_ref()?.get(end)?;
        let plain = key.decrypt(datagram).ok()?;
        if !self.proven {
            self.prove(&plain)?;
        }
        if let Ok(Frame::Full(full)) = Frame::decode(&plain) {
            if matches!(full.frame_type, FrameType::Unknown(_)) {
                return None;
            }
            if full.command() == Some(Command::RtKey) {
                self.rotate(end, &full);
            }
        }
        self.opened += 1;
        Some(plain)
    }

    /// The answer to the challenge is the first frame that is encrypted: it proves the secret, or shows that it is
    /// another call's.
    fn prove(&mut self, plain: &[u8]) -> Option<()> {
        let proof = match Frame::decode(plain) {
            Ok(Frame::Full(full)) => full.ies().map(Ie::read).any(
                |element| matches!(element, Ie::Md5Result(text) if text.0 == self.proof.as_bytes()),
            ),
            _ => false,
        };
        self.proven = proof;
        if !proof {
            self.keys = None;
        }
        proof.then_some(())
    }

    /// RTKEY: this end goes on with another key.
    fn rotate(&mut self, end: usize, full: &FullFrame<'_>) {
        let key = full.ies().map(Ie::read).find_map(|element| match element {
            Ie::Challenge(key) => key.try_into().ok().map(CallKey::new),
            _ => None,
        });
        if let (Some(key), Some(keys)) = (key, &mut self.keys)
            && let Some(own) = keys.get_mut(end)
        {
            *own = key;
        }
    }

    /// The clock of an encrypted mini frame.
    pub(super) fn clock(&mut self, end: usize, datagram: &[u8]) -> Option<u16> {
        if !self.proven {
            return None;
        }
        match Frame::decode(&self.open(end, datagram)?) {
            Ok(Frame::Mini(mini)) => Some(mini.timestamp),
            _ => None,
        }
    }
}

/// Whether a full frame may be encrypted, by its length.
pub(super) const fn may_be_encrypted(datagram: &[u8]) -> bool {
    datagram.len() >= SHORTEST && (datagram.len() - 4).is_multiple_of(16)
}
