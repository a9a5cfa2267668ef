//! Does the provider answer at all, and if not, who says what?

use std::collections::BTreeSet;

use crate::{
    check::{Context, Finding, FindingId, Severity, full_table},
    probe::evidence::{Evidence, RegistrationState},
    proto::contract::Unreachable,
    types::PeerAddr,
};

/// `provider-unreachable`: POKEs were sent and none was answered by the address that was asked.
///
/// Silence while the survey was cut short is no evidence, and a registrar that answered a
/// registration is reachable whatever it does with POKEs.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let reach = evidence.reach.as_ref()?;
    if reach.sent == 0 || reach.received > 0 || answered_otherwise(evidence, context.provider) {
        return None;
    }
    // A flow that goes on shows that it answers.
    if full_table::finding(evidence, context).is_some() {
        return None;
    }
    let provider = context.provider;
    let sent = format!("{} POKEs to {provider}, none answered by it", reach.sent);
    let (title, because, do_this) = if let Some(other) = reach.answered_from {
        (
            format!("{provider} does not answer, {other} does in its place"),
            vec![
                sent,
                format!("PONG came from {other}; IAX2 peers drop what comes from another address"),
            ],
            vec![
                format!("use the address that answers, if it is the provider's: {other}"),
                "or have the provider answer from the address that was asked: \
                 bindaddr=ADDRESS in its iax.conf, one line for each address"
                    .into(),
            ],
        )
    } else if let Some(cause) = reach.unreachable {
        let mut because = vec![sent];
        because.push(match cause {
            Unreachable::NoSocket => format!("this host says: {}", cause.as_str()),
            _ => format!("the network says (ICMP): {}", cause.as_str()),
        });
        let (title, do_this) = explain(cause, provider);
        (title, because, do_this)
    } else if evidence.interrupted {
        return None;
    } else {
        silence(sent, provider, others(evidence, provider))
    };
    let (mut because, mut do_this) = (because, do_this);
    if let Some((other, seen)) = &evidence.other_family
        && let Some(reach) = seen.reach.as_ref().filter(|reach| reach.received > 0)
    {
        because.push(format!(
            "{other}, of the same name, answered {} of {} POKEs",
            reach.received, reach.sent
        ));
        do_this.insert(
            0,
            format!("use the address that answers, in the check and in iax.conf: {other}"),
        );
    }
    Some(Finding {
        id: FindingId::ProviderUnreachable,
        severity: Severity::Critical,
        title,
        because,
        do_this,
    })
}

/// Whether the provider answered anything else than POKEs: a frame of the registration, the question for the
/// mapping (as a reflector or with a bare PONG), Binding.
fn answered_otherwise(evidence: &Evidence, provider: PeerAddr) -> bool {
    let registrar = evidence.registration.as_ref().is_some_and(|registration| {
        registration.state != RegistrationState::Timeout
            || registration.call_token.is_some()
            || registration.invals > 0
    });
    let is_reflector = evidence.reach.as_ref().and_then(|reach| reach.reflector);
    let mapping = evidence.mapping.as_ref().is_some_and(|mapping| {
        let mut observations = mapping.observations.iter();
        observations.any(|seen| seen.peer == provider)
    });
    registrar || is_reflector.is_some() || mapping
}

/// How many others than the provider were asked at the same time, and how many of them answered.
fn others(evidence: &Evidence, provider: PeerAddr) -> (usize, usize) {
    let mut answered: BTreeSet<PeerAddr> = BTreeSet::new();
    let mut silent: BTreeSet<PeerAddr> = BTreeSet::new();
    if let Some(mapping) = &evidence.mapping {
        answered.extend(mapping.observations.iter().map(|seen| seen.peer));
        silent.extend(&mapping.unanswered);
    }
    let elsewhere = |peer: &&PeerAddr| peer.get().ip() != provider.get().ip();
    let heard = answered.iter().filter(elsewhere).count();
    let unheard = silent.difference(&answered).filter(elsewhere).count();
    match &evidence.reflector {
        Some(reflector) if reflector.received > 0 && heard == 0 => (unheard + 1, 1),
        Some(reflector) if reflector.sent > 0 && heard + unheard == 0 => (1, 0),
        _ => (heard + unheard, heard),
    }
}

/// Title and remedies for an error that somebody reported.
fn explain(cause: Unreachable, provider: PeerAddr) -> (String, Vec<String>) {
    let (ip, port) = (provider.get().ip(), provider.get().port());
    let check = format!("check that {provider} is the provider's address and port");
    match cause {
        Unreachable::Port => (
            format!("Nothing listens on UDP port {port} of {ip}"),
            vec![
                check,
                "on the provider: start the IAX2 server, and see what it listens on: \
                 ss -ulnp"
                    .into(),
            ],
        ),
        Unreachable::Host => (
            format!("The router next to {ip} says that there is no such host"),
            vec![
                check,
                "ask the provider whether the host is up and on this address".into(),
            ],
        ),
        Unreachable::Network => (
            format!("No route leads to {ip}"),
            vec![
                format!("look at the route this host takes: ip route get {ip}"),
                "see that the WAN link of the router is up and holds the default route".into(),
            ],
        ),
        Unreachable::Prohibited => (
            format!("A firewall on the way forbids UDP to {provider}"),
            vec![
                format!("let UDP out to {ip} port {port} on this host and on its router"),
                "else ask the provider to admit your public address".into(),
            ],
        ),
        Unreachable::TimeExceeded => (
            format!("Packets to {ip} run in a circle and die on the way"),
            vec![format!(
                "find the two routers that hand them to each other: traceroute -U -p {port} {ip}"
            )],
        ),
        Unreachable::TooBig => (
            format!("A link on the way to {ip} does not even take a POKE of 12 octets"),
            vec!["look at the MTU of tunnels on the way: ip link".into()],
        ),
        Unreachable::NoSocket => (
            "This host has no socket to send from".into(),
            vec![
                "take another port, or none: --local-port PORT".into(),
                "or raise the limit of open files: ulimit -n 4096".into(),
            ],
        ),
    }
}

/// What silence towards everybody may be, too.
const FULL: &str = "if calls go on all the same, the router's table of connections may be full: it drops new flows \
                    alone (on it: iax2-natcheck taint)";

/// Title, facts and remedies where nobody said anything.
fn silence(
    sent: String,
    provider: PeerAddr,
    others: (usize, usize),
) -> (String, Vec<String>, Vec<String>) {
    let port = provider.get().port();
    let mut because = vec![sent, "no ICMP error came either".into()];
    let mut do_this = vec![format!(
        "check that {provider} is the provider's address and port, and that its server runs"
    )];
    match others {
        (asked, answered @ 1..) => {
            because.push(format!(
                "{answered} of {asked} other hosts asked answered, so UDP works from here"
            ));
            do_this.push(format!(
                "ask the provider whether UDP port {port} is filtered or your address is banned"
            ));
        }
        (asked @ 1.., 0) => {
            because.push(format!(
                "nothing outside answered, {asked} asked besides: the cause is likely here, and the \
                 provider may be well"
            ));
            do_this.insert(
                0,
                "see that this host reaches the Internet at all, and that the WAN link is up"
                    .into(),
            );
            do_this.insert(
                1,
                format!("let UDP to port {port} out on this host and on its router"),
            );
            do_this.insert(2, FULL.into());
        }
        (0, _) => {
            because
                .push("no other host was asked, so a fault on this side is not ruled out".into());
            do_this.push(format!(
                "let UDP to port {port} out on this host and on its router"
            ));
            do_this.push(FULL.into());
            do_this.push("to tell which side it is, ask a second host: --reflector HOST".into());
        }
    }
    (
        format!("{provider} does not answer at all"),
        because,
        do_this,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{PROVIDER, context, mapping, peer, reach, registered, seen},
        probe::evidence::ReachEvidence,
    };

    fn unanswered(change: impl FnOnce(&mut Evidence)) -> Option<Finding> {
        let mut evidence = Evidence {
            reach: Some(reach(10, 0)),
            ..Evidence::default()
        };
        change(&mut evidence);
        finding(&evidence, &context())
    }

    #[test]
    fn each_cause_has_words_of_its_own() {
        let rows: [(Unreachable, &str, &str); 7] = [
            (
                Unreachable::Port,
                "Nothing listens on UDP port 4569 of 203.0.113.1",
                "ICMP): port unreachable",
            ),
            (Unreachable::Host, "no such host", "ICMP): host unreachable"),
            (
                Unreachable::Network,
                "No route leads to 203.0.113.1",
                "ICMP): network unreachable",
            ),
            (
                Unreachable::Prohibited,
                "A firewall on the way",
                "ICMP): administratively prohibited",
            ),
            (
                Unreachable::TimeExceeded,
                "run in a circle",
                "ICMP): time to live exceeded",
            ),
            (
                Unreachable::TooBig,
                "does not even take",
                "ICMP): datagram too big",
            ),
            (
                Unreachable::NoSocket,
                "This host has no socket",
                "this host says: no local socket to send from",
            ),
        ];
        for (cause, title, because) in rows {
            let found = unanswered(|evidence| {
                evidence.reach.as_mut().unwrap().unreachable = Some(cause);
            })
            .unwrap();
            assert_eq!(found.severity, Severity::Critical);
            assert!(found.title.contains(title), "{cause:?}: {}", found.title);
            assert!(
                found.because.iter().any(|fact| fact.contains(because)),
                "{cause:?}: {:?}",
                found.because
            );
            assert!(!found.do_this.is_empty());
        }
    }

    #[test]
    fn silence_differs_from_an_answer_by_another() {
        let silent = unanswered(|_| {}).unwrap();
        assert_eq!(silent.title, format!("{PROVIDER} does not answer at all"));
        let elsewhere = unanswered(|evidence| {
            evidence.reach.as_mut().unwrap().answered_from = Some(peer("203.0.113.9:4569"));
        })
        .unwrap();
        assert_eq!(
            elsewhere.title,
            format!("{PROVIDER} does not answer, 203.0.113.9:4569 does in its place")
        );
    }

    #[test]
    fn the_reflector_tells_the_side() {
        let rows = [
            (None, "no other host was asked"),
            (Some(reach(10, 10)), "UDP works from here"),
            (Some(reach(10, 0)), "nothing outside answered"),
        ];
        for (reflector, fact) in rows {
            let found = unanswered(|evidence| evidence.reflector = reflector).unwrap();
            assert!(
                found.because.iter().any(|because| because.contains(fact)),
                "{fact}"
            );
        }
    }

    #[test]
    fn no_finding_where_somebody_answered_or_nobody_asked() {
        let rows: [(&str, Evidence); 7] = [
            ("nothing done", Evidence::default()),
            (
                "nothing sent",
                Evidence {
                    reach: Some(reach(0, 0)),
                    ..Evidence::default()
                },
            ),
            (
                "one answer of ten",
                Evidence {
                    reach: Some(reach(10, 1)),
                    ..Evidence::default()
                },
            ),
            (
                "the registrar answers, POKEs are filtered",
                Evidence {
                    reach: Some(reach(10, 0)),
                    registration: Some(registered(60)),
                    ..Evidence::default()
                },
            ),
            (
                "POKEs are limited, the mapping was told",
                Evidence {
                    reach: Some(reach(10, 0)),
                    ..mapping(&[seen(PROVIDER, "198.51.100.7:1", 0)])
                },
            ),
            (
                "a bare PONG to the question for the mapping",
                Evidence {
                    reach: Some(ReachEvidence {
                        reflector: Some(false),
                        ..reach(10, 0)
                    }),
                    ..Evidence::default()
                },
            ),
            (
                "cut short",
                Evidence {
                    reach: Some(reach(2, 0)),
                    interrupted: true,
                    ..Evidence::default()
                },
            ),
        ];
        for (name, evidence) in rows {
            assert_eq!(finding(&evidence, &context()), None, "{name}");
        }
    }
}
