//! Logs on stderr, beside the progress.

use std::io::{self, IsTerminal, Write, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, fmt, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
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
        (true, _) => LevelFilter::ERROR,
        (false, 0) if server => LevelFilter::INFO,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let others = level.min(LevelFilter::WARN);
    let filter = Targets::new()
        .with_default(others)
        .with_target("iax2_natcheck", level);
    let subscriber = tracing_subscriber::registry().with(filter);
    let journal = matches!(cli.command, Command::Watch(_)) && std::env::var_os(JOURNAL).is_some();
    if journal && let Ok(journal) = tracing_journald::layer() {
        let journal = journal.with_field_prefix(Some(FIELDS.to_owned()));
        subscriber.with(journal).init();
        return;
    }
    let lines = fmt::layer()
        .with_ansi(stderr().is_terminal() && !no_colour())
        .with_target(false)
        .with_writer(Beside(progress.clone()));
    if server {
        subscriber.with(lines).init();
    } else {
        subscriber.with(lines.without_time()).init();
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
