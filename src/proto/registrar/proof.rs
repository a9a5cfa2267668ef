//! Whether a challenge is answered, and how often somebody may be wrong.

use std::time::Instant;

use rand::{RngExt as _, rngs::StdRng};
use secrecy::ExposeSecret as _;

use super::{Key, Refusal, Registrar};
use crate::{
    proto::{
        account::Account,
        admission::{Rate, RateLimit},
        auth::{Method, md5_verify, plaintext_verify},
    },
    types::PeerAddr,
    wire::iax2::ie::{IeId, Ies},
};

/// What stands in for the secret of an account that there is not, or that has none.
const NO_SECRET: &[u8] = b"no secret";

/// Limits wrong answers: of one source about one account name, known or not, and of one source in all.
#[derive(Debug)]
pub(super) struct Guesses {
    about_one: RateLimit,
    of_one: RateLimit,
}

impl Guesses {
    pub(super) fn new(rng: &mut StdRng, now: Instant) -> Self {
        let mut limit = |rate| RateLimit::new(rate, Rate::UNLIMITED, rng.random(), now);
        Self {
            about_one: limit(Rate::per_second(1).with_burst(10)),
            of_one: limit(Rate::per_second(10).with_burst(100)),
        }
    }

    fn may_try(&self, peer: PeerAddr, user: &[u8], now: Instant) -> bool {
        let source = peer.get().ip();
        self.about_one.has_room(source, user, 1, now) && self.of_one.has_room(source, &[], 1, now)
    }

    fn was_wrong(&mut self, peer: PeerAddr, user: &[u8], now: Instant) {
        let source = peer.get().ip();
        self.about_one.take(source, user, 1, now);
        self.of_one.take(source, &[], 1, now);
    }
}

impl Registrar {
    /// Whether the elements answer the dialogue's challenge.
    pub(super) fn examine(
        &mut self,
        elements: Ies<'_>,
        key: Key,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(dialogue) = self.dialogues.get_mut(&key) else {
            return Err(Refusal::Credentials);
        };
        if !self.guesses.may_try(key.0, &dialogue.user, now) {
            return Err(Refusal::Guessing);
        }
        let account = dialogue
            .account
            .and_then(|index| self.config.accounts.get(index));
        let Some(method) = proof(account, dialogue.challenge.as_bytes(), elements) else {
            self.guesses.was_wrong(key.0, &dialogue.user, now);
            return Err(Refusal::Credentials);
        };
        // Who answers a challenge has received it.
        if method != Method::Plaintext && !dialogue.proven {
            dialogue.proven = true;
            self.unproven.retain(|unproven| *unproven != key);
        }
        Ok(())
    }
}

/// The method by which the elements answer the challenge. Each is looked at once, however often it stands
/// in the frame; a secret that is wrong, none at all, and an unknown user cost the same.
fn proof(account: Option<&Account>, challenge: &[u8], elements: Ies<'_>) -> Option<Method> {
    let secret = account
        .and_then(|account| account.secret.as_ref())
        .map(|secret| secret.expose_secret().as_bytes());
    let offers = |method| account.is_some_and(|account| account.methods.contains(&method));
    let md5 = elements
        .clone()
        .find(IeId::Md5Result)
        .is_some_and(|result| {
            let fits = md5_verify(challenge, secret.unwrap_or(NO_SECRET), result);
            fits && secret.is_some() && offers(Method::Md5)
        });
    let plaintext = elements
        .clone()
        .find(IeId::Password)
        .is_some_and(|password| {
            let fits = plaintext_verify(secret.unwrap_or(NO_SECRET), password);
            fits && secret.is_some() && offers(Method::Plaintext)
        });
    let rsa = elements.find(IeId::RsaResult).is_some_and(|result| {
        offers(Method::Rsa)
            && account
                .and_then(|account| account.rsa_public_key.as_ref())
                .is_some_and(|key| key.verify(challenge, result))
    });
    [
        (md5, Method::Md5),
        (rsa, Method::Rsa),
        (plaintext, Method::Plaintext),
    ]
    .into_iter()
    .find_map(|(fits, method)| fits.then_some(method))
}
