//! An account as its registrar knows it.

use std::{fmt, time::Duration};

use secrecy::SecretString;

use crate::proto::auth::{Method, RsaPublic};

/// One account of a registrar.
#[derive(Clone)]
pub struct Account {
    /// The name, at most 255 octets.
    pub name: String,
    /// The shared secret; without one and without a key, the account registers unchallenged.
    pub secret: Option<SecretString>,
    /// The public key.
    pub rsa_public_key: Option<RsaPublic>,
    /// The methods a challenge offers, in the order of their bits.
    pub methods: Vec<Method>,
    /// The refresh granted.
    pub refresh: Duration,
    /// How often the account is sent a POKE; `None`: never.
    pub qualify: Option<Duration>,
    /// Whether requests must carry a call token.
    pub call_token: CallTokenRule,
    /// Whether calls are encrypted.
    pub encryption: EncryptionRule,
    /// Whether trunk frames are taken.
    pub trunk: bool,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// An account with this secret and the defaults of the users file: MD5, 60 s, token required, no
    /// qualify, no encryption, no trunk.
    #[must_use]
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.to_owned(),
            secret: Some(SecretString::from(secret.to_owned())),
            rsa_public_key: None,
            methods: vec![Method::Md5],
            refresh: Duration::from_secs(60),
            qualify: None,
            call_token: CallTokenRule::Required,
            encryption: EncryptionRule::Off,
            trunk: false,
        }
    }
}

/// Whether requests of an account must carry a call token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallTokenRule {
    /// They must; others are refused without an answer that tells why.
    Required,
    /// They may: for clients from before 2009.
    Optional,
}

/// Whether calls of an account are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionRule {
    /// Never.
    Off,
    /// Where the caller asks for it.
    Optional,
    /// Always; others are refused.
    Required,
}
