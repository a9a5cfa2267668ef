//! Encrypted calls: their frames are read where the challenge was seen and the secret is given.

use md5::{Digest as _, Md5};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    proto::cipher::CallKey,
    wire::iax2::{
        command::{Command, FrameType},
        frame::Frame,
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
        if let Ok(Frame::Full(full)) = Frame::decode(&plain) {
            if matches!(full.frame_type, FrameType::Unknown(_)) {
                return None;
            }
            if !self.proven {
                // The answer to the challenge is the first frame that is encrypted.
                let proof = full.ies().map(Ie::read).find_map(|element| match element {
                    Ie::Md5Result(text) => Some(text.0 == self.proof.as_bytes()),
                    _ => None,
                });
                self.proven = proof == Some(true);
                if !self.proven {
                    self.keys = None;
                    return None;
                }
            }
            if full.command() == Some(Command::RtKey) {
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
        }
        self.opened += 1;
        Some(plain)
    }
}

/// Whether a full frame may be encrypted, by its length.
pub(super) const fn may_be_encrypted(datagram: &[u8]) -> bool {
    datagram.len() >= SHORTEST && (datagram.len() - 4).is_multiple_of(16)
}
