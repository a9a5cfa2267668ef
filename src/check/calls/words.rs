//! Title and remedies of what is wrong with the calls.

use super::symptom::Symptom;
use crate::{
    check::{Context, FindingId},
    probe::calls::evidence::CallRecord,
    proto::call::Ending,
    wire::iax2::cause::Cause,
};

/// So many calls failed, of so many that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) calls: usize,
    pub(super) of: usize,
}

impl Failed {
    /// The sentence about one call, or about more of them.
    fn tell(self, one: &str, more: &str) -> String {
        match (self.calls, self.of) {
            (_, 1) => format!("The call {one}"),
            (1, of) => format!("1 of {of} calls {one}"),
            (calls, of) if calls == of => format!("All {of} calls {more}"),
            (calls, of) => format!("{calls} of {of} calls {more}"),
        }
    }

    /// The sentence, with how many calls it is true of.
    fn note(self, sentence: &str) -> String {
        match (self.calls, self.of) {
            (_, 1) => sentence.to_owned(),
            (calls, of) => format!("{sentence} ({calls} of {of} calls)"),
        }
    }
}

pub(super) fn words(
    id: FindingId,
    symptom: Symptom,
    record: &CallRecord,
    failed: Failed,
    context: &Context,
) -> (String, Vec<String>) {
    let provider = context.provider;
    match id {
        FindingId::AutoCongested => (
            failed.tell(
                "was never answered: NEW gets no reply",
                "were never answered: NEW gets no reply",
            ),
            vec![
                "Asterisk logs this as \"Auto-congesting call due to slow response\"".into(),
                format!("ask the far end whether a firewall or an access list drops calls to {provider}, and whether your address and port are the ones it expects"),
                "look for a filter on the way that lets short packets pass: NEW is longer than POKE".into(),
            ],
        ),
        FindingId::TokenRefused if symptom == Symptom::TokenMissing => (
            "The callee requires a call token, and none was offered".into(),
            vec!["offer one, or have the callee set requirecalltoken=no for this account".into()],
        ),
        FindingId::TokenRefused => (
            failed.note("The callee refuses the call token that it gave a moment before"),
            vec![
                "make the NAT keep one external port for the PBX: see nat mapping".into(),
                "else ask the provider to raise maxcallnumbers or callnumberlimits for this address".into(),
            ],
        ),
        FindingId::CallRejected => (refused(record, failed), remedies(symptom, record)),
        FindingId::AuthUnsupported => (
            "The callee wants a proof of identity that was not given".into(),
            vec!["give --user with --secret-file or --rsa-key, or --allow-plaintext, as the account asks".into()],
        ),
        _ => lost(id, symptom, failed),
    }
}

fn refused(record: &CallRecord, failed: Failed) -> String {
    match &record.ending {
        Some(Ending::Rejected { cause, .. } | Ending::HungUp { cause, .. }) => failed.tell(
            &format!("was refused: {cause}"),
            &format!("were refused: {cause}"),
        ),
        Some(Ending::NoFormat(_)) => failed.note("The far end chose a codec that was not offered"),
        _ => failed.note("The far end does not encrypt the calls of this account"),
    }
}

/// What to do about a refusal, by what the far end says of it (ITU-T Q.850; Asterisk's use of it).
fn remedies(symptom: Symptom, record: &CallRecord) -> Vec<String> {
    let code = match &record.ending {
        Some(Ending::Rejected { cause, .. } | Ending::HungUp { cause, .. }) => cause.code,
        _ => None,
    };
    let is = |causes: &[Cause]| code.is_some_and(|code| causes.iter().any(|it| it.get() == code));
    let remedies: &[&str] = if symptom == Symptom::NotEncrypted {
        &[
            "at the far end, the account needs encryption=aes128, auth=md5 and a secret; here, --secret-file gives the same",
            "or call without --encrypt",
        ]
    } else if symptom == Symptom::NoCodec
        || is(&[Cause::BearerUnavailable, Cause::BearerNotImplemented])
    {
        &["offer a codec that the far end allows (allow= in its iax.conf): --codec NAME"]
    } else if symptom == Symptom::Congested {
        &[
            "its lines are all taken, or it cannot reach the next exchange: its log says which",
            "try again later, and with fewer calls at once",
        ]
    } else if is(&[
        Cause::NoRouteDestination,
        Cause::Unallocated,
        Cause::BadNumberFormat,
    ]) {
        &["check the extension, and that the account's context at the far end has it"]
    } else if is(&[Cause::Absent]) {
        &[
            "the telephone of this extension is not registered at the far end, or does not answer it: iax2 show peers there tells",
        ]
    } else if is(&[Cause::Rejected]) {
        &[
            "check the account, its secret, its context and the addresses that it may call from",
            "Asterisk also says so where too many calls of the account are in their set-up at once (maxauthreq): --concurrent 1",
        ]
    } else if is(&[
        Cause::FacilityNotSubscribed,
        Cause::FacilityRejected,
        Cause::NotAuthorised,
    ]) {
        if record.encrypted {
            &["check the account, its secret, its context and the addresses that it may call from"]
        } else {
            &[
                "check the account, its secret, its context and the addresses that it may call from",
                "an account with forceencryption=yes takes no call without --encrypt",
            ]
        }
    } else {
        &["the log of the far end says why; check the extension and the account"]
    };
    remedies.iter().map(|it| (*it).to_owned()).collect()
}

fn lost(id: FindingId, symptom: Symptom, failed: Failed) -> (String, Vec<String>) {
    let (one, more) = match symptom {
        Symptom::Invalidated => (
            "was ended by INVAL: the far end knows nothing of it",
            "were ended by INVAL: the far end knows nothing of them",
        ),
        Symptom::RawHangup => (
            "was hung up by the far end without a word",
            "were hung up by the far end without a word",
        ),
        Symptom::StateLost => (
            "fell silent while the path stayed up: the far end no longer takes its packets for its own",
            "fell silent while the path stayed up: the far end no longer takes their packets for theirs",
        ),
        Symptom::FrameLost => (
            "got stuck: one frame never reached the far end, which went on with the call meanwhile",
            "got stuck: one frame never reached the far end, which went on with the call meanwhile",
        ),
        Symptom::FlowLost => (
            "fell silent: nothing passes between its socket and the provider any more",
            "fell silent: nothing passes between their socket and the provider any more",
        ),
        Symptom::PathLost => (
            "fell silent, and so did the provider",
            "fell silent, and so did the provider",
        ),
        Symptom::HangupLost => (
            "could not be hung up: nobody acknowledges it",
            "could not be hung up: nobody acknowledges it",
        ),
        Symptom::HungUpOddly => (
            "was ended by the far end in its middle",
            "were ended by the far end in their middle",
        ),
        _ => ("came to nothing", "came to nothing"),
    };
    let mut do_this = match symptom {
        Symptom::StateLost | Symptom::Invalidated | Symptom::RawHangup | Symptom::HangupLost => {
            vec![
                "see whether the NAT changed the external port in mid-call: the same with --reflector HOST".into(),
            ]
        }
        Symptom::FrameLost => vec![
            "look for what drops packets by size or kind: a firewall, a traffic shaper, an MTU".into(),
        ],
        Symptom::FlowLost => vec![
            "look at the NAT's entry of this socket: a tainted or half-dead one is deleted by conntrack -D".into(),
        ],
        _ => vec!["see whether the line drops out at these times".into()],
    };
    do_this.push(match id {
        FindingId::SystematicHangups => {
            "the failure is the same each time: a setting is wrong, at the far end or on the way".into()
        }
        FindingId::RandomRawHangups => {
            "failures that follow no rule are a device that loses or mistranslates packets: replace the NAT device, or go round it".into()
        }
        _ => "place more calls to tell chance from rule: --calls 20".into(),
    });
    (failed.tell(one, more), do_this)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::context,
        proto::call::{Reason, Side},
    };

    fn rejected(code: u8) -> CallRecord {
        CallRecord {
            ending: Some(Ending::Rejected {
                by: Side::Peer,
                cause: Reason::code(code),
            }),
            ..CallRecord::default()
        }
    }

    #[test]
    fn one_call_and_many_read_well() {
        let title = |calls, of| {
            let failed = Failed { calls, of };
            let symptom = Symptom::Rejected;
            words(
                FindingId::CallRejected,
                symptom,
                &rejected(3),
                failed,
                &context(),
            )
            .0
        };
        let cause = Reason::code(3);
        assert_eq!(title(1, 1), format!("The call was refused: {cause}"));
        assert_eq!(title(1, 20), format!("1 of 20 calls was refused: {cause}"));
        assert_eq!(title(2, 20), format!("2 of 20 calls were refused: {cause}"));
        assert_eq!(title(9, 9), format!("All 9 calls were refused: {cause}"));
    }

    #[test]
    fn advice_follows_the_cause() {
        for (code, word) in [
            (3, "context"),
            (20, "not registered"),
            (50, "--encrypt"),
            (58, "--codec"),
            (127, "log"),
        ] {
            let advice = remedies(Symptom::Rejected, &rejected(code)).join(" ");
            assert!(advice.contains(word), "{code}: {advice}");
        }
        let congested = remedies(Symptom::Congested, &rejected(42)).join(" ");
        assert!(congested.contains("lines"), "{congested}");
    }
}
