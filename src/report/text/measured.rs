//! The measurements, one or a few lines each.

use std::net::SocketAddr;

use crate::report::{
    model::{
        Asterisk, Filtering, Hairpin, Lifetime, Mapping, Measurements, Neighbours, Number,
        Observation, OtherFamily, Reachability, Reachable, Registration,
    },
    text::{boxes, calls, refresh, seen, taint, wrap},
};

/// What was measured, a line each, in the order of the report.
pub(super) fn lines(measured: &Measurements) -> Vec<String> {
    rows(measured)
        .iter()
        .flat_map(|(name, words)| {
            wrap::paragraph(words, &format!("   {name:<14}"), &" ".repeat(17))
        })
        .collect()
}

/// A name and what was measured of it, in the order of the report; what belongs to the name above has
/// none.
pub(in crate::report) fn rows(measured: &Measurements) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = vec![];
    if let Some(reach) = &measured.reachability {
        rows.push(("provider", reachability(reach)));
    }
    if let Some(reach) = &measured.reflector {
        rows.push(("reflector", reachability(reach)));
    }
    if let Some(seen) = &measured.other_family {
        rows.push(other_family(seen));
    }
    if let Some(seen) = &measured.registration {
        rows.push(("registration", registration(seen)));
    }
    if let Some(line) = &measured.asterisk {
        rows.push(("asterisk", asterisk(line)));
    }
    // Calls do without anybody who tells the public address, or whom the NAT lets in.
    let silent = |seen: &Mapping| seen.observations.is_empty() && seen.unanswered.is_empty();
    let only_calls = measured.calls.is_some() && measured.mapping.as_ref().is_some_and(silent);
    if let Some(seen) = measured.mapping.as_ref().filter(|_| !only_calls) {
        rows.push(("mapping", mapping(seen)));
        rows.extend(ports(seen).map(|words| ("", words)));
        rows.extend(seen.neighbours.as_ref().map(|seen| ("", neighbours(seen))));
        rows.extend(views(&seen.observations).into_iter().map(|view| ("", view)));
        rows.extend(
            seen.unanswered
                .iter()
                .map(|peer| ("", format!("{peer} does not answer"))),
        );
    }
    if let Some(seen) = measured.filtering.as_ref().filter(|_| !only_calls) {
        rows.push(("filtering", filtering(seen)));
    }
    if let Some(seen) = measured.payload.as_ref().filter(|seen| seen.compared > 0) {
        let how = match seen.rewritten {
            Some(true) => "rewritten on the way",
            Some(false) => "arrives as it leaves",
            None => "not known whether it arrives as it leaves",
        };
        let words = format!(
            "{how}: {} datagrams of {} octets compared",
            seen.compared, seen.octets
        );
        rows.push(("content", words));
    }
    if let Some(seen) = &measured.inbound {
        let how = match seen.answered {
            Some(true) => "reach",
            Some(false) => "do not reach",
            None => "are not known to reach",
        };
        rows.push((
            "inbound",
            format!("strangers {how} a PBX at {}", seen.address),
        ));
    }
    if let Some(seen) = &measured.lifetime {
        rows.extend(lifetime(seen));
    }
    if let Some(seen) = &measured.calls {
        rows.extend(calls::rows(seen));
    }
    if let Some(seen) = &measured.callback {
        rows.push(("callback", calls::callback(seen)));
    }
    if let Some(seen) = &measured.hops {
        rows.extend(boxes::hops(seen));
    }
    if let Some(reachable) = &measured.reachable {
        rows.push(("reachable", share(reachable)));
    }
    if let Some(seen) = &measured.taint {
        rows.extend(taint::lines(seen));
    }
    if let Some(seen) = &measured.hairpin {
        rows.push(("hairpin", hairpin(*seen)));
    }
    if let Some(seen) = &measured.port_mapping {
        rows.extend(boxes::port_mapping(seen));
    }
    if let Some(device) = &measured.device {
        rows.push(("device", boxes::device(device)));
    }
    rows.extend(seen::rows(measured));
    rows
}

fn other_family(seen: &OtherFamily) -> (&'static str, String) {
    let name = match seen.address {
        SocketAddr::V4(_) => "over IPv4",
        SocketAddr::V6(_) => "over IPv6",
    };
    let mut words = vec![format!(
        "{}: {} of {} POKEs answered",
        seen.address, seen.received, seen.sent
    )];
    words.extend(match (seen.nat, seen.behaviour.as_deref()) {
        (Some(false), _) => Some("no NAT".to_owned()),
        (Some(true), Some(behaviour)) => Some(format!("NAT, {behaviour}")),
        (Some(true), None) => Some("NAT".to_owned()),
        (None, _) => None,
    });
    let keeper = if seen.nat == Some(false) {
        "firewall"
    } else {
        "NAT"
    };
    words.extend(match seen.filtering.as_deref() {
        Some("none" | "endpoint-independent") => Some("strangers come in".to_owned()),
        Some(_) => Some(format!("a {keeper} lets in only who was sent to")),
        None => None,
    });
    (name, words.join(", "))
}

fn reachability(reach: &Reachability) -> String {
    let mut words = vec![format!(
        "{} of {} POKEs answered",
        reach.received, reach.sent
    )];
    if let Some(rtt) = &reach.rtt_ms {
        words.push(format!(
            "round trip {} ms (least {}, most {})",
            tenth(rtt.median),
            tenth(rtt.min),
            tenth(rtt.max)
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
        words.push(format!("took {}", took(elapsed)));
    }
    words.join(", ")
}

/// Milliseconds, or seconds where there are thousands of them.
pub(super) fn took(elapsed_ms: Number) -> String {
    if elapsed_ms.get() < 1000.0 {
        format!("{} ms", tenth(elapsed_ms))
    } else {
        tenths(Number::new(elapsed_ms.get() / 1000.0))
    }
}

/// Seconds to a tenth.
fn tenths(seconds: Number) -> String {
    format!("{} s", tenth(seconds))
}

/// To a tenth: what people read of a measured number.
pub(in crate::report) fn tenth(number: Number) -> Number {
    Number::new((number.get() * 10.0).round() / 10.0)
}

fn asterisk(line: &Asterisk) -> String {
    let mut words = vec![format!("{}: {}", line.user, line.state)];
    if let Some(refresh) = line.refresh_s {
        words.push(format!("refresh {refresh} s"));
    }
    if let Some(address) = line.perceived {
        words.push(format!("seen as {address}"));
    }
    words.join(", ")
}

fn mapping(seen: &Mapping) -> String {
    let mut words: Vec<&str> = vec![];
    match seen.nat {
        Some(true) => words.push("NAT"),
        Some(false) => words.push("no NAT"),
        None => {}
    }
    if seen.nat != Some(false) {
        match seen.port_preserved {
            Some(true) => words.push("port kept"),
            Some(false) => words.push("port changed"),
            None => {}
        }
    }
    match seen.behaviour.as_deref() {
        None | Some("none") => {}
        Some("unknown") => words.push("kind not known"),
        Some("endpoint-independent") => {
            words.push("endpoint-independent: all see the same address");
        }
        Some("address-dependent") => {
            words.push("address-dependent: every host sees another address");
        }
        Some("address-and-port-dependent") => words.push(
            "address-and-port-dependent: every host, and every port of it, sees another address",
        ),
        Some(other) => words.push(other),
    }
    if words.is_empty() {
        words.push("nobody outside told the public address");
    }
    words.join(", ")
}

fn filtering(seen: &Filtering) -> String {
    let mut words = vec![
        match seen.behaviour.as_deref() {
            None | Some("unknown") => "not known whom it lets in",
            Some("none") => "none: strangers come in",
            Some("endpoint-independent") => {
                "endpoint-independent: anybody may answer to a port that was sent from"
            }
            Some("address-dependent") => "address-dependent: only hosts that were sent to come in",
            Some("address-and-port-dependent") => {
                "address-and-port-dependent: only who was sent to comes in, from that very port"
            }
            Some(other) => other,
        }
        .to_owned(),
    ];
    if let Some(controls) = seen.controls {
        words.push(format!(
            "{} of {} control probes answered",
            controls.received, controls.sent
        ));
    }
    words.join(", ")
}

/// What many mappings showed.
fn ports(seen: &Mapping) -> Option<String> {
    let mut words = vec![format!("ports {}", seen.port_allocation.as_ref()?)];
    match seen.pooling.as_deref() {
        Some("paired") => words.push("one public address for all sockets".into()),
        Some(_) => words.push("several public addresses, one socket by another".into()),
        None => {}
    }
    if seen.stable_under_load == Some(false) {
        words.push("a mapping moved while others were opened".into());
    }
    if let Some(unopened @ 1..) = seen.unopened {
        words.push(format!(
            "{unopened} mappings did not open: a quota, or a full table"
        ));
    }
    Some(words.join(", "))
}

fn neighbours(seen: &Neighbours) -> String {
    let keeps = |keeps: bool, at: SocketAddr| {
        if keeps {
            "keeps it".to_owned()
        } else {
            format!("is seen at {at}")
        }
    };
    let moved = match seen.first_stays {
        Some(false) => ", and the second moves the first",
        Some(true) | None => "",
    };
    format!(
        "of two hosts with port {}, the first {}, the second {}{moved}",
        seen.port,
        keeps(seen.first_keeps_port, seen.first),
        keeps(seen.second_keeps_port, seen.second)
    )
}

/// What the same peer saw of the same socket without a change.
struct View<'a> {
    first: &'a Observation,
    times: u32,
    until_s: Option<Number>,
    /// The peer saw something else before.
    changed: bool,
}

/// Who sees what, a line for each socket and then a line for each view of it.
fn views(observations: &[Observation]) -> Vec<String> {
    let mut views: Vec<View<'_>> = vec![];
    for seen in observations {
        let before = views
            .iter_mut()
            .rev()
            .find(|view| (view.first.local, view.first.peer) == (seen.local, seen.peer));
        let changed = before.is_some();
        match before {
            Some(view) if view.first.mapped == seen.mapped => {
                view.times += 1;
                view.until_s = seen.at_s;
            }
            _ => views.push(View {
                first: seen,
                times: 1,
                until_s: None,
                changed,
            }),
        }
    }
    let mut sockets: Vec<SocketAddr> = vec![];
    for view in &views {
        if !sockets.contains(&view.first.local) {
            sockets.push(view.first.local);
        }
    }
    let mut lines = vec![];
    for socket in sockets {
        let own = views.iter().filter(|view| view.first.local == socket);
        // The registrar looks at the socket that registers; everybody else is asked from another.
        let words = if own
            .clone()
            .any(|view| view.first.via.as_deref() == Some("registrar"))
        {
            "asked from"
        } else {
            "asked from a socket of its own,"
        };
        lines.push(format!("{words} {socket}"));
        lines.extend(own.map(sees));
    }
    lines
}

fn sees(view: &View<'_>) -> String {
    let then = if view.changed { "then " } else { "" };
    let line = format!("{} {then}sees {}", view.first.peer, view.first.mapped);
    match (view.times, view.first.at_s, view.until_s) {
        (1, ..) => line,
        (times, Some(from), Some(until)) => {
            let over = Number::new((until.get() - from.get()).round());
            format!("{line}, {times} times over {over} s")
        }
        (times, ..) => format!("{line}, {times} times"),
    }
}

fn lifetime(seen: &Lifetime) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = [
        ("a single packet", &seen.one_way),
        ("an exchange (registration)", &seen.exchange),
        ("a stream (call)", &seen.stream),
    ]
    .into_iter()
    .filter_map(|(what, shape)| {
        Some((
            "",
            format!("after {what}: {}", boxes::edge(shape.as_ref()?)),
        ))
    })
    .collect();
    match seen.inbound_refreshes {
        Some(true) => rows.push(("", "inbound packets keep a mapping open".into())),
        Some(false) => rows.push(("", "inbound packets do not keep a mapping open".into())),
        None => {}
    }
    if let Some(refreshed) = &seen.refreshed_by {
        rows.extend(refresh::lines(refreshed).map(|line| ("", line)));
    }
    if let Some(busy) = &seen.busy {
        rows.push(("", refresh::busy(busy)));
    }
    let mut how = vec![];
    if let Some(method) = &seen.method {
        how.push(match method.as_str() {
            "drift" => "inferred from the port that each socket has when it registers again".into(),
            "sibling" => {
                "inferred from the port that a second address has when it registers".into()
            }
            "qualify" => "proven by the registrar's own POKEs, which is a lower bound".into(),
            "token" => "inferred from call tokens that are still taken".into(),
            helper => format!("measured with a {helper}"),
        });
    }
    if let Some(mappings) = seen.mappings {
        let plural = if mappings == 1 { "" } else { "s" };
        how.push(format!("{mappings} mapping{plural}"));
    }
    if let Some(controls) = seen.controls
        && controls.sent > 0
    {
        how.push(format!(
            "{} of {} control probes answered (they tell loss from expiry)",
            controls.received, controls.sent
        ));
    }
    if let Some(elapsed) = seen.elapsed_s {
        how.push(tenths(elapsed));
    }
    if !seen.alike.is_empty() {
        rows.push((
            "",
            format!("such timers has, unless changed: {}", alike(&seen.alike)),
        ));
    }
    if !how.is_empty() {
        rows.push(("", how.join(", ")));
    }
    if let Some(first) = rows.first_mut() {
        first.0 = "idle mapping";
    }
    rows
}

/// The first few names of a list that may be long.
fn alike(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<String> = names.iter().take(SHOWN).cloned().collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join("; ")
}

fn hairpin(seen: Hairpin) -> String {
    match (seen.supported, seen.external_source) {
        (Some(true), Some(false)) => {
            "packets to the own public address come back in, from the private one".into()
        }
        (Some(true), _) => "packets to the own public address come back in".into(),
        (Some(false), _) => match seen.sent {
            Some(sent) => format!("none of {sent} packets to the own public address came back in"),
            None => "packets to the own public address do not come back in".into(),
        },
        (None, _) => "not known".into(),
    }
}

pub(in crate::report) fn share(reachable: &Reachable) -> String {
    let mut words = vec![];
    if let Some(fraction) = reachable.fraction {
        words.push(format!(
            "open to calls {} % of the time",
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "192.168.1.10:40123";
    const A: &str = "203.0.113.1:4569";
    const B: &str = "203.0.113.2:4569";
    const X: &str = "198.51.100.7:40123";
    const Y: &str = "198.51.100.7:1024";

    fn seen(peer: &str, mapped: &str, at_s: f64) -> Observation {
        Observation {
            local: LOCAL.parse().unwrap(),
            peer: peer.parse().unwrap(),
            mapped: mapped.parse().unwrap(),
            at_s: Some(Number::new(at_s)),
            via: Some("reflector".into()),
        }
    }

    #[test]
    fn the_same_view_stands_once_and_a_change_stands_out() {
        let observations = [
            seen(A, X, 0.1),
            seen(B, X, 0.2),
            seen(A, X, 4.1),
            seen(A, X, 8.3),
            seen(A, Y, 12.0),
            seen(A, X, 16.0),
        ];
        assert_eq!(
            views(&observations),
            [
                format!("asked from a socket of its own, {LOCAL}"),
                format!("{A} sees {X}, 3 times over 8 s"),
                format!("{B} sees {X}"),
                format!("{A} then sees {Y}"),
                format!("{A} then sees {X}"),
            ]
        );
    }

    #[test]
    fn sockets_are_told_apart() {
        let registered = Observation {
            local: "192.168.1.10:4569".parse().unwrap(),
            via: Some("registrar".into()),
            at_s: None,
            ..seen(A, Y, 0.0)
        };
        let observations = [seen(A, X, 0.0), registered.clone(), registered];
        assert_eq!(
            views(&observations),
            [
                format!("asked from a socket of its own, {LOCAL}"),
                format!("{A} sees {X}"),
                "asked from 192.168.1.10:4569".to_owned(),
                format!("{A} sees {Y}, 2 times"),
            ]
        );
    }

    #[test]
    fn long_times_are_written_in_seconds() {
        assert_eq!(took(Number::new(31.26)), "31.3 ms");
        assert_eq!(took(Number::new(7504.176)), "7.5 s");
    }

    #[test]
    fn a_mapping_that_nobody_saw_says_so() {
        let unanswered = Measurements {
            mapping: Some(Mapping {
                unanswered: vec![A.parse().unwrap()],
                ..Mapping::default()
            }),
            ..Measurements::default()
        };
        assert_eq!(
            lines(&unanswered),
            [
                "   mapping       nobody outside told the public address".to_owned(),
                format!("                 {A} does not answer"),
            ]
        );
    }
}
