//! Faults that a test provider shows on demand, so that what they look like from outside can be seen.

use std::{fmt, str::FromStr};

use crate::proto::{call::Manners, reliable::RetryPolicy};

/// One fault; [`FAULTS`] says how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `drop=N`.
    Drop(u32),
    /// `other-port`.
    OtherPort,
    /// `silence`.
    Silence,
    /// `silence-after-answer`.
    SilenceAfterAnswer,
    /// `inval`.
    Inval,
    /// `naked-reject`.
    NakedReject,
    /// `cause=N`.
    Cause(u8),
    /// `no-stop-tones`.
    NoStopTones,
    /// `wrap=full` (true) and `wrap=mini`.
    Wrap(bool),
    /// `retry=10` and `retry=2`.
    Retry(RetryPolicy),
    /// `one-way`.
    OneWay,
    /// `deaf-trunk`.
    DeafTrunk,
}

/// How each fault is written, and what it does.
pub const FAULTS: [(&str, &str); 14] = [
    (
        "drop=N",
        "the N-th datagram of each call is not sent; the first is 1",
    ),
    ("other-port", "what follows ANSWER leaves from another port"),
    ("silence", "a NEW with a good call token is not answered"),
    ("silence-after-answer", "nothing follows ANSWER"),
    (
        "inval",
        "the first full frame after ANSWER is answered by INVAL, and the call is forgotten",
    ),
    (
        "naked-reject",
        "a NEW with a good call token is rejected from call number 1, without a cause",
    ),
    (
        "cause=N",
        "calls are rejected with this cause instead of accepted",
    ),
    ("no-stop-tones", "ANSWER is not followed by \"stop tones\""),
    (
        "wrap=full",
        "audio becomes a full frame where the 16 bits of its clock wrap",
    ),
    ("wrap=mini", "it does not, as from Asterisk"),
    (
        "retry=10",
        "frames are sent again after 2 s, then after 10 s, as by Asterisk",
    ),
    ("retry=2", "the interval begins with 1 s and doubles"),
    ("one-way", "audio is taken, and none is sent"),
    (
        "deaf-trunk",
        "audio in trunk frames is dropped, whatever the account says",
    ),
];

/// No fault is written like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such fault; there are {}", FAULTS.map(|(name, _)| name).join(", "))]
pub struct NoSuchFault;

impl FromStr for Fault {
    type Err = NoSuchFault;

    fn from_str(text: &str) -> Result<Self, NoSuchFault> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match (name, value) {
            ("drop", Some(number)) => number
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Drop)
                .ok_or(NoSuchFault),
            ("cause", Some(code)) => code
                .parse()
                .ok()
                .filter(|code| (1..128).contains(code))
                .map(Self::Cause)
                .ok_or(NoSuchFault),
            ("wrap", Some("full")) => Ok(Self::Wrap(true)),
            ("wrap", Some("mini")) => Ok(Self::Wrap(false)),
            ("retry", Some("10")) => Ok(Self::Retry(RetryPolicy::ASTERISK)),
            ("retry", Some("2")) => Ok(Self::Retry(RetryPolicy::RFC)),
            ("other-port", None) => Ok(Self::OtherPort),
            ("silence", None) => Ok(Self::Silence),
            ("silence-after-answer", None) => Ok(Self::SilenceAfterAnswer),
            ("inval", None) => Ok(Self::Inval),
            ("naked-reject", None) => Ok(Self::NakedReject),
            ("no-stop-tones", None) => Ok(Self::NoStopTones),
            ("one-way", None) => Ok(Self::OneWay),
            ("deaf-trunk", None) => Ok(Self::DeafTrunk),
            _ => Err(NoSuchFault),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(number) => write!(f, "drop={number}"),
            Self::OtherPort => f.write_str("other-port"),
            Self::Silence => f.write_str("silence"),
            Self::SilenceAfterAnswer => f.write_str("silence-after-answer"),
            Self::Inval => f.write_str("inval"),
            Self::NakedReject => f.write_str("naked-reject"),
            Self::Cause(code) => write!(f, "cause={code}"),
            Self::NoStopTones => f.write_str("no-stop-tones"),
            Self::Wrap(true) => f.write_str("wrap=full"),
            Self::Wrap(false) => f.write_str("wrap=mini"),
            Self::Retry(policy) => write!(f, "retry={}", policy.factor),
            Self::OneWay => f.write_str("one-way"),
            Self::DeafTrunk => f.write_str("deaf-trunk"),
        }
    }
}

/// All faults of a switchboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self(faults.into_iter().collect())
    }
}

impl Faults {
    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// The cause to reject every call with.
    pub(super) fn cause(&self) -> Option<u8> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Cause(code) => Some(*code),
            _ => None,
        })
    }

    /// These manners, with what the faults change in them.
    #[must_use]
    pub fn bend(&self, manners: Manners) -> Manners {
        self.0.iter().fold(manners, |manners, fault| match *fault {
            Fault::NoStopTones => Manners {
                stop_tones: false,
                ..manners
            },
            Fault::Wrap(full_at_wrap) => Manners {
                full_at_wrap,
                ..manners
            },
            Fault::Retry(retry) => Manners { retry, ..manners },
            _ => manners,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for (name, _) in FAULTS {
            let name = name.replace('N', "17");
            let fault: Fault = name.parse().unwrap();
            assert_eq!(fault.to_string(), name);
        }
    }

    #[test]
    fn what_is_none_is_told_what_there_is() {
        for text in [
            "",
            "dorp=1",
            "drop",
            "drop=0",
            "cause=0",
            "cause=200",
            "silence=1",
            "wrap=no",
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.to_string().contains("silence-after-answer"), "{text}");
        }
    }

    #[test]
    fn manners_are_bent() {
        let faults: Faults = ["no-stop-tones", "wrap=full", "retry=2"]
            .iter()
            .map(|name| name.parse::<Fault>().unwrap())
            .collect();
        let manners = faults.bend(Manners::ASTERISK);
        assert!(!manners.stop_tones && manners.full_at_wrap);
        assert_eq!(manners.retry, RetryPolicy::RFC);
        assert_eq!(Faults::default().bend(Manners::ASTERISK), Manners::ASTERISK);
    }
}
