//! What a capture tells of the NAT in front of a client: addresses that changed, ways that closed too early, and
//! packets that leave with an address that is gone.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use super::{
    NAMED,
    registrations::{name, series},
};
use crate::{
    check::{Finding, FindingId, Severity, seconds},
    trace::{
        flow::Flow,
        registration::{Attempt, Outcome},
        traced::Traced,
    },
};

/// The refresh of RFC 5456 §8.6.18 where none is named.
const DEFAULT_REFRESH: Duration = Duration::from_secs(60);
/// So many public addresses in a row make a NAT inconsistent, seen from outside.
const DISTINCT: usize = 3;
/// So many requests have to be lost for a timer to be told.
const ENOUGH: u32 = 2;

/// What is wrong.
pub(super) fn findings(traced: &Traced) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((_, user), attempts) in series(traced) {
        let registered: Vec<&Attempt> = attempts
            .iter()
            .copied()
            .filter(|attempt| attempt.outcome == Outcome::Registered)
            .collect();
        findings.extend(changed(user, &registered));
        findings.extend(stale(traced, user, &attempts));
    }
    findings.extend(traced.flows.iter().filter_map(|flow| short(traced, flow)));
    findings.extend(moved_in_a_call(traced));
    findings
}

/// The address that a registrar knows the client by.
fn public(attempt: &Attempt) -> SocketAddr {
    attempt.apparent.unwrap_or(attempt.client)
}

/// The public address changed between two registrations.
fn changed(user: &str, registered: &[&Attempt]) -> Option<Finding> {
    let pairs: Vec<(&Attempt, &Attempt)> = registered
        .iter()
        .zip(registered.iter().skip(1))
        .map(|(before, after)| (*before, *after))
        .filter(|(before, after)| public(before) != public(after))
        .collect();
    let (before, after) = *pairs.first()?;
    let interval = |(before, after): &(&Attempt, &Attempt)| {
        after.first.since(&before.decided.unwrap_or(before.first))
    };
    let refresh = |attempt: &Attempt| {
        attempt.refresh.map_or(DEFAULT_REFRESH, |refresh| {
            Duration::from_secs(refresh.into())
        })
    };
    // From inside, one socket shows what the NAT does. From outside, two hosts may share the account, unless the
    // address is another one every time.
    let from_inside = pairs
        .iter()
        .any(|(before, after)| before.client == after.client);
    let addresses: BTreeSet<SocketAddr> = registered.iter().copied().map(public).collect();
    let every_time = addresses.len() >= DISTINCT && pairs.len() + 1 == registered.len();
    let quick = pairs.iter().find(|pair| {
        interval(pair) <= refresh(pair.0) && (pair.0.client == pair.1.client || every_time)
    });
    let facts = pairs.iter().take(NAMED).map(|pair| {
        format!(
            "{} is registered as {}, {}, and as {}, {}, {} later",
            name(user),
            public(pair.0),
            pair.0.decided.unwrap_or(pair.0.first),
            public(pair.1),
            pair.1.decided.unwrap_or(pair.1.first),
            seconds(interval(pair))
        )
    });
    let mut because: Vec<String> = facts.collect();
    if !from_inside {
        because.push(
            "this capture is from outside of the NAT: two hosts that share the account would look alike"
                .into(),
        );
    }
    Some(match quick {
        Some(pair) => {
            because.push(format!("the refresh is {}", seconds(refresh(pair.0))));
            Finding {
                id: FindingId::InconsistentNat,
                severity: Severity::Critical,
                title: "The NAT changes the public address towards the provider within one refresh"
                    .into(),
                because,
                do_this: vec![
                    "on a Linux router: take random and fully-random out of the masquerade or SNAT rule"
                        .into(),
                    "where the mapping merely expires: raise the UDP timeout of the NAT above the refresh"
                        .into(),
                ],
            }
        }
        None => Finding {
            id: FindingId::MappingChanged,
            severity: Severity::Warning,
            title: format!(
                "The public address of {} changed from {} to {}",
                name(user),
                public(before),
                public(after)
            ),
            because,
            do_this: vec![
                "until the next registration, calls go to the old address: keep the mapping open, see \
                 short-mapping-timeout"
                    .into(),
                "after a change of the WAN address, register again at once: asterisk -rx \"iax2 \
                 reload\""
                    .into(),
            ],
        },
    })
}

/// Requests that go on leaving with an address although the router has another already, and are not answered.
fn stale(traced: &Traced, user: &str, attempts: &[&Attempt]) -> Option<Finding> {
    let unanswered = attempts
        .iter()
        .filter(|attempt| attempt.outcome == Outcome::Unanswered);
    let mut facts = Vec::new();
    for attempt in unanswered {
        let old = attempt.client;
        let was_right = attempts.iter().any(|before| {
            before.outcome == Outcome::Registered
                && before.client == old
                && attempt.first.since(&before.first) > Duration::ZERO
        });
        let next = attempts.iter().find(|after| {
            after.outcome == Outcome::Registered
                && after.client.ip() != old.ip()
                && after.first.since(&attempt.last_request) > Duration::ZERO
        });
        let Some(next) = next.filter(|_| was_right) else {
            continue;
        };
        // The new address was in use already while the old one still left.
        let seen_before = traced.flows.iter().find(|flow| {
            flow.ends()[0].ip() == next.client.ip()
                && attempt.last_request.since(&flow.first) > Duration::ZERO
        });
        if let Some(flow) = seen_before {
            facts.push(format!(
                "{} leaves as {old} until {}, and no answer comes; {} was in use since {}",
                name(user),
                attempt.last_request,
                next.client.ip(),
                flow.first
            ));
        }
    }
    if facts.is_empty() {
        return None;
    }
    facts.truncate(NAMED);
    Some(Finding {
        id: FindingId::StaleSource,
        severity: Severity::Critical,
        title: "Packets leave with an address that the router has no more".into(),
        because: facts,
        do_this: vec![
            "on the router, delete the entry: iax2-natcheck taint --fix; have it called when the address \
             changes (/etc/ppp/ip-up.d)"
                .into(),
        ],
    })
}

/// Requests to a registered client tell how long its NAT keeps the way open.
fn short(traced: &Traced, flow: &Flow) -> Option<Finding> {
    let idle = flow.idle.as_ref()?;
    let client = flow.end(flow.client()?)?;
    let registrar = flow.end(1 - flow.client()?)?;
    let (dead, at) = idle.dead?;
    let alive = idle.alive.map(|(alive, _)| alive);
    // Only a client that is heard again after it did not answer was there.
    let proven = idle.unanswered >= ENOUGH
        && idle.heard_again >= ENOUGH
        && idle.answered >= 1
        && alive.is_none_or(|alive| alive < dead);
    if !proven {
        return None;
    }
    let times: Vec<_> = traced
        .registrations
        .iter()
        .filter(|attempt| attempt.client == client && attempt.registrar == registrar)
        .filter(|attempt| attempt.outcome == Outcome::Registered)
        .map(|attempt| attempt.first)
        .collect();
    let cycle = times
        .windows(2)
        .map(|pair| pair[1].since(&pair[0]))
        .min()
        .filter(|cycle| *cycle > dead)?;
    let fraction = dead.as_secs_f64() / cycle.as_secs_f64();
    Some(Finding {
        id: FindingId::ShortMappingTimeout,
        severity: if fraction < 0.95 {
            Severity::Critical
        } else {
            Severity::Warning
        },
        title: format!(
            "The way to {client} is closed {} after its last packet; it registers every {}",
            seconds(rounded(dead)),
            seconds(rounded(cycle))
        ),
        because: vec![
            format!(
                "{} of {} requests to it stay unanswered, the one after the shortest silence ({}) at {at}",
                idle.unanswered,
                idle.unanswered + idle.answered,
                seconds(rounded(dead))
            ),
            match idle.alive {
                Some((alive, at)) => format!(
                    "after {} of silence it still answers, {at}",
                    seconds(rounded(alive))
                ),
                None => "none was answered after a silence".into(),
            },
            format!(
                "it was there: it sent packets of its own after {} of those",
                idle.heard_again
            ),
        ],
        do_this: vec![
            format!(
                "raise the UDP timeout of the NAT above {}",
                seconds(rounded(cycle + Duration::from_secs(15)))
            ),
            "or keep it open: qualify=yes and a qualifyfreqok below it, in the PBX's iax.conf"
                .into(),
        ],
    })
}

/// An end whose address changed in mid-call.
fn moved_in_a_call(traced: &Traced) -> Option<Finding> {
    let moved: Vec<String> = traced
        .calls
        .iter()
        .filter_map(|call| Some((call, call.moved.as_ref()?)))
        .map(|(call, moved)| {
            format!(
                "call {} (numbers {} and {}): {} until {}, {} from {}",
                call.id,
                call.numbers[0],
                call.numbers[1],
                moved.from,
                moved.before,
                moved.to,
                moved.after
            )
        })
        .collect();
    if moved.is_empty() {
        return None;
    }
    let count = moved.len();
    let mut because: Vec<String> = moved.into_iter().take(NAMED).collect();
    if count > NAMED {
        because.push(format!("{count} calls in all"));
    }
    Some(Finding {
        id: FindingId::MappingChanged,
        severity: Severity::Warning,
        title: "The public address of one end changed in the middle of a call".into(),
        because,
        do_this: vec![
            "the other end drops what comes from the new address, so the call is lost: look what made the \
             NAT forget (a reload of its rules, a new WAN address, a table that is full)"
                .into(),
        ],
    })
}

/// To a tenth of a second.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}
