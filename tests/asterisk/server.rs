//! `serve` on an address of a test's own.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{
    loopback,
    process::{self, Running, plain},
    tool::{self, Ended},
};

/// More than any of the servers needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// `serve` with the accounts of a test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) running: Running,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start(users: &str, options: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("users.toml");
        fs::write(&path, users).unwrap();
        let address = SocketAddr::new(loopback::address().into(), 4569);
        let line = format!("--bind {address} --users {} {options}", path.display());
        Self {
            address,
            running: tool::serve(&line, &plain),
            _folder: folder,
        }
    }

    /// Waits until its log has a line with all of `words`, and returns that line.
    pub(crate) fn wait_for(&self, words: &[&str]) -> String {
        let found = process::poll(PATIENCE, || {
            let log = self.running.stderr();
            let mut lines = log.lines();
            let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("no {words:?} in\n{}", self.running.stderr()))
    }

    /// The times of the lines with `words`.
    pub(crate) fn times(&self, words: &str) -> Vec<SystemTime> {
        let log = self.running.stderr();
        let lines = log.lines().filter(|line| line.contains(words));
        lines
            .map(|line| {
                let time = line.split_whitespace().next().unwrap();
                humantime::parse_rfc3339(time).unwrap_or_else(|e| panic!("{line}: {e}"))
            })
            .collect()
    }

    /// Ends it as a service manager does; it must end by itself, and well.
    pub(crate) fn terminate(self) -> String {
        self.running.signal(Signal::SIGTERM);
        let ended = Ended::new(self.running.end(PATIENCE), Instant::now());
        assert_eq!((ended.status, ended.stdout.as_str()), (0, ""), "{ended:#?}");
        ended.stderr
    }
}
