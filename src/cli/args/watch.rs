//! The options of `watch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to watch by, and whether to do anything.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The configuration; `iax2-natcheck config` prints a sample
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        default_value = "/etc/iax2-natcheck/watch.toml"
    )]
    pub(crate) config: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read the configuration, say what is wrong with it, and end
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Make a configuration of a script that unloads the IAX2 channel or restarts Asterisk, and end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "check_config"])]
    pub(crate) import_cron: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<WatchCommand>,
}

/// What is asked of the guardian.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// Ask the guardian that runs how it goes
    #[command(after_help = "Example:\n  iax2-natcheck watch status --json")]
    Status,
    /// Show the incidents that have ended, the last one last
    #[command(after_help = "Example:\n  iax2-natcheck watch history --html incidents.html")]
    History,
}
