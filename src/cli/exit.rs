//! The exit status, and the one sentence that goes to stderr before it.

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use clap::error::ErrorKind;

use crate::cli::output;

/// Could not measure, or bad usage.
const UNKNOWN: u8 = 3;

/// Ends a command: with its status, or with its error and 3.
pub(crate) fn done(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Ends a command line that asks for help or version (0), or that is wrong (3).
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            done(output::print(&error.render().to_string()).map(|()| 0))
        }
        _ => {
            complain(&sentence(&error.render().to_string()));
            ExitCode::from(UNKNOWN)
        }
    }
}

/// One line on stderr; where even that is closed, there is nobody left to tell.
fn complain(what: &str) {
    let line = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(stderr(), "iax2-natcheck: {line}");
}

/// What clap says in paragraphs, as one sentence: the mistake, its tip, and where the help is.
fn sentence(rendered: &str) -> String {
    let mut parts: Vec<String> = vec![];
    let mut command = "iax2-natcheck".to_owned();
    for paragraph in rendered.split("\n\n") {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(usage) = text.strip_prefix("Usage: ") {
            command = usage
                .split(' ')
                .take_while(|word| !word.starts_with(['[', '<', '-']))
                .collect::<Vec<_>>()
                .join(" ");
        } else if !text.is_empty() && !text.starts_with("For more information") {
            parts.push(text.trim_start_matches("error: ").to_owned());
        }
    }
    format!("{}; see {command} --help", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn a_mistake_is_one_sentence() {
        let rows = [
            (
                "check host --usr x",
                "unexpected argument '--usr' found; tip: a similar argument exists: '--user'; see \
                 iax2-natcheck check --help",
            ),
            (
                "check",
                "the following required arguments were not provided: <PROVIDER>; see \
                 iax2-natcheck check --help",
            ),
            (
                "check host --refresh soon",
                "invalid value 'soon' for '--refresh <DURATION>': write whole seconds from 1s to \
                 65535s, such as 60s or 5m; see iax2-natcheck --help",
            ),
            (
                "chek",
                "unrecognized subcommand 'chek'; tip: a similar subcommand exists: 'check'; see \
                 iax2-natcheck --help",
            ),
        ];
        for (line, expected) in rows {
            let words = std::iter::once("iax2-natcheck").chain(line.split(' '));
            let error = cli::parse(words.map(Into::into)).unwrap_err();
            assert_eq!(sentence(&error.render().to_string()), expected);
        }
    }
}
