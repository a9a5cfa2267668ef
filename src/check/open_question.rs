//! Is the main question answered, and if not, what is missing?

use crate::{
    check::{
        Context, Finding, FindingId, Question, Severity,
        calls::symptom::Symptom,
        filtering, hops, lifetime,
        nat_kind::{self, Behaviour},
        node, registration, same_port, seconds,
    },
    probe::evidence::{Evidence, Inapplicable, RegistrationState},
};

/// `not-measured`: the main question stays open. Nothing is added where a critical finding explains
/// it, or where `short-mapping-timeout` has already named the missing refresh.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context, found: &[Finding]) -> Option<Finding> {
    let explained = found.iter().any(|finding| {
        finding.severity == Severity::Critical || finding.id == FindingId::ShortMappingTimeout
    });
    if explained {
        return None;
    }
    let (title, mut because, do_this) = match context.question {
        Question::Reachability => reachability(evidence, context)?,
        Question::Registration => registration_open(evidence)?,
        Question::Mapping => mapping_open(evidence)?,
        Question::Filtering => filtering::open(evidence)?,
        Question::Hops => hops::open(evidence)?,
        Question::Lifetime => lifetime_open(evidence)?,
        Question::Hairpin => hairpin_open(evidence)?,
        Question::Calls => calls_open(evidence)?,
        Question::Flow => flow_open(evidence)?,
        Question::Node => node::open(evidence)?,
    };
    if evidence.interrupted {
        because.insert(0, "the survey was stopped before its end".into());
    }
    Some(Finding {
        id: FindingId::NotMeasured,
        severity: Severity::Unknown,
        title: title.into(),
        because,
        do_this,
    })
}

const UNCLEAR: &str = "no probe of an idle mapping gave a clear answer";
const AGAIN: &str = "try again when the line is less busy";

/// Title, facts and remedies.
pub(super) type Parts = (&'static str, Vec<String>, Vec<String>);

fn reachability(evidence: &Evidence, context: &Context) -> Option<Parts> {
    let cycle = lifetime::cycle(evidence, context);
    if lifetime::reachable(evidence, cycle).is_some() {
        return None;
    }
    let (mut because, mut do_this) = (vec![], vec![]);
    let exchange = lifetime::exchange(evidence);
    match (exchange, cycle) {
        (None, _) => {
            let (fact, remedy) = no_lifetime(evidence);
            because.push(fact);
            do_this.push(remedy);
        }
        (Some(exchange), cycle) => match (exchange.alive, exchange.dead, cycle) {
            (alive, Some(dead), Some(cycle)) => {
                because.push(format!(
                    "the NAT forgets an exchange between {} and {}, and the PBX registers again \
                     after {}: too coarse to tell",
                    seconds(alive.unwrap_or_default()),
                    seconds(dead),
                    seconds(cycle.interval)
                ));
                do_this.push(format!(
                    "measure more finely: --sockets 1024 --max-lifetime {}s",
                    dead.max(cycle.interval).as_secs() + 15
                ));
            }
            (Some(alive), None, Some(cycle)) => {
                because.push(format!(
                    "the longest idle time after which the mapping was proven alive is {}, and \
                     the PBX registers again after {}",
                    seconds(alive),
                    seconds(cycle.interval)
                ));
                do_this.push(format!(
                    "try longer idle times: --max-lifetime {}s",
                    (cycle.interval.as_secs() + 15).max(60)
                ));
            }
            (alive, Some(dead), None) => because.push(format!(
                "exchange mapping alive at {}, dead at {}",
                seconds(alive.unwrap_or_default()),
                seconds(dead)
            )),
            (Some(alive), None, None) => because.push(format!(
                "exchange mapping still alive at {}, the longest idle time proven",
                seconds(alive)
            )),
            (None, None, _) => {
                let (fact, remedy) = unclear(evidence);
                because.push(fact);
                do_this.push(remedy);
            }
        },
    }
    if cycle.is_none() {
        because.push(
            if context.credentials {
                "the interval of registrations is not known: the registration did not succeed"
            } else {
                "the interval of registrations is not known: no account was given"
            }
            .into(),
        );
        do_this.push(
            "let it register: --user NAME --secret-file FILE; or name the refresh: --refresh 60s"
                .into(),
        );
    }
    Some((
        "Whether calls reach the PBX between two registrations was not measured",
        because,
        do_this,
    ))
}

/// Why no idle mapping showed anything, and what may help.
fn unclear(evidence: &Evidence) -> (String, String) {
    let lifetime = evidence.lifetime.as_ref();
    let refused = lifetime
        .map(|lifetime| lifetime.refused)
        .unwrap_or_default();
    if let Some(why) = lifetime.and_then(|lifetime| lifetime.inapplicable) {
        let (fact, remedy) = unfit(why);
        (fact.into(), remedy.into())
    } else if refused.quota > 0 {
        (
            format!(
                "the reflector refuses more mappings from this address ({} refused)",
                refused.quota
            ),
            "wait some minutes, or measure with fewer mappings: --sockets 64".into(),
        )
    } else if refused.token > 0 {
        (
            format!(
                "the reflector refused its own token {} times: this address changed, or the \
                 reflector began anew",
                refused.token
            ),
            AGAIN.into(),
        )
    } else {
        (UNCLEAR.into(), AGAIN.into())
    }
}

/// Why a method that asks the registrar alone found nothing, and what may.
const fn unfit(why: Inapplicable) -> (&'static str, &'static str) {
    const HELPER: &str = "name a host that runs iax2-natcheck serve: --reflector HOST";
    match why {
        Inapplicable::PortKept => (
            "the NAT keeps the port, so that a mapping that is made anew looks like one that lived",
            "measure with a second address of this host: --method sibling --sibling ADDRESS",
        ),
        Inapplicable::NotTranslated => (
            "there is no NAT: no port changes when a firewall forgets a flow",
            HELPER,
        ),
        Inapplicable::PortChanged => (
            "the NAT does not keep the port, so that nobody can be seen to be given it",
            "measure by the ports that change: --method drift",
        ),
        Inapplicable::SiblingMoved => (
            "the NAT does not keep the port of the second address even where it is free",
            HELPER,
        ),
        Inapplicable::NoApparentAddress => {
            ("the registrar does not tell which address it sees", HELPER)
        }
        Inapplicable::NotRegistered => (
            "the registrar did not take the registrations that this takes",
            "check the account with `iax2-natcheck register`, or ask the provider for its limits",
        ),
        Inapplicable::NoToken => ("the registrar asks for no call token", HELPER),
        Inapplicable::Disturbed => (
            "packets that nobody asked for came on the mappings that were to be left alone, or this host was \
             too busy",
            AGAIN,
        ),
        Inapplicable::NoChange => (
            "the port never changed: the mapping outlives every idle time that was tried, or the NAT gives \
             the same port again",
            HELPER,
        ),
        Inapplicable::NeverAlive => (
            "the port changed however short the idle time was, so that no timer shows",
            HELPER,
        ),
        Inapplicable::Silent => (
            "no POKE of the registrar came through, which proves nothing: it may send none",
            "ask the provider for qualify=yes on the account, or try --method auto",
        ),
    }
}

/// Why no lifetime was measured, and what would measure it.
fn no_lifetime(evidence: &Evidence) -> (String, String) {
    match &evidence.reflector {
        Some(reflector) if reflector.sent > 0 && reflector.received == 0 => (
            "the reflector does not answer, so idle mappings could not be timed".into(),
            "start the reflector on its host and let UDP port 4569 in: iax2-natcheck serve --bind \
             ADDRESS"
                .into(),
        ),
        Some(reflector) if reflector.reflector == Some(false) => (
            "the host named as reflector answers POKEs and nothing more: it is no reflector".into(),
            "run iax2-natcheck serve there, or name a host that does: --reflector HOST".into(),
        ),
        _ => (
            "nobody outside helped to time idle mappings: the provider is no reflector, and no \
             other one was there"
                .into(),
            "name a host that runs iax2-natcheck serve: --reflector HOST; or an RFC 5780 server: \
             --stun HOST; or let the registrar alone tell: --method auto"
                .into(),
        ),
    }
}

/// Calls that ended are the answer; those of an extension that is busy or that nobody answers are none.
fn calls_open(evidence: &Evidence) -> Option<Parts> {
    let calls = evidence.calls.as_ref();
    // A call that was cut short has not held to its end.
    let came_to_an_end = calls.is_some_and(|calls| {
        let mut answered = calls.calls.iter().filter(|call| call.answered.is_some());
        answered.any(|call| call.ending.is_some())
    });
    if came_to_an_end {
        return None;
    }
    let count = |wanted: Option<Symptom>| {
        let symptoms = calls
            .iter()
            .flat_map(|calls| &calls.calls)
            .filter_map(Symptom::of);
        symptoms
            .filter(|symptom| wanted.is_none_or(|wanted| *symptom == wanted))
            .count()
    };
    let (ended, busy) = (count(None), count(Some(Symptom::Busy)));
    let unanswered = count(Some(Symptom::NoAnswer));
    let because = match (ended, busy, unanswered) {
        (0, ..) => "no call came to its end".to_owned(),
        (1, 1, _) => "the extension is busy".to_owned(),
        (1, _, 1) => "it rang, and nobody answered".to_owned(),
        (_, busy, 0) => format!("none of {ended} calls was answered: busy {busy} times"),
        (_, 0, unanswered) => {
            format!("none of {ended} calls was answered: it rang in vain {unanswered} times")
        }
        _ => format!(
            "none of {ended} calls was answered: busy {busy} times, it rang in vain {unanswered} times"
        ),
    };
    Some((
        "Whether calls hold and can be heard was not found out",
        vec![because],
        vec!["call an extension that answers, best one that echoes".into()],
    ))
}

fn registration_open(evidence: &Evidence) -> Option<Parts> {
    let unfinished = match registration::state(evidence) {
        None => true,
        Some(state) => evidence.interrupted && state == RegistrationState::Timeout,
    };
    unfinished.then(|| {
        (
            "Whether the registrar takes the account was not found out",
            vec!["no registration came to its end".into()],
            vec!["let it register: --user NAME --secret-file FILE".into()],
        )
    })
}

fn flow_open(evidence: &Evidence) -> Option<Parts> {
    if same_port::is_alive(evidence).is_some() {
        return None;
    }
    let because = match (&evidence.same_port, &evidence.reach) {
        (Some(same), Some(fresh)) => format!(
            "of {} POKEs from the port {} were answered, of {} from a fresh one {}",
            same.sent, same.received, fresh.sent, fresh.received
        ),
        _ => "nothing was asked".into(),
    };
    Some((
        "Whether the flow of this port is tainted does not show",
        vec![because],
        vec![AGAIN.into()],
    ))
}

fn mapping_open(evidence: &Evidence) -> Option<Parts> {
    let nat = nat_kind::nat_kind(evidence);
    if nat.is_some_and(|nat| nat.behaviour != Behaviour::Unknown) {
        return None;
    }
    let mut because = vec![];
    let mapping = evidence.mapping.as_ref();
    if mapping.is_none_or(|mapping| mapping.observations.is_empty()) {
        because.push("nobody outside told where the NAT maps the socket".into());
    } else if nat.is_some_and(|nat| nat.depends) {
        because.push(
            "it depends on the destination, but no two ports of one address were asked".into(),
        );
    } else {
        because.push("one address alone was heard, two are needed".into());
    }
    if let Some(mapping) = mapping {
        if mapping.one_address {
            because.push("the server has no second address to answer from".into());
        }
        because.extend(
            mapping
                .unanswered
                .iter()
                .map(|peer| format!("{peer} did not answer")),
        );
    }
    Some((
        "How the public address depends on the destination was not found out",
        because,
        vec![
            "name servers on two addresses: --stun HOST --stun OTHER".into(),
            "or a reflector with two addresses: iax2-natcheck serve --bind A:P --alternate B:Q"
                .into(),
        ],
    ))
}

fn hairpin_open(evidence: &Evidence) -> Option<Parts> {
    let seen = evidence.hairpin.unwrap_or_default();
    // Without a NAT there is nothing to find out.
    if seen.supported.is_some() || seen.translated == Some(false) {
        return None;
    }
    Some((
        "Whether hosts behind the NAT reach each other by their public addresses was not found out",
        vec!["nobody outside told the public addresses of the two sockets".into()],
        vec!["name a host that tells: --reflector HOST, or --stun HOST".into()],
    ))
}

fn lifetime_open(evidence: &Evidence) -> Option<Parts> {
    let known = evidence.lifetime.as_ref().is_some_and(|lifetime| {
        lifetime
            .shapes
            .iter()
            .any(|(_, shape)| shape.alive.is_some() || shape.dead.is_some())
    });
    if known {
        return None;
    }
    let (fact, remedy) = match &evidence.lifetime {
        Some(_) => unclear(evidence),
        None => no_lifetime(evidence),
    };
    Some((
        "How long an idle mapping lives was not measured",
        vec![fact],
        vec![remedy],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{
            context, edge, exchange, healthy, mapping, outlived, reach, registered, seen,
        },
        probe::evidence::{LifetimeEvidence, ReachEvidence, Refusals, ShapeLifetime},
    };

    fn ask(question: Question, evidence: &Evidence) -> Option<Finding> {
        let context = Context {
            question,
            credentials: false,
            ..context()
        };
        finding(evidence, &context, &[])
    }

    #[test]
    fn answered_questions_are_closed() {
        for question in [
            Question::Reachability,
            Question::Registration,
            Question::Mapping,
            Question::Lifetime,
        ] {
            assert_eq!(ask(question, &healthy()), None, "{question:?}");
            assert!(
                ask(question, &Evidence::default()).is_some(),
                "{question:?}"
            );
        }
    }

    #[test]
    fn reachability_names_what_is_missing() {
        let timed = |lifetime| Evidence {
            lifetime: Some(exchange(lifetime, 300)),
            ..Evidence::default()
        };
        let rows = vec![
            (
                "nothing at all",
                Evidence::default(),
                &["--reflector HOST", "--user NAME"][..],
            ),
            (
                "registered, no reflector",
                Evidence {
                    registration: Some(registered(60)),
                    ..Evidence::default()
                },
                &["--reflector HOST"],
            ),
            (
                "registered, reflector silent",
                Evidence {
                    registration: Some(registered(60)),
                    reflector: Some(reach(5, 0)),
                    ..Evidence::default()
                },
                &["iax2-natcheck serve --bind"],
            ),
            (
                "timed, not registered",
                timed(edge(64, 65)),
                &["--refresh 60s"],
            ),
            (
                "tried too short",
                Evidence {
                    registration: Some(registered(60)),
                    ..timed(outlived(20))
                },
                &["--max-lifetime 65s"],
            ),
            (
                "edge too wide",
                Evidence {
                    registration: Some(registered(60)),
                    ..timed(edge(29, 60))
                },
                &["--sockets 1024 --max-lifetime 75s"],
            ),
            (
                "the reflector's quota is used up",
                Evidence {
                    registration: Some(registered(60)),
                    lifetime: Some(LifetimeEvidence {
                        refused: Refusals { quota: 7, token: 0 },
                        ..exchange(ShapeLifetime::default(), 300)
                    }),
                    ..Evidence::default()
                },
                &["--sockets 64"],
            ),
            (
                "the reflector is none",
                Evidence {
                    registration: Some(registered(60)),
                    reflector: Some(ReachEvidence {
                        reflector: Some(false),
                        ..reach(5, 5)
                    }),
                    ..Evidence::default()
                },
                &["run iax2-natcheck serve there"],
            ),
            (
                "nothing clear",
                Evidence {
                    registration: Some(registered(60)),
                    ..timed(ShapeLifetime::default())
                },
                &["try again"],
            ),
        ];
        for (name, evidence, wanted) in rows {
            let found = ask(Question::Reachability, &evidence).unwrap();
            assert_eq!(found.severity, Severity::Unknown);
            assert_eq!(found.do_this.len(), wanted.len(), "{name}: {found:?}");
            for (advice, wanted) in found.do_this.iter().zip(wanted) {
                assert!(advice.contains(wanted), "{name}: {advice}");
            }
        }
    }

    #[test]
    fn a_mapping_says_why_it_is_open() {
        let one = mapping(&[seen("203.0.113.1:4569", "198.51.100.7:1", 0)]);
        let two = mapping(&[
            seen("203.0.113.1:4569", "198.51.100.7:1", 0),
            seen("203.0.113.2:4569", "198.51.100.7:2", 0),
        ]);
        let rows = [
            (Evidence::default(), "nobody outside"),
            (one, "one address alone"),
            (two, "depends on the destination"),
        ];
        for (evidence, fact) in rows {
            let found = ask(Question::Mapping, &evidence).unwrap();
            assert!(found.because[0].contains(fact), "{fact}");
        }
    }

    #[test]
    fn an_interruption_is_named() {
        let evidence = Evidence {
            interrupted: true,
            ..Evidence::default()
        };
        let found = ask(Question::Reachability, &evidence).unwrap();
        assert_eq!(found.because[0], "the survey was stopped before its end");
    }

    #[test]
    fn a_critical_finding_explains_enough() {
        let evidence = Evidence {
            reach: Some(reach(10, 0)),
            ..Evidence::default()
        };
        let critical = crate::check::peer::finding(&evidence, &context()).unwrap();
        assert_eq!(finding(&evidence, &context(), &[critical]), None);
    }
}
