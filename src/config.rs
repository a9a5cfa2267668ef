//! Floor 5: what the user writes.

mod place;
pub mod secret_file;
pub mod users;
pub mod watch;

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a file of the user's cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be opened or read.
    #[error("{path} cannot be read ({source}); give a file that exists and that you may read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It says something that cannot be.
    #[error("{path}:{line}: {what}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        what: String,
    },
    /// It holds no secret.
    #[error("{path} holds no secret ({what}); write the secret into it, on one line, in UTF-8")]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        what: &'static str,
    },
}
