//! A change that takes itself back unless it is confirmed.
//!
//! The way back lies in a file below `/run`, and a shell of its own waits for the time to pass. It
//! has a process group of its own and ignores the signals that end a session, so that it does not
//! matter what becomes of the program that made the change, or of the line over which it was typed.
//! Whoever renames the file first decides: the shell takes the change back, a confirmation keeps it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::{Duration, SystemTime},
};

use super::OsError;

/// Where what belongs to this boot lies; the second is that of older systems.
const RUN: [&str; 2] = ["/run", "/var/run"];

/// The name of the way back while it waits, while it runs, when it is done, and when it is not needed.
const PENDING: &str = "pending";
const RUNNING: &str = "rolling-back";
const DONE: &str = "rolled-back";
const CONFIRMED: &str = "confirmed";

/// Waits, and takes back what is still pending, if it is still the same change. `$1` is the folder,
/// `$2` the time in seconds, `$3` the last line of the change's way back.
const WAIT: &str = "trap '' HUP INT QUIT PIPE TERM\n\
                    sleep \"$2\"\n\
                    cd \"$1\" && [ \"$(tail -n 1 pending)\" = \"$3\" ] || exit 0\n\
                    mv pending rolling-back || exit 0\n\
                    sh ./rolling-back\n\
                    mv rolling-back rolled-back\n";

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its confirmation.
    Pending,
    /// It is being taken back.
    RollingBack,
    /// It was taken back.
    RolledBack,
    /// It was confirmed.
    Confirmed,
}

/// A change that waits for its confirmation.
#[derive(Debug)]
pub struct Pending {
    folder: PathBuf,
}

impl Pending {
    /// Keeps the script that takes a change back, and starts the shell that will run it. The change
    /// itself is to be made after this.
    ///
    /// # Errors
    ///
    /// [`OsError::ChangePending`] where another one waits; [`OsError::Rollback`] where the script
    /// cannot be kept (mostly for a user who is not root) or the shell does not start.
    pub fn begin(script: &str, within: Duration) -> Result<Self, OsError> {
        let folder = folder().map_err(rollback)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(rollback)?;
        let pending = folder.join(PENDING);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&pending);
        let mut file = match opened {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(OsError::ChangePending { file: pending });
            }
            other => other.map_err(rollback)?,
        };
        for old in [RUNNING, DONE, CONFIRMED] {
            // There is one only after an earlier change.
            let _ = fs::remove_file(folder.join(old));
        }
        // An earlier change that was confirmed has a shell that still waits.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let name = format!("# change {} {}", process::id(), since.as_nanos());
        let begun = file
            .write_all(format!("{script}\n{name}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| start(&folder, within, &name));
        if let Err(error) = begun {
            // Nothing was changed yet, so there is nothing to take back.
            let _ = fs::remove_file(&pending);
            return Err(rollback(error));
        }
        Ok(Self { folder })
    }

    /// What has become of it.
    #[must_use]
    pub fn state(&self) -> State {
        let is = |name| self.folder.join(name).exists();
        if is(PENDING) {
            State::Pending
        } else if is(DONE) {
            State::RolledBack
        } else if is(CONFIRMED) {
            State::Confirmed
        } else {
            State::RollingBack
        }
    }

    /// Clears away what tells of a change that is decided.
    pub fn forget(self) {
        // What stays is gone with the next boot.
        let _ = fs::remove_dir_all(self.folder);
    }

    /// Keeps the change; false where it is too late.
    ///
    /// # Errors
    ///
    /// [`OsError::Rollback`] where the file cannot be renamed.
    pub fn confirm(&self) -> Result<bool, OsError> {
        keep(&self.folder)
    }
}

/// Keeps the change that waits in this network namespace; false where none does.
///
/// # Errors
///
/// [`OsError::Rollback`] where the file cannot be renamed.
pub fn confirm() -> Result<bool, OsError> {
    keep(&folder().map_err(rollback)?)
}

fn keep(folder: &Path) -> Result<bool, OsError> {
    match fs::rename(folder.join(PENDING), folder.join(CONFIRMED)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(rollback(error)),
    }
}

/// One folder a network namespace, since each has rules of its own.
fn folder() -> io::Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")?.ino();
    let run = RUN.iter().map(Path::new).find(|run| run.is_dir());
    let run = run.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no /run"))?;
    Ok(run.join("iax2-natcheck").join(format!("net-{namespace}")))
}

fn start(folder: &Path, within: Duration, name: &str) -> io::Result<()> {
    let log = File::create(folder.join("log"))?;
    let seconds = within.as_secs() + u64::from(within.subsec_nanos() > 0);
    Command::new("/bin/sh")
        .args(["-c", WAIT, "iax2-natcheck-rollback"])
        .arg(folder)
        .arg(seconds.to_string())
        .arg(name)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map(drop)
}

fn rollback(source: io::Error) -> OsError {
    OsError::Rollback { source }
}
