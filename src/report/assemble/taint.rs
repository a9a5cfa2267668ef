//! What a look at the router's table found, as a report or a part of one.

use crate::{
    check::{
        Finding, Judgement,
        taint::{Inspected, Router},
    },
    os::{
        conntrack,
        leak::Leak as Leaked,
        sysctl::{TableUse, Timers as Kept},
    },
    report::{
        assemble::{Frame, framed},
        model::{Flow, Leak, Number, Report, Table, Taint, TaintedEntry, Timers},
    },
};

/// What a look at the router found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// The entries.
    pub entries: Vec<Inspected>,
    /// Packets that left with a private source, and how many of each flow.
    pub leaks: Vec<(Leaked, u32)>,
    /// What the router is.
    pub router: Router,
    /// Its timers.
    pub timers: Option<Kept>,
    /// How full its table is.
    pub table: Option<TableUse>,
    /// The table could not be read: nothing is known of entries.
    pub blind: bool,
}

/// Writes down a look at the router that stands for itself.
#[must_use]
pub fn taint(frame: Frame, looked: &Looked, judgement: &Judgement) -> Report {
    let findings: &[Finding] = &judgement.findings;
    let mut report = framed(
        frame,
        judgement.verdict,
        judgement.summary.clone(),
        findings,
    );
    report.measurements.taint = Some(looked.part());
    report
}

impl Looked {
    /// Adds this to a report about more; a suspicion from the LAN side stays one.
    pub fn add_to(&self, report: &mut Report) {
        let before = report.measurements.taint.take();
        let mut part = self.part();
        if before.is_some_and(|before| before.suspected == Some(true)) {
            part.suspected = Some(true);
        }
        report.measurements.taint = Some(part);
    }

    /// The part of a report.
    #[must_use]
    pub fn part(&self) -> Taint {
        let tainted = self
            .entries
            .iter()
            .any(|inspected| inspected.judged.kind.is_taint());
        Taint {
            suspected: (!self.blind).then_some(tainted),
            entries: self.entries.iter().map(entry).collect(),
            leaks: self.leaks.iter().map(|leak| self.leak(*leak)).collect(),
            timers: self.timers.map(|kept| Timers {
                udp_s: Number::seconds(kept.udp),
                stream_s: Number::seconds(kept.stream),
            }),
            table: self.table.map(|table| Table {
                entries: table.entries,
                most: table.most,
            }),
        }
    }

    fn leak(&self, (leak, packets): (Leaked, u32)) -> Leak {
        Leak {
            interface: self.router.name(leak.link),
            source: leak.source,
            destination: leak.destination,
            packets,
        }
    }
}

fn entry(inspected: &Inspected) -> TaintedEntry {
    let seen = &inspected.entry;
    TaintedEntry {
        kind: inspected.judged.kind.as_str().into(),
        original: flow(seen.original),
        reply: flow(seen.reply),
        unreplied: !seen.seen_reply,
        assured: seen.assured,
        expires_s: seen.expires.map(Number::seconds),
        kept_alive: inspected.liveness.kept_alive,
        last_packet_s: inspected.liveness.last_packet.map(Number::seconds),
        zone: (seen.zone != 0).then_some(seen.zone),
        deleted: inspected.deleted,
        verified: inspected.verified,
        because: inspected.judged.because.clone(),
    }
}

fn flow(flow: conntrack::Flow) -> Flow {
    Flow {
        source: flow.source,
        destination: flow.destination,
    }
}
