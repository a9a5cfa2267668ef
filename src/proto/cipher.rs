//! Encryption of a call by AES-128, as deployed peers do it: CBC over each frame by itself, random padding
//! in front instead of an initialisation vector (RFC 5456 §9 leaves the details open).
//!
//! Nothing authenticates: a frame that was damaged, or encrypted under another key, decrypts to noise,
//! which is recognised, most times, by a frame type that does not exist.

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockDecrypt as _, BlockEncrypt as _, KeyInit as _},
};
use md5::{Digest as _, Md5};
use rand::{Rng as _, rngs::StdRng};

/// Octets of a block, and of a key.
const BLOCK: usize = 16;
/// Octets of a full frame that stay in clear: both call numbers.
const CLEAR_FULL: usize = 4;
/// Octets of a mini frame that stay in clear: the call number.
const CLEAR_MINI: usize = 2;

/// The key of one direction of a call.
#[derive(Clone)]
pub struct CallKey(Aes128);

/// Why a datagram cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Shorter than the clear part and the shortest padding, or no whole number of blocks.
    #[error("{length} octets are no encrypted frame")]
    Length {
        /// Octets of the datagram.
        length: usize,
    },
    /// The padding claims more than there is: another key, or a damaged frame.
    #[error("the padding exceeds the frame; another key, or damaged on the way")]
    Padding,
}

impl CallKey {
    /// The key with these octets, as RTKEY carries them.
    #[must_use]
    pub fn new(octets: [u8; BLOCK]) -> Self {
        Self(Aes128::new(&octets.into()))
    }

    /// The key that both ends derive from challenge and secret: the digest whose hexadecimal form is MD5
    /// RESULT. That is why AUTHREP is the first frame to be encrypted.
    #[must_use]
    pub fn derive(challenge: &[u8], secret: &[u8]) -> Self {
        let digest = Md5::new()
            .chain_update(challenge)
            .chain_update(secret)
            .finalize();
        Self(Aes128::new(&digest))
    }

    /// Encrypts a datagram: a full frame from its fifth octet on, a mini frame from its third.
    #[must_use]
    pub fn encrypt(&self, datagram: &[u8], rng: &mut StdRng) -> Vec<u8> {
        let (clear, rest) = datagram.split_at(clear_octets(datagram).min(datagram.len()));
        let excess = (BLOCK - rest.len() % BLOCK) % BLOCK;
        let mut padding = [0; 2 * BLOCK];
        rng.fill_bytes(&mut padding);
        // The low nibble of the sixteenth octet says how much padding there is beyond sixteen.
        if let Some(last) = padding.get_mut(BLOCK - 1) {
            *last = (*last & 0xf0) | u8::try_from(excess).unwrap_or(0);
        }
        let mut out = Vec::with_capacity(datagram.len() + 2 * BLOCK);
        out.extend_from_slice(clear);
        out.extend(padding.iter().take(BLOCK + excess));
        out.extend_from_slice(rest);
        let mut previous = [0; BLOCK];
        for block in out
            .get_mut(clear.len()..)
            .unwrap_or_default()
            .as_chunks_mut::<BLOCK>()
            .0
        {
            block
                .iter_mut()
                .zip(previous)
                .for_each(|(octet, before)| *octet ^= before);
            self.0.encrypt_block(block.into());
            previous = *block;
        }
        out
    }

    /// Decrypts a datagram.
    ///
    /// # Errors
    ///
    /// Where it cannot be an encrypted frame, or was encrypted under another key.
    pub fn decrypt(&self, datagram: &[u8]) -> Result<Vec<u8>, CipherError> {
        let broken = CipherError::Length {
            length: datagram.len(),
        };
        let (clear, tail) = datagram
            .split_at_checked(clear_octets(datagram))
            .ok_or(broken)?;
        if tail.len() < 2 * BLOCK || tail.len() % BLOCK != 0 {
            return Err(broken);
        }
        let mut plain = tail.to_vec();
        let mut previous = [0; BLOCK];
        for block in plain.as_chunks_mut::<BLOCK>().0 {
            let ciphertext = *block;
            self.0.decrypt_block(block.into());
            block
                .iter_mut()
                .zip(previous)
                .for_each(|(octet, before)| *octet ^= before);
            previous = ciphertext;
        }
        let excess = plain
            .get(BLOCK - 1)
            .map_or(0, |octet| usize::from(octet & 0x0f));
        let rest = plain.get(BLOCK + excess..).ok_or(CipherError::Padding)?;
        Ok([clear, rest].concat())
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKey")
    }
}

/// How many octets of a datagram stay in clear.
fn clear_octets(datagram: &[u8]) -> usize {
    match datagram.first() {
        Some(first) if first & 0x80 != 0 => CLEAR_FULL,
        _ => CLEAR_MINI,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    /// An encrypted call of a live Asterisk, recorded: user `enc`, secret `s3cret`.
    #[test]
    fn frames_of_a_recorded_call() {
        let key = CallKey::derive(b"108407812", b"s3cret");
        for (wire, plain) in [
            (
                "8fa1175e 614abf26cb86fe59868fe902a15d667d7716fc40e9a788132e216e7ebbf73d0d2fd63cae4adad949b0f0\
                 6897b8ccbfb8db6e0bbc0ca2eb0463ca0c8cf5dfd315",
                "8fa1175e 0000000a 0101 0609 1020 \
                 3236383866316437323839396162373233303865363437333233393133643662",
            ),
            (
                "975e0fa1 4faa31bc1bce33197e078430fbccb5740be39226bf38f4e53f2b7d0ec090a4cf378bb46f7ab41826eb78\
                 4352bf96be2a",
                "975e0fa1 00000009 0102 0607 090400000004 3809 000000000000000004",
            ),
            (
                "8fa1175e 919a46f1aff8e87fe49948a7c76a2ac5038b8c2bcceef7cb1d265ad905dfc07e",
                "8fa1175e 00000009 0202 0604",
            ),
        ] {
            assert_eq!(key.decrypt(&octets(wire)), Ok(octets(plain)));
        }
    }

    #[test]
    fn every_length_survives() {
        let mut rng = StdRng::from_seed([5; 32]);
        let key = CallKey::new([7; 16]);
        for first in [0x80, 0x12] {
            for length in 12..80 {
                let mut datagram = vec![0xa5; length];
                datagram[0] = first;
                let wire = key.encrypt(&datagram, &mut rng);
                assert_eq!((wire.len() - clear_octets(&datagram)) % 16, 0);
                assert_eq!(key.decrypt(&wire).as_deref(), Ok(&*datagram));
            }
        }
        // 160 octets of audio become 194.
        assert_eq!(key.encrypt(&[0x12; 164], &mut rng).len(), 194);
    }

    #[test]
    fn what_is_no_encrypted_frame_is_refused() {
        let key = CallKey::new([7; 16]);
        for length in 0..40 {
            let datagram = vec![0x80; length];
            if length == 36 {
                continue;
            }
            assert_eq!(key.decrypt(&datagram), Err(CipherError::Length { length }));
        }
    }
}
