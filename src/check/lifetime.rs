//! Does the NAT remember the PBX from one registration to the next?

use std::time::Duration;

use crate::{
    check::{Context, Finding, FindingId, Severity, nat_kind, seconds},
    probe::{
        behaviour::Shape,
        evidence::{Evidence, LifetimeEvidence, RegistrationState, ShapeLifetime},
    },
    proto::registration::reregister_after,
};

/// Below this share of the time, calls are lost often enough to be critical.
const CRITICAL_BELOW: f64 = 0.95;
/// The refresh of a registration that names none (RFC 5456 §8.6.18), and what Asterisk grants
/// unless told otherwise.
const DEFAULT_REFRESH: Duration = Duration::from_secs(60);
/// How much longer than the cycle a NAT should remember: the client may be late, its first request
/// lost, and the next comes after ten seconds.
const MARGIN: Duration = Duration::from_secs(15);

/// The interval of registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The refresh it follows from.
    pub refresh: Duration,
    /// From one registration to the next: 5/6 of the refresh in whole seconds, as Asterisk does.
    pub interval: Duration,
    /// Who says so.
    pub source: RefreshSource,
}

/// Who says what the refresh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefreshSource {
    /// The user.
    Told,
    /// The registrar, in its REGACK.
    Granted,
    /// The registrar, by naming none.
    Default,
    /// The Asterisk that runs on this host.
    Asterisk,
}

/// The share of the time in which a call can come in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reachable {
    /// From 0 to 1.
    pub fraction: f64,
    /// How long the way stays open after a registration; `None`: longer than was tried.
    pub open: Option<Duration>,
    /// From one registration to the next.
    pub cycle: Duration,
}

/// The interval of registrations, where the refresh is known: what the user told goes before what
/// the registrar granted, and that before what the running Asterisk says.
#[must_use]
pub fn cycle(evidence: &Evidence, context: &Context) -> Option<Cycle> {
    let registration = evidence.registration.as_ref();
    let told = context
        .refresh
        .or_else(|| registration.and_then(|registration| registration.assumed_refresh));
    let granted = registration
        .filter(|registration| registration.state == RegistrationState::Registered)
        .map(|registration| match registration.refresh {
            Some(refresh) => (refresh, RefreshSource::Granted),
            None => (DEFAULT_REFRESH, RefreshSource::Default),
        });
    let asterisk = evidence
        .asterisk
        .as_ref()
        .and_then(|line| Some((line.refresh?, RefreshSource::Asterisk)));
    let (refresh, source) = told
        .map(|refresh| (refresh, RefreshSource::Told))
        .or(granted)
        .or(asterisk)?;
    Some(Cycle {
        refresh,
        interval: reregister_after(refresh),
        source,
    })
}

/// The share of the time in which calls can come in; `None` where the cycle or the edge of the
/// exchange timer is not known, or where the cycle lies inside an edge too wide to tell.
#[must_use]
pub fn reachable(evidence: &Evidence, cycle: Option<Cycle>) -> Option<Reachable> {
    let cycle = cycle?.interval;
    let exchange = exchange(evidence)?;
    let fraction = match exchange.dead {
        Some(dead) if dead < cycle => dead.as_secs_f64() / cycle.as_secs_f64(),
        Some(_) => {
            let proven = exchange.alive.unwrap_or_default();
            if proven.as_secs_f64() < cycle.as_secs_f64() * CRITICAL_BELOW {
                return None;
            }
            1.0
        }
        None if exchange.alive.is_some_and(|alive| alive >= cycle) => 1.0,
        None => return None,
    };
    Some(Reachable {
        fraction,
        open: exchange.dead,
        cycle,
    })
}

/// `short-mapping-timeout`: critical or a warning by the share of the time that is left, a warning
/// where the refresh had to be assumed.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let lifetime = evidence.lifetime.as_ref()?;
    let exchange = exchange(evidence)?;
    let dead = exchange.dead?;
    let cycle = cycle(evidence, context);
    let (interval, severity, comes) = if let Some(cycle) = cycle {
        let reachable = reachable(evidence, Some(cycle))?;
        let severity = if reachable.fraction < CRITICAL_BELOW {
            Severity::Critical
        } else if reachable.fraction < 1.0 {
            Severity::Warning
        } else {
            return None;
        };
        (cycle.interval, severity, "the next one comes after")
    } else {
        let assumed = reregister_after(DEFAULT_REFRESH);
        if dead >= assumed {
            return None;
        }
        (
            assumed,
            Severity::Warning,
            "with the usual refresh the next one comes after",
        )
    };
    Some(Finding {
        id: FindingId::ShortMappingTimeout,
        severity,
        title: format!(
            "The {} forgets the mapping {} after a registration; {comes} {}",
            nat_kind::keeper(evidence),
            seconds(dead),
            seconds(interval)
        ),
        because: because(lifetime, exchange, cycle, evidence),
        do_this: remedies(dead, interval, cycle.is_some()),
    })
}

/// What was found for the kind of traffic that a registration is.
pub(super) fn exchange(evidence: &Evidence) -> Option<&ShapeLifetime> {
    evidence
        .lifetime
        .as_ref()?
        .shapes
        .iter()
        .find(|(shape, _)| *shape == Shape::Exchange)
        .map(|(_, lifetime)| lifetime)
}

fn because(
    lifetime: &LifetimeEvidence,
    exchange: &ShapeLifetime,
    cycle: Option<Cycle>,
    evidence: &Evidence,
) -> Vec<String> {
    let mut because = vec![match (exchange.alive, exchange.dead) {
        (Some(alive), Some(dead)) => format!(
            "exchange mapping alive at {}, dead at {}",
            seconds(alive),
            seconds(dead)
        ),
        (_, dead) => format!(
            "exchange mapping dead at {}, the shortest idle time tried",
            seconds(dead.unwrap_or_default())
        ),
    }];
    because.push(match cycle {
        Some(cycle) => {
            let refresh = seconds(cycle.refresh);
            match cycle.source {
                RefreshSource::Granted => {
                    format!("registrar grants {refresh}, Asterisk refreshes at 5/6 of it")
                }
                RefreshSource::Default => format!(
                    "registrar names no refresh, so {refresh} hold (RFC 5456), Asterisk refreshes \
                     at 5/6 of it"
                ),
                RefreshSource::Told => {
                    format!("--refresh says {refresh}, Asterisk refreshes at 5/6 of it")
                }
                RefreshSource::Asterisk => {
                    format!("the Asterisk on this host says {refresh}, it refreshes at 5/6 of it")
                }
            }
        }
        None => format!(
            "the refresh is not known ({}); assumed: {}, what Asterisk grants unless told \
             otherwise, refreshed at 5/6 of it",
            if evidence.registration.is_some() {
                "the registration did not succeed"
            } else {
                "no registration was made"
            },
            seconds(DEFAULT_REFRESH)
        ),
    });
    let (sent, answered) = lifetime.controls;
    if answered < sent {
        because.push(format!(
            "with care: {} of {sent} control probes were lost, and loss can look like a mapping \
             that is gone",
            sent - answered
        ));
    }
    because
}

/// The NAT's timer that outlasts the interval between two registrations, in seconds: the interval and
/// 15 s, rounded up to five seconds.
pub(crate) fn timer_for(interval: Duration) -> u64 {
    (interval + MARGIN).as_secs().div_ceil(5) * 5
}

/// The remedies, with the numbers of this measurement.
///
/// * The NAT's timer, see [`timer_for`].
/// * The period of qualify: half the timer less one second, so that one lost POKE does not let the
///   mapping die.
/// * The refresh: 6/5 of what ends five seconds before the timer, where that leaves 10 s or more.
fn remedies(dead: Duration, interval: Duration, refresh_known: bool) -> Vec<String> {
    let timer = timer_for(interval);
    let period = (dead / 2)
        .saturating_sub(Duration::from_secs(1))
        .max(Duration::from_secs(1))
        .as_millis();
    let mut remedies = vec![
        format!(
            "raise the UDP timeout to {timer} s or more: \
             sysctl -w net.netfilter.nf_conntrack_udp_timeout={timer}"
        ),
        format!(
            "or keep it open: qualify=yes, qualifyfreqok={period} (in the PBX's iax.conf, in a \
             type=peer entry for the provider)"
        ),
    ];
    let refresh = dead.as_secs().saturating_sub(5) * 6 / 5;
    if refresh >= 10 {
        remedies.push(format!(
            "or ask the provider for a shorter refresh, in its iax.conf: minregexpire={refresh}, \
             maxregexpire={refresh}"
        ));
    }
    if !refresh_known {
        remedies.push(
            "to judge by the refresh that is really granted: --user NAME --secret-file FILE; or \
             name it: --refresh DURATION"
                .into(),
        );
    }
    remedies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{context, edge, exchange as measured, outlived, registered, with_exchange},
        probe::evidence::{AsteriskEvidence, RegistrationEvidence},
        types::MappedAddr,
    };

    #[test]
    fn the_linux_default_reads_as_the_interface_says() {
        let evidence = with_exchange(29, 30);
        assert_eq!(
            finding(&evidence, &context()),
            Some(Finding {
                id: FindingId::ShortMappingTimeout,
                severity: Severity::Critical,
                title: "The NAT forgets the mapping 30 s after a registration; the next one \
                        comes after 50 s"
                    .into(),
                because: vec![
                    "exchange mapping alive at 29 s, dead at 30 s".into(),
                    "registrar grants 60 s, Asterisk refreshes at 5/6 of it".into(),
                ],
                do_this: vec![
                    "raise the UDP timeout to 65 s or more: \
                     sysctl -w net.netfilter.nf_conntrack_udp_timeout=65"
                        .into(),
                    "or keep it open: qualify=yes, qualifyfreqok=14000 (in the PBX's iax.conf, \
                     in a type=peer entry for the provider)"
                        .into(),
                    "or ask the provider for a shorter refresh, in its iax.conf: \
                     minregexpire=30, maxregexpire=30"
                        .into(),
                ],
            })
        );
        let reachable = reachable(&evidence, cycle(&evidence, &context())).unwrap();
        assert_eq!(
            reachable,
            Reachable {
                fraction: 0.6,
                open: Some(Duration::from_secs(30)),
                cycle: Duration::from_secs(50),
            }
        );
    }

    #[test]
    fn the_fraction_decides_the_severity() {
        // dead, granted refresh, fraction, severity
        let rows = [
            (30, 60, Some(0.6), Some(Severity::Critical)),
            (47, 60, Some(0.94), Some(Severity::Critical)),
            (48, 60, Some(0.96), Some(Severity::Warning)),
            (49, 60, Some(0.98), Some(Severity::Warning)),
            (50, 60, Some(1.0), None),
            (65, 60, Some(1.0), None),
            (120, 181, Some(0.8), Some(Severity::Critical)),
            (120, 144, Some(1.0), None),
            (5, 10, Some(0.625), Some(Severity::Critical)),
            (1, 1, Some(1.0), None),
        ];
        for (dead, refresh, fraction, severity) in rows {
            let mut evidence = with_exchange(dead - 1, dead);
            evidence.registration = Some(registered(refresh));
            let row = format!("{dead} s against a refresh of {refresh} s");
            if dead > 1 {
                let reachable = reachable(&evidence, cycle(&evidence, &context()));
                assert_eq!(reachable.map(|it| it.fraction), fraction, "{row}");
            }
            let found = finding(&evidence, &context());
            assert_eq!(found.map(|found| found.severity), severity, "{row}");
        }
    }

    #[test]
    fn what_is_not_proven_is_not_known() {
        let wide = edge(29, 60);
        let unseen = ShapeLifetime::default();
        let alive_only = ShapeLifetime {
            alive: Some(Duration::from_secs(55)),
            ..ShapeLifetime::default()
        };
        let rows = [
            ("outlived beyond the cycle", outlived(300), Some(1.0)),
            ("outlived, but tried too short", outlived(20), None),
            (
                "alive beyond the cycle, edge unknown",
                alive_only,
                Some(1.0),
            ),
            ("the cycle lies inside a wide edge", wide, None),
            ("nothing seen", unseen, None),
        ];
        for (name, lifetime, fraction) in rows {
            let mut evidence = with_exchange(0, 0);
            evidence.lifetime = Some(measured(lifetime, 300));
            let reachable = reachable(&evidence, cycle(&evidence, &context()));
            assert_eq!(reachable.map(|it| it.fraction), fraction, "{name}");
            assert_eq!(finding(&evidence, &context()), None, "{name}");
        }
    }

    #[test]
    fn an_unknown_refresh_is_assumed_only_for_a_warning() {
        let mut evidence = with_exchange(29, 30);
        evidence.registration = None;
        assert_eq!(cycle(&evidence, &context()), None);
        let found = finding(&evidence, &context()).unwrap();
        assert_eq!(found.severity, Severity::Warning);
        assert!(found.because[1].contains("assumed: 60 s"));
        assert!(found.do_this.last().unwrap().contains("--refresh"));

        evidence.lifetime = Some(measured(edge(49, 50), 300));
        assert_eq!(finding(&evidence, &context()), None);
    }

    #[test]
    fn the_user_goes_before_the_registrar_and_that_before_the_asterisk() {
        let asterisk = Some(AsteriskEvidence {
            user: "alice".into(),
            state: "Registered".into(),
            refresh: Some(Duration::from_secs(90)),
            perceived: None,
        });
        let rejected = RegistrationEvidence {
            state: RegistrationState::Rejected,
            refresh: None,
            ..registered(60)
        };
        let nameless = RegistrationEvidence {
            refresh: None,
            ..registered(60)
        };
        let told = Some(Duration::from_secs(120));
        let rows = [
            (
                None,
                Some(registered(181)),
                None,
                Some((150, RefreshSource::Granted)),
            ),
            (
                told,
                Some(registered(60)),
                None,
                Some((100, RefreshSource::Told)),
            ),
            (
                None,
                Some(nameless),
                None,
                Some((50, RefreshSource::Default)),
            ),
            (
                None,
                None,
                asterisk.clone(),
                Some((75, RefreshSource::Asterisk)),
            ),
            (
                None,
                Some(registered(60)),
                asterisk,
                Some((50, RefreshSource::Granted)),
            ),
            (None, Some(rejected), None, None),
            (told, None, None, Some((100, RefreshSource::Told))),
        ];
        for (refresh, registration, asterisk, expected) in rows {
            let evidence = Evidence {
                registration,
                asterisk,
                ..Evidence::default()
            };
            let context = Context {
                refresh,
                ..context()
            };
            let cycle = cycle(&evidence, &context);
            assert_eq!(
                cycle.map(|cycle| (cycle.interval.as_secs(), cycle.source)),
                expected
            );
        }
    }

    #[test]
    fn the_remedies_follow_the_measurement() {
        // dead, cycle, timer to set, qualifyfreqok, refresh to ask for
        let rows = [
            (30, 50, "65", "14000", Some("30")),
            (60, 150, "165", "29000", Some("66")),
            (10, 50, "65", "4000", None),
            (3, 8, "25", "1000", None),
            (17, 33, "50", "7500", Some("14")),
        ];
        for (dead, cycle, timer, period, refresh) in rows {
            let remedies = remedies(Duration::from_secs(dead), Duration::from_secs(cycle), true);
            assert!(
                remedies[0].ends_with(&format!("udp_timeout={timer}")),
                "{remedies:?}"
            );
            assert!(
                remedies[1].contains(&format!("qualifyfreqok={period} ")),
                "{remedies:?}"
            );
            match refresh {
                Some(refresh) => {
                    assert!(remedies[2].ends_with(&format!("maxregexpire={refresh}")));
                }
                None => assert_eq!(remedies.len(), 2),
            }
        }
    }

    #[test]
    fn without_a_nat_it_is_a_firewall_that_forgets() {
        let mut evidence = with_exchange(29, 30);
        for seen in &mut evidence.mapping.as_mut().unwrap().observations {
            seen.mapped = MappedAddr::new(seen.local.get());
        }
        let found = finding(&evidence, &context()).unwrap();
        assert!(found.title.starts_with("The firewall forgets"));
    }

    #[test]
    fn lost_controls_lower_the_confidence() {
        let mut evidence = with_exchange(29, 30);
        evidence.lifetime.as_mut().unwrap().controls = (20, 17);
        let found = finding(&evidence, &context()).unwrap();
        assert!(found.because[2].contains("3 of 20 control probes"));
    }
}
