//! What survives a restart, written so that neither a crash nor a full disk leaves half of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::{guard::state::Saved, watch::WatchError};

/// What the name of the lock ends in; it holds the number of the process that has it.
const LOCK: &str = "lock";
/// A larger file is none of ours.
const LARGEST: u64 = 4 << 20;

/// The file, while it is ours alone.
#[derive(Debug)]
pub(super) struct Store {
    file: PathBuf,
    /// Gives the file free when it is dropped, or when the process ends however it does.
    _lock: Flock<File>,
    written: Vec<u8>,
    complained: bool,
}

impl Store {
    /// Takes the file, and makes its folder where it is missing.
    pub(super) fn open(file: &Path) -> Result<Self, WatchError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |reason| WatchError::Folder { path, reason }
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        let path = file.with_extension(LOCK);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(&path)
            .map_err(failed(&path))?;
        let mut lock = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                // Whoever has it may not have written its number yet.
                let _ = file.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(WatchError::Another { path, pid });
            }
            Err((_, error)) => return Err(failed(&path)(error.into())),
        };
        let noted = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(
                "{} does not take this process's number: {error}",
                path.display()
            );
        }
        Ok(Self {
            file: file.to_owned(),
            _lock: lock,
            written: vec![],
            complained: false,
        })
    }

    /// The state of before; a new one where there is none, or none that can be read.
    pub(super) fn load(&self) -> Saved {
        let path = &self.file;
        let read = || -> io::Result<Vec<u8>> {
            let mut octets = vec![];
            File::open(path)?.take(LARGEST).read_to_end(&mut octets)?;
            Ok(octets)
        };
        match read() {
            Ok(octets) => serde_json::from_slice(&octets).unwrap_or_else(|error| {
                tracing::warn!(
                    "{} is not read: {error}; the guardian begins anew",
                    path.display()
                );
                Saved::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => {
                tracing::warn!("{} is not read: {error}", path.display());
                Saved::default()
            }
        }
    }

    /// Writes the state. Where that fails the one of before is left, and it is said once.
    pub(super) fn save(&mut self, saved: &Saved) {
        let octets = match serde_json::to_vec_pretty(saved) {
            Ok(octets) => octets,
            Err(error) => {
                tracing::error!("the state cannot be written down: {error}");
                return;
            }
        };
        if octets == self.written {
            return;
        }
        let path = &self.file;
        match replace(path, &octets) {
            Ok(()) => {
                self.written = octets;
                if std::mem::take(&mut self.complained) {
                    tracing::info!("{} can be written again", path.display());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(
                        "{} cannot be written ({error}): a restart would forget what was done; make room",
                        path.display()
                    );
                }
            }
        }
    }
}

/// Writes a file beside it, and puts it in its place when it is whole.
pub(super) fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&part)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    written().inspect_err(|_| {
        // What is there is not whole.
        let _ = fs::remove_file(&part);
    })?;
    if let Some(folder) = path.parent() {
        // The name, too, is to be there after a loss of power.
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_back_and_a_broken_one_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/state.json");
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.load(), Saved::default());
        let saved = Saved {
            next_id: 7,
            ..Saved::default()
        };
        store.save(&saved);
        assert_eq!(store.load(), saved);
        let another = Store::open(&path).unwrap_err().to_string();
        assert!(
            another.contains(&std::process::id().to_string()),
            "{another}"
        );
        drop(store);
        let store = Store::open(&path).unwrap();
        fs::write(&path, "{ half").unwrap();
        assert_eq!(store.load(), Saved::default());
    }

    #[test]
    fn a_full_disk_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old").unwrap();
        // A folder in the place of the part file cannot be written, as a full disk cannot.
        fs::create_dir(path.with_extension("part")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
