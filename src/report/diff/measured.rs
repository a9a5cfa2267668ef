//! The measurements of two reports compared, one question after the other.

use std::net::IpAddr;

use crate::report::{
    diff::{Difference, Way},
    model::{Edge, Gone, Mapping, Measurements, Number, Reachability, Spread, Taint, calls::Calls},
    text::{boxes, measured::tenth},
};

/// A share of the time that is no difference: half a percent.
const SHARE: f64 = 0.005;
/// Of ten POKEs one is lost by chance; two are a difference.
const ANSWERED: f64 = 0.2;
/// Round trips differ by more than a millisecond, or they do not.
const MILLISECOND: f64 = 1.0;
/// What a listener notices at all.
const MOS: f64 = 0.1;

/// Every difference that the two measurements can tell.
pub(super) fn differences(before: &Measurements, after: &Measurements) -> Vec<Difference> {
    let mut found: Vec<Difference> = vec![];
    found.extend(both(
        before.reachable.as_ref(),
        after.reachable.as_ref(),
        |old, new| share(old.fraction?, new.fraction?),
    ));
    found.extend(both(
        before.registration.as_ref(),
        after.registration.as_ref(),
        |old, new| state(&old.state, &new.state),
    ));
    found.extend(both(
        before.registration.as_ref(),
        after.registration.as_ref(),
        |old, new| {
            let (old, new) = (old.refresh_s?, new.refresh_s?);
            (old != new).then(|| {
                let words = format!("the registrar grants {new} s, was {old} s");
                (Way::Changed, words)
            })
        },
    ));
    found.extend(both(
        before.lifetime.as_ref(),
        after.lifetime.as_ref(),
        |old, new| {
            edge(
                "a single packet",
                old.one_way.as_ref(),
                new.one_way.as_ref(),
            )
        },
    ));
    found.extend(both(
        before.lifetime.as_ref(),
        after.lifetime.as_ref(),
        |old, new| edge("an exchange", old.exchange.as_ref(), new.exchange.as_ref()),
    ));
    found.extend(both(
        before.lifetime.as_ref(),
        after.lifetime.as_ref(),
        |old, new| edge("a stream", old.stream.as_ref(), new.stream.as_ref()),
    ));
    found.extend(both(
        before.mapping.as_ref(),
        after.mapping.as_ref(),
        dependence,
    ));
    found.extend(both(before.mapping.as_ref(), after.mapping.as_ref(), port));
    found.extend(both(
        before.mapping.as_ref(),
        after.mapping.as_ref(),
        address,
    ));
    found.extend(both(
        before.filtering.as_ref(),
        after.filtering.as_ref(),
        |old, new| {
            let (old, new) = (old.behaviour.as_deref()?, new.behaviour.as_deref()?);
            (old != new && old != "unknown" && new != "unknown").then(|| {
                let words = format!("whom the NAT lets in: {new}, was {old}");
                (Way::Changed, words)
            })
        },
    ));
    for (name, old, new) in [
        ("the provider", &before.reachability, &after.reachability),
        ("the reflector", &before.reflector, &after.reflector),
    ] {
        found.extend(both(old.as_ref(), new.as_ref(), |old, new| {
            answered(name, old, new)
        }));
        found.extend(both(old.as_ref(), new.as_ref(), |old, new| {
            round_trip(name, old.rtt_ms?, new.rtt_ms?)
        }));
    }
    found.extend(both(before.calls.as_ref(), after.calls.as_ref(), calls));
    found.extend(both(before.calls.as_ref(), after.calls.as_ref(), audio));
    found.extend(flags(before, after));
    found.extend(both(
        before.hops.as_ref(),
        after.hops.as_ref(),
        |old, new| {
            let (old, new) = (old.nats.len(), new.nats.len());
            let words = format!("{new} boxes on the way keep state, {old} did before");
            ordered(new.cmp(&old), words)
        },
    ));
    found.extend(both(
        before.taint.as_ref(),
        after.taint.as_ref(),
        |old, new| {
            let (old, new) = (tainted(old)?, tainted(new)?);
            let words = format!("{new} tainted entries, {old} before");
            ordered(new.cmp(&old), words)
        },
    ));
    found
}

/// The difference of what both reports measured.
fn both<T>(
    before: Option<&T>,
    after: Option<&T>,
    compare: impl FnOnce(&T, &T) -> Option<Difference>,
) -> Option<Difference> {
    compare(before?, after?)
}

/// Less of it is better.
fn ordered(order: std::cmp::Ordering, words: String) -> Option<Difference> {
    match order {
        std::cmp::Ordering::Less => Some((Way::Better, words)),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some((Way::Worse, words)),
    }
}

/// Better where it is so.
const fn better(is_better: bool) -> Way {
    if is_better { Way::Better } else { Way::Worse }
}

fn share(old: Number, new: Number) -> Option<Difference> {
    let percent = |share: Number| tenth(Number::new(share.get() * 100.0));
    ((old.get() - new.get()).abs() > SHARE).then(|| {
        let words = format!(
            "open to calls {} % of the time, was {} %",
            percent(new),
            percent(old)
        );
        (better(new > old), words)
    })
}

fn state(old: &str, new: &str) -> Option<Difference> {
    let words = format!("registration: {new}, was {old}");
    match (old == "registered", new == "registered") {
        _ if old == new => None,
        (false, true) => Some((Way::Better, words)),
        (true, false) => Some((Way::Worse, words)),
        _ => Some((Way::Changed, words)),
    }
}

/// Edges differ where what is proven of one excludes the other.
fn edge(shape: &str, old: Option<&Edge>, new: Option<&Edge>) -> Option<Difference> {
    let (old, new) = (old?, new?);
    let is_longer = |long: &Edge, short: &Edge| match (long.alive_s, short.dead_s) {
        (Some(alive), Gone::After(dead)) => alive >= dead,
        _ => false,
    };
    let way = match (is_longer(new, old), is_longer(old, new)) {
        (true, _) => Way::Better,
        (_, true) => Way::Worse,
        _ => return None,
    };
    let words = format!(
        "a mapping after {shape}: {}; was {}",
        boxes::edge(new),
        boxes::edge(old)
    );
    Some((way, words))
}

fn dependence(old: &Mapping, new: &Mapping) -> Option<Difference> {
    let rank = |behaviour: &str| match behaviour {
        "none" => Some(0),
        "endpoint-independent" => Some(1),
        "address-dependent" => Some(2),
        "address-and-port-dependent" => Some(3),
        _ => None,
    };
    let (old, new) = (old.behaviour.as_deref()?, new.behaviour.as_deref()?);
    let words = format!("the NAT's mapping: {new}, was {old}");
    ordered(rank(new)?.cmp(&rank(old)?), words)
}

fn port(old: &Mapping, new: &Mapping) -> Option<Difference> {
    let (old, new) = (old.port_preserved?, new.port_preserved?);
    let words = if new {
        "the NAT keeps the port now"
    } else {
        "the NAT changes the port now"
    };
    (old != new).then(|| (Way::Changed, words.into()))
}

fn address(old: &Mapping, new: &Mapping) -> Option<Difference> {
    let seen = |mapping: &Mapping| {
        let mut seen: Vec<IpAddr> = mapping
            .observations
            .iter()
            .map(|observation| observation.mapped.ip())
            .collect();
        seen.sort_unstable();
        seen.dedup();
        let names: Vec<String> = seen.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let (old, new) = (seen(old)?, seen(new)?);
    (old != new).then(|| {
        let words = format!("the public address: {new}, was {old}");
        (Way::Changed, words)
    })
}

fn answered(name: &str, old: &Reachability, new: &Reachability) -> Option<Difference> {
    let share = |reach: &Reachability| {
        (reach.sent > 0).then(|| f64::from(reach.received) / f64::from(reach.sent))
    };
    let (first, second) = (share(old)?, share(new)?);
    ((first - second).abs() >= ANSWERED).then(|| {
        let words = format!(
            "POKEs to {name}: {} of {} answered, were {} of {}",
            new.received, new.sent, old.received, old.sent
        );
        (better(second > first), words)
    })
}

/// Round trips differ where the better half of one lies beside that of the other.
fn round_trip(name: &str, old: Spread, new: Spread) -> Option<Difference> {
    let is_faster = |fast: Spread, slow: Spread| {
        fast.median < slow.min && slow.median.get() - fast.median.get() > MILLISECOND
    };
    let way = match (is_faster(new, old), is_faster(old, new)) {
        (true, _) => Way::Better,
        (_, true) => Way::Worse,
        _ => return None,
    };
    let words = format!(
        "round trip to {name}: {} ms, was {} ms",
        tenth(new.median),
        tenth(old.median)
    );
    Some((way, words))
}

/// Bursts differ where their confidence intervals do.
fn calls(old: &Calls, new: &Calls) -> Option<Difference> {
    let words = format!(
        "{} of {} calls came to their planned end, {} of {} before",
        new.completed, new.attempted, old.completed, old.attempted
    );
    match (old.failure_rate, new.failure_rate) {
        (Some(first), Some(second)) if second.high < first.low => Some((Way::Better, words)),
        (Some(first), Some(second)) if second.low > first.high => Some((Way::Worse, words)),
        _ if old.attempted == 0 || new.attempted == 0 => None,
        _ => {
            let share = |calls: &Calls| f64::from(calls.completed) / f64::from(calls.attempted);
            let is_same = (share(old) - share(new)).abs() < f64::EPSILON;
            let words = format!("{words}, which may be chance");
            (!is_same).then_some((Way::NotTold, words))
        }
    }
}

fn audio(old: &Calls, new: &Calls) -> Option<Difference> {
    let (old, new) = (old.audio.as_ref()?.mos, new.audio.as_ref()?.mos);
    ((old.get() - new.get()).abs() >= MOS).then(|| {
        let words = format!("MOS {}, was {}", tenth(new), tenth(old));
        (better(new > old), words)
    })
}

/// Questions of yes or no: what both reports know, and what is better.
fn flags(before: &Measurements, after: &Measurements) -> Vec<Difference> {
    let of = |measured: &Measurements| {
        [
            measured.payload.as_ref().and_then(|it| it.rewritten),
            measured.inbound.as_ref().and_then(|it| it.answered),
            measured.hairpin.as_ref().and_then(|it| it.supported),
            measured.callback.as_ref().and_then(|it| it.arrives),
            measured
                .calls
                .as_ref()
                .and_then(|it| it.media.as_ref()?.one_way),
        ]
    };
    let told = [
        (
            false,
            "the content of packets arrives as it leaves",
            "the content of packets is rewritten on the way",
        ),
        (
            true,
            "strangers reach the PBX",
            "strangers do not reach the PBX",
        ),
        (
            true,
            "packets to the own public address come back in",
            "packets to the own public address do not come back in",
        ),
        (
            true,
            "a call shortly before the next registration arrives",
            "a call shortly before the next registration does not arrive",
        ),
        (
            false,
            "audio passes both ways",
            "audio passes one way alone, or not at all",
        ),
    ];
    let questions = told.into_iter().zip(of(before)).zip(of(after));
    questions
        .filter_map(|(((good, is_good, is_bad), old), new)| {
            let (old, new) = (old?, new?);
            let words = if new == good { is_good } else { is_bad };
            (old != new).then(|| (better(new == good), format!("{words} now")))
        })
        .collect()
}

/// Entries that are wrong; `None` where no table was looked at.
fn tainted(taint: &Taint) -> Option<usize> {
    taint.table?;
    let entries = taint.entries.iter();
    Some(
        entries
            .filter(|entry| entry.kind != "healthy" && !entry.deleted)
            .count(),
    )
}
