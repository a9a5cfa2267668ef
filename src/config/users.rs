//! The users file of `serve`: TOML, one table an account, as in [`EXAMPLE`].
//!
//! An account without a secret and a key says `auth = []`: it registers unchallenged. Paths are
//! relative to the users file.
//!
//! `call_token = "optional"` is for clients from before 2009: a request without a token, whose address may be
//! forged, is then answered by one challenge, up to 15 octets longer than it, and by no more.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    time::Duration,
};

use secrecy::SecretString;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::{ConfigError, place::Place, secret_file},
    proto::{
        account::{Account, CallTokenRule, EncryptionRule},
        auth::{Method, RsaPublic},
    },
};

/// A users file with every key.
pub const EXAMPLE: &str = r#"[alice]
secret = "s3cret"          # or secret_file, or rsa_public_key: PEM, or a file
auth = ["md5"]             # md5, rsa, plaintext; unless given, what there is
refresh = "60s"            # granted; 60s unless given
qualify = "60s"            # POKEs towards the account; none unless given
call_token = "required"    # unless given; or "optional": forged requests are challenged too
encryption = "optional"    # or "required"; "off" unless given
trunk = true               # false unless given
"#;

/// The refresh granted unless the file says otherwise (RFC 5456 §8.6.18).
const REFRESH: Duration = Duration::from_secs(60);
/// The longest name and the longest value of an information element.
const LONGEST_NAME: usize = 255;

/// Reads the accounts of a users file, in the order of their names, and warns where others may read
/// it.
///
/// # Errors
///
/// [`ConfigError`] naming file, line and what is wrong.
pub fn read(path: &Path) -> Result<Vec<Account>, ConfigError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|mut file| {
            secret_file::warn_if_public(path, &file);
            file.read_to_string(&mut text)
        })
        .map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    parse(&text, path)
}

/// Reads the accounts of the text of a users file; `path` names it in errors and is what paths in it
/// are relative to.
///
/// # Errors
///
/// [`ConfigError`] naming file, line and what is wrong.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Account>, ConfigError> {
    let place = Place { text, path };
    let tables: BTreeMap<String, Spanned<Table>> =
        toml::from_str(text).map_err(|error| place.error(error.span(), error.message()))?;
    tables
        .into_iter()
        .map(|(name, table)| account(place, name, table))
        .collect()
}

/// One table of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    secret: Option<Spanned<String>>,
    secret_file: Option<Spanned<String>>,
    rsa_public_key: Option<Spanned<String>>,
    auth: Option<Spanned<Vec<Spanned<String>>>>,
    refresh: Option<Spanned<String>>,
    qualify: Option<Spanned<String>>,
    call_token: Option<Spanned<String>>,
    encryption: Option<Spanned<String>>,
    trunk: Option<bool>,
}

fn account(place: Place<'_>, name: String, table: Spanned<Table>) -> Result<Account, ConfigError> {
    let span = table.span();
    let table = table.into_inner();
    let here = |what: &str| place.error(Some(span.clone()), what);
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(here(
            "the name of an account has 1 to 255 octets; give it another one",
        ));
    }
    let secret = secret(place, &table)?;
    let rsa_public_key = table
        .rsa_public_key
        .as_ref()
        .map(|value| public_key(place, value))
        .transpose()?;
    let methods = match &table.auth {
        Some(list) => methods(place, list)?,
        None => [
            secret.as_ref().map(|_| Method::Md5),
            rsa_public_key.as_ref().map(|_| Method::Rsa),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let has_proof = secret.is_some() || rsa_public_key.is_some();
    if methods.is_empty() && (has_proof || table.auth.is_none()) {
        return Err(here(&if has_proof {
            format!("account {name} has a secret but auth = []; name a method, or take it out")
        } else {
            format!(
                "account {name} has no secret, secret_file or rsa_public_key; give one, or write \
                 auth = [] to let it in unchallenged"
            )
        }));
    }
    for method in &methods {
        let (there, wanted) = match method {
            Method::Md5 | Method::Plaintext => (secret.is_some(), "secret or secret_file"),
            Method::Rsa => (rsa_public_key.is_some(), "rsa_public_key"),
        };
        if !there {
            return Err(here(&format!(
                "auth of account {name} lists {} but there is no {wanted}; give one, or take the \
                 method out",
                method.as_str()
            )));
        }
    }
    let call_token = call_token(place, &name, &table, &methods)?;
    let encryption = match &table.encryption {
        Some(value) => place.word(
            "encryption",
            value,
            &[
                ("off", EncryptionRule::Off),
                ("optional", EncryptionRule::Optional),
                ("required", EncryptionRule::Required),
            ],
        )?,
        None => EncryptionRule::Off,
    };
    // The key of a call is the digest of the MD5 challenge and the secret.
    if encryption == EncryptionRule::Required && !methods.contains(&Method::Md5) {
        return Err(here(&format!(
            "account {name} requires encryption, whose key is made from a secret by md5; add both, \
             or set encryption = \"off\""
        )));
    }
    Ok(Account {
        name,
        secret,
        rsa_public_key,
        methods,
        refresh: match &table.refresh {
            Some(value) => period(place, "refresh", value)?,
            None => REFRESH,
        },
        qualify: table
            .qualify
            .as_ref()
            .map(|value| period(place, "qualify", value))
            .transpose()?,
        call_token,
        encryption,
        trunk: table.trunk.unwrap_or(false),
    })
}

/// Whether a token is asked for; where neither token nor secret were, nothing would prove an address.
fn call_token(
    place: Place<'_>,
    name: &str,
    table: &Table,
    methods: &[Method],
) -> Result<CallTokenRule, ConfigError> {
    let Some(value) = &table.call_token else {
        return Ok(CallTokenRule::Required);
    };
    let known = [
        ("required", CallTokenRule::Required),
        ("optional", CallTokenRule::Optional),
    ];
    let rule = place.word("call_token", value, &known)?;
    if rule == CallTokenRule::Optional && methods.is_empty() {
        return Err(place.at(
            value,
            &format!(
                "account {name} has auth = [] and call_token = \"optional\": anybody could register \
                 any address that is not theirs; set call_token = \"required\", or give a secret"
            ),
        ));
    }
    Ok(rule)
}

fn secret(place: Place<'_>, table: &Table) -> Result<Option<SecretString>, ConfigError> {
    match (&table.secret, &table.secret_file) {
        (Some(_), Some(file)) => Err(place.at(
            file,
            "secret and secret_file exclude each other; take one of them out",
        )),
        (Some(secret), None) if secret.get_ref().is_empty() => Err(place.at(
            secret,
            "the secret is empty; write one, or take it out and write auth = []",
        )),
        (Some(secret), None) => Ok(Some(SecretString::from(secret.get_ref().as_str()))),
        (None, Some(file)) => secret_file::read(&place.beside(file.get_ref()))
            .map(Some)
            .map_err(|error| place.at(file, &format!("secret_file {error}"))),
        (None, None) => Ok(None),
    }
}

fn public_key(place: Place<'_>, value: &Spanned<String>) -> Result<RsaPublic, ConfigError> {
    let given = value.get_ref();
    let pem = if given.contains("-----BEGIN") {
        given.clone()
    } else {
        let path = place.beside(given);
        fs::read_to_string(&path).map_err(|error| {
            place.at(
                value,
                &format!(
                    "rsa_public_key {} cannot be read ({error}); give PEM, or a file with it",
                    path.display()
                ),
            )
        })?
    };
    RsaPublic::from_pem(&pem).map_err(|_| {
        place.at(
            value,
            "rsa_public_key is no public key; give PEM that begins with BEGIN PUBLIC KEY",
        )
    })
}

/// The methods listed, in the order of their bits, each once.
fn methods(
    place: Place<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
) -> Result<Vec<Method>, ConfigError> {
    let known =
        [Method::Plaintext, Method::Md5, Method::Rsa].map(|method| (method.as_str(), method));
    let mut methods = list
        .get_ref()
        .iter()
        .map(|value| place.word("auth", value, &known))
        .collect::<Result<Vec<_>, _>>()?;
    methods.sort_unstable();
    methods.dedup();
    Ok(methods)
}

/// A whole number of seconds that REFRESH can carry.
fn period(place: Place<'_>, key: &str, value: &Spanned<String>) -> Result<Duration, ConfigError> {
    humantime::parse_duration(value.get_ref())
        .ok()
        .filter(|period| period.subsec_nanos() == 0 && (1..=65_535).contains(&period.as_secs()))
        .ok_or_else(|| {
            place.at(
                value,
                &format!(
                    "{key} \"{}\" is no whole number of seconds from 1 to 65535; write it as \
                     \"60s\" or \"5m\"",
                    value.get_ref()
                ),
            )
        })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// A public key of 1024 bits, made for this test.
    const KEY: &str = include_str!("../../tests/data/rsa_public.pem");

    fn users(text: &str) -> Result<Vec<Account>, String> {
        parse(text, Path::new("/etc/iax2/users.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_example_is_read() {
        let text = format!(
            r#"{EXAMPLE}

            [bob]
            secret = "x"
            auth = ["plaintext", "md5", "md5"]
            refresh = "5m"
            call_token = "optional"
        "#
        );
        let accounts = users(&text).unwrap();
        let [alice, bob] = accounts.as_slice() else {
            panic!("{accounts:?}");
        };
        assert_eq!(alice.name, "alice");
        assert_eq!(alice.secret.as_ref().unwrap().expose_secret(), "s3cret");
        assert_eq!(alice.methods, [Method::Md5]);
        assert_eq!(alice.refresh, Duration::from_secs(60));
        assert_eq!(alice.qualify, Some(Duration::from_secs(60)));
        assert_eq!(alice.call_token, CallTokenRule::Required);
        assert_eq!(alice.encryption, EncryptionRule::Optional);
        assert!(alice.trunk);
        assert_eq!(bob.methods, [Method::Plaintext, Method::Md5]);
        assert_eq!(bob.refresh, Duration::from_secs(300));
        assert_eq!(bob.call_token, CallTokenRule::Optional);
        assert_eq!(bob.encryption, EncryptionRule::Off);
        assert_eq!(bob.qualify, None);
        assert!(!bob.trunk);
    }

    #[test]
    fn the_defaults_are_those_of_the_registrar() {
        let accounts = users("[alice]\nsecret = \"s3cret\"").unwrap();
        let expected = Account::new("alice", "s3cret");
        let [alice] = accounts.as_slice() else {
            panic!("{accounts:?}");
        };
        assert_eq!(alice.methods, expected.methods);
        assert_eq!(alice.refresh, expected.refresh);
        assert_eq!(alice.qualify, expected.qualify);
        assert_eq!(alice.call_token, expected.call_token);
        assert_eq!(alice.encryption, expected.encryption);
        assert_eq!(alice.trunk, expected.trunk);
    }

    #[test]
    fn keys_are_given_in_line_or_as_a_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("carol.pem"), KEY).unwrap();
        fs::write(directory.path().join("carol.secret"), "s3cret\n").unwrap();
        let path = directory.path().join("users.toml");
        fs::write(
            &path,
            format!(
                "[carol]\nsecret_file = \"carol.secret\"\nrsa_public_key = \"carol.pem\"\n\
                 [dave]\nrsa_public_key = '''{KEY}'''\n[open]\nauth = []\n"
            ),
        )
        .unwrap();
        let accounts = read(&path).unwrap();
        let [carol, dave, open] = accounts.as_slice() else {
            panic!("{accounts:?}");
        };
        assert_eq!(carol.methods, [Method::Md5, Method::Rsa]);
        assert_eq!(carol.secret.as_ref().unwrap().expose_secret(), "s3cret");
        assert_eq!(dave.methods, [Method::Rsa]);
        assert!(open.methods.is_empty() && open.secret.is_none());
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let rows = [
            ("[alice", 1, "unclosed"),
            ("[alice]\nsecret = 5", 2, "invalid type: integer"),
            (
                "[alice]\nsecret = \"x\"\npassword = \"y\"",
                3,
                "unknown field `password`",
            ),
            ("[alice]\nsecret = \"x\"\n\n[alice]\n", 4, "duplicate key"),
            (
                "\n[alice]\nauth = [\"md5\"]",
                2,
                "lists md5 but there is no secret",
            ),
            (
                "[alice]\nsecret = \"x\"\nauth = [\"rsa\"]",
                1,
                "no rsa_public_key",
            ),
            (
                "[alice]\nsecret = \"x\"\nauth = [\"md4\"]",
                3,
                "knows no \"md4\"; use \"plaintext\", \"md5\", \"rsa\"",
            ),
            ("[alice]\nsecret = \"x\"\nauth = []", 1, "auth = []"),
            ("[alice]\ntrunk = true", 1, "write auth = []"),
            ("[alice]\nsecret = \"\"", 2, "the secret is empty"),
            (
                "[alice]\nsecret = \"x\"\nsecret_file = \"y\"",
                3,
                "exclude each other",
            ),
            (
                "[alice]\nsecret_file = \"/nonexistent\"",
                2,
                "secret_file /nonexistent cannot be read",
            ),
            (
                "[alice]\nrsa_public_key = \"/nonexistent\"",
                2,
                "rsa_public_key /nonexistent cannot be read",
            ),
            (
                "[alice]\nrsa_public_key = \"-----BEGIN RUBBISH\"",
                2,
                "is no public key",
            ),
            (
                "[alice]\nsecret = \"x\"\nrefresh = \"soon\"",
                3,
                "refresh \"soon\" is no whole number",
            ),
            (
                "[alice]\nsecret = \"x\"\nrefresh = \"0s\"",
                3,
                "from 1 to 65535",
            ),
            (
                "[alice]\nsecret = \"x\"\nqualify = \"1d\"",
                3,
                "qualify \"1d\"",
            ),
            (
                "[alice]\nsecret = \"x\"\nqualify = \"1500ms\"",
                3,
                "whole number",
            ),
            (
                "[alice]\nsecret = \"x\"\ncall_token = \"auto\"",
                3,
                "use \"required\", \"optional\"",
            ),
            (
                "[alice]\nsecret = \"x\"\nencryption = \"yes\"",
                3,
                "use \"off\", \"optional\", \"required\"",
            ),
            (
                "[alice]\nauth = []\nencryption = \"required\"",
                1,
                "requires encryption",
            ),
            (
                "[open]\nauth = []\ncall_token = \"optional\"",
                3,
                "set call_token = \"required\"",
            ),
            ("alice = 1", 1, "invalid type: integer"),
        ];
        for (text, line, words) in rows {
            let error = users(text).unwrap_err();
            assert!(
                error.starts_with(&format!("/etc/iax2/users.toml:{line}: ")),
                "{text}: {error}"
            );
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/users.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/users.toml cannot be read")
        );
    }
}
