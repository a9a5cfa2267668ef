//! The command: parse, log, dispatch, exit.

mod cli;

use std::process::ExitCode;

use cli::{exit, logging, progress::Progress};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let progress = Progress::new(cli.common.draws_progress());
    logging::init(&cli, &progress);
    let done = cli::run(&cli, &progress);
    progress.finish();
    exit::done(done)
}
