//! Floor 5: the guardian at work. Observers tell [`guard`](crate::guard) what they see, effects carry out
//! what it decides, and whoever asks is told how it goes.
//!
//! ```text
//! observe/*  ──observations──▸  run (Guard)  ──decisions──▸  effects/*
//!     ▴   ╰───────how often, where───────╯  ╰──▸ journal, state, status, metrics, service manager
//! ```

mod command;
mod effects;
mod held;
mod journal;
mod metrics;
mod observe;
mod own_port;
mod picture;
mod places;
mod run;
mod server;
pub mod setup;
mod store;

use std::{io, path::PathBuf};

pub use journal::{Told, ToldAction};
pub use picture::{OwnView, ProviderView, View};
pub use places::Places;
pub use run::run;
pub use server::ask;
pub use setup::Setup;

/// Why the guardian does not work.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The folder of the state cannot be used.
    #[error("{} cannot be used for the state ({reason}); make it, and give it to the user that runs this", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The host's reason.
        reason: io::Error,
    },
    /// Another one works with the same state.
    #[error("another guardian works with {}{}; end it first, or give this one a folder of its own", path.display(), pid.map_or(String::new(), |pid| format!(" (process {pid})")))]
    Another {
        /// The lock.
        path: PathBuf,
        /// Its process, where it says so.
        pid: Option<u32>,
    },
    /// Something else that the host does not grant.
    #[error("this host does not let the guardian {what}: {reason}")]
    Host {
        /// What.
        what: &'static str,
        /// The host's reason.
        reason: io::Error,
    },
    /// Something cannot be listened on.
    #[error("{what} cannot be served: {reason}; see who has it, or configure another")]
    Listen {
        /// A socket or an address.
        what: String,
        /// The host's reason.
        reason: io::Error,
    },
    /// No guardian answers.
    #[error("no guardian answers at {} ({reason}); is it running, and may you ask it? Its group may", path.display())]
    NoAnswer {
        /// Its socket.
        path: PathBuf,
        /// The host's reason.
        reason: io::Error,
    },
}
