//! Does a call reach the account shortly before it registers again?

use crate::{
    check::{Context, Finding, FindingId, Severity, seconds},
    probe::{
        callback::{Attempt, CallbackEvidence},
        evidence::Evidence,
    },
};

/// Whether the late call arrived; `None`: not known, for want of a call or of a control beside it.
#[must_use]
pub fn arrives(callback: &CallbackEvidence) -> Option<bool> {
    let late = callback.late.as_ref()?;
    if late.arrived? {
        return Some(true);
    }
    // Silence alone is no evidence: the same call must have arrived once.
    (callback.control.as_ref()?.arrived == Some(true)).then_some(false)
}

/// `call-not-delivered`: the late call did not arrive, and the one right after a registration did.
#[must_use]
pub fn finding(evidence: &Evidence, _context: &Context) -> Option<Finding> {
    let callback = evidence.callback.as_ref()?;
    if arrives(callback) != Some(false) {
        return None;
    }
    let (late, control) = (callback.late.as_ref()?, callback.control.as_ref()?);
    Some(Finding {
        id: FindingId::CallNotDelivered,
        severity: Severity::Critical,
        title: format!(
            "A call {} after a registration does not arrive",
            seconds(rounded(late))
        ),
        because: vec![
            told(late, &callback.number),
            told(control, &callback.number),
        ],
        do_this: vec![
            "keep the mapping open between two registrations: see short-mapping-timeout".into(),
            "in the PBX's iax.conf, in a type=peer entry for the provider: qualify=yes and qualifyfreqok=14000".into(),
        ],
    })
}

/// What was seen of one call.
#[must_use]
pub fn told(attempt: &Attempt, number: &str) -> String {
    let after = seconds(rounded(attempt));
    match attempt.arrived {
        Some(true) => format!("a call to {number} {after} after a registration arrived"),
        Some(false) => format!("a call to {number} {after} after a registration did not arrive"),
        None => {
            format!("a call to {number} {after} after a registration was not taken by the provider")
        }
    }
}

/// When a call was placed, to a tenth of a second.
fn rounded(attempt: &Attempt) -> std::time::Duration {
    let tenths = attempt.after.as_millis() / 100;
    std::time::Duration::from_millis(u64::try_from(tenths).unwrap_or(0) * 100)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::sample::context;

    fn attempt(after: u64, arrived: Option<bool>) -> Attempt {
        Attempt {
            after: Duration::from_millis(after),
            arrived,
            took: None,
            ending: None,
        }
    }

    #[test]
    fn a_late_call_counts_only_beside_one_that_arrived() {
        let rows = [
            (
                Some(attempt(45_012, Some(false))),
                Some(attempt(200, Some(true))),
                Some(false),
            ),
            (
                Some(attempt(45_012, Some(false))),
                Some(attempt(200, Some(false))),
                None,
            ),
            (Some(attempt(45_012, Some(false))), None, None),
            (
                Some(attempt(45_012, None)),
                Some(attempt(200, Some(true))),
                None,
            ),
            (Some(attempt(45_012, Some(true))), None, Some(true)),
            (None, None, None),
        ];
        for (late, control, expected) in rows {
            let callback = CallbackEvidence {
                number: "604".into(),
                late,
                control,
            };
            assert_eq!(arrives(&callback), expected, "{callback:?}");
            let evidence = Evidence {
                callback: Some(callback),
                ..Evidence::default()
            };
            let found = finding(&evidence, &context());
            assert_eq!(found.is_some(), expected == Some(false));
            if let Some(found) = found {
                assert_eq!(
                    found.title,
                    "A call 45 s after a registration does not arrive"
                );
                assert_eq!(found.because.len(), 2);
            }
        }
    }
}
