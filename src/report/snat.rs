//! A plan for a router as a report.

use std::time::SystemTime;

use crate::{
    check::{self, snat::Plan, taint::Kind},
    probe::router::{self, Setting},
    report::{
        assemble::finding,
        model::{
            Host, Measurements, Refused, Report, Router, RuleChange, SCHEMA_VERSION, Time, Tool,
            Unknown, Verdict,
        },
        script,
    },
};

/// Writes down a plan, and what is found of the rules that it starts from.
#[must_use]
pub fn report(
    plan: &Plan,
    router: &router::Router,
    findings: &[check::Finding],
    host: Host,
    (started_at, finished_at): (SystemTime, SystemTime),
) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        command: "snat".into(),
        started_at: Time(started_at),
        finished_at: Time(finished_at),
        host: Some(host),
        provider: None,
        // The findings of rules are warnings.
        verdict: if findings.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Warning
        },
        summary: Some(summary(plan, findings)),
        interrupted: false,
        findings: findings.iter().map(finding).collect(),
        measurements: Measurements {
            router: Some(described(plan, router)),
            ..Measurements::default()
        },
        rules: Some(rules(plan)),
        unknown: Unknown::new(),
    }
}

fn summary(plan: &Plan, findings: &[check::Finding]) -> String {
    let changes = match plan.changes.len() {
        0 => "there is nothing to change".to_owned(),
        1 => "there is one change to make".to_owned(),
        count => format!("there are {count} changes to make"),
    };
    match findings.first() {
        Some(found) => format!("{}; {changes}.", found.title),
        None => format!("No rule that was read lets an entry go wrong; {changes}."),
    }
}

fn described(plan: &Plan, router: &router::Router) -> Router {
    Router {
        wan: router.wan.interface.clone(),
        address: router.wan.address,
        is_static: match router.wan.setting {
            Setting::Static => Some(true),
            Setting::Dynamic => Some(false),
            Setting::Unknown => None,
        },
        others: router
            .others
            .iter()
            .map(|other| other.interface.clone())
            .collect(),
        lans: router.lans.iter().map(ToString::to_string).collect(),
        notes: plan.notes.clone(),
        refused: plan
            .refusals
            .iter()
            .map(|refusal| Refused {
                what: refusal.what.clone(),
                why: refusal.why.clone(),
            })
            .collect(),
    }
}

fn rules(plan: &Plan) -> Vec<RuleChange> {
    let names = |prevents: &[Kind]| prevents.iter().map(ToString::to_string).collect();
    let changes = plan.changes.iter().map(|change| RuleChange {
        title: change.title.clone(),
        command: change.command.clone(),
        undo: Some(change.undo.clone()).filter(|undo| !undo.is_empty()),
        prevents: names(&change.prevents),
        why: change.why.clone(),
        file: None,
    });
    let files = plan.files.iter().map(|file| RuleChange {
        title: file.title.clone(),
        command: script::write(file, ""),
        undo: Some(format!("rm -f {}", file.path)),
        prevents: names(&file.prevents),
        why: file.why.clone(),
        file: Some(file.path.to_owned()),
    });
    changes.chain(files).collect()
}
