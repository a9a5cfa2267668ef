//! Programs of the user's, run without a shell, and not for ever.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command};

/// How long one may run.
const LIMIT: Duration = Duration::from_secs(60);
/// As much of what it says as a message bears, in characters.
const SAID: usize = 300;

/// Why it did not do its work, in words.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not started.
    NotStarted(String),
    /// It ended badly, or not at all.
    Ended(String),
}

impl Failure {
    /// The words.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::NotStarted(words) | Self::Ended(words) => words,
        }
    }
}

/// Runs it; `filled` stands for placeholders in its arguments, `input` is what it reads.
pub(super) async fn run(
    command: &[String],
    filled: &[(&str, String)],
    input: Option<String>,
) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::NotStarted("no command is configured".to_owned()));
    };
    let arguments = arguments.iter().map(|argument| {
        filled.iter().fold(argument.clone(), |text, (mark, value)| {
            text.replace(mark, value)
        })
    });
    let mut process = Command::new(program);
    process
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = process
        .spawn()
        .map_err(|error| Failure::NotStarted(format!("{program} does not start: {error}")))?;
    let ended = async {
        if let Some(input) = input
            && let Some(mut stdin) = child.stdin.take()
        {
            // One that does not read it may be content all the same.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LIMIT, ended)
        .await
        .map_err(|_| Failure::Ended(format!("{program} was still running after {LIMIT:?}")))?
        .map_err(|error| Failure::Ended(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.chars().take(SAID).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Failure::Ended(format!(
        "{program}: {}: {said}",
        output.status
    )))
}
