//! The configuration of `watch`: TOML, as in [`SAMPLE`].
//!
//! Paths are relative to the file. What a key may hold is checked here, each mistake with its line and
//! with what to write instead; whether a host resolves or a program exists is not.

pub mod import_cron;
mod table;
mod value;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

use crate::{
    config::{ConfigError, place::Place},
    guard::{observation::ProviderId, policy::Policy},
    net::resolve::Target,
};

/// A commented configuration with every key.
pub const SAMPLE: &str = include_str!("../../examples/watch.toml");

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// What is watched, in the order of [`Policy::providers`].
    pub providers: Vec<WatchedProvider>,
    /// What is held besides.
    pub registrations: Vec<OwnRegistration>,
    /// How Asterisk is asked.
    pub asterisk: AsteriskAccess,
    /// What is observed.
    pub observe: Observe,
    /// What the guardian obeys.
    pub policy: Policy,
    /// Nothing is done, only said.
    pub dry_run: bool,
    /// Commands.
    pub commands: Commands,
    /// Files.
    pub files: Files,
    /// Metrics.
    pub metrics: Metrics,
}

/// A provider that Asterisk registers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedProvider {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub host: Target,
    /// The user of the register line, where it is given.
    pub user: Option<String>,
}

/// A registration that `watch` holds itself.
#[derive(Clone, Debug)]
pub struct OwnRegistration {
    /// Its name.
    pub name: String,
    /// Where the registrar is.
    pub host: Target,
    /// The account.
    pub user: String,
    /// Its secret.
    pub secret: SecretString,
    /// The refresh to ask for.
    pub refresh: Duration,
    /// The local port; `None`: a fresh one.
    pub port: Option<u16>,
}

/// How Asterisk is asked.
#[derive(Clone, Debug)]
pub struct AsteriskAccess {
    /// By its manager interface.
    pub ami: Option<Ami>,
    /// The program of its command line.
    pub program: PathBuf,
    /// Its configuration, if not the usual one.
    pub config: Option<PathBuf>,
    /// Its own IAX2 port.
    pub port: u16,
}

/// Its manager interface.
#[derive(Clone, Debug)]
pub struct Ami {
    /// Where it listens.
    pub address: SocketAddr,
    /// The user.
    pub user: String,
    /// The secret.
    pub secret: SecretString,
}

/// What is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Asterisk's own port, by a passive capture.
    pub capture: bool,
    /// POKEs from fresh ports.
    pub poke: bool,
    /// The interface towards the providers; `None`: that of the route.
    pub interface: Option<String>,
    /// The interface whose going down counts; `None`: that of the route.
    pub wan: Option<String>,
    /// This host is the router, and its table of connections is read.
    pub router: bool,
}

/// Commands: program and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// At the begin and end of an incident, and to notify.
    pub incident: Option<Vec<String>>,
    /// To delete the entry on another host.
    pub delete_entry: Option<Vec<String>>,
}

/// Files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// What survives a restart.
    pub state: PathBuf,
    /// Incidents, one JSON object a line.
    pub incidents: PathBuf,
    /// The socket that `watch status` asks.
    pub socket: PathBuf,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Where Prometheus asks; a loopback address.
    pub listen: Option<SocketAddr>,
    /// The textfile of its node exporter.
    pub textfile: Option<PathBuf>,
}

impl WatchConfig {
    /// A watched provider by the number that observations use.
    #[must_use]
    pub fn provider(&self, id: ProviderId) -> Option<&WatchedProvider> {
        self.providers.get(usize::from(id.0))
    }

    /// Whether a remedy needs to change the packet filter or the table of connections of this host.
    #[must_use]
    pub fn needs_net_admin(&self) -> bool {
        use crate::guard::action::ActionKind::{DeleteEntry, Hold, Quiet};
        let local = self.commands.delete_entry.is_none();
        self.observe.router
            || self.policy.providers.iter().any(|provider| {
                provider.allows(Hold)
                    || provider.allows(Quiet)
                    || (provider.allows(DeleteEntry) && local)
            })
    }

    /// Whether an observer or a remedy needs raw packets.
    #[must_use]
    pub fn needs_net_raw(&self) -> bool {
        use crate::guard::action::ActionKind::KeepOpen;
        let mut providers = self.policy.providers.iter();
        self.observe.capture || providers.any(|provider| provider.allows(KeepOpen))
    }
}

/// Reads a configuration.
///
/// # Errors
///
/// [`ConfigError`] naming file, line, what is wrong and what to write.
pub fn read(path: &Path) -> Result<WatchConfig, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path)
}

/// Reads the text of a configuration; `path` names it in errors and is what paths in it are relative to.
///
/// # Errors
///
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<WatchConfig, ConfigError> {
    let place = Place { text, path };
    let file: table::File =
        toml::from_str(text).map_err(|error| place.error(error.span(), error.message()))?;
    file.check(place)
}

#[cfg(test)]
mod tests;
