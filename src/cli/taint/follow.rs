//! `taint --follow`: watches the table live, and says a line for each entry whose state changes.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    check::taint::{Inspected, Kind},
    os::{
        conntrack::{Entry, Event, Events, Flow, Wanted},
        route::Changes,
    },
    report::assemble::Looked,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::{
    args::{Common, Format, TaintArgs},
    taint::Inspector,
};

/// The table is read again at least so often: of entries that were there before, no events come.
const AGAIN: Duration = Duration::from_secs(2);
/// After something has happened, what belongs to it is waited for.
const SETTLE: Duration = Duration::from_millis(200);
/// What was deleted has this long to be made anew before it is read again.
const DELETED: Duration = Duration::from_millis(100);

/// Watches until it is stopped.
///
/// # Errors
///
/// Where this user may not watch.
pub(super) fn run(args: &TaintArgs, wanted: &Wanted, common: &Common) -> Result<u8> {
    if common.output.is_some() {
        bail!("--follow writes to stdout, line by line; leave --output out");
    }
    let mut events = Events::open()?;
    let mut changes = Changes::open()?;
    let mut inspector = Inspector::open(wanted.clone())?;
    if args.fix && !inspector.can_delete() {
        bail!("this user may not delete entries; run it as root");
    }
    let until = common.timeout.map(|timeout| Instant::now() + timeout);
    let mut known = BTreeMap::new();
    let mut found = false;
    loop {
        let mut looked = inspector.look(Duration::ZERO, |_| ())?;
        let mut heard = tell(&looked, &mut known, common)?;
        if args.fix && !args.dry_run && mend(&mut inspector, &mut looked)? {
            heard &= tell(&looked, &mut known, common)?;
            std::thread::sleep(DELETED);
        }
        found |= looked
            .entries
            .iter()
            .any(|inspected| inspected.judged.kind.is_taint());
        if !heard || !wait(&mut events, &mut changes, wanted, until)? {
            return Ok(if found && !args.fix {
                2
            } else {
                u8::from(found)
            });
        }
    }
}

/// Deletes what is tainted; false where nothing is.
fn mend(inspector: &mut Inspector, looked: &mut Looked) -> Result<bool> {
    let mut any = false;
    for inspected in &mut looked.entries {
        if inspected.judged.kind.is_taint() {
            inspector.delete(inspected)?;
            any = true;
        }
    }
    Ok(any)
}

/// Waits until something has happened that concerns us, or the table is to be read again; false
/// where the time is over.
fn wait(
    events: &mut Events,
    changes: &mut Changes,
    wanted: &Wanted,
    until: Option<Instant>,
) -> Result<bool> {
    let again = Instant::now() + AGAIN;
    loop {
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Ok(false);
        }
        let next = until.map_or(again, |until| until.min(again));
        if next <= now {
            return Ok(true);
        }
        let left = u16::try_from((next - now).as_millis()).unwrap_or(u16::MAX);
        let mut descriptors = [
            PollFd::new(events.as_fd(), PollFlags::POLLIN),
            PollFd::new(changes.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut descriptors, PollTimeout::from(left)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("changes cannot be waited for"),
        }
        let mut ours = changes.seen()?;
        events.take(|event| {
            ours |= match event {
                Event::Made(entry) | Event::Changed(entry) | Event::Gone(entry) => {
                    wanted.takes(&entry)
                }
                Event::Lost => {
                    tracing::info!("events were lost; reading the table again");
                    true
                }
            }
        })?;
        if ours {
            std::thread::sleep(SETTLE);
            return Ok(true);
        }
    }
}

/// A flow in its zone, and the address it goes out as.
type Known = BTreeMap<(Flow, u16), (Kind, Flow, bool)>;

/// Says what has changed since; false where the reader has gone away.
fn tell(looked: &Looked, known: &mut Known, common: &Common) -> Result<bool> {
    let mut heard = true;
    let name = |entry: &Entry| (entry.original, entry.zone);
    for inspected in &looked.entries {
        let state = (
            inspected.judged.kind,
            inspected.entry.reply,
            inspected.deleted,
        );
        if known.insert(name(&inspected.entry), state) != Some(state) {
            heard &= say(&inspected_line(inspected, common))?;
        }
    }
    let gone: Vec<(Flow, u16)> = known
        .keys()
        .filter(|flow| {
            !looked
                .entries
                .iter()
                .any(|inspected| name(&inspected.entry) == **flow)
        })
        .copied()
        .collect();
    for flow in gone {
        if let Some((_, reply, deleted)) = known.remove(&flow)
            && !deleted
        {
            heard &= say(&gone_line(flow.0, reply, common))?;
        }
    }
    Ok(heard)
}

fn inspected_line(inspected: &Inspected, common: &Common) -> String {
    if common.format() == Format::Json {
        let part = Looked {
            entries: vec![inspected.clone()],
            ..Looked::default()
        };
        let entries = part.part().entries;
        let mut value = serde_json::to_value(entries.first()).unwrap_or_default();
        value["at"] = now().into();
        return value.to_string();
    }
    format!("{} {}", now(), inspected.line())
}

fn gone_line(flow: Flow, reply: Flow, common: &Common) -> String {
    if common.format() == Format::Json {
        let ends = |flow: Flow| {
            serde_json::json!({
                "source": flow.source, "destination": flow.destination
            })
        };
        return serde_json::json!({
            "at": now(), "kind": "gone", "original": ends(flow), "reply": ends(reply)
        })
        .to_string();
    }
    format!("{} {flow}: gone", now())
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// One line to stdout at once; false where its reader has gone away.
fn say(line: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(error).context("stdout cannot be written; send it to a file with space left")
        }
    }
}
