//! Evidence and judgement become a report.

mod calls;
mod seen;
mod taint;

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crate::{
    check::{self, Judgement, nat_kind::Behaviour},
    os::host,
    probe::{
        behaviour::Shape,
        evidence::{
            AsteriskEvidence, Evidence, FilteringEvidence, HopsEvidence, LifetimeEvidence,
            MappingEvidence, PortMappingEvidence, ReachEvidence, RegistrationEvidence,
            RegistrationState, Removal, ShapeLifetime,
        },
        refresh::{RefreshEvidence, Trigger},
    },
    report::model::{
        Asterisk, Controls, Device, Edge, Filtering, Finding, Gone, Hairpin, Hops, Host, Inbound,
        Lifetime, LowTtl, Mapper, Mapping, Measurements, NatHop, Neighbours, Number, Observation,
        OtherFamily, Payload, PortMapping, Provider, Reachability, Reachable, RefreshedBy,
        Registration, Report, SCHEMA_VERSION, Severity, Spread, Taint, Time, Tool, Unknown,
        Verdict,
    },
    types::{MappedAddr, PeerAddr},
};

pub use seen::{Observed, call as seen_call, ladder, observed, registration as seen_registration};
pub use taint::{Looked, taint};

/// Octets of the headers around a UDP payload.
const IPV4_AND_UDP: u32 = 28;
const IPV6_AND_UDP: u32 = 48;

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
    /// Whom it asked; `None` where it asked nobody.
    pub provider: Option<Provider>,
}

/// Writes down what was found and what it means.
#[must_use]
pub fn assemble(frame: Frame, evidence: &Evidence, judgement: &Judgement) -> Report {
    let headers = match frame
        .provider
        .as_ref()
        .and_then(|provider| provider.address)
    {
        Some(SocketAddr::V6(_)) => IPV6_AND_UDP,
        Some(SocketAddr::V4(_)) | None => IPV4_AND_UDP,
    };
    Report {
        interrupted: evidence.interrupted,
        measurements: measurements(evidence, judgement, headers),
        ..framed(
            frame,
            judgement.verdict,
            judgement.summary.clone(),
            &judgement.findings,
        )
    }
}

/// A report without measurements.
pub(super) fn framed(
    frame: Frame,
    verdict: check::Verdict,
    summary: String,
    findings: &[check::Finding],
) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        command: frame.command,
        started_at: Time(frame.started_at),
        finished_at: Time(frame.finished_at),
        host: Some(frame.host),
        provider: frame.provider,
        verdict: match verdict {
            check::Verdict::Ok => Verdict::Ok,
            check::Verdict::Warning => Verdict::Warning,
            check::Verdict::Critical => Verdict::Critical,
            check::Verdict::Unknown => Verdict::Unknown,
        },
        summary: Some(summary),
        interrupted: false,
        findings: findings.iter().map(finding).collect(),
        measurements: Measurements::default(),
        rules: None,
        unknown: Unknown::new(),
    }
}

impl From<host::Host> for Host {
    fn from(facts: host::Host) -> Self {
        Self {
            os: Some(facts.os),
            kernel: facts.kernel,
            local_address: None,
        }
    }
}

/// This program.
pub(super) fn tool() -> Tool {
    Tool {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// A finding in the words of the contract.
fn finding(found: &check::Finding) -> Finding {
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

fn measurements(evidence: &Evidence, judgement: &Judgement, headers: u32) -> Measurements {
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
        other_family: evidence.other_family.as_ref().map(other_family),
        registration: evidence
            .registration
            .as_ref()
            .map(|seen| registration(seen, judgement)),
        asterisk: evidence.asterisk.as_ref().map(asterisk),
        mapping: evidence
            .mapping
            .as_ref()
            .map(|seen| mapping(seen, judgement)),
        lifetime: evidence
            .lifetime
            .as_ref()
            .map(|seen| lifetime(seen, evidence, judgement)),
        calls: evidence
            .calls
            .as_ref()
            .map(|seen| calls::calls(seen, judgement, headers)),
        callback: evidence.callback.as_ref().map(calls::callback),
        filtering: evidence
            .filtering
            .as_ref()
            .map(|seen| filtering(seen, judgement)),
        payload: evidence.payload.as_ref().map(|seen| Payload {
            rewritten: check::payload::is_rewritten(evidence),
            compared: seen.answers,
            octets: u32::try_from(seen.octets).unwrap_or(u32::MAX),
        }),
        inbound: evidence.inbound.as_ref().and_then(|seen| {
            Some(Inbound {
                address: seen.address?.get(),
                from: seen.from.map(PeerAddr::get),
                answered: seen.answered,
            })
        }),
        hops: evidence.hops.as_ref().map(|seen| hops(seen, judgement)),
        reachable: judgement.reachable.map(|reachable| Reachable {
            fraction: Some(Number::new(reachable.fraction)),
            open_s: reachable.open.map(Number::seconds),
            cycle_s: Some(Number::seconds(reachable.cycle)),
        }),
        taint: evidence.same_port.as_ref().map(|_| Taint {
            suspected: check::same_port::is_alive(evidence).map(|alive| !alive),
            ..Taint::default()
        }),
        hairpin: evidence.hairpin.map(|seen| Hairpin {
            supported: seen.supported,
            external_source: seen.external_source,
            sent: Some(seen.sent),
        }),
        port_mapping: evidence.port_mapping.as_ref().map(port_mapping),
        device: judgement.device.map(|known| Device {
            vendor: known.device.vendor.clone(),
            product: known.device.product.clone(),
            by: known.by.as_str().into(),
            confidence: known.device.confidence.as_str().into(),
        }),
        ..Measurements::default()
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
    let depth = judgement.depth;
    Mapping {
        behaviour: judgement.nat.map(|nat| nat.behaviour.as_str().into()),
        nat: judgement.nat.and_then(|nat| nat.translated),
        port_preserved: judgement.nat.map(|nat| nat.port_preserved),
        port_allocation: depth
            .and_then(|depth| depth.allocation)
            .map(|allocation| allocation.as_str().into()),
        parity_preserved: depth.and_then(|depth| depth.parity_preserved),
        pooling: depth
            .and_then(|depth| depth.one_address)
            .map(|one| if one { "paired" } else { "arbitrary" }.into()),
        stable_under_load: depth.and_then(|depth| depth.stays),
        unopened: depth.map(|depth| depth.unopened),
        neighbours: judgement.neighbours.map(|seen| {
            let (first_keeps_port, second_keeps_port) = seen.keep();
            Neighbours {
                port: seen.port,
                first: seen.first.get(),
                first_keeps_port,
                first_stays: seen.first_stays,
                second: seen.second.get(),
                second_keeps_port,
            }
        }),
        observations: seen
            .observations
            .iter()
            .map(|observation| Observation {
                local: observation.local.get(),
                peer: observation.peer.get(),
                mapped: observation.mapped.get(),
                at_s: Some(Number::seconds(observation.at)),
                via: Some(observation.via.as_str().into()),
            })
            .collect(),
        unanswered: seen.unanswered.iter().copied().map(PeerAddr::get).collect(),
    }
}

fn filtering(seen: &FilteringEvidence, judgement: &Judgement) -> Filtering {
    let (sent, received) = seen.rounds;
    Filtering {
        behaviour: judgement
            .filtering
            .map(|behaviour| behaviour.as_str().into()),
        peer: seen.server.map(PeerAddr::get),
        via: seen.via.map(|via| via.as_str().into()),
        other_address: seen.from_other_address,
        other_port: seen.from_other_port,
        controls: (sent > 0).then_some(Controls { sent, received }),
    }
}

fn lifetime(seen: &LifetimeEvidence, evidence: &Evidence, judgement: &Judgement) -> Lifetime {
    let edge = |wanted| {
        seen.shapes
            .iter()
            .find(|(shape, _)| *shape == wanted)
            .map(|(_, edge)| self::edge(edge))
    };
    Lifetime {
        method: Some(seen.method.as_str().into()),
        confidence: Some(seen.method.confidence().into()),
        one_way: edge(Shape::OneWay),
        exchange: edge(Shape::Exchange),
        stream: edge(Shape::Stream),
        inbound_refreshes: seen.inbound_refreshes,
        refreshed_by: evidence.refresh.as_ref().map(refreshed_by),
        busy: evidence
            .busy
            .as_ref()
            .map(self::edge)
            .filter(|edge| edge.alive_s.is_some()),
        elapsed_s: Some(Number::seconds(seen.elapsed)),
        longest_s: Some(Number::seconds(seen.longest)),
        mappings: Some(seen.mappings),
        controls: Some(Controls {
            sent: seen.controls.0,
            received: seen.controls.1,
        }),
        alike: judgement.alike.iter().map(ToString::to_string).collect(),
    }
}

fn other_family((address, seen): &(PeerAddr, Box<Evidence>)) -> OtherFamily {
    let nat = check::nat_kind::nat_kind(seen);
    let filtering = check::filtering::filtering(seen);
    let known = |behaviour: Behaviour| {
        (behaviour != Behaviour::Unknown).then(|| behaviour.as_str().to_owned())
    };
    OtherFamily {
        address: address.get(),
        sent: seen.reach.as_ref().map_or(0, |reach| reach.sent),
        received: seen.reach.as_ref().map_or(0, |reach| reach.received),
        nat: nat.and_then(|nat| nat.translated),
        behaviour: nat.and_then(|nat| known(nat.behaviour)),
        filtering: filtering.and_then(known),
    }
}

fn refreshed_by(seen: &RefreshEvidence) -> RefreshedBy {
    let dying = seen.votes.iter().filter_map(|(trigger, _)| match trigger {
        Trigger::Dying(ttl) => Some(LowTtl {
            ttl: *ttl,
            refreshes: seen.refreshes(*trigger),
        }),
        Trigger::Nothing | Trigger::Outbound | Trigger::Inval => None,
    });
    RefreshedBy {
        outbound: seen.refreshes(Trigger::Outbound),
        inval: seen.refreshes(Trigger::Inval),
        low_ttl: dying.collect(),
        ended_by_icmp_error: (seen.survived_errors > 0).then_some(false),
    }
}

fn port_mapping(seen: &PortMappingEvidence) -> PortMapping {
    let spoken = seen.mappers().into_iter().filter(|(_, it)| it.answered);
    PortMapping {
        upnp: seen.upnp.answered,
        nat_pmp: seen.nat_pmp.answered,
        pcp: seen.pcp.answered,
        gateway: seen.gateway,
        external_address: seen.external(),
        device: seen.device.clone(),
        protocols: spoken
            .map(|(name, it)| Mapper {
                name: name.into(),
                external_address: it.external,
                mapping_made: it.mapping.is_some(),
                mapping_removed: it.mapping.map(|removal| removal == Removal::Removed),
                refused: it.refused.clone(),
            })
            .collect(),
    }
}

fn hops(seen: &HopsEvidence, judgement: &Judgement) -> Hops {
    let boxes = judgement.boxes.iter();
    Hops {
        nats: boxes
            .map(|found| NatHop {
                hop: found.hop,
                address: found.address,
                exchange_s: found.exchange.as_ref().map(gone).unwrap_or_default(),
                alive_s: found
                    .exchange
                    .as_ref()
                    .and_then(|edge| edge.alive.map(Number::seconds)),
            })
            .collect(),
        distance: seen.distance,
        outermost: seen.outermost,
        routers: seen.routers.iter().map(|(_, address)| *address).collect(),
    }
}

fn edge(seen: &ShapeLifetime) -> Edge {
    Edge {
        alive_s: seen.alive.map(Number::seconds),
        dead_s: gone(seen),
    }
}

fn gone(seen: &ShapeLifetime) -> Gone {
    match seen.dead {
        Some(dead) => Gone::After(Number::seconds(dead)),
        None if seen.outlived => Gone::Outlived,
        None => Gone::Unknown,
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
            provider: Some(Provider {
                name: "iax.example.net".into(),
                address: "203.0.113.1:4569".parse().ok(),
                user: Some("alice".into()),
            }),
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
