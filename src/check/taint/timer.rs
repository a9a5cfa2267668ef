//! Do the router's timers outlast the interval of registrations?

use std::time::Duration;

use super::{Ends, Inspected, Kind, Router, ends};
use crate::{
    check::{Finding, FindingId, Severity, lifetime::Cycle, seconds},
    os::sysctl::Timers,
};

/// Below this share of the time, calls are lost often enough to be critical.
const CRITICAL_BELOW: f64 = 0.95;
/// As much longer the timer should be: the first request may be lost.
const MARGIN: Duration = Duration::from_secs(15);

/// `short-mapping-timeout`, from the router's own settings: the PBX's flow is there, no stream, and
/// would end before the PBX registers again. Needs no measurement; where one was made, that counts.
#[must_use]
pub fn timer_finding(
    inspected: &[Inspected],
    router: &Router,
    timers: Option<Timers>,
    cycle: Option<Cycle>,
) -> Option<Finding> {
    let (timers, interval) = (timers?, cycle?.interval);
    if timers.udp >= interval {
        return None;
    }
    let translated = |ends: Ends| ends.known_as != ends.inside;
    let flows = || {
        inspected
            .iter()
            .filter(|one| one.judged.kind == Kind::Healthy && translated(ends(&one.entry, router)))
    };
    // A stream has the longer timer; other traffic keeps it open.
    let flow = flows().next()?;
    if flows().any(|one| one.entry.assured) {
        return None;
    }
    let share = timers.udp.as_secs_f64() / interval.as_secs_f64();
    Some(Finding {
        id: FindingId::ShortMappingTimeout,
        severity: if share < CRITICAL_BELOW {
            Severity::Critical
        } else {
            Severity::Warning
        },
        title: format!(
            "The router forgets the mapping {} after a registration; the next one comes after {}",
            seconds(timers.udp),
            seconds(interval)
        ),
        because: vec![
            format!(
                "nf_conntrack_udp_timeout is {} on this router",
                seconds(timers.udp)
            ),
            format!("{} is no stream, so that timer holds", flow.entry.original),
            format!("the PBX registers again after {}", seconds(interval)),
        ],
        do_this: vec![
            format!(
                "raise the UDP timeout to {0} s or more: sysctl -w \
                 net.netfilter.nf_conntrack_udp_timeout={0}",
                (interval + MARGIN).as_secs()
            ),
            format!(
                "or keep it open: qualify=yes, qualifyfreqok={} (in the PBX's iax.conf, in a \
                 type=peer entry for the provider)",
                (timers.udp.as_secs() / 2).max(1) * 1000
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{
        lifetime::RefreshSource,
        taint::{
            Judged, Liveness,
            tests::{router, sample},
        },
    };

    fn inspected(assured: bool, known_as: &str) -> Inspected {
        let mut entry = sample("192.168.1.10", "203.0.113.1", known_as);
        entry.assured = assured;
        Inspected {
            entry,
            judged: Judged {
                kind: Kind::Healthy,
                because: vec![],
            },
            liveness: Liveness::default(),
            deleted: false,
            verified: None,
        }
    }

    #[test]
    fn a_timer_is_short_only_for_a_flow_that_it_holds() {
        let timers = |udp| {
            Some(Timers {
                udp: Duration::from_secs(udp),
                stream: Duration::from_secs(120),
            })
        };
        let cycle = Some(Cycle {
            refresh: Duration::from_secs(60),
            interval: Duration::from_secs(50),
            source: RefreshSource::Granted,
        });
        let wan = "198.51.100.7";
        let rows = [
            (30, vec![inspected(false, wan)], Some(Severity::Critical)),
            (49, vec![inspected(false, wan)], Some(Severity::Warning)),
            (50, vec![inspected(false, wan)], None),
            (30, vec![inspected(true, wan)], None),
            (30, vec![inspected(false, "192.168.1.10")], None), // not translated
            (30, vec![], None),
        ];
        for (udp, entries, severity) in rows {
            let found = timer_finding(&entries, &router(), timers(udp), cycle);
            assert_eq!(found.map(|found| found.severity), severity, "{udp}");
        }
        let entries = [inspected(false, wan)];
        assert_eq!(timer_finding(&entries, &router(), timers(30), None), None);
        assert_eq!(timer_finding(&entries, &router(), None, cycle), None);
    }
}
