//! What the registrations of a capture mean: refused, unanswered, turned away at the door, or asked for too often.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Duration};

use super::{NAMED, counted};
use crate::{
    check::{Finding, FindingId, Severity, seconds},
    trace::{
        flow::Flow,
        registration::{Attempt, Outcome},
        traced::Traced,
    },
};

/// How long a Linux router keeps a flow that is never answered, unless told otherwise.
const LINUX_TIMER: Duration = Duration::from_secs(30);
/// For so long a client has to go on for it to be called hammering.
const GOES_ON: Duration = Duration::from_secs(60);
/// More than one request in this time, over a minute, is too many.
const TOO_FAST: Duration = Duration::from_secs(5);

/// The attempts of one account with one registrar, in order.
pub(super) type Series<'a> = BTreeMap<(SocketAddr, &'a str), Vec<&'a Attempt>>;

/// Groups the attempts.
pub(super) fn series(traced: &Traced) -> Series<'_> {
    let mut series = Series::new();
    for attempt in &traced.registrations {
        let user = attempt.user.as_deref().unwrap_or_default();
        series
            .entry((attempt.registrar, user))
            .or_default()
            .push(attempt);
    }
    series
}

/// What is wrong with them.
pub(super) fn findings(traced: &Traced) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((registrar, user), attempts) in series(traced) {
        findings.extend(last_state(traced, registrar, user, &attempts));
        findings.extend(outages(traced, user, &attempts));
        findings.extend(hammering(traced, user, &attempts));
    }
    findings.extend(traced.flows.iter().filter_map(unanswered_pokes));
    findings
}

/// What the last attempt that was decided means.
fn last_state(
    traced: &Traced,
    registrar: SocketAddr,
    user: &str,
    attempts: &[&Attempt],
) -> Option<Finding> {
    let last = attempts
        .iter()
        .rev()
        .find(|attempt| attempt.outcome != Outcome::Open)?;
    let same = || {
        attempts
            .iter()
            .filter(|attempt| attempt.outcome == last.outcome)
    };
    let facts = || -> Vec<String> {
        let mut facts: Vec<String> = same().take(NAMED).map(|attempt| told(attempt)).collect();
        if same().count() > NAMED {
            facts.push(format!("{} such attempts in all", same().count()));
        }
        facts
    };
    let (id, title, do_this) = match last.outcome {
        Outcome::Rejected => (
            FindingId::RegistrationRejected,
            format!(
                "The registrar {registrar} refuses the account {}",
                name(user)
            ),
            vec![
                "check user name and secret on both sides; the registrar's log names the reason: \
                 wrong secret, unknown account, or an access list"
                    .to_owned(),
            ],
        ),
        Outcome::TokenRefused => (
            FindingId::TokenRefused,
            match last.token_given_to {
                Some(_) => "The public port changes between call token and registration".into(),
                None => {
                    format!("The registrar {registrar} turns the registration away at the door")
                }
            },
            vec![
                "make the NAT keep one external port for the PBX (static port, no random ports)"
                    .to_owned(),
                "where the port stays: ask the provider to raise maxcallnumbers for this address"
                    .to_owned(),
            ],
        ),
        Outcome::AuthUnsupported => (
            FindingId::AuthUnsupported,
            format!("The client turns down the challenge for {}", name(user)),
            vec![if last.wants_rsa_alone() {
                "give the client a key that it can load (RSA, 1024 bits for Asterisk), or have the \
                 provider set auth=md5"
                    .to_owned()
            } else {
                "give the client the secret of the account".to_owned()
            }],
        ),
        Outcome::Unanswered | Outcome::Stalled if last.requests > 1 => {
            if let Some(found) = unreachable(traced, last) {
                return Some(found);
            }
            (
                FindingId::RegistrationTimeout,
                match last.outcome {
                    Outcome::Unanswered => {
                        format!("The registrar {registrar} does not answer {}", name(user))
                    }
                    _ => format!("The answers of {registrar} stop half-way"),
                },
                vec![
                    "capture on both sides of the router at once, and give both to analyze: that tells \
                     whether the request leaves, and with which source"
                        .to_owned(),
                    "on the router: iax2-natcheck taint; at the provider: an access list or a ban"
                        .to_owned(),
                ],
            )
        }
        _ => return None,
    };
    Some(Finding {
        id,
        severity: Severity::Critical,
        title,
        because: facts(),
        do_this,
    })
}

/// A registrar of which nothing is heard at all but an ICMP error.
fn unreachable(traced: &Traced, last: &Attempt) -> Option<Finding> {
    let flow = traced
        .flows
        .iter()
        .find(|flow| flow.ends().contains(&last.client) && flow.ends().contains(&last.registrar))?;
    let client = usize::from(flow.ends()[1] == last.client);
    let icmp = flow.icmp.get(client)?.as_ref()?;
    // An error about an earlier outage says nothing of this one.
    if icmp.last.since(&last.first).is_zero() {
        return None;
    }
    Some(Finding {
        id: FindingId::ProviderUnreachable,
        severity: Severity::Critical,
        title: format!("{} is not reachable", last.registrar),
        because: vec![
            told(last),
            format!(
                "{} reports by ICMP, type {} code {}, {} times from {} to {}",
                icmp.from, icmp.kind.0, icmp.kind.1, icmp.count, icmp.first, icmp.last
            ),
        ],
        do_this: vec![
            "check name and port of the provider, and whether its server runs".into(),
            "let UDP to that port out where a firewall reports this".into(),
        ],
    })
}

/// Times in which an account was not answered, and later was again.
fn outages(traced: &Traced, user: &str, attempts: &[&Attempt]) -> Option<Finding> {
    let mut because = Vec::new();
    let mut begin: Option<&Attempt> = None;
    let mut requests = 0;
    let mut count = 0;
    for attempt in attempts {
        match attempt.outcome {
            Outcome::Unanswered | Outcome::Stalled if attempt.requests > 1 => {
                begin.get_or_insert(attempt);
                requests += u32::from(attempt.requests);
            }
            Outcome::Registered => {
                if let Some(first) = begin.take() {
                    count += 1;
                    if because.len() < NAMED {
                        because.push(format!(
                            "{requests} REGREQs of {} stay unanswered from {} on, for {}; the next is answered, {}",
                            name(user),
                            first.first,
                            seconds(attempt.first.since(&first.first)),
                            attempt.decided.unwrap_or(attempt.first)
                        ));
                    }
                }
                requests = 0;
            }
            _ => {}
        }
    }
    if because.is_empty() {
        return None;
    }
    let of = |flow: &&Flow| {
        attempts.iter().any(|attempt| {
            flow.ends().contains(&attempt.client) && flow.ends().contains(&attempt.registrar)
        })
    };
    for icmp in traced
        .flows
        .iter()
        .filter(of)
        .flat_map(|flow| flow.icmp.iter().flatten())
    {
        because.push(format!(
            "{} reports by ICMP, type {} code {}, {} times from {} to {}",
            icmp.from, icmp.kind.0, icmp.kind.1, icmp.count, icmp.first, icmp.last
        ));
    }
    Some(Finding {
        id: FindingId::RegistrationTimeout,
        severity: Severity::Warning,
        title: format!(
            "The registration of {} was interrupted, {}",
            name(user),
            match count {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            }
        ),
        because,
        do_this: vec![
            "look what happened to the line or the router at that time; a capture on both sides of the \
             router tells which of the two it was"
                .into(),
        ],
    })
}

/// Requests that nobody answers, so fast that a wrong entry of a NAT never dies.
fn hammering(traced: &Traced, user: &str, attempts: &[&Attempt]) -> Option<Finding> {
    let nat = attempts.iter().find_map(|attempt| {
        let apparent = attempt.apparent?;
        (apparent != attempt.client).then_some((attempt.client, apparent))
    });
    let mut runs: Vec<Vec<&Attempt>> = vec![vec![]];
    for attempt in attempts {
        let unanswered = matches!(attempt.outcome, Outcome::Unanswered)
            || (attempt.outcome == Outcome::Open && attempt.heard.is_none());
        if unanswered {
            if let Some(run) = runs.last_mut() {
                run.push(attempt);
            }
        } else {
            runs.push(vec![]);
        }
    }
    let run = runs.iter().max_by_key(|run| run.len())?;
    let (first, last) = (run.first()?, run.last()?);
    let lasted = last.last_request.since(&first.first);
    if lasted < GOES_ON {
        return None;
    }
    let between = run
        .windows(2)
        .map(|pair| pair[1].first.since(&pair[0].last_request));
    let within = run.iter().map(|attempt| attempt.longest_gap);
    let longest = between.chain(within).max()?;
    let requests: u32 = run.iter().map(|attempt| u32::from(attempt.requests)).sum();
    let fast = lasted < TOO_FAST * requests.saturating_sub(1);
    let kept = proven_timer(traced, first).max(LINUX_TIMER);
    if !fast && (nat.is_none() || longest >= kept) {
        return None;
    }
    let mut because = vec![format!(
        "{requests} REGREQs of {} in {}, from {} to {}, and no answer",
        name(user),
        seconds(lasted),
        first.first,
        last.last_request
    )];
    if let Some((client, apparent)) = nat {
        because.push(format!(
            "a NAT is on the way: {client} was seen as {apparent}"
        ));
        because.push(format!(
            "the longest pause between two is {}; Linux routers keep an unanswered flow for {}, unless set \
             otherwise",
            seconds(longest),
            seconds(LINUX_TIMER)
        ));
    }
    Some(Finding {
        id: FindingId::RegistrationHammering,
        severity: Severity::Warning,
        title: "Unanswered registrations come so fast that a wrong NAT entry cannot die".into(),
        because,
        do_this: vec![
            "on the router, delete the entry: iax2-natcheck taint --fix".into(),
            "or let the PBX be silent for two minutes: asterisk -rx 'module unload chan_iax2.so', and \
             load it again"
                .into(),
        ],
    })
}

/// How long the NAT was proven to keep the way open.
fn proven_timer(traced: &Traced, attempt: &Attempt) -> Duration {
    let of = traced.flows.iter().find(|flow| {
        flow.ends().contains(&attempt.client) && flow.ends().contains(&attempt.registrar)
    });
    of.and_then(|flow| flow.idle.as_ref()?.alive)
        .map_or(Duration::ZERO, |(alive, _)| alive)
}

/// POKEs none of which is answered, where nothing else comes from the other end.
fn unanswered_pokes(flow: &Flow) -> Option<Finding> {
    const ENOUGH: u32 = 3;
    let (end, pokes) = flow
        .pokes
        .iter()
        .enumerate()
        .find_map(|(end, pokes)| Some((end, pokes.as_ref()?)))?;
    let silent = flow.packets.get(1 - end).copied() == Some(0);
    if !silent || pokes.unanswered < ENOUGH {
        return None;
    }
    let (from, to) = (flow.end(end)?, flow.end(1 - end)?);
    let mut because = vec![format!(
        "{} from {from} to {to} and no answer, from {} to {}",
        counted(pokes.sent as usize, "POKE"),
        pokes.first_unanswered?,
        pokes.last_unanswered?
    )];
    if let Some(icmp) = flow.icmp.get(end).and_then(Option::as_ref) {
        because.push(format!(
            "{} reports by ICMP, type {} code {}, {}",
            icmp.from, icmp.kind.0, icmp.kind.1, icmp.first
        ));
    }
    Some(Finding {
        id: FindingId::ProviderUnreachable,
        severity: Severity::Critical,
        title: format!("{to} does not answer POKEs of {from}"),
        because,
        do_this: vec![
            "check the address and whether its server runs; where the other end is behind a NAT, its \
             mapping is gone: it has to register, and to keep the way open"
                .into(),
        ],
    })
}

/// One attempt in words.
fn told(attempt: &Attempt) -> String {
    let requests = counted(attempt.requests.into(), "request");
    let user = name(attempt.user.as_deref().unwrap_or_default());
    let begin = format!(
        "{user} from {} (call number {}), {}",
        attempt.client, attempt.number, attempt.first
    );
    let end = match (attempt.outcome, attempt.decided) {
        (Outcome::Rejected, Some(at)) => {
            let mut words = format!("REGREJ, {at}");
            // Writing to a string does not fail.
            if let Some(cause) = &attempt.cause {
                let _ = write!(words, ": \"{cause}\"");
            }
            if let Some(code) = attempt.cause_code {
                let _ = write!(words, ", cause code {code}");
            }
            words
        }
        (Outcome::TokenRefused, Some(at)) => {
            let given = attempt
                .token_given_to
                .map_or_else(String::new, |(address, when)| {
                    format!(
                        "; the token was given to {address}, {when}, and came back from {}",
                        attempt.client
                    )
                });
            format!("REGREJ from call number 1 without a cause, {at}{given}")
        }
        (Outcome::AuthUnsupported, Some(at)) => format!(
            "REGAUTH with methods {:#06x}, and the client sends REJECT, {at}",
            attempt.offered.unwrap_or(0)
        ),
        (Outcome::Stalled, _) => format!(
            "{requests}; the registrar was heard, {}, and then no more",
            attempt.heard.unwrap_or(attempt.first)
        ),
        _ => format!(
            "{requests} and no answer, the last {}",
            attempt.last_request
        ),
    };
    format!("{begin}: {end}")
}

/// The account in words.
pub(super) fn name(user: &str) -> &str {
    if user.is_empty() {
        "an account without a name"
    } else {
        user
    }
}
