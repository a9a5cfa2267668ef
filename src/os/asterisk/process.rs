//! The process of Asterisk: whether it runs, whether it is another one than before, and its memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::signal::kill};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The name of its process.
const NAME: &str = "asterisk";

/// A process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// When it was started, in seconds since 1970. With the number it names one process.
    pub started: u64,
    /// Its resident set, in octets.
    pub resident: u64,
}

/// What is seen of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It runs.
    Running(Running),
    /// It ran, or left its number, and does not run.
    Ended,
    /// It may run: this user does not see it.
    NotSeen,
}

/// Looks at one process again and again; the others are not touched.
#[derive(Debug)]
pub struct Watched {
    system: System,
    pid_file: PathBuf,
    known: Option<Pid>,
    /// It was seen once, so that it is no longer seen means something.
    was_seen: bool,
}

impl Watched {
    /// The process whose number is in `pid_file`, as Asterisk writes it into its `astrundir`; where
    /// there is no such file, one of that name.
    #[must_use]
    pub fn new(pid_file: &Path) -> Self {
        Self {
            system: System::new(),
            pid_file: pid_file.to_owned(),
            known: None,
            was_seen: false,
        }
    }

    /// The process as it is now.
    pub fn look(&mut self) -> Found {
        let written = fs::read_to_string(&self.pid_file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map(Pid::from_u32);
        if let Some(pid) = written.or(self.known)
            && let Some(running) = self.one(pid)
        {
            self.known = Some(pid);
            self.was_seen = true;
            return Found::Running(running);
        }
        let known = self.known.take();
        if let Some(pid) = written.or(known) {
            // Where processes of others are hidden, only this tells whether there is one.
            return if is_there(pid) {
                Found::NotSeen
            } else {
                Found::Ended
            };
        }
        // All of them once, by name; then the one that was found.
        let everything = ProcessRefreshKind::nothing();
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::All, true, everything);
        let found = self
            .system
            .processes()
            .values()
            .filter(|process| process.thread_kind().is_none())
            .find(|process| process.name() == NAME)
            .map(sysinfo::Process::pid);
        self.system = System::new();
        self.known = found;
        match found.and_then(|pid| self.one(pid)) {
            Some(running) => {
                self.was_seen = true;
                Found::Running(running)
            }
            None if self.was_seen => Found::Ended,
            None => Found::NotSeen,
        }
    }

    fn one(&mut self, pid: Pid) -> Option<Running> {
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            true,
            ProcessRefreshKind::nothing().with_memory().without_tasks(),
        );
        let process = self.system.process(pid)?;
        // One that has ended and was not waited for yet does not run.
        if matches!(
            process.status(),
            sysinfo::ProcessStatus::Zombie | sysinfo::ProcessStatus::Dead
        ) {
            return None;
        }
        Some(Running {
            pid: pid.as_u32(),
            started: process.start_time(),
            resident: process.memory(),
        })
    }
}

/// Whether there is a process with this number that has not ended, whosever it is.
fn is_there(pid: Pid) -> bool {
    let Ok(number) = i32::try_from(pid.as_u32()) else {
        return false;
    };
    let ended = fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.contains(") Z ") || stat.contains(") X "));
    let sent = kill(nix::unistd::Pid::from_raw(number), None);
    !ended && matches!(sent, Ok(()) | Err(Errno::EPERM))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_seen_while_it_runs_and_its_successor_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("asterisk.pid");
        let mut watched = Watched::new(&file);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(&file, format!("{}\n", child.id())).unwrap();
        let Found::Running(first) = watched.look() else {
            panic!("it is not seen");
        };
        assert_eq!(first.pid, child.id());
        assert!(first.resident > 0);
        assert!(matches!(watched.look(), Found::Running(again) if again.started == first.started));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(watched.look(), Found::Ended);
    }
}
