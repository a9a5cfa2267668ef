//! A child process that never outlives the test that started it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// Starts the command: [`plain`] here, or a closure that enters a network namespace first, such as
/// `|command| namespace.run(|| command.spawn()).map_err(io::Error::other)?`.
pub type Spawn<'a> = dyn Fn(&mut Command) -> io::Result<Child> + 'a;

/// Starts the command as it stands.
///
/// # Errors
///
/// As [`Command::spawn`].
pub fn plain(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}

/// A running process; killed by its pid, and reaped, on drop.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` through `spawn`; its standard output and error go to the file `log`.
    pub fn start(command: &mut Command, spawn: &Spawn<'_>, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let errors = output.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(command).unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self {
            name,
            child,
            log: log.to_owned(),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        kill(pid, signal).unwrap_or_else(|e| panic!("{signal} to {}: {e}", self.name));
    }

    /// What it has written up to now, standard output and error mixed.
    pub fn output(&self) -> String {
        read_lossy(&self.log)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// Waits until it has ended; `None` when it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        poll(patience, || self.status())
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        // Fails only where the process has ended by itself, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .unwrap_or_else(|e| panic!("cannot wait for {}: {e}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a command that runs to its end came out.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `command` to its end; panics when that takes longer than `patience`.
pub fn run(command: &mut Command, spawn: &Spawn<'_>, patience: Duration) -> Finished {
    Running::start(command, spawn).end(patience)
}

/// A command under way whose output is kept apart; killed on drop.
pub struct Running {
    process: Process,
    folder: TempDir,
}

impl Running {
    /// Starts `command` through `spawn`.
    pub fn start(command: &mut Command, spawn: &Spawn<'_>) -> Self {
        // Files instead of pipes: a full pipe would stop a talkative command.
        let folder = TempDir::new().unwrap();
        let stdout = folder.path().join("stdout");
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(folder.path().join("stderr")).unwrap());
        let name = format!("{command:?}");
        let child = spawn(command).unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let process = Process {
            name,
            child,
            log: stdout,
        };
        Self { process, folder }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it has written to its standard output up to now.
    pub fn stdout(&self) -> String {
        read_lossy(&self.folder.path().join("stdout"))
    }

    /// What it has written to its standard error up to now.
    pub fn stderr(&self) -> String {
        read_lossy(&self.folder.path().join("stderr"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end; panics when that takes longer than `patience`.
    pub fn end(mut self, patience: Duration) -> Finished {
        let status = self.process.wait(patience);
        let (stdout, stderr) = (self.process.output(), self.stderr());
        let Some(status) = status else {
            panic!(
                "{} took longer than {patience:?}\n{stdout}\n{stderr}",
                self.process.name
            );
        };
        Finished {
            status,
            stdout,
            stderr,
        }
    }
}

/// Asks `look` again and again until it gives something; `None` after `patience`.
pub fn poll<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// The text of a file; empty where there is none, as before a server has begun its log.
pub fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
