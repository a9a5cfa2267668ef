//! What the guardian is to watch, and by what means: the configuration as the shell needs it, with what
//! this host says beside it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::watch::{AsteriskAccess, Observe, OwnRegistration, WatchConfig},
    guard::policy::Policy,
    net::resolve::Target,
    os::{
        asterisk::{Cli, manager::Login},
        hold::Pbx,
        route::Routing,
    },
};

/// How long Asterisk has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Asterisk's own configuration, and where it keeps the number of its process, unless told otherwise.
const ASTERISK_CONF: &str = "/etc/asterisk/asterisk.conf";
const RUN_FOLDER: &str = "/var/run/asterisk";
const PID_FILE: &str = "asterisk.pid";

/// Everything.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What may be done, and how patiently; its providers are those below, in the same order.
    pub policy: Policy,
    /// The providers.
    pub providers: Vec<Provider>,
    /// Registrations that the guardian holds itself.
    pub registrations: Vec<OwnRegistration>,
    /// The PBX.
    pub asterisk: Asterisk,
    /// What is observed.
    pub observe: Observe,
    /// Deletes an entry elsewhere; `{source}`, `{port}`, `{destination}` and `{destination_port}` are
    /// filled in.
    pub delete_command: Vec<String>,
    /// Is run when an incident begins and when it ends, and to tell a person.
    pub on_incident: Vec<String>,
    /// The file of what survives a restart.
    pub state: PathBuf,
    /// The file of incidents.
    pub incidents: PathBuf,
    /// Where `watch status` asks.
    pub socket: PathBuf,
    /// Where Prometheus may ask; a loopback address.
    pub metrics: Option<SocketAddr>,
    /// Where metrics are written for the node exporter.
    pub textfile: Option<PathBuf>,
    /// Nothing is done; what would be done is said.
    pub dry_run: bool,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// The account, where more than one is registered there.
    pub user: Option<String>,
}

/// How to ask the PBX.
#[derive(Clone, Debug)]
pub struct Asterisk {
    /// By its manager interface.
    pub manager: Option<Login>,
    /// By its command line, where there is no manager interface.
    pub cli: Cli,
    /// The file with the number of its process; `None`: it is on another host.
    pub pid_file: Option<PathBuf>,
    /// The port it speaks IAX2 on.
    pub port: u16,
    /// Its address, where it is another host and this one its router.
    pub behind: Option<IpAddr>,
}

impl From<WatchConfig> for Setup {
    /// Takes a configuration; what it leaves open is looked up on this host.
    fn from(config: WatchConfig) -> Self {
        Self {
            providers: config
                .providers
                .into_iter()
                .map(|provider| Provider {
                    name: provider.name,
                    target: provider.host,
                    user: provider.user,
                })
                .collect(),
            registrations: config.registrations,
            asterisk: config.asterisk.into(),
            observe: config.observe,
            delete_command: config.commands.delete_entry.unwrap_or_default(),
            on_incident: config.commands.incident.unwrap_or_default(),
            state: config.files.state,
            incidents: config.files.incidents,
            socket: config.files.socket,
            metrics: config.metrics.listen,
            textfile: config.metrics.textfile,
            dry_run: config.dry_run,
            policy: config.policy,
        }
    }
}

impl From<AsteriskAccess> for Asterisk {
    fn from(access: AsteriskAccess) -> Self {
        let manager = access.ami.map(|ami| Login {
            address: ami.address,
            user: ami.user,
            secret: ami.secret,
            limit: PATIENCE,
        });
        let behind = manager
            .as_ref()
            .map(|login| login.address.ip())
            .filter(|ip| !is_own(*ip));
        let pid_file = behind.is_none().then(|| pid_file(access.config.as_deref()));
        Self {
            manager,
            cli: Cli {
                program: access.program,
                config: access.config,
                limit: PATIENCE,
            },
            pid_file,
            port: access.port,
            behind,
        }
    }
}

impl Asterisk {
    /// Whose packets are held.
    #[must_use]
    pub const fn pbx(&self) -> Pbx {
        Pbx {
            port: self.port,
            behind: self.behind,
        }
    }
}

/// Whether an address is one of this host. Where the kernel does not tell, it is taken for one.
fn is_own(ip: IpAddr) -> bool {
    let addresses = Routing::open().and_then(|mut routing| routing.addresses());
    ip.is_loopback()
        || addresses.is_ok_and(|addresses| addresses.iter().any(|address| address.ip == ip))
}

/// Where Asterisk writes the number of its process.
fn pid_file(config: Option<&Path>) -> PathBuf {
    let config = config.unwrap_or(Path::new(ASTERISK_CONF));
    let text = fs::read_to_string(config).unwrap_or_default();
    run_folder(&text).join(PID_FILE)
}

/// `astrundir => FOLDER` of asterisk.conf.
fn run_folder(text: &str) -> PathBuf {
    let value = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("astrundir")?;
        let rest = rest.trim_start().strip_prefix('=')?;
        let rest = rest.strip_prefix('>').unwrap_or(rest);
        Some(rest.split(';').next()?.trim())
    });
    PathBuf::from(value.unwrap_or(RUN_FOLDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_folder_is_the_one_that_asterisk_uses() {
        let rows = [
            ("[directories]\nastrundir => /run/pbx\n", "/run/pbx"),
            (" astrundir = /run/pbx ; not the usual one", "/run/pbx"),
            (";astrundir => /run/pbx\n", RUN_FOLDER),
            ("", RUN_FOLDER),
        ];
        for (text, folder) in rows {
            assert_eq!(run_folder(text), Path::new(folder), "{text:?}");
        }
    }
}
