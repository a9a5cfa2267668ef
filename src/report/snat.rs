//! A plan for a router as a report.

use crate::{
    check::{self, Verdict, snat::Plan, taint::Kind},
    probe::router::{self, Setting},
    report::{
        assemble::{Frame, framed},
        model::{Measurements, Refused, Report, Router, RuleChange},
        script,
    },
};

/// Writes down a plan, and what is found of the rules that it starts from.
#[must_use]
pub fn report(
    plan: &Plan,
    router: &router::Router,
    findings: &[check::Finding],
    frame: Frame,
) -> Report {
    // The findings of rules are warnings.
    let verdict = if findings.is_empty() {
        Verdict::Ok
    } else {
        Verdict::Warning
    };
    Report {
        measurements: Measurements {
            router: Some(described(plan, router)),
            ..Measurements::default()
        },
        rules: Some(rules(plan)),
        ..framed(frame, verdict, summary(plan, findings), findings)
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
