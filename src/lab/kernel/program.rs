//! The programs `ip` and `nft`.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use super::namespace::Namespace;
use crate::lab::error::LabError;

/// Where administrators' programs live that an ordinary user's PATH does not name.
const EXTRA_PATHS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// A program that reads its orders from standard input.
pub(super) struct Program {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
}

/// `ip`, one order a line.
pub(super) const IP: Program = Program {
    name: "ip",
    package: "iproute2",
    arguments: &["-batch", "-"],
};

/// `nft`, a ruleset.
pub(super) const NFT: Program = Program {
    name: "nft",
    package: "nftables",
    arguments: &["-f", "-"],
};

impl Program {
    /// Runs it in a namespace, with these orders.
    pub(super) fn run(&self, namespace: &Namespace, orders: &str) -> Result<(), LabError> {
        let failed = |message: String| LabError::Program {
            namespace: namespace.label().to_owned(),
            command: format!("{}: {}", self.name, blamed(orders, &message)),
            message,
        };
        let mut command = Command::new(self.find()?);
        command
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = namespace
            .run(|| command.spawn())?
            .map_err(|error| failed(error.to_string()))?;
        let input = child.stdin.take();
        let output = thread::scope(|scope| {
            // Written beside the wait, so that neither side can fill a pipe and stall.
            scope.spawn(move || {
                // A program that stops reading says why on its standard error.
                let _ = input.map(|mut input| input.write_all(orders.as_bytes()));
            });
            child.wait_with_output()
        })
        .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }

    fn find(&self) -> Result<PathBuf, LabError> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(EXTRA_PATHS.iter().map(PathBuf::from))
            .map(|folder| folder.join(self.name))
            .find(|file| Path::is_file(file))
            .ok_or(LabError::MissingProgram {
                program: self.name,
                package: self.package,
            })
    }
}

/// The order that failed, where `ip` told its line (`Command failed -:3`); else all of them.
fn blamed<'a>(orders: &'a str, message: &str) -> &'a str {
    message
        .rsplit_once("Command failed -:")
        .and_then(|(_, line)| line.trim().parse::<usize>().ok())
        .and_then(|line| orders.lines().nth(line.checked_sub(1)?))
        .unwrap_or(orders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_line_is_named() {
        let orders = "link set lo up\naddress add nonsense dev lo\n";
        let message = "Error: any valid prefix is expected.\nCommand failed -:2";
        assert_eq!(blamed(orders, message), "address add nonsense dev lo");
        assert_eq!(blamed(orders, "no such thing"), orders);
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let missing = Program {
            name: "no-such-program",
            ..IP
        };
        let error = missing.find().unwrap_err().to_string();
        assert!(error.contains("`no-such-program`") && error.contains("iproute2"));
    }
}
