//! Why a run ends before its machine is done: a signal, or the time that the user allows.

use std::{future, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::net::NetError;

/// Why a run was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: the user pressed Ctrl-C.
    Interrupted,
    /// SIGTERM: a service manager ends the process.
    Terminated,
    /// The time allowed is over.
    TimeLimit,
}

/// The signals that end a run, watched from the call on, so that none is missed before the first
/// [`Stopper::wait`]. Must be made inside a tokio runtime.
#[derive(Debug)]
pub struct Stopper {
    interrupt: Signal,
    terminate: Signal,
}

impl Stopper {
    /// Begins to watch SIGINT and SIGTERM, which then no longer kill the process.
    ///
    /// # Errors
    ///
    /// [`NetError::Host`] where the host grants no signal handler.
    pub fn new() -> Result<Self, NetError> {
        let watch = |kind| {
            signal(kind).map_err(|source| NetError::Host {
                what: "watch for signals",
                source,
            })
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal, or until `limit` has passed since this call.
    pub async fn wait(&mut self, limit: Option<Duration>) -> Stop {
        let limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupted,
            _ = self.terminate.recv() => Stop::Terminated,
            () = limit => Stop::TimeLimit,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::{
        sys::signal::{Signal as Number, kill},
        unistd::Pid,
    };

    use super::*;

    #[tokio::test]
    async fn a_signal_or_the_time_limit_stops() {
        let mut stopper = Stopper::new().unwrap();
        let limit = Duration::from_millis(10);
        assert_eq!(stopper.wait(Some(limit)).await, Stop::TimeLimit);
        kill(Pid::this(), Number::SIGTERM).unwrap();
        assert_eq!(stopper.wait(None).await, Stop::Terminated);
        kill(Pid::this(), Number::SIGINT).unwrap();
        assert_eq!(stopper.wait(None).await, Stop::Interrupted);
    }
}
