//! `snat --apply`: the changes are made at once and taken back unless somebody says that they are
//! good.

use std::{
    io::{self, BufRead, Write as _, stderr},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    check::snat::{self, Wish},
    os::rollback::{self, Pending, State},
    probe::router::Router,
    report::script::{self, Direction},
};

use super::Source;
use crate::cli::{
    args::{Common, SnatArgs},
    output,
};

/// How often it is looked whether somebody else has confirmed.
const LOOK: Duration = Duration::from_millis(200);
/// How much longer than agreed the way back may take on a busy router.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the changes.
///
/// # Errors
///
/// Where there is nothing to replace, a step fails, or nobody confirms in time; the rules are then as
/// they were.
pub(super) fn run(
    args: &SnatArgs,
    common: &Common,
    source: &Source,
    router: &Router,
    wish: &Wish,
) -> Result<u8> {
    let wan = &router.wan.interface;
    let rules = source
        .rules
        .as_ref()
        .context("nothing was changed: no rules were read")?;
    if !snat::translates(rules, wan) {
        bail!(
            "nothing was changed: no rule in force translates what leaves by {wan}, so that this is \
             not the router or --wan is another"
        );
    }
    let mut plan = snat::plan(Some(rules), router, wish);
    // Files are for the script: what is tried out now is what is in force now.
    plan.files.clear();
    if let Some(refusal) = plan.refusals.first() {
        bail!("nothing was changed: {}: {}", refusal.what, refusal.why);
    }
    if plan.changes.is_empty() {
        output::write("Nothing of what is in force has to be changed.\n", common)?;
        return Ok(0);
    }
    let pending = Pending::begin(&script::rollback(&plan), args.confirm_within)?;
    let began = Instant::now();
    if let Err(error) = make(&script::render(&plan, Direction::Forth, &source.origin)) {
        // The script has taken back its own steps.
        pending.confirm()?;
        pending.forget();
        return Err(error);
    }
    let within = humantime::format_duration(args.confirm_within);
    tell(
        common,
        &format!(
            "{} made. Press Enter within {within} to keep it, or run `iax2-natcheck snat --confirm`; else it \
         is taken back, also when this program is killed or the line is lost.",
            changes(plan.changes.len())
        ),
    );
    let decided = wait(&pending, began + args.confirm_within + PATIENCE);
    if pending.state() != State::RollingBack {
        pending.forget();
    }
    decided?;
    let kept = "Kept until the next reboot: `iax2-natcheck snat > snat.sh; sh snat.sh install` writes \
                the files that keep it so, and `iax2-natcheck snat --undo` prints the way back.\n";
    output::write(kept, common)?;
    Ok(0)
}

/// Keeps what another `--apply` has changed.
///
/// # Errors
///
/// Where nothing waits to be confirmed.
pub(super) fn confirm(common: &Common) -> Result<u8> {
    if rollback::confirm()? {
        output::write("Kept.\n", common)?;
        return Ok(0);
    }
    bail!("no change waits for its confirmation; it may have been taken back already")
}

fn changes(count: usize) -> String {
    if count == 1 {
        "1 change".to_owned()
    } else {
        format!("{count} changes")
    }
}

fn tell(common: &Common, line: &str) {
    if !common.quiet {
        // Where stderr is closed, nobody reads it.
        let _ = writeln!(stderr(), "{line}");
    }
}

/// Runs the script to its end.
fn make(text: &str) -> Result<()> {
    let mut shell = Command::new("/bin/sh")
        .args(["-s", "now"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("nothing was changed: /bin/sh does not start")?;
    if let Some(mut stdin) = shell.stdin.take() {
        // A shell that ends early says why below.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = shell
        .wait_with_output()
        .context("the shell cannot be waited for")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    bail!(
        "{}",
        if lines.is_empty() {
            "nothing was changed: a step failed".to_owned()
        } else {
            lines.join("; ")
        }
    )
}

/// Waits until it is decided.
fn wait(pending: &Pending, latest: Instant) -> Result<()> {
    let enter = enter();
    loop {
        match pending.state() {
            State::Confirmed => return Ok(()),
            State::RolledBack => {
                bail!("not confirmed in time: the rules are as they were before")
            }
            State::RollingBack | State::Pending if Instant::now() > latest => bail!(
                "not confirmed, and the way back has not come to its end; look at the rules, and run \
                 iax2-natcheck snat --undo"
            ),
            State::RollingBack | State::Pending => {}
        }
        match enter.recv_timeout(LOOK) {
            Ok(()) => {
                pending.confirm()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody is there to press it; another one may still confirm.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
    }
}

/// Tells when a line comes from stdin.
fn enter() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while io::stdin()
            .lock()
            .read_line(&mut line)
            .is_ok_and(|read| read > 0)
        {
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}
