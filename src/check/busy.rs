//! Does a mapping end although packets pass all the time?

use crate::{
    check::{Finding, FindingId, Severity, nat_kind, seconds},
    probe::evidence::Evidence,
};

/// `absolute-lifetime`: busy mappings were there up to an age and gone at it.
#[must_use]
pub fn finding(evidence: &Evidence) -> Option<Finding> {
    let busy = evidence.busy.as_ref()?;
    let (alive, dead) = busy.alive.zip(busy.dead)?;
    let keeper = nat_kind::keeper(evidence);
    Some(Finding {
        id: FindingId::AbsoluteLifetime,
        severity: Severity::Warning,
        title: format!(
            "The {keeper} ends a mapping at an age of {}, although packets pass all the time",
            seconds(dead)
        ),
        because: vec![format!(
            "mappings that packets of ours passed on every few seconds were there at {} and gone at {}",
            seconds(alive),
            seconds(dead)
        )],
        do_this: vec![
            "no keepalive holds it; the next packet of the PBX opens another mapping, so let one follow \
             within seconds: qualify=yes, qualifyfreqok=5000"
                .into(),
            format!(
                "where the public port changes then, register more often than every {}, or go round the \
                 {keeper} with a tunnel",
                seconds(dead)
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{edge, healthy, outlived};

    #[test]
    fn only_an_end_that_was_seen_is_told() {
        for (busy, expected) in [(edge(55, 60), true), (outlived(90), false)] {
            let evidence = Evidence {
                busy: Some(busy),
                ..healthy()
            };
            assert_eq!(finding(&evidence).is_some(), expected);
        }
        assert_eq!(finding(&healthy()), None);
    }
}
