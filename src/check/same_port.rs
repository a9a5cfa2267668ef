//! Is the flow of one port dead at the NAT, while others of this host are not?

use crate::{
    check::{Context, Finding, FindingId, Severity},
    probe::evidence::{Evidence, ReachEvidence, RegistrationState},
};

/// So many POKEs of the port have to stay unanswered.
const ENOUGH: u32 = 3;

/// Whether the flow of the port is alive: `None` where the probes do not tell.
///
/// Silence alone tells nothing. The fresh port's POKEs begin before those of the port and end after
/// them, to the same provider; where three of four of these are answered, five in a row are lost by
/// chance once in a thousand times.
#[must_use]
pub fn is_alive(evidence: &Evidence) -> Option<bool> {
    let same = evidence.same_port.as_ref()?;
    if same.received > 0 {
        return Some(true);
    }
    let fresh = evidence.reach.as_ref()?;
    let control = fresh.sent > 0 && fresh.received * 4 >= fresh.sent * 3;
    let silent = same.sent >= ENOUGH && same.unreachable.is_none() && same.answered_from.is_none();
    let registered = evidence.registration.as_ref().is_some_and(|registration| {
        registration.state != RegistrationState::Timeout || registration.call_token.is_some()
    });
    // A registration of the same socket that was answered is an answer.
    (control && silent && !registered && !evidence.interrupted).then_some(false)
}

/// `tainted-mapping`: the port's POKEs stay unanswered, those of a fresh port do not.
#[must_use]
pub fn finding(evidence: &Evidence, context: &Context) -> Option<Finding> {
    if is_alive(evidence)? {
        return None;
    }
    let (same, fresh) = (evidence.same_port.as_ref()?, evidence.reach.as_ref()?);
    let port = same
        .local
        .map_or_else(|| "the port".into(), |local| local.get().to_string());
    let mut because = vec![
        format!("from {port}: {}", answered(same)),
        format!("from a fresh port at the same time: {}", answered(fresh)),
    ];
    if elsewhere(evidence, context) {
        because.push("from the same port another host is answered: it is this one flow".into());
    }
    Some(Finding {
        id: FindingId::TaintedMapping,
        severity: Severity::Critical,
        title: format!(
            "The NAT keeps a wrong entry for the flow of {port} to {}",
            context.provider
        ),
        because,
        do_this: vec![
            "on the router, delete that one entry (Linux): iax2-natcheck taint --fix".into(),
            "on any router: let the PBX be silent for longer than the timer of UDP, counted from \
             its last packet (Linux: 31 s, or 121 s after a call), or restart the router"
                .into(),
            "or give the PBX another port, which makes a new flow: bindport=4570 in its iax.conf"
                .into(),
            "if it stays dead after all that, a firewall on the way drops this source port".into(),
        ],
    })
}

fn answered(reach: &ReachEvidence) -> String {
    format!("{} of {} POKEs answered", reach.received, reach.sent)
}

/// Whether another host than the provider answered the very socket.
fn elsewhere(evidence: &Evidence, context: &Context) -> bool {
    let local = evidence.same_port.as_ref().and_then(|same| same.local);
    let mapping = evidence.mapping.iter();
    mapping
        .flat_map(|mapping| &mapping.observations)
        .any(|seen| {
            Some(seen.local) == local && seen.peer.get().ip() != context.provider.get().ip()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{
        judge,
        sample::{context, healthy, local, reach, seen},
    };

    fn evidence(same: (u32, u32), fresh: (u32, u32)) -> Evidence {
        Evidence {
            reach: Some(reach(fresh.0, fresh.1)),
            same_port: Some(ReachEvidence {
                local: Some(local("192.168.1.10:4569")),
                ..reach(same.0, same.1)
            }),
            registration: None,
            ..healthy()
        }
    }

    #[test]
    fn only_silence_beside_answers_is_a_taint() {
        let rows = [
            ((5, 0), (10, 10), Some(false)),
            ((5, 0), (10, 8), Some(false)),
            ((5, 0), (10, 7), None), // the line loses too much to tell
            ((5, 0), (10, 0), None), // an outage
            ((5, 1), (10, 10), Some(true)),
            ((2, 0), (10, 10), None),
        ];
        for (same, fresh, alive) in rows {
            let evidence = evidence(same, fresh);
            assert_eq!(is_alive(&evidence), alive, "{same:?} {fresh:?}");
            let found = finding(&evidence, &context());
            assert_eq!(found.is_some(), alive == Some(false), "{same:?} {fresh:?}");
        }
        assert_eq!(is_alive(&healthy()), None, "nothing was asked");
    }

    #[test]
    fn whoever_says_something_explains_the_silence() {
        let mut refused = evidence((5, 0), (10, 10));
        let same = refused.same_port.as_mut().unwrap();
        same.unreachable = Some(crate::proto::contract::Unreachable::Port);
        assert_eq!(is_alive(&refused), None);
        let mut registered = evidence((5, 0), (10, 10));
        registered.registration = healthy().registration;
        assert_eq!(is_alive(&registered), None);
        let mut stopped = evidence((5, 0), (10, 10));
        stopped.interrupted = true;
        assert_eq!(is_alive(&stopped), None);
    }

    #[test]
    fn a_tainted_flow_explains_a_registration_that_times_out() {
        let mut evidence = evidence((5, 0), (10, 10));
        let mut registration = healthy().registration.unwrap();
        registration.state = RegistrationState::Timeout;
        registration.call_token = None;
        evidence.registration = Some(registration);
        let mut elsewhere = seen("203.0.113.9:4569", "198.51.100.7:4569", 0);
        elsewhere.local = local("192.168.1.10:4569");
        evidence
            .mapping
            .as_mut()
            .unwrap()
            .observations
            .push(elsewhere);
        let judgement = judge(&evidence, &context());
        let ids: Vec<FindingId> = judgement.findings.iter().map(|found| found.id).collect();
        assert_eq!(ids, [FindingId::TaintedMapping]);
        let facts = judgement.findings[0].because.join("\n");
        assert!(facts.contains("192.168.1.10:4569: 0 of 5"), "{facts}");
        assert!(facts.contains("another host is answered"), "{facts}");
    }
}
