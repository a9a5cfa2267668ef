//! The keys of one encrypted call: what is sealed, what is opened, and when the peer's key changes.

use rand::rngs::StdRng;

use crate::{
    proto::cipher::CallKey,
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
    },
};

/// The keys of both directions.
#[derive(Clone, Debug)]
pub(super) struct Secrecy {
    transmit: CallKey,
    receive: CallKey,
    /// For what the peer sends again from before it changed its key: the RTKEY itself.
    previous: Option<CallKey>,
    /// The peer has shown that it encrypts.
    proven: bool,
}

impl Secrecy {
    /// Both directions begin with the same key.
    pub(super) fn new(key: CallKey) -> Self {
        Self {
            transmit: key.clone(),
            receive: key,
            previous: None,
            proven: false,
        }
    }

    /// Encrypts a datagram.
    pub(super) fn seal(&self, datagram: &[u8], rng: &mut StdRng) -> Vec<u8> {
        self.transmit.encrypt(datagram, rng)
    }

    /// Decrypts a datagram; `None` for noise. Nothing authenticates a frame, so that it must look like one.
    /// Until the peer has encrypted a frame, those that a refusal or a repetition brings are taken in clear.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.open_sealed(datagram).or_else(|| {
            let in_clear = !self.proven && is_refusal_or_repetition(datagram);
            in_clear.then(|| datagram.to_vec())
        })
    }

    /// Decrypts a datagram that must be encrypted.
    pub(super) fn open_sealed(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut keys = std::iter::once(&self.receive).chain(&self.previous);
        let plain = keys.find_map(|key| key.decrypt(datagram).ok().filter(|it| is_plausible(it)));
        self.proven |= plain.is_some();
        plain
    }

    /// The peer encrypts with another key from now on (RTKEY).
    pub(super) fn rotate(&mut self, key: [u8; 16]) {
        let before = std::mem::replace(&mut self.receive, CallKey::new(key));
        self.previous = Some(before);
    }
}

/// Whether a decrypted datagram looks like a frame. A mini frame is nothing but audio.
fn is_plausible(plain: &[u8]) -> bool {
    match Frame::decode(plain) {
        Ok(Frame::Full(frame)) => {
            is_known(&frame) && !matches!(frame.command(), Some(Command::Unknown(_)))
        }
        Ok(Frame::Mini(_)) => true,
        Ok(Frame::Video(_) | Frame::Trunk(_) | Frame::Meta(_)) | Err(_) => false,
    }
}

fn is_known(frame: &FullFrame<'_>) -> bool {
    !matches!(frame.frame_type, FrameType::Unknown(_))
}

fn is_refusal_or_repetition(datagram: &[u8]) -> bool {
    let Ok(Frame::Full(frame)) = Frame::decode(datagram) else {
        return false;
    };
    matches!(
        frame.command(),
        Some(Command::AuthReq | Command::Reject | Command::Hangup | Command::Inval | Command::New)
    )
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::types::{CallNumber, Timestamp};

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    fn poke() -> Vec<u8> {
        let poke = FullFrame::poke_from(CallNumber::from_bits(7), Timestamp::ZERO);
        Frame::Full(poke).to_vec()
    }

    #[test]
    fn a_changed_key_opens_what_follows_and_the_old_one_what_is_repeated() {
        let mut rng = StdRng::from_seed([1; 32]);
        let (old, new) = ([3; 16], [4; 16]);
        let mut ours = Secrecy::new(CallKey::new(old));
        let with_old = CallKey::new(old).encrypt(&poke(), &mut rng);
        let with_new = CallKey::new(new).encrypt(&poke(), &mut rng);
        assert_eq!(ours.open(&with_old), Some(poke()));
        assert_eq!(ours.open(&with_new), None);
        ours.rotate(new);
        assert_eq!(ours.open(&with_new), Some(poke()));
        assert_eq!(ours.open(&with_old), Some(poke()));
        assert_eq!(
            CallKey::new(old).decrypt(&ours.seal(&poke(), &mut rng)),
            Ok(poke())
        );
    }

    #[test]
    fn a_refusal_in_clear_is_taken_until_the_peer_encrypts() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ours = Secrecy::new(CallKey::new([3; 16]));
        let hangup = octets("80510bb900000009010106052a0110");
        assert_eq!(ours.open(&hangup), Some(hangup.clone()));
        assert_eq!(ours.open(&poke()), None, "a POKE refuses nothing");
        let sealed = CallKey::new([3; 16]).encrypt(&poke(), &mut rng);
        assert_eq!(ours.open(&sealed), Some(poke()));
        assert_eq!(ours.open(&hangup), None);
    }

    #[test]
    fn noise_is_not_taken_for_a_frame() {
        use rand::Rng as _;

        let mut rng = StdRng::from_seed([9; 32]);
        let mut ours = Secrecy::new(CallKey::new([3; 16]));
        let mut taken = 0;
        for _ in 0..1000 {
            let mut noise = vec![0; 36];
            rng.fill_bytes(&mut noise);
            noise[0] |= 0x80;
            taken += u32::from(ours.open(&noise).is_some());
        }
        assert!(taken < 60, "12 of 256 types at most: {taken}");
    }
}
