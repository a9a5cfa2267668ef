//! What the guardian is to watch, and by what means: the configuration as the shell needs it.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf};

use crate::{
    guard::policy::Policy,
    net::resolve::Target,
    os::{
        asterisk::{Cli, manager::Login},
        hold::Pbx,
    },
};

/// Everything.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What may be done, and how patiently; its providers are those below, in the same order.
    pub policy: Policy,
    /// The providers.
    pub providers: Vec<Provider>,
    /// The PBX.
    pub asterisk: Asterisk,
    /// This host is the router too: its table of connections is read, and entries are deleted there.
    pub router: bool,
    /// Deletes an entry elsewhere; `{source}`, `{port}`, `{destination}` and `{destination_port}` are
    /// filled in.
    pub delete_command: Vec<String>,
    /// Is run when an incident begins and when it ends.
    pub on_incident: Vec<String>,
    /// Where state and incidents are kept.
    pub state_folder: PathBuf,
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
    pub cli: Option<Cli>,
    /// The file with the number of its process; `None`: the process is not watched.
    pub pid_file: Option<PathBuf>,
    /// The port it speaks IAX2 on.
    pub port: u16,
    /// Its address, where it is another host and this one its router.
    pub behind: Option<IpAddr>,
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
