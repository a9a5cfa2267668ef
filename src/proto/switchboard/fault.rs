//! Faults that a test provider shows on demand, so that what they look like from outside can be seen.

use std::{fmt, str::FromStr};

use crate::proto::{call::Manners, reliable::RetryPolicy};

/// One fault. [`NAMES`] lists how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `drop=N`: the n-th datagram of each call is not sent; the first is 1.
    Drop(u32),
    /// `other-port`: what follows ANSWER leaves from another socket.
    OtherPort,
    /// `silence`: a NEW with a good call token is not answered.
    Silence,
    /// `silence-after-answer`: nothing follows ANSWER.
    SilenceAfterAnswer,
    /// `inval`: the first full frame after ANSWER is answered by INVAL, and the call is forgotten.
    Inval,
    /// `naked-reject`: a NEW with a good call token is rejected from call number 1, without a cause.
    NakedReject,
    /// `cause=N`: calls are rejected with this cause instead of accepted.
    Cause(u8),
    /// `no-stop-tones`: ANSWER comes alone.
    NoStopTones,
    /// `wrap=full`, `wrap=mini`: audio becomes a full frame where 16 bits of its clock wrap, or does not.
    Wrap(bool),
    /// `retry=10`, `retry=2`: frames are sent again as Asterisk does, or as RFC 5456 says.
    Retry(RetryPolicy),
    /// `one-way`: audio is taken, and none is sent.
    OneWay,
    /// `deaf-trunk`: audio in trunk frames is dropped.
    DeafTrunk,
}

/// How faults are written.
pub const NAMES: &str = "drop=N, other-port, silence, silence-after-answer, inval, naked-reject, cause=N, \
                         no-stop-tones, wrap=full, wrap=mini, retry=10, retry=2, one-way, deaf-trunk";

/// No fault is written like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such fault; there are {NAMES}")]
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
        let names = NAMES
            .replace("drop=N", "drop=3")
            .replace("cause=N", "cause=17");
        for name in names.split(", ") {
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
