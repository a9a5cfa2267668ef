//! Authentication: what a client answers to a challenge, and what a server accepts (RFC 5456 §8.6.13
//! to §8.6.16).

use std::fmt;

use base64ct::{Base64, Encoding as _};
use md5::{Digest as _, Md5};
use rand::{Rng as _, rngs::StdRng};
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _},
    pkcs1v15::{Signature, SigningKey, VerifyingKey},
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
    signature::{RandomizedSigner as _, SignatureEncoding as _, Verifier as _},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::wire::iax2::{
    ie::IeWriter,
    ie_value::{Ie, Text, auth_method},
};

/// An account as its client knows it.
#[derive(Clone)]
pub struct Credentials {
    /// The account's name, at most 255 octets.
    pub user: String,
    /// The shared secret.
    pub secret: Option<SecretString>,
    /// The private key.
    pub rsa_key: Option<RsaKey>,
    /// Whether to send the secret in clear to a peer that asks for nothing else.
    pub allow_plaintext: bool,
}

impl Credentials {
    /// An account without secret.
    #[must_use]
    pub fn named(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            secret: None,
            rsa_key: None,
            allow_plaintext: false,
        }
    }

    /// The account with this shared secret.
    #[must_use]
    pub fn with_secret(user: &str, secret: &str) -> Self {
        Self {
            secret: Some(SecretString::from(secret.to_owned())),
            ..Self::named(user)
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A method of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The secret in clear; reserved in the RFC, still spoken.
    Plaintext,
    /// MD5 over challenge and secret.
    Md5,
    /// RSASSA-PKCS1-v1_5 with SHA-1 over the challenge.
    Rsa,
}

impl Method {
    /// The bit of AUTHMETHODS.
    #[must_use]
    pub const fn bit(self) -> u16 {
        match self {
            Self::Plaintext => auth_method::PLAINTEXT,
            Self::Md5 => auth_method::MD5,
            Self::Rsa => auth_method::RSA,
        }
    }

    /// The word of the report: `plaintext`, `md5`, `rsa`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Md5 => "md5",
            Self::Rsa => "rsa",
        }
    }
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Nothing that we have fits what was offered.
    #[error("no method the peer offers ({offered:#06x}) fits the credentials given")]
    NoMethod {
        /// The bits offered.
        offered: u16,
    },
    /// Only the secret in clear would do, and that was not allowed.
    #[error("the peer wants the secret in clear, which was not allowed")]
    PlaintextRefused,
    /// The key cannot sign.
    #[error("the RSA key cannot sign the challenge")]
    Signing,
}

/// The element that answers a challenge.
#[derive(Clone)]
pub struct Answer {
    /// How.
    pub method: Method,
    value: String,
}

impl Answer {
    /// Appends the element.
    #[must_use]
    pub fn write(&self, writer: IeWriter) -> IeWriter {
        let value = Text(self.value.as_bytes());
        writer.ie(match self.method {
            Method::Plaintext => Ie::Password(value),
            Method::Md5 => Ie::Md5Result(value),
            Method::Rsa => Ie::RsaResult(value),
        })
    }
}

impl Credentials {
    /// Answers a challenge by the strongest method that was offered and that the credentials allow: RSA,
    /// then MD5, then, where allowed, plaintext. `rng` blinds the signature.
    ///
    /// # Errors
    ///
    /// Where none fits.
    pub fn answer(
        &self,
        offered: u16,
        challenge: &[u8],
        rng: &mut StdRng,
    ) -> Result<Answer, AuthError> {
        if let Some(key) = &self.rsa_key
            && offered & auth_method::RSA != 0
        {
            return Ok(Answer {
                method: Method::Rsa,
                value: key.sign(challenge, rng)?,
            });
        }
        let Some(secret) = &self.secret else {
            return Err(AuthError::NoMethod { offered });
        };
        if offered & auth_method::MD5 != 0 {
            let value = md5_result(challenge, secret.expose_secret().as_bytes());
            return Ok(Answer {
                method: Method::Md5,
                value,
            });
        }
        if offered & auth_method::PLAINTEXT == 0 {
            return Err(AuthError::NoMethod { offered });
        }
        if !self.allow_plaintext {
            return Err(AuthError::PlaintextRefused);
        }
        Ok(Answer {
            method: Method::Plaintext,
            value: secret.expose_secret().to_owned(),
        })
    }
}

/// Why a key file is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PKCS#1 nor PKCS#8.
    #[error("not a PEM file with an RSA key, unencrypted, in PKCS#1 or PKCS#8")]
    NotAKey,
}

/// An RSA private key, of 1024 bits or more. Asterisk takes 1024 alone.
#[derive(Clone)]
pub struct RsaKey(RsaPrivateKey);

impl RsaKey {
    /// Reads PEM, PKCS#1 or PKCS#8.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        RsaPrivateKey::from_pkcs1_pem(pem)
            .ok()
            .or_else(|| RsaPrivateKey::from_pkcs8_pem(pem).ok())
            .map(Self)
            .ok_or(KeyError::NotAKey)
    }

    /// Base64 of the signature of `challenge`. The signature is blinded against timing.
    fn sign(&self, challenge: &[u8], rng: &mut StdRng) -> Result<String, AuthError> {
        SigningKey::<Sha1>::new(self.0.clone())
            .try_sign_with_rng(&mut Blinding(rng), challenge)
            .map(|signature| Base64::encode_string(&signature.to_vec()))
            .map_err(|_| AuthError::Signing)
    }
}

/// An RSA public key.
#[derive(Clone, Debug)]
pub struct RsaPublic(RsaPublicKey);

impl RsaPublic {
    /// Reads PEM, `SubjectPublicKeyInfo` or PKCS#1.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        RsaPublicKey::from_public_key_pem(pem)
            .ok()
            .or_else(|| RsaPublicKey::from_pkcs1_pem(pem).ok())
            .map(Self)
            .ok_or(KeyError::NotAKey)
    }

    /// Whether `result`, as RSA RESULT carries it, signs `challenge`.
    #[must_use]
    pub fn verify(&self, challenge: &[u8], result: &[u8]) -> bool {
        std::str::from_utf8(result)
            .ok()
            .and_then(|text| Base64::decode_vec(text).ok())
            .and_then(|octets| Signature::try_from(octets.as_slice()).ok())
            .is_some_and(|signature| {
                VerifyingKey::<Sha1>::new(self.0.clone())
                    .verify(challenge, &signature)
                    .is_ok()
            })
    }
}

/// MD5 RESULT: 32 lower-case hexadecimal digits of MD5(challenge ‖ secret) (RFC 5456 §8.6.15).
#[must_use]
pub fn md5_result(challenge: &[u8], secret: &[u8]) -> String {
    use fmt::Write as _;

    let digest = Md5::new()
        .chain_update(challenge)
        .chain_update(secret)
        .finalize();
    digest
        .iter()
        .fold(String::with_capacity(32), |mut hex, octet| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{octet:02x}");
            hex
        })
}

/// Whether `result`, as MD5 RESULT carries it, answers `challenge`; in constant time, either case.
#[must_use]
pub fn md5_verify(challenge: &[u8], secret: &[u8], result: &[u8]) -> bool {
    md5_result(challenge, secret)
        .as_bytes()
        .ct_eq(&result.to_ascii_lowercase())
        .into()
}

/// Whether `password`, as PASSWORD carries it, is the secret; in constant time.
#[must_use]
pub fn plaintext_verify(secret: &[u8], password: &[u8]) -> bool {
    secret.ct_eq(password).into()
}

/// Lends a generator of one `rand` generation to a library of another.
struct Blinding<'a>(&'a mut StdRng);

impl rsa::rand_core::RngCore for Blinding<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(octets);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Blinding<'_> {}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn md5_of_the_golden_registration() {
        let result = md5_result(b"71988510", b"s3cret");
        assert_eq!(result, "4baba087e040a1502fb69e3ce2473a0e");
        assert!(md5_verify(
            b"71988510",
            b"s3cret",
            result.to_uppercase().as_bytes()
        ));
        assert!(!md5_verify(b"71988511", b"s3cret", result.as_bytes()));
        assert!(!md5_verify(b"71988510", b"s3cret", b""));
    }

    #[test]
    fn the_strongest_method_wins_and_plaintext_must_be_allowed() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut alice = Credentials::with_secret("alice", "s3cret");
        let method = |credentials: &Credentials, offered, rng: &mut StdRng| {
            credentials
                .answer(offered, b"1", rng)
                .map(|answer| answer.method)
        };
        assert_eq!(method(&alice, 7, &mut rng), Ok(Method::Md5));
        assert_eq!(
            method(&alice, 1, &mut rng),
            Err(AuthError::PlaintextRefused)
        );
        assert_eq!(
            method(&alice, 4, &mut rng),
            Err(AuthError::NoMethod { offered: 4 })
        );
        alice.allow_plaintext = true;
        assert_eq!(method(&alice, 1, &mut rng), Ok(Method::Plaintext));
        assert_eq!(
            method(&Credentials::named("alice"), 3, &mut rng),
            Err(AuthError::NoMethod { offered: 3 })
        );
    }

    #[test]
    fn rsa_signs_and_verifies() {
        let mut rng = StdRng::from_seed([2; 32]);
        let key = RsaPrivateKey::new(&mut Blinding(&mut rng), 1024).unwrap();
        let public = RsaPublic(key.to_public_key());
        let mut alice = Credentials::named("alice");
        alice.rsa_key = Some(RsaKey(key));
        let answer = alice.answer(6, b"301764961", &mut rng).unwrap();
        assert_eq!(answer.method, Method::Rsa);
        assert!(public.verify(b"301764961", answer.value.as_bytes()));
        assert!(!public.verify(b"301764962", answer.value.as_bytes()));
        assert!(!public.verify(b"301764961", b"not base64!"));
        assert!(RsaKey::from_pem("no key").is_err());
    }
}
