//! Did the mapping towards one peer change while we looked?

use std::time::Duration;

use crate::{
    check::{Context, Finding, FindingId, Severity, lifetime, remedies, seconds},
    probe::evidence::{Evidence, MappingObservation, MappingSource},
    types::{MappedAddr, PeerAddr},
};

/// The refresh of RFC 5456 §8.6.18 where none is named.
const DEFAULT_REFRESH: Duration = Duration::from_secs(60);

/// A change of the mapping towards one peer.
struct Change {
    peer: PeerAddr,
    before: MappedAddr,
    after: MappedAddr,
    /// The time between the two looks.
    within: Duration,
    /// The looks were two registrations.
    registrations: bool,
}

/// What was seen of the mapping towards the provider changing, for whoever wonders about lost calls.
#[must_use]
pub fn told_of(evidence: &Evidence, provider: PeerAddr) -> Option<String> {
    changes(evidence, provider).first().map(told)
}

/// `inconsistent-nat` as critical where the mapping towards the provider changed within a refresh,
/// else `mapping-changed` where any peer saw two mappings of one socket over time.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let refresh = lifetime::cycle(evidence, context).map(|cycle| cycle.refresh);
    let limit = refresh.unwrap_or(DEFAULT_REFRESH);
    let changes = changes(evidence, context.provider);
    let quick = changes
        .iter()
        .find(|change| change.peer == context.provider && change.within <= limit);
    if let Some(change) = quick {
        let mut because = vec![told(change)];
        because.push(match refresh {
            Some(refresh) => format!("the refresh is {}", seconds(refresh)),
            None => format!(
                "the refresh is not known; {}, the default of RFC 5456, is taken",
                seconds(DEFAULT_REFRESH)
            ),
        });
        return Some(Finding {
            id: FindingId::InconsistentNat,
            severity: Severity::Critical,
            title: "The NAT changes the public address towards the provider within one refresh"
                .into(),
            because,
            do_this: remedies::consistent(
                evidence,
                context,
                &[
                    "on a Linux router: take random and fully-random out of the masquerade or \
                     SNAT rule, and address pools without persistent",
                ],
                &[
                    "on a router with several WAN links: pin the PBX's UDP port 4569 to one of \
                     them",
                    "where the mapping merely expires: raise the UDP timeout of the NAT above the \
                     refresh",
                ],
            ),
        });
    }
    let change = changes.first()?;
    Some(Finding {
        id: FindingId::MappingChanged,
        severity: Severity::Warning,
        title: format!(
            "The public address of the socket changed from {} to {}",
            change.before, change.after
        ),
        because: vec![
            told(change),
            "until the next registration, calls go to the old address".into(),
        ],
        do_this: vec![
            "keep the mapping open between registrations, see short-mapping-timeout".into(),
            "after a change of the WAN address, register again at once: asterisk -rx \"iax2 \
             reload\""
                .into(),
        ],
    })
}

/// The change in words.
fn told(change: &Change) -> String {
    if change.registrations {
        return format!(
            "it changed from {} to {} between two registrations {} apart",
            change.before,
            change.after,
            seconds(change.within)
        );
    }
    format!(
        "{} saw the socket at {} and, within {}, at {}",
        change.peer,
        change.before,
        seconds(change.within),
        change.after
    )
}

/// Every change one peer saw of one socket, those of the provider first.
fn changes(evidence: &Evidence, provider: PeerAddr) -> Vec<Change> {
    let observations = evidence
        .mapping
        .as_ref()
        .map_or(&[][..], |mapping| &mapping.observations);
    let mut changes = of_provider_registrations(evidence, observations, provider);
    for (index, after) in observations.iter().enumerate() {
        let before = observations
            .iter()
            .take(index)
            .rev()
            .find(|before| before.local == after.local && before.peer == after.peer);
        if let Some(before) = before
            && before.mapped != after.mapped
        {
            changes.push(Change {
                peer: after.peer,
                before: before.mapped,
                after: after.mapped,
                within: after.at.saturating_sub(before.at),
                registrations: after.via == MappingSource::Registrar,
            });
        }
    }
    changes.sort_by_key(|change| change.peer != provider);
    changes
}

/// What the REGACKs of a series say. Left out where the observations hold the same.
fn of_provider_registrations(
    evidence: &Evidence,
    observations: &[MappingObservation],
    provider: PeerAddr,
) -> Vec<Change> {
    let Some(registration) = &evidence.registration else {
        return vec![];
    };
    let timed = observations
        .iter()
        .filter(|seen| seen.via == MappingSource::Registrar)
        .count();
    if timed >= registration.apparent.len() {
        return vec![];
    }
    registration
        .apparent
        .iter()
        .zip(registration.apparent.iter().skip(1))
        .filter(|((_, before), (_, after))| before != after)
        .map(|((earlier, before), (later, after))| Change {
            peer: provider,
            before: *before,
            after: *after,
            within: later.saturating_sub(*earlier),
            registrations: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{PROVIDER, context, mapped, mapping, registered, seen},
        probe::evidence::RegistrationEvidence,
    };

    const X: &str = "198.51.100.7:40123";
    const Y: &str = "198.51.100.7:1024";
    const OTHER: &str = "203.0.113.2:3478";

    #[test]
    fn a_change_is_critical_only_towards_the_provider_and_within_a_refresh() {
        let critical = Some((FindingId::InconsistentNat, Severity::Critical));
        let warning = Some((FindingId::MappingChanged, Severity::Warning));
        let rows = [
            (
                "no change",
                vec![seen(PROVIDER, X, 0), seen(PROVIDER, X, 9)],
                None,
            ),
            (
                "asked once",
                vec![seen(PROVIDER, X, 0), seen(OTHER, Y, 0)],
                None,
            ),
            (
                "within the refresh",
                vec![seen(PROVIDER, X, 0), seen(PROVIDER, Y, 59)],
                critical,
            ),
            (
                "after the refresh",
                vec![seen(PROVIDER, X, 0), seen(PROVIDER, Y, 61)],
                warning,
            ),
            (
                "another peer",
                vec![seen(OTHER, X, 0), seen(OTHER, Y, 5)],
                warning,
            ),
            (
                "another peer first, then the provider",
                vec![
                    seen(OTHER, X, 0),
                    seen(OTHER, Y, 5),
                    seen(PROVIDER, X, 0),
                    seen(PROVIDER, Y, 5),
                ],
                critical,
            ),
        ];
        for (name, observations, expected) in rows {
            let mut evidence = mapping(&observations);
            evidence.registration = Some(registered(60));
            let found = finding(&evidence, &context());
            assert_eq!(
                found.map(|found| (found.id, found.severity)),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn the_apparent_address_may_drift() {
        let rows = [
            (vec![X, X], 10, None),
            (vec![X, Y], 50, Some(FindingId::InconsistentNat)),
            (vec![X, Y, Y], 50, Some(FindingId::InconsistentNat)),
            (vec![X, Y], 120, Some(FindingId::MappingChanged)),
        ];
        for (apparent, apart, expected) in rows {
            let evidence = Evidence {
                registration: Some(RegistrationEvidence {
                    apparent: (0..)
                        .map(|place| Duration::from_secs(place * apart))
                        .zip(apparent.iter().map(|address| mapped(address)))
                        .collect(),
                    ..registered(60)
                }),
                ..Evidence::default()
            };
            let found = finding(&evidence, &context());
            assert_eq!(
                found.as_ref().map(|found| found.id),
                expected,
                "{apparent:?}"
            );
            if let Some(found) = found {
                let told = format!("between two registrations {apart} s apart");
                assert!(found.because[0].contains(&told), "{found:?}");
            }
        }
    }

    #[test]
    fn without_a_refresh_the_default_is_named() {
        let evidence = mapping(&[seen(PROVIDER, X, 0), seen(PROVIDER, Y, 5)]);
        let found = finding(&evidence, &context()).unwrap();
        assert_eq!(found.severity, Severity::Critical);
        assert!(found.because[1].contains("not known"));
    }
}
