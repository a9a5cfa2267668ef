//! What holds between the keys of a report.

use std::collections::BTreeSet;

use iax2_natcheck::check::FindingId;
use serde_json::Value;

/// Checks that the keys of a report agree with each other.
pub(super) fn agree(report: &Value, wrong: &mut Vec<String>) {
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    must(report["schema_version"] == 1, "schema_version is not 1");
    let time = |key: &str| report[key].as_str().map(str::to_owned);
    must(
        time("started_at") <= time("finished_at"),
        "it ended before it began",
    );

    let weight = |word: Option<&str>| match word {
        Some("ok") => 0,
        Some("unknown") => 1,
        Some("warning") => 2,
        _ => 3,
    };
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let weights: Vec<i32> = findings
        .iter()
        .map(|found| weight(found["severity"].as_str()))
        .collect();
    must(
        weights.is_sorted_by(|a, b| a >= b),
        "the worst finding is not the first",
    );
    let worst = weights.first().copied().unwrap_or(0);
    must(
        weight(report["verdict"].as_str()) == worst,
        "the verdict is not the severity of the worst finding",
    );
    let ids: BTreeSet<&str> = findings
        .iter()
        .filter_map(|found| found["id"].as_str())
        .collect();
    must(ids.len() == findings.len(), "a finding comes twice");
    for found in &findings {
        let known = FindingId::ALL.iter().any(|id| found["id"] == id.as_str());
        must(known, &format!("the manual has no finding {}", found["id"]));
        for key in ["because", "do_this"] {
            let empty = found[key].as_array().is_none_or(Vec::is_empty);
            must(!empty, &format!("{} of {} is empty", key, found["id"]));
        }
    }

    super::calls::agree(report, &mut must);
    super::snat::agree(report, &mut must);
    let measured = &report["measurements"];
    for shape in ["one_way", "exchange", "stream"] {
        let edge = &measured["lifetime"][shape];
        if let (Some(alive), Some(dead)) = (edge["alive_s"].as_f64(), edge["dead_s"].as_f64()) {
            must(
                alive < dead,
                &format!("{shape}: alive at {alive} s, dead at {dead} s"),
            );
        }
    }
    let reachable = &measured["reachable"];
    if let (Some(open), Some(cycle)) = (reachable["open_s"].as_f64(), reachable["cycle_s"].as_f64())
    {
        let fraction = reachable["fraction"].as_f64().unwrap_or(-1.0);
        must(
            (fraction - (open / cycle).min(1.0)).abs() < 0.001,
            "fraction is not open_s / cycle_s",
        );
        must(
            reachable["open_s"] == measured["lifetime"]["exchange"]["dead_s"],
            "open_s is not the dead_s of the exchange",
        );
    }
}
