//! A real Asterisk 16, as registrar or as the client of one, on an address of the test's choosing.
//!
//! ```ignore
//! let registrar = Asterisk::registrar(address).refresh(10).start(&plain);
//! let client = Asterisk::client(other, registrar.address()).register("alice").start(&plain);
//! client.wait_for_registration("alice");
//! ```
//!
//! On a fast path Asterisk may show "Request Sent" for a registration that has been accepted or
//! rejected long ago: it notes the state after it has sent the REGREQ, and the answer may be quicker.
//! The perceived address and the registrar's own tables do not lie, and the next refresh puts it right.

mod config;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{self, Process, Spawn, plain};

/// How long it may take to boot; it takes 0.3 s on an idle machine.
const BOOT: Duration = Duration::from_secs(30);
/// How long one CLI command may take; it takes 12 ms on an idle machine.
const CLI: Duration = Duration::from_secs(20);
/// How long it has to stop by itself before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long [`Asterisk::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a registration may take before it is tried anew; it takes 10 ms.
const REGISTRATION: Duration = Duration::from_secs(2);

/// The user of the manager interface.
pub const AMI_USER: &str = "admin";
/// The secret of the manager interface.
pub const AMI_SECRET: &str = "amisecret";
/// The secret of every account that authenticates by MD5.
pub const SECRET: &str = "s3cret";
/// The secret of `plain1`.
pub const PLAIN_SECRET: &str = "plainpw";

/// The private half of the key of the account `rsa1`, PEM; its public half lies beside it (`.pub`).
pub fn rsa_key() -> PathBuf {
    peers().join("keys/rsa1.key")
}

/// What an Asterisk is to be; [`Builder::start`] brings it to life.
pub struct Builder {
    ip: IpAddr,
    port: u16,
    ami_port: u16,
    role: Role,
    min_refresh: u32,
    max_refresh: u32,
    jitter_buffer: bool,
    quiet: bool,
    general: Vec<String>,
    options: Vec<(String, String)>,
    sections: Vec<String>,
}

enum Role {
    /// Has the accounts and the extensions.
    Registrar,
    /// Registers the accounts with the registrar, and can call it.
    Client {
        registrar: SocketAddr,
        accounts: Vec<Registration>,
    },
}

struct Registration {
    account: String,
    /// Instead of the account's own.
    secret: Option<String>,
}

impl Builder {
    fn new(ip: IpAddr, role: Role) -> Self {
        Self {
            ip,
            port: 4569,
            ami_port: 5038,
            role,
            min_refresh: 10,
            max_refresh: 3600,
            jitter_buffer: false,
            quiet: false,
            general: Vec::new(),
            options: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// The port of IAX2; 4569 unless given.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The port of the manager interface, on the same address; 5038 unless given.
    pub fn ami_port(mut self, port: u16) -> Self {
        self.ami_port = port;
        self
    }

    /// The bounds, in seconds, that a registrar puts around the refresh a client asks for (an
    /// Asterisk asks for 60); 10 and 3600 unless given.
    pub fn refresh_between(mut self, min: u32, max: u32) -> Self {
        (self.min_refresh, self.max_refresh) = (min, max);
        self
    }

    /// The refresh, in seconds, that a registrar grants whatever it is asked for.
    pub fn refresh(self, seconds: u32) -> Self {
        self.refresh_between(seconds, seconds)
    }

    /// A registrar POKEs `account` this often, in milliseconds, whether it answers or not.
    pub fn qualify(self, account: &str, every: u32) -> Self {
        self.option(account, "qualify=yes")
            .option(account, &format!("qualifyfreqok={every}"))
            .option(account, &format!("qualifyfreqnotok={every}"))
    }

    /// Turns the jitter buffer on, and with it the receiver reports in PONG and LAGRP.
    pub fn jitter_buffer(mut self) -> Self {
        self.jitter_buffer = true;
        self
    }

    /// Logs errors alone, as in production: logging costs it time.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Adds a line to the `[general]` section of `iax.conf`.
    pub fn general(mut self, line: &str) -> Self {
        self.general.push(line.to_owned());
        self
    }

    /// Adds a line to an account's section of `iax.conf`; a later line wins over an earlier one.
    pub fn option(mut self, account: &str, line: &str) -> Self {
        self.options.push((account.to_owned(), line.to_owned()));
        self
    }

    /// Adds text, such as another account, to the end of `iax.conf`.
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push(text.to_owned());
        self
    }

    /// A client registers this account with the account's own secret or key.
    pub fn register(self, account: &str) -> Self {
        self.registration(account, None)
    }

    /// A client registers this account with another secret than the registrar has.
    pub fn register_with(self, account: &str, secret: &str) -> Self {
        self.registration(account, Some(secret))
    }

    fn registration(mut self, account: &str, secret: Option<&str>) -> Self {
        match &mut self.role {
            Role::Client { accounts, .. } => accounts.push(Registration {
                account: account.to_owned(),
                secret: secret.map(str::to_owned),
            }),
            Role::Registrar => panic!("a registrar registers nothing: use Asterisk::client"),
        }
        self
    }

    /// Starts it through `spawn`, and waits until it has booted.
    pub fn start(self, spawn: &Spawn<'_>) -> Asterisk {
        let program = peers().join("ast16/asterisk");
        assert!(
            program.exists() && rsa_key().exists(),
            "no Asterisk in {}: run tests/all once, it fetches one",
            program.display()
        );
        let folder = TempDir::with_prefix("asterisk-").unwrap();
        config::write(&self, folder.path(), &peers().join("ast16"), &rsa_key());
        let mut command = Command::new(&program);
        command
            .args(["-f", "-C"]) // in the foreground, with this configuration
            .arg(folder.path().join("asterisk.conf"));
        let process = Process::start(&mut command, spawn, &folder.path().join("stdout"));
        let mut asterisk = Asterisk {
            process,
            program,
            address: SocketAddr::new(self.ip, self.port),
            ami: SocketAddr::new(self.ip, self.ami_port),
            folder,
        };
        asterisk.wait_for_boot();
        asterisk
    }
}

/// A running Asterisk; stopped on drop.
pub struct Asterisk {
    process: Process,
    program: PathBuf,
    address: SocketAddr,
    ami: SocketAddr,
    folder: TempDir,
}

impl Asterisk {
    /// A registrar at `ip`, with the accounts `alice`, `bob` (qualified), `plain1`, `rsa1`,
    /// `trunk1`, `notok`, `tokyes`, `crypt1`, `crypt2`, `nosecret` and the caller `guest`.
    ///
    /// Extensions: 600 echo, 601 milliwatt, 602 answers and hangs up, 603 busy, 604 calls `alice`,
    /// 605 a tone for 10 minutes, 606 congestion, 607 progress, ringing, then echo, 608 text and
    /// DTMF, 609 rings for a minute, 7xxx calls that extension of `alice`.
    pub fn registrar(ip: impl Into<IpAddr>) -> Builder {
        Builder::new(ip.into(), Role::Registrar)
    }

    /// A client at `ip` that knows the registrar's accounts as the peers `to-alice`, … and has the
    /// same extensions. It registers what [`Builder::register`] names.
    pub fn client(ip: impl Into<IpAddr>, registrar: SocketAddr) -> Builder {
        let accounts = Vec::new();
        Builder::new(
            ip.into(),
            Role::Client {
                registrar,
                accounts,
            },
        )
    }

    /// Where it speaks IAX2.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its manager interface listens.
    pub fn ami(&self) -> SocketAddr {
        self.ami
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The program and its configuration, for whoever runs `PROGRAM -C CONFIGURATION -rx COMMAND`.
    pub fn program_and_configuration(&self) -> (&Path, PathBuf) {
        (&self.program, self.folder.path().join("asterisk.conf"))
    }

    /// The output of one CLI command, from whatever network namespace: the CLI is a Unix socket.
    pub fn cli(&self, command: &str) -> String {
        let (program, configuration) = self.program_and_configuration();
        let mut remote = Command::new(program);
        remote.arg("-C").arg(configuration).args(["-rx", command]);
        // The remote console itself says how it ended, and that is no part of the answer.
        process::run(&mut remote, &plain, CLI)
            .stdout
            .lines()
            .filter(|line| !line.starts_with("Asterisk ending ("))
            .flat_map(|line| [line, "\n"])
            .collect()
    }

    /// Repeats a CLI command until `enough` of its output, and returns that output; panics with the
    /// last output and the log when it takes too long.
    pub fn wait_for(&self, command: &str, enough: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = process::poll(PATIENCE, || {
            last = self.cli(command);
            enough(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            panic!(
                "{command:?} still says after {PATIENCE:?}:\n{last}\n{}",
                self.end_of_log()
            )
        })
    }

    /// Waits until a client shows `account` as "Registered", and returns the line that says so.
    pub fn wait_for_registration(&self, account: &str) -> String {
        self.wait_for_state(account, "Registered")
    }

    /// Waits until a client shows `account` in `state`, and returns the line that says so. Where the
    /// line is stuck at "Request Sent" (see the [module](self)), everything is registered anew.
    pub fn wait_for_state(&self, account: &str, state: &str) -> String {
        let row = || {
            let text = self.cli("iax2 show registry");
            let mut lines = text.lines();
            lines.find_map(|line| {
                let shown = line.split_whitespace().nth(2) == Some(account);
                (shown && line.trim_end().ends_with(&format!(" {state}"))).then(|| line.to_owned())
            })
        };
        let found = process::poll(PATIENCE, || {
            process::poll(REGISTRATION, row).or_else(|| {
                self.cli("iax2 reload");
                None
            })
        });
        found.unwrap_or_else(|| {
            let text = self.cli("iax2 show registry");
            panic!(
                "{account} does not come to {state:?}:\n{text}\n{}",
                self.end_of_log()
            )
        })
    }

    /// Everything it has logged, debug lines included.
    pub fn log(&self) -> String {
        process::read_lossy(&self.folder.path().join("log/messages"))
    }

    /// The text of `iax.conf`, to be changed before an `iax2 reload`.
    pub fn iax_conf(&self) -> PathBuf {
        self.folder.path().join("iax.conf")
    }

    /// Stops it at once, without a farewell on the network.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// As much of the log as a panic message bears.
    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn wait_for_boot(&mut self) {
        let booted = process::poll(BOOT, || {
            assert!(
                self.process.is_running(),
                "Asterisk has ended:\n{}\n{}",
                self.process.output(),
                self.end_of_log()
            );
            self.cli("core waitfullybooted")
                .contains("fully booted")
                .then_some(())
        });
        assert!(
            booted.is_some(),
            "Asterisk does not boot:\n{}\n{}",
            self.process.output(),
            self.end_of_log()
        );
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        // A failing stop must not panic here: the process guard kills it by its pid afterwards.
        if self.process.is_running() {
            let (program, configuration) = self.program_and_configuration();
            let stop = Command::new(program)
                .arg("-C")
                .arg(configuration)
                .args(["-rx", "core stop now"])
                .output();
            if stop.is_ok() {
                self.process.wait(GRACE);
            }
        }
    }
}

/// Where `tests/all` puts the real servers and their keys.
fn peers() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    // Asterisk compares its module folder with resolved names.
    fs::canonicalize(&folder).unwrap_or(folder)
}
