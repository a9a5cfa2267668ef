//! Does the registrar take the account, and if not, what does its refusal mean?

use crate::{
    check::{Context, Finding, FindingId, Severity, seconds},
    probe::evidence::{Evidence, RegistrationEvidence, RegistrationState},
};

/// How the registration ended, where one was made or where the running Asterisk told of one.
///
/// Words of Asterisk that stand for a registration under way say nothing about its end.
#[must_use]
pub fn state(evidence: &Evidence) -> Option<RegistrationState> {
    if let Some(registration) = &evidence.registration {
        return Some(registration.state);
    }
    match evidence.asterisk.as_ref()?.state.as_str() {
        "Registered" => Some(RegistrationState::Registered),
        "Rejected" => Some(RegistrationState::Rejected),
        "Timeout" => Some(RegistrationState::Timeout),
        "No Authentication" => Some(RegistrationState::AuthUnsupported),
        _ => None,
    }
}

/// `registration-rejected`, `token-refused`, `registration-timeout` or `auth-unsupported`.
///
/// A time-out is left to `provider-unreachable` where POKEs stayed unanswered too.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let state = state(evidence)?;
    let seen = evidence.registration.as_ref();
    let user = seen
        .map(|registration| registration.user.as_str())
        .or_else(|| evidence.asterisk.as_ref().map(|line| line.user.as_str()))
        .unwrap_or_default();
    let mut because: Vec<String> = match &evidence.asterisk {
        Some(line) if seen.is_none() => vec![format!(
            "the Asterisk on this host says: {} for {}",
            line.state, line.user
        )],
        _ => vec![],
    };
    let (id, title, facts, do_this) = match state {
        RegistrationState::Registered => return renewals(seen?),
        RegistrationState::Released => return None,
        RegistrationState::Rejected => rejected(user, seen),
        RegistrationState::TokenRefused => token_refused(context, seen),
        RegistrationState::AuthUnsupported => auth_unsupported(seen),
        RegistrationState::Timeout if evidence.interrupted => return None,
        RegistrationState::Timeout => timeout(evidence, context, seen)?,
    };
    because.extend(facts);
    Some(Finding {
        id,
        severity: Severity::Critical,
        title,
        because,
        do_this,
    })
}

/// A warning where renewals failed again and again. One may have met a burst of loss.
fn renewals(seen: &RegistrationEvidence) -> Option<Finding> {
    let renewals = seen.renewals;
    if renewals.failed_in_a_row < 2 {
        return None;
    }
    let (id, what) = match renewals.failure? {
        RegistrationState::Rejected => (FindingId::RegistrationRejected, "refused"),
        RegistrationState::TokenRefused => (FindingId::TokenRefused, "refused the call token of"),
        RegistrationState::AuthUnsupported => (
            FindingId::AuthUnsupported,
            "asked for another kind of proof in",
        ),
        RegistrationState::Timeout
        | RegistrationState::Registered
        | RegistrationState::Released => (FindingId::RegistrationTimeout, "did not answer"),
    };
    Some(Finding {
        id,
        severity: Severity::Warning,
        title: format!(
            "The registrar took the account {}, and then {what} {} renewals in a row",
            seen.user, renewals.failed_in_a_row
        ),
        because: vec![
            format!("of {} renewals {} failed", renewals.made, renewals.failed),
            "until the next one succeeds, calls may go to an address that is no longer open".into(),
        ],
        do_this: vec![
            "see whether the line loses packets at these times, and survey again".into(),
            "else ask the provider whether it limits how often your address registers".into(),
        ],
    })
}

/// Name, title, facts and remedies of a finding.
type Parts = (FindingId, String, Vec<String>, Vec<String>);

fn rejected(user: &str, seen: Option<&RegistrationEvidence>) -> Parts {
    let cause = seen.and_then(|registration| registration.cause.as_deref());
    let code = seen.and_then(|registration| registration.cause_code);
    let said = match (cause, code) {
        (Some(cause), Some(code)) => Some(format!("\"{cause}\" (cause code {code})")),
        (Some(cause), None) => Some(format!("\"{cause}\"")),
        (None, Some(code)) => Some(format!("cause code {code}")),
        (None, None) => None,
    };
    (
        FindingId::RegistrationRejected,
        match &said {
            Some(said) => format!("The registrar refuses the account {user}: {said}"),
            None => format!("The registrar refuses the account {user}"),
        },
        said.map(|said| format!("REGREJ with {said}"))
            .into_iter()
            .chain(
                seen.and_then(|registration| registration.auth)
                    .map(|method| format!("the answer to its challenge was by {method}")),
            )
            .collect(),
        vec![
            "check user name and secret against the provider's account".into(),
            "on the provider: the account needs host=dynamic, and its deny and permit lines must \
             admit your public address"
                .into(),
        ],
    )
}

fn token_refused(context: &Context, seen: Option<&RegistrationEvidence>) -> Parts {
    let mut because = vec!["REGREJ from call number 1 without a cause".into()];
    let mut do_this = vec![];
    let got_token = seen.and_then(|registration| registration.call_token);
    if got_token == Some(false) {
        because.push(
            "the refused request carried no token: the registrar requires one and did not offer it, \
             or the limit of call numbers for this address is used up"
                .into(),
        );
    } else {
        because.push(
            "one of three: the external port changed between two packets, the token was older \
             than 10 s, or the limit of call numbers for this address is used up"
                .into(),
        );
        do_this.push(format!(
            "see whether the NAT keeps one port: iax2-natcheck nat mapping {}",
            context.provider
        ));
        do_this.push(
            "make the NAT keep the PBX's port: on Linux no random in the masquerade rule, on pf \
             static port"
                .into(),
        );
    }
    if let Some(registration) = seen {
        because.push(format!(
            "the exchange took {}",
            seconds(registration.elapsed)
        ));
    }
    do_this.push(
        "else ask the provider to raise the limit in its iax.conf: maxcallnumbers=16384".into(),
    );
    (
        FindingId::TokenRefused,
        "The registrar refuses the call token, before it looks at the account".into(),
        because,
        do_this,
    )
}

fn auth_unsupported(seen: Option<&RegistrationEvidence>) -> Parts {
    let offered = seen.and_then(|registration| registration.offered_methods);
    let mut do_this = vec![];
    // AUTHMETHODS, RFC 5456 §8.6.13.
    if offered.is_none_or(|bits| bits & 2 != 0) {
        do_this.push("give the account's secret: --secret-file FILE".into());
    }
    if offered.is_none_or(|bits| bits & 4 != 0) {
        do_this.push("give the account's private key: --rsa-key FILE".into());
    }
    if offered.is_none_or(|bits| bits & 1 != 0) {
        do_this.push(
            "only where the path is trusted, send the password in clear: --allow-plaintext".into(),
        );
    }
    do_this.push("or have the provider change the account: auth=md5".into());
    (
        FindingId::AuthUnsupported,
        "The registrar asks for a proof that was not given or not allowed".into(),
        offered
            .map(|bits| format!("its challenge offers {}", methods(bits)))
            .into_iter()
            .collect(),
        do_this,
    )
}

/// The methods of AUTHMETHODS in words.
fn methods(bits: u16) -> String {
    let known: Vec<&str> = [(1, "plaintext"), (2, "md5"), (4, "rsa")]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| name)
        .collect();
    if known.is_empty() {
        format!("methods {bits:#06x}, none of them known")
    } else {
        known.join(", ")
    }
}

fn timeout(
    evidence: &Evidence,
    context: &Context,
    seen: Option<&RegistrationEvidence>,
) -> Option<Parts> {
    let answered = evidence.reach.as_ref().map(|reach| reach.received > 0);
    if answered == Some(false) {
        return None;
    }
    let mut because: Vec<String> = seen
        .map(|registration| format!("no answer within {}", seconds(registration.elapsed)))
        .into_iter()
        .collect();
    let mut do_this = vec![];
    if let Some(other) = seen.and_then(|registration| registration.answered_from) {
        because.push(format!(
            "an answer came from {other} instead of {}",
            context.provider
        ));
        do_this.push(format!(
            "register with the address that answers, if it is the provider's: {other}"
        ));
    }
    if let Some(cause) = seen.and_then(|registration| registration.unreachable) {
        because.push(format!("the network says (ICMP): {}", cause.as_str()));
    }
    match seen.map(|registration| registration.invals) {
        Some(invals @ 1..) => because.push(format!(
            "{invals} INVAL came: the registrar lost the exchange half way, as after a restart or \
             a change of port"
        )),
        _ if seen.is_some_and(|registration| registration.call_token == Some(true)) => {
            because.push("a call token came, and nothing after it".into());
        }
        _ => {}
    }
    if answered == Some(true) {
        because.push("POKEs are answered, so the path and the port are fine".into());
        do_this.push(
            "ask the provider whether an access list or a ban (fail2ban) holds your address back"
                .into(),
        );
        do_this.push("look for a filter or a small MTU that drops the longer frames".into());
    } else {
        do_this.push(format!(
            "see whether the provider answers at all: iax2-natcheck check {}",
            context.provider
        ));
    }
    Some((
        FindingId::RegistrationTimeout,
        "The registrar does not answer requests to register".into(),
        because,
        do_this,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        check::sample::{context, peer, reach, registered},
        probe::evidence::{AsteriskEvidence, Renewals},
        proto::contract::Unreachable,
    };

    fn ended(
        state: RegistrationState,
        change: impl FnOnce(&mut RegistrationEvidence),
    ) -> Option<Finding> {
        let mut registration = RegistrationEvidence {
            state,
            refresh: None,
            apparent: vec![],
            ..registered(60)
        };
        change(&mut registration);
        let evidence = Evidence {
            reach: Some(reach(3, 3)),
            registration: Some(registration),
            ..Evidence::default()
        };
        finding(&evidence, &context())
    }

    #[test]
    fn each_end_has_its_finding() {
        let rows = [
            (RegistrationState::Registered, None),
            (
                RegistrationState::Rejected,
                Some(FindingId::RegistrationRejected),
            ),
            (
                RegistrationState::TokenRefused,
                Some(FindingId::TokenRefused),
            ),
            (
                RegistrationState::AuthUnsupported,
                Some(FindingId::AuthUnsupported),
            ),
            (
                RegistrationState::Timeout,
                Some(FindingId::RegistrationTimeout),
            ),
        ];
        for (state, id) in rows {
            let found = ended(state, |_| {});
            assert_eq!(found.as_ref().map(|found| found.id), id, "{state:?}");
            assert!(found.is_none_or(|found| {
                found.severity == Severity::Critical && !found.do_this.is_empty()
            }));
        }
        assert_eq!(finding(&Evidence::default(), &context()), None);
    }

    #[test]
    fn renewals_that_fail_are_a_warning_from_the_second_on() {
        for (failed_in_a_row, expected) in [
            (0, None),
            (1, None),
            (2, Some((FindingId::RegistrationTimeout, Severity::Warning))),
        ] {
            let found = ended(RegistrationState::Registered, |registration| {
                registration.renewals = Renewals {
                    made: 3,
                    failed: failed_in_a_row,
                    failed_in_a_row,
                    failure: Some(RegistrationState::Timeout),
                };
            });
            let found = found.map(|found| (found.id, found.severity));
            assert_eq!(found, expected, "{failed_in_a_row}");
        }
    }

    #[test]
    fn a_rejection_names_its_cause() {
        let found = ended(RegistrationState::Rejected, |registration| {
            registration.cause = Some("Registration Refused".into());
            registration.cause_code = Some(29);
        })
        .unwrap();
        assert_eq!(
            found.title,
            "The registrar refuses the account alice: \"Registration Refused\" (cause code 29)"
        );
    }

    #[test]
    fn a_refused_token_explains_what_may_be() {
        let found = ended(RegistrationState::TokenRefused, |_| {}).unwrap();
        for word in ["port changed", "older than 10 s", "limit of call numbers"] {
            assert!(found.because[1].contains(word), "{word}");
        }
        let without = ended(RegistrationState::TokenRefused, |registration| {
            registration.call_token = Some(false);
        })
        .unwrap();
        assert!(!without.because[1].contains("port changed"));
    }

    #[test]
    fn an_unanswered_challenge_names_the_flag() {
        let rows = [
            (1, "--allow-plaintext", "--rsa-key"),
            (4, "--rsa-key", "--allow-plaintext"),
        ];
        for (bits, wanted, other) in rows {
            let found = ended(RegistrationState::AuthUnsupported, |registration| {
                registration.offered_methods = Some(bits);
            })
            .unwrap();
            let advice = found.do_this.join("\n");
            assert!(advice.contains(wanted) && !advice.contains(other), "{bits}");
        }
        assert_eq!(methods(7), "plaintext, md5, rsa");
        assert_eq!(methods(8), "methods 0x0008, none of them known");
    }

    type Change = fn(&mut RegistrationEvidence);

    #[test]
    fn a_timeout_says_how_far_it_came() {
        let rows: [(&str, Change); 4] = [
            ("came from 203.0.113.9:4569", |registration| {
                registration.answered_from = Some(peer("203.0.113.9:4569"));
            }),
            ("ICMP): port unreachable", |registration| {
                registration.unreachable = Some(Unreachable::Port);
            }),
            ("2 INVAL", |registration| registration.invals = 2),
            ("nothing after it", |registration| {
                registration.call_token = Some(true);
            }),
        ];
        for (fact, change) in rows {
            let found = ended(RegistrationState::Timeout, change).unwrap();
            assert!(found.because.join("\n").contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_timeout_is_left_to_the_peer_where_nothing_answers() {
        let mut evidence = Evidence {
            registration: Some(RegistrationEvidence {
                state: RegistrationState::Timeout,
                ..registered(60)
            }),
            ..Evidence::default()
        };
        assert!(finding(&evidence, &context()).is_some());
        evidence.reach = Some(reach(3, 0));
        assert_eq!(finding(&evidence, &context()), None);
        evidence.reach = Some(reach(3, 3));
        evidence.interrupted = true;
        assert_eq!(finding(&evidence, &context()), None);
    }

    #[test]
    fn the_running_asterisk_is_believed() {
        let rows = [
            ("Registered", None),
            ("Rejected", Some(FindingId::RegistrationRejected)),
            ("Timeout", Some(FindingId::RegistrationTimeout)),
            ("No Authentication", Some(FindingId::AuthUnsupported)),
            ("Auth. Sent", None),
        ];
        for (words, id) in rows {
            let evidence = Evidence {
                asterisk: Some(AsteriskEvidence {
                    user: "alice".into(),
                    state: words.into(),
                    refresh: Some(Duration::from_secs(60)),
                    perceived: None,
                }),
                ..Evidence::default()
            };
            let found = finding(&evidence, &context());
            assert_eq!(found.map(|found| found.id), id, "{words}");
        }
    }
}
