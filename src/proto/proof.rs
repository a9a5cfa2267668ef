//! Whether a challenge is answered, and how often somebody may be wrong.

use std::time::Instant;

use rand::{RngExt as _, rngs::StdRng};
use secrecy::ExposeSecret as _;

use crate::{
    proto::{
        account::Account,
        admission::{Rate, RateLimit},
        auth::{Method, md5_verify, plaintext_verify},
        door::Refusal,
    },
    types::PeerAddr,
    wire::iax2::ie::{IeId, Ies},
};

/// What stands in for the secret of an account that there is not, or that has none.
const NO_SECRET: &[u8] = b"no secret";

/// A challenge: nine digits, as from Asterisk.
pub(crate) fn challenge(rng: &mut StdRng) -> String {
    rng.random_range(100_000_000..1_000_000_000u32).to_string()
}

/// Who claims to be whom, and what was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Where the answer comes from.
    pub(crate) peer: PeerAddr,
    /// The name that was given.
    pub(crate) user: &'a [u8],
    /// The account of that name, where there is one.
    pub(crate) account: Option<&'a Account>,
    /// The challenge.
    pub(crate) challenge: &'a str,
}

/// Examines proofs, and limits wrong ones: of one source about one account name, known or not, and of one
/// source in all.
#[derive(Debug)]
pub(crate) struct Examiner {
    about_one: RateLimit,
    of_one: RateLimit,
}

impl Examiner {
    pub(crate) fn new(rng: &mut StdRng, now: Instant) -> Self {
        let mut limit = |rate| RateLimit::new(rate, Rate::UNLIMITED, rng.random(), now);
        Self {
            about_one: limit(Rate::per_second(1).with_burst(10)),
            of_one: limit(Rate::per_second(10).with_burst(100)),
        }
    }

    /// The method by which the elements answer the challenge.
    ///
    /// # Errors
    ///
    /// [`Refusal::Credentials`] where they do not; [`Refusal::Guessing`] where they were not looked at.
    pub(crate) fn examine(
        &mut self,
        claim: Claim<'_>,
        elements: Ies<'_>,
        now: Instant,
    ) -> Result<Method, Refusal> {
        let source = claim.peer.get().ip();
        let may_try = self.about_one.has_room(source, claim.user, 1, now)
            && self.of_one.has_room(source, &[], 1, now);
        if !may_try {
            return Err(Refusal::Guessing);
        }
        proof(claim, elements).ok_or_else(|| {
            self.about_one.take(source, claim.user, 1, now);
            self.of_one.take(source, &[], 1, now);
            Refusal::Credentials
        })
    }
}

/// The method by which the elements answer the challenge. Each is looked at once, however often it stands
/// in the frame; a secret that is wrong, none at all, and an unknown user cost the same.
fn proof(claim: Claim<'_>, elements: Ies<'_>) -> Option<Method> {
    let (account, challenge) = (claim.account, claim.challenge.as_bytes());
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
