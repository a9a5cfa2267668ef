//! What is wrong with one call, by name.

use crate::{
    probe::calls::evidence::{CallRecord, SilenceControl},
    proto::call::{Ending, Reason, Side},
    wire::iax2::{
        cause::Cause,
        command::{Command, Control},
        frame::Kind,
    },
};

/// How one call fared. The names are stable: they stand in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Symptom {
    /// Nothing: it went as planned.
    Fine,
    /// The far end is busy, and says so.
    Busy,
    /// It rang, and nobody answered.
    NoAnswer,
    /// NEW stayed unanswered: what Asterisk logs as "Auto-congesting call due to slow response".
    AutoCongested,
    /// A naked REJECT from call number 1 to a NEW without token.
    TokenMissing,
    /// The same to a NEW whose token was given a moment before: the external port changed between the two,
    /// the token expired, or the address has too many call numbers.
    TokenRefused,
    /// REJECT or HANGUP with a cause before the answer.
    Rejected,
    /// The far end is congested, or lacks what it takes to place the call (the class of Q.850 from 34 to 47).
    Congested,
    /// A challenge that we would not answer.
    AuthUnsupported,
    /// Encryption was demanded and not had.
    NotEncrypted,
    /// The callee accepted a format that was not offered.
    NoCodec,
    /// INVAL: the far end says that it has no such call.
    Invalidated,
    /// The peer hung up or refused without any cause.
    RawHangup,
    /// The call fell silent, POKEs from its own socket are answered: its state is gone at the far end, or is
    /// bound to another external port.
    StateLost,
    /// The far end went on with the call, and one frame of ours never arrived there, however often it was
    /// sent.
    FrameLost,
    /// The call fell silent, POKEs from its socket are not answered, those from a fresh socket are: the
    /// flow of this socket is dead on the way.
    FlowLost,
    /// The call fell silent, and so did the provider.
    PathLost,
    /// The call fell silent and no control probe tells why.
    Silent,
    /// Everything was acknowledged, and nothing happened.
    Stalled,
    /// We hung up a call that had fallen silent, and nobody acknowledged it; no control probe tells why.
    HangupLost,
    /// The far end ended an answered call and gives another cause than that it is normal.
    HungUpOddly,
}

impl Symptom {
    /// The name in the report, in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::AutoCongested => "auto-congested",
            Self::TokenMissing => "token-missing",
            Self::TokenRefused => "token-refused",
            Self::Rejected => "rejected",
            Self::Congested => "congested",
            Self::AuthUnsupported => "auth-unsupported",
            Self::NotEncrypted => "not-encrypted",
            Self::NoCodec => "no-codec",
            Self::Invalidated => "invalidated",
            Self::RawHangup => "raw-hangup",
            Self::StateLost => "call-state-lost",
            Self::FrameLost => "frame-lost",
            Self::FlowLost => "flow-lost",
            Self::PathLost => "path-lost",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::HangupLost => "hangup-lost",
            Self::HungUpOddly => "hung-up",
        }
    }

    /// Whether the call is lost to whoever placed it. A busy telephone and one that nobody answers are not
    /// the network's doing.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Fine | Self::Busy | Self::NoAnswer)
    }

    /// Whether one such call is enough to know that every call ends so: the far end says why.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::Rejected
                | Self::AuthUnsupported
                | Self::NotEncrypted
                | Self::NoCodec
                | Self::TokenMissing
        )
    }

    /// Whether a PBX that sees this hangs up raw, without a word of why: INVAL, a naked REJECT, a HANGUP without
    /// cause.
    #[must_use]
    pub const fn is_raw_hangup(self) -> bool {
        matches!(
            self,
            Self::Invalidated | Self::RawHangup | Self::TokenRefused
        )
    }

    /// The symptom of a call; `None` while it is under way.
    #[must_use]
    pub fn of(record: &CallRecord) -> Option<Self> {
        let ending = record.ending.as_ref()?;
        Some(match ending {
            Ending::HungUp { by: Side::Us, .. } if record.completed => Self::Fine,
            Ending::HungUp {
                by: Side::Us,
                acknowledged,
                ..
            } => match (record.answered, acknowledged) {
                (None, _) if record.progress.contains(&Control::Busy) => Self::Busy,
                (None, _) if is_congested(record) => Self::Congested,
                (None, _) => Self::NoAnswer,
                (Some(_), true) => Self::Fine,
                (Some(_), false) if record.control.is_none() => Self::HangupLost,
                (Some(_), false) => silence(record),
            },
            Ending::HungUp {
                by: Side::Peer,
                cause,
                ..
            }
            | Ending::Rejected {
                by: Side::Peer,
                cause,
            } => said(cause, record),
            Ending::Rejected { by: Side::Us, .. } => Self::Rejected,
            Ending::TokenRefused { had_token: false } => Self::TokenMissing,
            Ending::TokenRefused { had_token: true } => Self::TokenRefused,
            Ending::AuthUnsupported { .. } => Self::AuthUnsupported,
            Ending::NotEncrypted => Self::NotEncrypted,
            Ending::NoFormat(_) => Self::NoCodec,
            Ending::Invalidated { .. } => Self::Invalidated,
            Ending::Unanswered { frame, heard } => {
                if !heard && *frame == Kind::iax(Command::New) {
                    Self::AutoCongested
                } else {
                    silence(record)
                }
            }
            Ending::Stalled => Self::Stalled,
        })
    }
}

/// Whether the far end said that it is congested, upon which we hung up.
#[must_use]
pub fn is_congested(record: &CallRecord) -> bool {
    record.answered.is_none() && record.progress.contains(&Control::Congestion)
}

/// Causes that say nothing.
const NORMAL: u8 = Cause::Normal.get();
const UNSPECIFIED: u8 = Cause::NormalUnspecified.get();

/// The far end ended it and may have said why.
fn said(cause: &Reason, record: &CallRecord) -> Symptom {
    let busy = record.progress.contains(&Control::Busy) || cause.code == Some(Cause::Busy.get());
    if record.answered.is_some() {
        return match cause.code {
            Some(NORMAL) => Symptom::Fine,
            _ if cause.is_empty() => Symptom::RawHangup,
            _ => Symptom::HungUpOddly,
        };
    }
    match cause.code {
        _ if busy => Symptom::Busy,
        None | Some(0 | NORMAL | UNSPECIFIED) if is_congested(record) => Symptom::Congested,
        _ if cause.is_empty() => Symptom::RawHangup,
        Some(code) if code == Cause::NoAnswer.get() || code == Cause::NoUserResponse.get() => {
            Symptom::NoAnswer
        }
        Some(34..=47) => Symptom::Congested,
        _ => Symptom::Rejected,
    }
}

/// A silence by itself is no evidence; the POKEs after it tell where it is, and whether the far end was silent
/// at all.
fn silence(record: &CallRecord) -> Symptom {
    match record.control {
        Some(SilenceControl { same: (_, 1..), .. }) => match record.missing_frame() {
            Some(_) => Symptom::FrameLost,
            None => Symptom::StateLost,
        },
        Some(SilenceControl {
            same: (1.., 0),
            fresh: (_, 1..),
        }) => Symptom::FlowLost,
        Some(SilenceControl {
            same: (1.., 0),
            fresh: (1.., 0),
        }) => Symptom::PathLost,
        _ => Symptom::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(ending: Ending, change: impl FnOnce(&mut CallRecord)) -> Symptom {
        let mut record = CallRecord {
            ending: Some(ending),
            ..CallRecord::default()
        };
        change(&mut record);
        Symptom::of(&record).unwrap()
    }

    fn unanswered(command: Command, heard: bool) -> Ending {
        Ending::Unanswered {
            frame: Kind::iax(command),
            heard,
        }
    }

    fn by_peer(code: Option<u8>) -> Ending {
        Ending::HungUp {
            by: Side::Peer,
            cause: Reason { text: None, code },
            acknowledged: true,
        }
    }

    fn answered(record: &mut CallRecord) {
        record.answered = Some(Duration::from_millis(40));
    }

    #[test]
    fn a_silence_is_told_by_its_control() {
        let rows = [
            (None, Symptom::Silent),
            (Some(((3, 3), (3, 3))), Symptom::StateLost),
            (Some(((3, 1), (3, 0))), Symptom::StateLost),
            (Some(((3, 0), (3, 2))), Symptom::FlowLost),
            (Some(((3, 0), (3, 0))), Symptom::PathLost),
            (Some(((3, 0), (0, 0))), Symptom::Silent),
        ];
        for (control, symptom) in rows {
            let found = ended(unanswered(Command::LagRq, true), |record| {
                answered(record);
                record.control = control.map(|(same, fresh)| SilenceControl { same, fresh });
            });
            assert_eq!(found, symptom, "{control:?}");
        }
    }

    #[test]
    fn a_hangup_that_nobody_acknowledges_is_told_by_what_was_heard() {
        let ms = |millis| Some(Duration::from_millis(millis));
        let control = |same, fresh| {
            Some(SilenceControl {
                same: (3, same),
                fresh: (3, fresh),
            })
        };
        let rows = [
            // The far end answered until we hung up: its acknowledgement was lost.
            (ms(2990), None, Symptom::Fine),
            (ms(3010), None, Symptom::Fine),
            // It had been silent.
            (ms(1500), control(3, 3), Symptom::StateLost),
            (ms(1500), control(0, 3), Symptom::FlowLost),
            (ms(1500), control(0, 0), Symptom::PathLost),
            (ms(1500), None, Symptom::HangupLost),
            (None, control(3, 3), Symptom::StateLost),
            // It goes on, and lacks something.
            (ms(6000), control(3, 3), Symptom::FrameLost),
            (ms(6000), control(0, 3), Symptom::FlowLost),
        ];
        for (heard, control, symptom) in rows {
            let ending = Ending::HungUp {
                by: Side::Us,
                cause: Reason::code(16),
                acknowledged: false,
            };
            let found = ended(ending, |record| {
                answered(record);
                record.heard = heard;
                record.hung_up = ms(3000);
                record.ended = ms(10_500);
                record.control = control;
                record.completed = record.lived_until_hangup();
                assert_eq!(record.fell_silent(), symptom != Symptom::Fine);
            });
            assert_eq!(found, symptom, "{heard:?} {control:?}");
        }
    }

    #[test]
    fn a_frame_given_up_while_the_far_end_went_on_is_lost_alone() {
        for (heard, symptom) in [(500, Symptom::StateLost), (5000, Symptom::FrameLost)] {
            let found = ended(unanswered(Command::Ping, true), |record| {
                answered(record);
                record.heard = Some(Duration::from_millis(heard));
                record.ended = Some(Duration::from_secs(8));
                record.control = Some(SilenceControl {
                    same: (3, 3),
                    fresh: (3, 3),
                });
            });
            assert_eq!(found, symptom, "{heard}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let refused = |had_token| Ending::TokenRefused { had_token };
        assert_eq!(ended(refused(true), |_| {}), Symptom::TokenRefused);
        assert_eq!(ended(refused(false), |_| {}), Symptom::TokenMissing);
        assert_eq!(
            ended(unanswered(Command::New, false), |_| {}),
            Symptom::AutoCongested
        );
        assert_eq!(ended(by_peer(Some(17)), |_| {}), Symptom::Busy);
        assert_eq!(ended(by_peer(Some(19)), |_| {}), Symptom::NoAnswer);
        assert_eq!(ended(by_peer(Some(50)), |_| {}), Symptom::Rejected);
        assert_eq!(ended(by_peer(Some(42)), |_| {}), Symptom::Congested);
        assert_eq!(ended(by_peer(None), |_| {}), Symptom::RawHangup);
        assert_eq!(ended(by_peer(Some(0)), |_| {}), Symptom::RawHangup);
        assert_eq!(ended(by_peer(None), answered), Symptom::RawHangup);
        assert_eq!(ended(by_peer(Some(16)), answered), Symptom::Fine);
        assert_eq!(ended(by_peer(Some(38)), answered), Symptom::HungUpOddly);
        assert_eq!(Symptom::of(&CallRecord::default()), None, "under way");
    }
}
