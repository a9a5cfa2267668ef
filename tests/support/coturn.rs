//! A real STUN server with NAT behaviour discovery (RFC 5780): coturn on two addresses and ports.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::process::{self, Process, Spawn};

/// How long the server has to answer its first request.
const BOOT: Duration = Duration::from_secs(20);

/// A running server; stopped on drop.
///
/// Ask its primary address: what coturn 4.6 names as OTHER-ADDRESS in answers from the alternate one
/// is the alternate address itself.
pub struct Coturn {
    process: Process,
    primary: SocketAddr,
    alternate: SocketAddr,
    _folder: TempDir,
}

impl Coturn {
    /// The standard port of STUN (RFC 8489 §18.6).
    pub const PORT: u16 = 3478;
    /// The port of the second pair of sockets.
    pub const ALTERNATE_PORT: u16 = 3479;

    /// Starts a server through `spawn` on the four combinations of the two addresses and the two
    /// ports, and waits until each of them answers a Binding request.
    pub fn start(primary: IpAddr, alternate: IpAddr, spawn: &Spawn<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("turnserver");
        command
            .arg("-n") // no configuration file of the host
            .args([
                "--stun-only",
                "--no-tls",
                "--no-dtls",
                "--no-tcp",
                "--no-cli",
            ])
            .arg(format!("--listening-ip={primary}"))
            .arg(format!("--listening-ip={alternate}"))
            .arg(format!("--listening-port={}", Self::PORT))
            .arg(format!("--alt-listening-port={}", Self::ALTERNATE_PORT))
            .args(["--relay-threads=1", "--log-file=stdout", "--simple-log"])
            .arg(format!("--pidfile={}", folder.path().join("pid").display()))
            .arg(format!("--userdb={}", folder.path().join("db").display()));
        let process = Process::start(&mut command, spawn, &folder.path().join("log"));
        let mut server = Self {
            process,
            primary: SocketAddr::new(primary, Self::PORT),
            alternate: SocketAddr::new(alternate, Self::ALTERNATE_PORT),
            _folder: folder,
        };
        server.wait_for_answers(spawn);
        server
    }

    /// The address that clients ask.
    pub fn primary(&self) -> SocketAddr {
        self.primary
    }

    /// The address that the server names in OTHER-ADDRESS.
    pub fn alternate(&self) -> SocketAddr {
        self.alternate
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    fn wait_for_answers(&mut self, spawn: &Spawn<'_>) {
        for address in [self.primary.ip(), self.alternate.ip()] {
            for port in [Self::PORT, Self::ALTERNATE_PORT] {
                let answered = process::poll(BOOT, || {
                    assert!(
                        self.process.is_running(),
                        "turnserver has ended:\n{}",
                        self.log()
                    );
                    // coturn's own client, so that the question is asked inside the namespace. It
                    // asks once and waits for ever, hence the limit of a second.
                    let mut client = Command::new("timeout");
                    client.args(["1", "turnutils_stunclient", "-p", &port.to_string()]);
                    client.arg(address.to_string());
                    let answer = process::run(&mut client, spawn, BOOT);
                    answer.stdout.contains("UDP reflexive addr").then_some(())
                });
                assert!(
                    answered.is_some(),
                    "turnserver does not answer on {address} port {port}:\n{}",
                    self.log()
                );
            }
        }
    }
}
