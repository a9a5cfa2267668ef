//! Programs of administrators, asked for what they print.

use std::process::{Command, Stdio};

/// Where such programs live that an ordinary user's PATH does not name.
const EXTRA_PATHS: &str = "/usr/sbin:/sbin:/usr/local/sbin";

/// A program that is looked for where administrators' programs live, too.
pub(super) fn command(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env("PATH", format!("{path}:{EXTRA_PATHS}"));
    command
}

/// What a program prints; `None` where it is not there, not allowed to, or not content.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
