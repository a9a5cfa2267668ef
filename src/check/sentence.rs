//! The verdict in one sentence for the owner of the PBX.

use std::time::Duration;

use crate::{
    check::{
        Context, Finding, FindingId, Question, Severity,
        audio::{self, JudgedAudio},
        filtering, hops,
        lifetime::Reachable,
        nat_kind, node, registration, seconds,
    },
    probe::{
        behaviour::Shape,
        evidence::{Evidence, RegistrationState},
    },
};

/// The consequence of the worst finding, or what was found to be right.
pub(super) fn summary(
    evidence: &Evidence,
    context: &Context,
    findings: &[Finding],
    reachable: Option<Reachable>,
) -> String {
    match findings.first() {
        Some(worst) => {
            let placed = context.question == Question::Calls;
            consequence(worst, placed, reachable, hops::least(evidence))
        }
        None => fine(evidence, context, reachable),
    }
}

/// What a finding means for the owner of the PBX; `placed`: it is about calls that he places; `hops`: when
/// the first of several boxes forgets him.
#[allow(clippy::too_many_lines)] // a sentence for each finding
pub(super) fn consequence(
    worst: &Finding,
    placed: bool,
    reachable: Option<Reachable>,
    hops: Option<Duration>,
) -> String {
    match worst.id {
        FindingId::ProviderUnreachable => {
            "No call can come or go: the provider does not answer.".into()
        }
        FindingId::RegistrationRejected => {
            "Calls cannot come in: the provider refuses this account.".into()
        }
        FindingId::TokenRefused if placed => {
            "Calls cannot be placed: the far end turns them away at the door.".into()
        }
        FindingId::AuthUnsupported if placed => {
            "Calls cannot be placed: the far end wants a proof of identity that was not given."
                .into()
        }
        FindingId::TokenRefused => {
            "Calls cannot come in: the provider turns the registration away at the door.".into()
        }
        FindingId::RegistrationTimeout if worst.severity == Severity::Warning => {
            "Calls could not come in for a time: the provider did not answer the registration."
                .into()
        }
        FindingId::RegistrationTimeout => {
            "Calls cannot come in: the provider does not answer the registration.".into()
        }
        FindingId::RegistrationHammering => {
            "The PBX asks again so often that a wrong entry of a NAT would never die.".into()
        }
        FindingId::AuthUnsupported => {
            "Calls cannot come in: the provider wants a proof of identity that was not given."
                .into()
        }
        FindingId::InconsistentNat if worst.severity == Severity::Critical => {
            "Calls get lost: the NAT moves the PBX to another public address while the provider \
             still uses the old one."
                .into()
        }
        FindingId::InconsistentNat => {
            "Only the provider can reach this PBX: the NAT shows everybody else another public \
             address."
                .into()
        }
        FindingId::MappingChanged => {
            "Calls may get lost: the public address of the PBX changed while it was watched.".into()
        }
        FindingId::ShortMappingTimeout => match reachable {
            Some(Reachable {
                open: Some(open),
                cycle,
                ..
            }) => format!(
                "Calls cannot reach this PBX for {} of every {}, although it counts as registered.",
                seconds(cycle.saturating_sub(open)),
                seconds(cycle)
            ),
            _ => "Calls get lost between two registrations, if the provider grants the usual \
                  refresh of 60 s."
                .into(),
        },
        FindingId::AutoCongested => {
            "Calls cannot be placed: the far end does not answer NEW.".into()
        }
        FindingId::CallRejected => "Calls cannot be placed: the far end refuses them.".into(),
        FindingId::SystematicHangups => "Calls end before their time, by rule.".into(),
        FindingId::RandomRawHangups => "Calls end before their time, by chance.".into(),
        FindingId::CallLost => "A call ended before its time.".into(),
        FindingId::CallNotDelivered => {
            "Calls to this PBX get lost although it counts as registered: one was placed, and did not \
             arrive."
                .into()
        }
        FindingId::OneWayAudio => "Calls are set up, and somebody hears nothing.".into(),
        FindingId::TrunkMismatch => {
            "Calls are set up, and somebody hears nothing once they are trunked.".into()
        }
        FindingId::PoorAudio => "Calls are set up, and sound bad.".into(),
        FindingId::ReorderedPackets => {
            "Calls are set up, and their audio arrives out of order.".into()
        }
        FindingId::DtmfMangled => "Calls are set up, and digits get lost or come twice.".into(),
        FindingId::TaintedMapping => {
            "No call can come or go: the NAT holds on to a wrong entry for the PBX's own port."
                .into()
        }
        FindingId::NullBinding
        | FindingId::WrongSourceMasquerade
        | FindingId::StaleSource
        | FindingId::WrongUplink => taint(worst.severity).into(),
        FindingId::DoubleNat => match hops {
            Some(least) => format!(
                "Two boxes in a row must remember this PBX, and the one that forgets first does so after {}.",
                seconds(least)
            ),
            None => {
                "Two boxes in a row must remember this PBX, and the one that forgets first decides."
                    .into()
            }
        },
        FindingId::PayloadRewritten => {
            "Calls may fail in strange ways: a device on the way rewrites the content of packets."
                .into()
        }
        FindingId::AbsoluteLifetime => {
            "Calls may get lost: the NAT ends a mapping at a certain age, however busy it is.".into()
        }
        FindingId::PortForwardMissing => {
            "Hosts that this PBX does not register with cannot call it.".into()
        }
        FindingId::MasqueradeOnStaticWan | FindingId::NoLeakGuard => RULES.into(),
        FindingId::AnnouncedPortChanged => {
            "Other nodes may refuse this one: the NAT shows it at another port than it announces."
                .into()
        }
        FindingId::ConntrackTableFull | FindingId::NotMeasured => format!("{}.", worst.title),
    }
}

/// What rules of the router mean under which entries go wrong.
const RULES: &str = "Calls may get lost after the line of the router comes back: its rules let it go \
                     on with a wrong source.";

/// What a tainted entry on the router means.
const fn taint(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => {
            "No call can come or go on a tainted flow: this router sends its packets with a wrong \
             source, and no answer comes back."
        }
        Severity::Warning | Severity::Unknown => {
            "The tainted entries are deleted; the next packet of each flow makes a new one."
        }
    }
}

fn fine(evidence: &Evidence, context: &Context, reachable: Option<Reachable>) -> String {
    match context.question {
        Question::Reachability => match reachable {
            Some(Reachable {
                open: Some(open),
                cycle,
                ..
            }) => format!(
                "Calls can reach this PBX at any time: the {} keeps the way open for {}, and the \
                 PBX registers again after {}.",
                nat_kind::keeper(evidence),
                seconds(open),
                seconds(cycle)
            ),
            Some(Reachable { cycle, .. }) if nat_kind::keeper(evidence) == "firewall" => format!(
                "Calls can reach this PBX at any time: there is no NAT on the way, and no firewall \
                 closes it within the {} between two registrations.",
                seconds(cycle)
            ),
            Some(Reachable { cycle, .. }) => format!(
                "Calls can reach this PBX at any time: the {} keeps the way open for longer than \
                 the {} between two registrations.",
                nat_kind::keeper(evidence),
                seconds(cycle)
            ),
            None => "Nothing wrong was found.".into(),
        },
        Question::Registration => match registration::state(evidence) {
            Some(RegistrationState::Released) => "The registration was given up.".into(),
            _ => "The provider takes the registration.".into(),
        },
        Question::Mapping => match nat_kind::nat_kind(evidence) {
            Some(nat) if nat.translated == Some(false) => {
                "There is no NAT on the way: everybody sees the PBX's own address.".into()
            }
            _ => "The NAT is consistent: everybody sees the PBX under the same public address."
                .into(),
        },
        Question::Filtering => filtering::sentence(evidence),
        Question::Hops => hops::sentence(evidence),
        Question::Lifetime => lifetimes(evidence),
        Question::Hairpin => match evidence.hairpin.and_then(|hairpin| hairpin.supported) {
            Some(true) => "Hosts behind the NAT reach each other by their public addresses.".into(),
            Some(false) => {
                "Hosts behind the NAT do not reach each other by their public addresses; \
                            phones and PBXs there have to use private ones."
                    .into()
            }
            None => "There is no NAT on the way, so there is nothing to lead back.".into(),
        },
        Question::Calls => match evidence.calls.as_ref().map(audio::judge) {
            Some(JudgedAudio {
                one_way: Some(false),
                ..
            }) => "Calls hold to their end, and both sides can hear each other.".into(),
            _ => "Calls hold to their end; whether both sides hear each other is not known.".into(),
        },
        Question::Flow => {
            "The flow of this port is not tainted: it is answered as fresh ports are.".into()
        }
        Question::Node => node::sentence(evidence),
    }
}

fn lifetimes(evidence: &Evidence) -> String {
    let shapes = || {
        evidence
            .lifetime
            .iter()
            .flat_map(|lifetime| &lifetime.shapes)
    };
    let forgotten: Vec<String> = shapes()
        .filter_map(|(shape, edge)| {
            Some(format!("{} after {}", words(*shape), seconds(edge.dead?)))
        })
        .collect();
    let kept: Vec<String> = shapes()
        .filter(|(_, edge)| edge.dead.is_none())
        .filter_map(|(shape, edge)| {
            Some(format!(
                "{} for {} at least",
                words(*shape),
                seconds(edge.alive?)
            ))
        })
        .collect();
    let what: Vec<String> = [("forgets", forgotten), ("keeps", kept)]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(verb, list)| format!("{verb} {}", list.join(", ")))
        .collect();
    let keeper = match nat_kind::keeper(evidence) {
        "firewall" if shapes().all(|(_, edge)| edge.dead.is_none()) => "way without a NAT",
        keeper => keeper,
    };
    format!("The {keeper} {}.", what.join(", and "))
}

/// The shape as the owner of the PBX knows it.
const fn words(shape: Shape) -> &'static str {
    match shape {
        Shape::OneWay => "a single packet",
        Shape::Exchange => "an exchange",
        Shape::Stream => "a stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{
        judge,
        sample::{context, edge, exchange, healthy, outlived, with_exchange},
    };

    #[test]
    fn each_question_has_a_sentence_when_all_is_well() {
        let rows = [
            (
                Question::Registration,
                "The provider takes the registration.",
            ),
            (
                Question::Mapping,
                "The NAT is consistent: everybody sees the PBX under the same public address.",
            ),
            (
                Question::Lifetime,
                "The NAT forgets an exchange after 65 s.",
            ),
        ];
        for (question, sentence) in rows {
            let context = Context {
                question,
                ..context()
            };
            assert_eq!(judge(&healthy(), &context).summary, sentence);
        }
    }

    #[test]
    fn what_outlived_the_measurement_is_not_called_forgotten() {
        let context = Context {
            question: Question::Lifetime,
            ..context()
        };
        let mut evidence = healthy();
        evidence.lifetime = Some(exchange(outlived(300), 300));
        assert_eq!(
            judge(&evidence, &context).summary,
            "The NAT keeps an exchange for 300 s at least."
        );
        for seen in &mut evidence.mapping.as_mut().unwrap().observations {
            seen.mapped = crate::types::MappedAddr::new(seen.local.get());
        }
        assert_eq!(
            judge(&evidence, &context).summary,
            "The way without a NAT keeps an exchange for 300 s at least."
        );
        let reachable = Context {
            question: Question::Reachability,
            ..context
        };
        assert!(
            judge(&evidence, &reachable)
                .summary
                .contains("there is no NAT on the way")
        );
    }

    #[test]
    fn the_hole_is_told_in_seconds() {
        assert_eq!(
            judge(&with_exchange(29, 30), &context()).summary,
            "Calls cannot reach this PBX for 20 s of every 50 s, although it counts as registered."
        );
        let mut outliving = healthy();
        outliving.lifetime = Some(exchange(outlived(300), 300));
        assert!(
            judge(&outliving, &context())
                .summary
                .contains("longer than the 50 s")
        );
        let mut unregistered = healthy();
        unregistered.registration = None;
        unregistered.lifetime = Some(exchange(edge(29, 30), 300));
        assert!(
            judge(&unregistered, &context())
                .summary
                .contains("the usual refresh of 60 s")
        );
    }
}
