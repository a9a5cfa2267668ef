//! Evidence and judgement become a report.

use std::time::{Duration, SystemTime};

use crate::{
    check::{self, Judgement},
    probe::{
        behaviour::Shape,
        evidence::{
            AsteriskEvidence, Evidence, LifetimeEvidence, MappingEvidence, MappingSource,
            ReachEvidence, RegistrationEvidence, RegistrationState, ShapeLifetime,
        },
    },
    report::model::{
        Asterisk, Controls, Edge, Finding, Gone, Host, Lifetime, Mapping, Measurements, Number,
        Observation, Provider, Reachability, Reachable, Registration, Report, SCHEMA_VERSION,
        Severity, Spread, Time, Tool, Unknown, Verdict,
    },
    types::{MappedAddr, PeerAddr},
};

/// What a report says besides evidence and judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The command that was run.
    pub command: String,
    /// When it began.
    pub started_at: SystemTime,
    /// When it ended.
    pub finished_at: SystemTime,
    /// Where it ran.
    pub host: Host,
    /// Whom it asked.
    pub provider: Provider,
}

/// Writes down what was found and what it means.
#[must_use]
pub fn assemble(frame: Frame, evidence: &Evidence, judgement: &Judgement) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        command: frame.command,
        started_at: Time(frame.started_at),
        finished_at: Time(frame.finished_at),
        host: Some(frame.host),
        provider: Some(frame.provider),
        verdict: match judgement.verdict {
            check::Verdict::Ok => Verdict::Ok,
            check::Verdict::Warning => Verdict::Warning,
            check::Verdict::Critical => Verdict::Critical,
            check::Verdict::Unknown => Verdict::Unknown,
        },
        summary: Some(judgement.summary.clone()),
        interrupted: evidence.interrupted,
        findings: judgement.findings.iter().map(finding).collect(),
        measurements: measurements(evidence, judgement),
        rules: None,
        unknown: Unknown::new(),
    }
}

/// A finding in the words of the contract.
pub(super) fn finding(found: &check::Finding) -> Finding {
    Finding {
        id: found.id.to_string(),
        severity: match found.severity {
            check::Severity::Unknown => Severity::Unknown,
            check::Severity::Warning => Severity::Warning,
            check::Severity::Critical => Severity::Critical,
        },
        title: found.title.clone(),
        because: found.because.clone(),
        do_this: found.do_this.clone(),
    }
}

fn measurements(evidence: &Evidence, judgement: &Judgement) -> Measurements {
    let token = evidence
        .registration
        .as_ref()
        .and_then(|registration| registration.call_token);
    Measurements {
        reachability: evidence
            .reach
            .as_ref()
            .map(|reach| reachability(reach, reach.call_token_required.or(token))),
        reflector: evidence
            .reflector
            .as_ref()
            .map(|reach| reachability(reach, reach.call_token_required)),
        registration: evidence
            .registration
            .as_ref()
            .map(|seen| registration(seen, judgement)),
        asterisk: evidence.asterisk.as_ref().map(asterisk),
        mapping: evidence
            .mapping
            .as_ref()
            .map(|seen| mapping(seen, judgement)),
        lifetime: evidence.lifetime.as_ref().map(lifetime),
        reachable: judgement.reachable.map(|reachable| Reachable {
            fraction: Some(Number::new(reachable.fraction)),
            open_s: reachable.open.map(Number::seconds),
            cycle_s: Some(Number::seconds(reachable.cycle)),
        }),
        router: None,
        unknown: Unknown::new(),
    }
}

fn reachability(reach: &ReachEvidence, call_token_required: Option<bool>) -> Reachability {
    Reachability {
        sent: reach.sent,
        received: reach.received,
        rtt_ms: spread(&reach.rtts),
        call_token_required,
        icmp: reach.unreachable.map(|cause| cause.as_str().into()),
        answered_from: reach.answered_from.map(PeerAddr::get),
    }
}

/// Least, middle and greatest; of an even number of values the lower middle one.
fn spread(values: &[Duration]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    Some(Spread {
        min: Number::millis(*sorted.first()?),
        median: Number::millis(*sorted.get((sorted.len() - 1) / 2)?),
        max: Number::millis(*sorted.last()?),
    })
}

fn registration(seen: &RegistrationEvidence, judgement: &Judgement) -> Registration {
    Registration {
        state: match seen.state {
            RegistrationState::Registered => "registered",
            RegistrationState::Released => "released",
            RegistrationState::Rejected => "rejected",
            RegistrationState::TokenRefused => "token-refused",
            RegistrationState::AuthUnsupported => "auth-unsupported",
            RegistrationState::Timeout => "timeout",
        }
        .into(),
        auth: seen.auth.map(Into::into),
        refresh_s: seen.refresh.map(Number::seconds),
        reregister_after_s: judgement.cycle.map(|cycle| Number::seconds(cycle.interval)),
        apparent_address: seen.apparent.last().map(|(_, address)| address.get()),
        elapsed_ms: Some(Number::millis(seen.elapsed)),
        cause: seen.cause.clone(),
        cause_code: seen.cause_code,
    }
}

fn asterisk(line: &AsteriskEvidence) -> Asterisk {
    Asterisk {
        user: line.user.clone(),
        state: line.state.clone(),
        refresh_s: line.refresh.map(Number::seconds),
        perceived: line.perceived.map(MappedAddr::get),
    }
}

fn mapping(seen: &MappingEvidence, judgement: &Judgement) -> Mapping {
    Mapping {
        behaviour: judgement.nat.map(|nat| nat.behaviour.as_str().into()),
        nat: judgement.nat.and_then(|nat| nat.translated),
        port_preserved: judgement.nat.map(|nat| nat.port_preserved),
        observations: seen
            .observations
            .iter()
            .map(|observation| Observation {
                local: observation.local.get(),
                peer: observation.peer.get(),
                mapped: observation.mapped.get(),
                at_s: Some(Number::seconds(observation.at)),
                via: Some(
                    match observation.via {
                        MappingSource::Reflector => "reflector",
                        MappingSource::Stun => "stun",
                        MappingSource::Registrar => "registrar",
                    }
                    .into(),
                ),
            })
            .collect(),
        unanswered: seen.unanswered.iter().copied().map(PeerAddr::get).collect(),
    }
}

fn lifetime(seen: &LifetimeEvidence) -> Lifetime {
    let edge = |wanted| {
        seen.shapes
            .iter()
            .find(|(shape, _)| *shape == wanted)
            .map(|(_, edge)| self::edge(edge))
    };
    Lifetime {
        method: Some(seen.method.as_str().into()),
        one_way: edge(Shape::OneWay),
        exchange: edge(Shape::Exchange),
        stream: edge(Shape::Stream),
        inbound_refreshes: seen.inbound_refreshes,
        elapsed_s: Some(Number::seconds(seen.elapsed)),
        longest_s: Some(Number::seconds(seen.longest)),
        mappings: Some(seen.mappings),
        controls: Some(Controls {
            sent: seen.controls.0,
            received: seen.controls.1,
        }),
    }
}

fn edge(seen: &ShapeLifetime) -> Edge {
    Edge {
        alive_s: seen.alive.map(Number::seconds),
        dead_s: match seen.dead {
            Some(dead) => Gone::After(Number::seconds(dead)),
            None if seen.outlived => Gone::Outlived,
            None => Gone::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{
            judge,
            sample::{context, edge as edge_at, exchange, outlived, with_exchange},
        },
        report::{json, status},
    };

    fn frame() -> Frame {
        Frame {
            command: "check".into(),
            started_at: SystemTime::UNIX_EPOCH,
            finished_at: SystemTime::UNIX_EPOCH + Duration::from_secs(41),
            host: Host {
                os: Some("Linux".into()),
                kernel: Some("6.18.44".into()),
                local_address: "192.168.1.10:40123".parse().ok(),
            },
            provider: Provider {
                name: "iax.example.net".into(),
                address: "203.0.113.1:4569".parse().ok(),
                user: Some("alice".into()),
            },
        }
    }

    fn assembled(evidence: &Evidence) -> Report {
        assemble(frame(), evidence, &judge(evidence, &context()))
    }

    #[test]
    fn a_short_timer_reads_as_the_contract_says() {
        let report = assembled(&with_exchange(29, 30));
        assert_eq!(status(&report), 2);
        let value: serde_json::Value = serde_json::from_str(&json::render(&report)).unwrap();
        let rows = [
            ("/schema_version", "1"),
            ("/verdict", "\"critical\""),
            ("/started_at", "\"1970-01-01T00:00:00Z\""),
            ("/findings/0/id", "\"short-mapping-timeout\""),
            ("/findings/0/severity", "\"critical\""),
            ("/measurements/reachability/rtt_ms/median", "10.1"),
            ("/measurements/reachability/call_token_required", "true"),
            ("/measurements/registration/state", "\"registered\""),
            ("/measurements/registration/refresh_s", "60"),
            ("/measurements/registration/reregister_after_s", "50"),
            (
                "/measurements/registration/apparent_address",
                "\"198.51.100.7:4569\"",
            ),
            (
                "/measurements/mapping/behaviour",
                "\"endpoint-independent\"",
            ),
            ("/measurements/mapping/nat", "true"),
            ("/measurements/mapping/port_preserved", "true"),
            ("/measurements/lifetime/exchange/dead_s", "30"),
            ("/measurements/reachable/fraction", "0.6"),
            ("/measurements/reachable/open_s", "30"),
            ("/measurements/reachable/cycle_s", "50"),
        ];
        for (pointer, expected) in rows {
            assert_eq!(
                value.pointer(pointer).map(ToString::to_string).as_deref(),
                Some(expected),
                "{pointer}"
            );
        }
        for pointer in [
            "/measurements/lifetime/stream",
            "/measurements/asterisk",
            "/interrupted",
        ] {
            assert_eq!(value.pointer(pointer), None, "{pointer}");
        }
        assert_eq!(json::read(&json::render(&report)).unwrap(), report);
    }

    #[test]
    fn an_outlived_mapping_is_null_and_an_unknown_edge_absent() {
        let mut evidence = with_exchange(29, 30);
        evidence.lifetime = Some(exchange(outlived(300), 300));
        let text = json::render(&assembled(&evidence));
        assert!(text.contains("\"dead_s\": null"), "{text}");
        let unknown = ShapeLifetime {
            dead: None,
            ..edge_at(29, 30)
        };
        evidence.lifetime = Some(exchange(unknown, 300));
        let text = json::render(&assembled(&evidence));
        assert!(!text.contains("dead_s"), "{text}");
        assert!(!text.contains("\"reachable\""), "{text}");
    }

    #[test]
    fn the_middle_is_a_value_that_was_measured() {
        let spread = spread(&[4, 1, 3, 2].map(Duration::from_millis)).unwrap();
        assert_eq!(
            (spread.min.get(), spread.median.get(), spread.max.get()),
            (1.0, 2.0, 4.0)
        );
        assert_eq!(super::spread(&[]), None);
    }
}
