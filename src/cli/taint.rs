//! `taint`: finds tainted entries on this router, and deletes exactly those.

mod follow;
mod from_lan;
mod look;

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use iax2_natcheck::{
    check::{Finding, FindingId, Judgement, Severity, taint},
    net::resolve::Service,
    os::{conntrack::Wanted, host},
    report::{
        self,
        assemble::{self, Frame, Looked},
        model,
    },
};

use crate::cli::{
    args::{Common, TaintArgs},
    output,
    progress::Progress,
    runtime::block_on,
    survey,
};

pub(crate) use look::Inspector;

/// What is said where nothing is wrong.
const FINE: &str = "No entry of this router is tainted.";

/// Looks, mends where told, and reports.
///
/// # Errors
///
/// Where the table of connections cannot be looked at.
pub(crate) fn run(args: &TaintArgs, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    if let (Some(port), Some(target)) = (args.local_port, &args.peer) {
        return from_lan::run(port, target, common, progress);
    }
    let peer = match &args.peer {
        None => None,
        Some(target) => Some(block_on(survey::address(target, Service::IAX2, None))?.get()),
    };
    let wanted = Wanted {
        port: args.port,
        peers: peer.iter().map(SocketAddr::ip).collect(),
    };
    if args.follow {
        return follow::run(args, &wanted, common);
    }
    let mut inspector = Inspector::open(wanted)?;
    let mut looked = inspector.look(args.look, |elapsed| {
        progress.set("looking at the table", elapsed, Some(args.look));
    })?;
    if args.fix && !args.dry_run {
        mend(&mut inspector, &mut looked, args.wait, progress)?;
    }
    let judgement = judge(&looked, args);
    let frame = Frame {
        command: "taint".into(),
        started_at,
        finished_at: SystemTime::now(),
        host: host::host().into(),
        provider: args.peer.as_ref().map(|target| model::Provider {
            name: target.to_string(),
            address: peer,
            user: None,
        }),
    };
    let report = assemble::taint(frame, &looked, &judgement);
    progress.finish();
    output::report(&report, common)?;
    Ok(report::status(&report))
}

/// All that is to be said about what was seen.
fn judge(looked: &Looked, args: &TaintArgs) -> Judgement {
    let mut judgement = Judgement::of(vec![], FINE);
    let mut findings = findings(looked, &judgement);
    if args.dry_run {
        for found in &mut findings {
            if found.because.iter().any(|line| line.contains(" → ")) {
                found
                    .do_this
                    .insert(0, "these entries are what --fix deletes (--dry-run)".into());
            }
        }
    }
    judgement.add(findings);
    judgement
}

/// What a look at the router gives to say beside what is known already.
pub(crate) fn findings(looked: &Looked, known: &Judgement) -> Vec<Finding> {
    let mut findings = taint::findings(&looked.entries, &looked.router);
    findings.extend(looked.table.and_then(taint::table_finding));
    // What was measured on the way counts more than a setting of one router on it.
    if known.reachable.is_none() && !known.has(FindingId::ShortMappingTimeout) {
        findings.extend(taint::timer_finding(
            &looked.entries,
            &looked.router,
            looked.timers,
            known.cycle,
        ));
    }
    if looked.blind && !known.has(FindingId::NotMeasured) {
        findings.push(blind());
    }
    findings
}

/// What is said where this user may not look at the table.
fn blind() -> Finding {
    Finding {
        id: FindingId::NotMeasured,
        severity: Severity::Unknown,
        title: "Whether an entry is tainted is not known".into(),
        because: vec!["this user may not read the table of connections".into()],
        do_this: vec![
            "run it on the router as root (or with CAP_NET_ADMIN, and CAP_NET_RAW for packets on the \
             wire): sudo iax2-natcheck taint"
                .into(),
            "or, without any rights, on the PBX's own host while the PBX is stopped: iax2-natcheck \
             taint --peer PROVIDER --local-port 4569"
                .into(),
        ],
    }
}

/// Deletes what is tainted, one by one, and waits for what the next packets make.
fn mend(
    inspector: &mut Inspector,
    looked: &mut Looked,
    wait: Duration,
    progress: &Progress,
) -> Result<()> {
    let tainted = |looked: &Looked| {
        looked
            .entries
            .iter()
            .any(|inspected| inspected.judged.kind.is_taint())
    };
    if !tainted(looked) {
        return Ok(());
    }
    if !inspector.can_delete() {
        bail!(
            "{} tells no entry well enough to delete it alone; run this as root, where netlink does",
            iax2_natcheck::os::conntrack::PROC_FILE
        );
    }
    for inspected in &mut looked.entries {
        if inspected.judged.kind.is_taint() {
            inspector.delete(inspected)?;
        }
    }
    let began = Instant::now();
    while began.elapsed() < wait && !inspector.verify(&mut looked.entries)? {
        progress.set("waiting for the next packet", began.elapsed(), Some(wait));
        std::thread::sleep(look::POLL.min(wait.saturating_sub(began.elapsed())));
    }
    inspector.verify(&mut looked.entries)?;
    Ok(())
}
