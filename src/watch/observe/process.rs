//! Whether Asterisk's process runs, whether it is another one than before, and the memory it holds.

use std::{path::PathBuf, time::Duration};

use crate::{
    guard::observation::{Observer, Process, Seen},
    os::asterisk::process::{Found, Watched},
    watch::observe::{Common, Sight},
};

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(30);
/// The same while it does not run.
const DOWN: Duration = Duration::from_secs(2);

/// Looks at the process, for ever.
pub(in crate::watch) async fn run(common: Common, pid_file: PathBuf) {
    let mut watched = Watched::new(&pid_file);
    let mut sight = Sight::new(Observer::Process);
    let mut known = None;
    let mut nudges = common.nudges();
    loop {
        let now = match watched.look() {
            Found::Running(now) => now,
            Found::Ended => {
                sight.sees(&common).await;
                common.tell(Seen::Asterisk(Process::Down)).await;
                nudges.pause(DOWN).await;
                continue;
            }
            Found::NotSeen => {
                let why = "no process of Asterisk is seen here; it may be hidden from this user";
                sight.blind(&common, why.to_owned()).await;
                nudges.pause(EVERY).await;
                continue;
            }
        };
        sight.sees(&common).await;
        let this = (now.pid, now.started);
        if known.is_some_and(|known| known != this) {
            common.tell(Seen::Asterisk(Process::Restarted)).await;
        }
        known = Some(this);
        let resident = now.resident;
        common.tell(Seen::Memory { resident }).await;
        nudges.pause(EVERY).await;
    }
}
