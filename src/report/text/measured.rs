//! The measurements, one or a few lines each.

use crate::report::{
    model::{
        Edge, Gone, Lifetime, Mapping, Measurements, Number, Reachability, Reachable, Registration,
    },
    text::wrap,
};

/// What was measured, in the order of the report.
pub(super) fn lines(measured: &Measurements) -> Vec<String> {
    let mut rows: Vec<(&str, String)> = vec![];
    if let Some(reach) = &measured.reachability {
        rows.push(("provider", reachability(reach)));
    }
    if let Some(reach) = &measured.reflector {
        rows.push(("reflector", reachability(reach)));
    }
    if let Some(seen) = &measured.registration {
        rows.push(("registration", registration(seen)));
    }
    if let Some(line) = &measured.asterisk {
        rows.push(("asterisk", format!("{}: {}", line.user, line.state)));
    }
    if let Some(seen) = &measured.mapping {
        rows.push(("mapping", mapping(seen)));
        rows.extend(
            seen.observations
                .iter()
                .map(|view| ("", format!("{} sees {}", view.peer, view.mapped))),
        );
        rows.extend(
            seen.unanswered
                .iter()
                .map(|peer| ("", format!("{peer} does not answer"))),
        );
    }
    if let Some(seen) = &measured.lifetime {
        rows.extend(lifetime(seen));
    }
    if let Some(reachable) = &measured.reachable {
        rows.push(("reachable", share(reachable)));
    }
    rows.iter()
        .filter(|(_, words)| !words.is_empty())
        .flat_map(|(name, words)| {
            wrap::paragraph(words, &format!("   {name:<14}"), &" ".repeat(17))
        })
        .collect()
}

fn reachability(reach: &Reachability) -> String {
    let mut words = vec![format!(
        "{} of {} POKEs answered",
        reach.received, reach.sent
    )];
    if let Some(rtt) = &reach.rtt_ms {
        words.push(format!(
            "round trip {} ms (least {}, most {})",
            rtt.median, rtt.min, rtt.max
        ));
    }
    if let Some(cause) = &reach.icmp {
        words.push(cause.clone());
    }
    if let Some(other) = reach.answered_from {
        words.push(format!("answers came from {other}"));
    }
    match reach.call_token_required {
        Some(true) => words.push("call token required".into()),
        Some(false) => words.push("no call token required".into()),
        None => {}
    }
    words.join(", ")
}

fn registration(seen: &Registration) -> String {
    let mut words = vec![seen.state.clone()];
    if let Some(method) = &seen.auth {
        words.push(format!("authentication {method}"));
    }
    if let Some(cause) = &seen.cause {
        words.push(format!("\"{cause}\""));
    }
    if let Some(code) = seen.cause_code {
        words.push(format!("cause code {code}"));
    }
    if let Some(refresh) = seen.refresh_s {
        words.push(format!("refresh {refresh} s"));
    }
    if let Some(after) = seen.reregister_after_s {
        words.push(format!("next after {after} s"));
    }
    if let Some(address) = seen.apparent_address {
        words.push(format!("seen as {address}"));
    }
    if let Some(elapsed) = seen.elapsed_ms {
        words.push(format!("took {elapsed} ms"));
    }
    words.join(", ")
}

fn mapping(seen: &Mapping) -> String {
    let mut words = vec![];
    match seen.nat {
        Some(true) => words.push("NAT".into()),
        Some(false) => words.push("no NAT".into()),
        None => {}
    }
    if let Some(behaviour) = seen
        .behaviour
        .as_ref()
        .filter(|behaviour| *behaviour != "none")
    {
        words.push(match behaviour.as_str() {
            "unknown" => "kind not known".into(),
            known => format!("{known} mapping"),
        });
    }
    if seen.nat != Some(false) {
        match seen.port_preserved {
            Some(true) => words.push("port kept".into()),
            Some(false) => words.push("port changed".into()),
            None => {}
        }
    }
    words.join(", ")
}

fn lifetime(seen: &Lifetime) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = [
        ("a single packet", &seen.one_way),
        ("an exchange (registration)", &seen.exchange),
        ("a stream (call)", &seen.stream),
    ]
    .into_iter()
    .filter_map(|(what, shape)| Some(("", format!("after {what}: {}", edge(shape.as_ref()?)))))
    .collect();
    match seen.inbound_refreshes {
        Some(true) => rows.push(("", "inbound packets keep a mapping open".into())),
        Some(false) => rows.push(("", "inbound packets do not keep a mapping open".into())),
        None => {}
    }
    let mut how = vec![];
    if let Some(method) = &seen.method {
        how.push(format!("measured with a {method}"));
    }
    if let Some(mappings) = seen.mappings {
        how.push(format!("{mappings} mappings"));
    }
    if let Some(controls) = seen.controls {
        how.push(format!(
            "{} of {} control probes answered",
            controls.received, controls.sent
        ));
    }
    if let Some(elapsed) = seen.elapsed_s {
        how.push(format!("{elapsed} s"));
    }
    rows.push(("", how.join(", ")));
    if let Some(first) = rows.first_mut() {
        first.0 = "idle mapping";
    }
    rows
}

fn edge(edge: &Edge) -> String {
    match (edge.alive_s, edge.dead_s) {
        (Some(alive), Gone::After(dead)) => format!("alive at {alive} s, gone at {dead} s"),
        (None, Gone::After(dead)) => format!("gone at {dead} s"),
        (Some(alive), Gone::Outlived) => format!("still alive at {alive} s, the longest tried"),
        (Some(alive), Gone::Unknown) => format!("alive at {alive} s, its end not known"),
        (None, _) => "not known".into(),
    }
}

fn share(reachable: &Reachable) -> String {
    let mut words = vec![];
    if let Some(fraction) = reachable.fraction {
        words.push(format!(
            "{} % of the time",
            Number::new(fraction.get() * 100.0)
        ));
    }
    match (reachable.open_s, reachable.cycle_s) {
        (Some(open), Some(cycle)) if open < cycle => {
            words.push(format!("the first {open} s of every {cycle} s"));
        }
        (_, Some(cycle)) => words.push(format!("registered again every {cycle} s")),
        _ => {}
    }
    words.join(", ")
}
