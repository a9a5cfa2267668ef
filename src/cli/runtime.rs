//! The asynchronous runtime of the commands that use the network.

use std::future::Future;

use anyhow::{Context as _, Result};

/// Runs one command to its end, on this thread.
///
/// # Errors
///
/// The command's own, or that the host grants no runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("this host grants no event loop; raise the limit of open files (`ulimit -n`)")?
        .block_on(work)
}
