//! Where a guardian is asked, and where its incidents are: all that whoever asks needs to know of the
//! configuration, whose secrets are not theirs to read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{config::ConfigError, watch::setup::Setup};

/// Unless the configuration says otherwise.
const SOCKET: &str = "/run/iax2-natcheck/watch.sock";
const INCIDENTS: &str = "/var/lib/iax2-natcheck/incidents.jsonl";

/// The two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The socket of the guardian.
    pub socket: PathBuf,
    /// Its incidents.
    pub incidents: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
struct Part {
    #[serde(default)]
    files: Files,
}

#[derive(Debug, Default, Deserialize)]
struct Files {
    socket: Option<PathBuf>,
    incidents: Option<PathBuf>,
}

impl Places {
    /// Reads them from the configuration, whatever else it says.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`], or [`ConfigError::Invalid`] where it is no TOML.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let part: Part = toml::from_str(&text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| {
                let before = text.get(..span.start).unwrap_or_default();
                before.matches('\n').count() + 1
            }),
            what: error.message().to_owned(),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let place = |given: Option<PathBuf>, usual: &str| {
            folder.join(given.unwrap_or_else(|| PathBuf::from(usual)))
        };
        Ok(Self {
            socket: place(part.files.socket, SOCKET),
            incidents: place(part.files.incidents, INCIDENTS),
        })
    }
}

impl From<&Setup> for Places {
    fn from(setup: &Setup) -> Self {
        Self {
            socket: setup.socket.clone(),
            incidents: setup.incidents.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::watch;

    #[test]
    fn they_are_those_that_the_guardian_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch.toml");
        let provider = "[[provider]]\nname = \"one\"\nhost = \"192.0.2.1\"\n";
        for files in [
            "",
            "[files]\nsocket = \"sock\"\nincidents = \"/var/log/x\"\n",
        ] {
            fs::write(&path, format!("{provider}{files}")).unwrap();
            let setup = Setup::from(watch::read(&path).unwrap());
            assert_eq!(Places::read(&path).unwrap(), Places::from(&setup));
        }
        fs::write(&path, "[files\n").unwrap();
        let error = Places::read(&path).unwrap_err().to_string();
        assert!(error.contains("watch.toml:1: "), "{error}");
    }
}
