//! The account's secret: a file, stdin or the environment, never the command line.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use iax2_natcheck::config::secret_file;
use secrecy::SecretString;

/// The variable that holds a secret.
const VARIABLE: &str = "IAX2_SECRET";

/// Reads the secret: from `file` (`-` is stdin), else from the environment; `None` where neither is
/// given.
///
/// # Errors
///
/// Where the file cannot be read, or what is given holds no secret.
pub(crate) fn read(file: Option<&PathBuf>) -> Result<Option<SecretString>> {
    match file {
        Some(path) if path == Path::new("-") => Ok(Some(secret_file::from_reader(
            Path::new("stdin"),
            &mut io::stdin().lock(),
        )?)),
        Some(path) => Ok(Some(secret_file::read(path)?)),
        None => match env::var(VARIABLE) {
            Ok(secret) if secret.is_empty() => Ok(None),
            Ok(secret) => Ok(Some(SecretString::from(secret))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                bail!("the environment's {VARIABLE} is not UTF-8; write the secret in UTF-8")
            }
        },
    }
}
