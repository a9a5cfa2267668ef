//! Programs of the user's, run without a shell.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use crate::watch::effects::Refusal;

/// How long one may run.
const LIMIT: Duration = Duration::from_secs(60);
/// As much of what it says as a message bears, in octets.
const SAID: usize = 300;

/// Runs it; `filled` stands for placeholders in its arguments.
pub(super) async fn run(command: &[String], filled: &[(&str, String)]) -> Result<(), Refusal> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Refusal::Refused("no command is configured".to_owned()));
    };
    let arguments = arguments.iter().map(|argument| {
        filled
            .iter()
            .fold(argument.clone(), |text, (mark, value)| text.replace(mark, value))
    });
    let mut process = Command::new(program);
    process
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, process.output())
        .await
        .map_err(|_| Refusal::Failed(format!("{program} was still running after {LIMIT:?}")))?
        .map_err(|error| Refusal::Refused(format!("{program} does not start: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.chars().take(SAID).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Refusal::Failed(format!("{program}: {}: {said}", output.status)))
}
