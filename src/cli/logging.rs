//! Logs on stderr, beside the progress.

use std::io::{self, IsTerminal, Write, stderr};

use tracing_subscriber::{
    EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::cli::{
    args::{Cli, Command},
    progress::Progress,
};

/// systemd sets this where stderr goes to its journal.
const JOURNAL: &str = "JOURNAL_STREAM";
/// What the fields of messages begin with there: `IAX2_PROVIDER`, `IAX2_ACTION`.
const FIELDS: &str = "IAX2";

/// Starts logging at the level the command line asks for.
///
/// Warnings are shown unless told otherwise, and by a server what it does. Other crates are heard
/// from warnings on.
pub(crate) fn init(cli: &Cli, progress: &Progress) {
    let server = match &cli.command {
        Command::Serve(_) => true,
        Command::Watch(args) => args.command.is_none(),
        _ => false,
    };
    let level = match (cli.common.quiet, cli.common.verbose) {
        (true, _) => "error",
        (false, 0) if server => "info",
        (false, 0) => "warn",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let others = if cli.common.quiet { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},iax2_natcheck={level}"));
    let journal = matches!(cli.command, Command::Watch(_)) && std::env::var_os(JOURNAL).is_some();
    if journal && let Ok(journal) = tracing_journald::layer() {
        let journal = journal.with_field_prefix(Some(FIELDS.to_owned()));
        tracing_subscriber::registry()
            .with(filter)
            .with(journal)
            .init();
        return;
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal() && !no_colour())
        .with_target(false)
        .with_writer(Beside(progress.clone()));
    if server {
        builder.init();
    } else {
        builder.without_time().init();
    }
}

/// The user wants no colours (the convention of no-color.org).
pub(crate) fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes to stderr while the progress stands aside.
struct Beside(Progress);

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Beside {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}
