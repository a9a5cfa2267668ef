//! The extensions of a test provider: what is played to who calls them.

use std::time::Duration;

use crate::wire::iax2::{cause::Cause, command::Control};

/// Each extension, and what it does.
pub const EXTENSIONS: [(&str, &str); 10] = [
    ("600", "echo: audio and digits come back"),
    ("601", "a milliwatt tone, 1004 Hz"),
    ("602", "busy"),
    ("603", "rings and never answers"),
    ("604", "rejects"),
    ("605", "rings, answers after 3 s, echo"),
    ("606", "answers, echo, hangs up after 2 s"),
    (
        "607",
        "progress and early audio, ringing, answers after 2 s, echo",
    ),
    (
        "608",
        "sends text and digits; audio, digits and text come back",
    ),
    (
        "609",
        "rings the caller's own account where it is registered",
    ),
];

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extension {
    /// 600: audio and digits come back.
    Echo,
    /// 601: a 1004 Hz tone.
    Tone,
    /// 602: busy.
    Busy,
    /// 603: rings and never answers.
    NoAnswer,
    /// 604: rejects.
    Reject,
    /// 605: answers late.
    Late,
    /// 606: answers and hangs up.
    Short,
    /// 607: is heard before it answers.
    EarlyMedia,
    /// 608: sends text and digits.
    Talk,
    /// 609: rings the caller's own account.
    Callback,
}

/// One thing that an extension does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Answers.
    Answer,
    /// Tells how the call fares.
    Control(Control),
    /// Hangs up.
    HangUp(Cause),
    /// Begins or ends the tone.
    Tone(bool),
    /// Audio, digits and text come back from now on.
    Echo,
    /// Sends text.
    Text(&'static str),
    /// A digit begins, or ends.
    Digit(u8, bool),
    /// Rings the caller's own account.
    Ring,
}

type Script = &'static [(Duration, Step)];

const fn at(millis: u64, step: Step) -> (Duration, Step) {
    (Duration::from_millis(millis), step)
}

const ECHO: Script = &[at(0, Step::Answer), at(0, Step::Echo)];
const TONE: Script = &[at(0, Step::Answer), at(0, Step::Tone(true))];
// A caller hangs up when it hears that it is busy; for one that does not, the end comes from here.
const BUSY: Script = &[
    at(0, Step::Control(Control::Busy)),
    at(1000, Step::HangUp(Cause::Busy)),
];
const NO_ANSWER: Script = &[at(0, Step::Control(Control::Ringing))];
const LATE: Script = &[
    at(0, Step::Control(Control::Ringing)),
    at(3000, Step::Answer),
    at(3000, Step::Echo),
];
const SHORT: Script = &[
    at(0, Step::Answer),
    at(0, Step::Echo),
    at(2000, Step::HangUp(Cause::Normal)),
];
const EARLY_MEDIA: Script = &[
    at(0, Step::Control(Control::Progress)),
    at(0, Step::Tone(true)),
    at(1000, Step::Control(Control::Ringing)),
    at(2000, Step::Tone(false)),
    at(2000, Step::Answer),
    at(2000, Step::Echo),
];
// Digits as from a telephone: 100 ms each, 100 ms apart.
const TALK: Script = &[
    at(0, Step::Answer),
    at(0, Step::Echo),
    at(500, Step::Text("iax2-natcheck")),
    at(1000, Step::Digit(b'6', false)),
    at(1100, Step::Digit(b'6', true)),
    at(1200, Step::Digit(b'0', false)),
    at(1300, Step::Digit(b'0', true)),
    at(1400, Step::Digit(b'8', false)),
    at(1500, Step::Digit(b'8', true)),
    at(1600, Step::Digit(b'#', false)),
    at(1700, Step::Digit(b'#', true)),
];
const CALLBACK: Script = &[at(0, Step::Ring)];

impl Extension {
    /// The extension with this number.
    pub(super) fn of(number: &[u8]) -> Option<Self> {
        Some(match number {
            b"600" => Self::Echo,
            b"601" => Self::Tone,
            b"602" => Self::Busy,
            b"603" => Self::NoAnswer,
            b"604" => Self::Reject,
            b"605" => Self::Late,
            b"606" => Self::Short,
            b"607" => Self::EarlyMedia,
            b"608" => Self::Talk,
            b"609" => Self::Callback,
            _ => return None,
        })
    }

    /// What it does once the caller has acknowledged ACCEPT, each step with its time since then, in order.
    /// What rejects plays nothing.
    pub(super) const fn steps(self) -> Script {
        match self {
            Self::Echo => ECHO,
            Self::Tone => TONE,
            Self::Busy => BUSY,
            Self::NoAnswer => NO_ANSWER,
            Self::Reject => &[],
            Self::Late => LATE,
            Self::Short => SHORT,
            Self::EarlyMedia => EARLY_MEDIA,
            Self::Talk => TALK,
            Self::Callback => CALLBACK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_in_order() {
        for (number, _) in EXTENSIONS {
            let extension = Extension::of(number.as_bytes()).unwrap();
            assert!(
                extension.steps().is_sorted_by_key(|(after, _)| *after),
                "{number}"
            );
        }
        assert_eq!(Extension::of(b"610"), None);
        assert_eq!(Extension::of(b""), None);
    }
}
