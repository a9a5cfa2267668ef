//! The router's table of connections, a line for each entry.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::report::model::{Taint, TaintedEntry};

/// As many healthy entries are shown; the others are counted.
const SHOWN: usize = 10;

/// What was seen of the router; nothing where only a suspicion from the LAN is there.
pub(super) fn lines(seen: &Taint) -> Vec<(&'static str, String)> {
    let mut rows = vec![];
    let mut router = vec![];
    if let Some(table) = seen.table {
        router.push(format!(
            "{} of {} entries in use",
            table.entries, table.most
        ));
    }
    if let Some(timers) = seen.timers {
        router.push(format!(
            "UDP is kept {} s, streams {} s",
            timers.udp_s, timers.stream_s
        ));
    }
    if !router.is_empty() {
        rows.push(("router", router.join(", ")));
    }
    if seen.suspected.is_some() && !router.is_empty() {
        rows.push(("entries", kinds(&seen.entries)));
    }
    let healthy = |entry: &&TaintedEntry| entry.kind == "healthy";
    let tainted = seen.entries.iter().filter(|entry| !healthy(entry));
    rows.extend(tainted.map(|tainted| ("", entry(tainted))));
    let mut right = seen.entries.iter().filter(healthy);
    rows.extend(right.by_ref().take(SHOWN).map(|right| ("", entry(right))));
    match right.count() {
        0 => {}
        more => rows.push(("", format!("and {more} more that are healthy"))),
    }
    rows.extend(seen.leaks.iter().map(|leak| {
        let words = format!(
            "{} → {} by {}, {}",
            leak.source,
            leak.destination,
            leak.interface,
            match leak.packets {
                1 => "1 packet with a private source".into(),
                packets => format!("{packets} packets with a private source"),
            }
        );
        ("on the wire", words)
    }));
    rows
}

fn kinds(entries: &[TaintedEntry]) -> String {
    if entries.is_empty() {
        return "none with this port".into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        *counts.entry(&entry.kind).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    counts.join(", ")
}

fn entry(entry: &TaintedEntry) -> String {
    let mut words = format!(
        "{} → {} seen as {}: {}",
        entry.original.source, entry.original.destination, entry.reply.destination, entry.kind
    );
    if entry.unreplied {
        words.push_str(", never answered");
    }
    if entry.deleted {
        words.push_str(match entry.verified {
            Some(true) => ", deleted and made anew, rightly",
            Some(false) => ", deleted and made anew, wrongly",
            None => ", deleted",
        });
    } else if let Some(left) = entry.expires_s {
        // Writing to a string does not fail.
        let _ = write!(words, ", {left} s left");
    }
    words
}
