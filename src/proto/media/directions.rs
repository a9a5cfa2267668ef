//! Which way audio passes: a conclusion for each direction, with the facts it rests on.

use std::fmt;

use super::report::ReceiverReport;

/// What the far end is known to do with audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// It returns what it gets, and may announce itself first.
    Echo,
    /// It plays something by itself: a tone, an announcement.
    Speaks,
    /// Whatever extension was dialled.
    Unknown,
}

/// What is known at the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Packets of audio we sent.
    pub sent: u64,
    /// Packets of audio that arrived.
    pub received: u64,
    /// Blocks of ours among them.
    pub returned: u64,
    /// The far end's last receiver report.
    pub report: Option<ReceiverReport>,
    /// A full frame of audio never reached the far end, however often it was sent, while the far end went on
    /// with the call.
    pub voice_missing: bool,
    /// What it is to do.
    pub far_end: FarEnd,
}

/// One fact that a conclusion rests on, or for want of which there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// We sent so many packets of audio.
    Sent(u64),
    /// So many packets of audio arrived.
    Received(u64),
    /// So many of our blocks came back.
    Returned(u64),
    /// The far end was to play something by itself.
    FarEndSpeaks,
    /// The far end was to return what it gets.
    FarEndEchoes,
    /// Nobody knows whether the far end had anything to say.
    FarEndMayBeSilent,
    /// The far end reports so many frames received, whatever their type.
    Reported(u32),
    /// The far end sent receiver reports, but measures nothing.
    ReportsMeasureNothing,
    /// The far end sent no receiver report.
    NoReport,
    /// The far end went on with the call, and never acknowledged the full frame of audio.
    VoiceMissing,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(packets) => write!(f, "{packets} packets of audio sent"),
            Self::Received(packets) => write!(f, "{packets} packets of audio received"),
            Self::Returned(blocks) => write!(f, "{blocks} of our blocks came back"),
            Self::FarEndSpeaks => f.write_str("the far end plays something by itself"),
            Self::FarEndEchoes => f.write_str("the far end returns what it gets"),
            Self::FarEndMayBeSilent => f.write_str("the far end may have had nothing to say"),
            Self::Reported(packets) => write!(f, "the far end reports {packets} frames received"),
            Self::ReportsMeasureNothing => {
                f.write_str("the far end's receiver reports measure nothing")
            }
            Self::NoReport => f.write_str("the far end sent no receiver report"),
            Self::VoiceMissing => f.write_str(
                "the far end went on with the call and never acknowledged the full VOICE frame",
            ),
        }
    }
}

/// Whether audio passes, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// `None`: the facts do not decide it.
    pub passes: Option<bool>,
    /// The facts it rests on.
    pub because: Vec<Fact>,
}

/// Both directions, and the two together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directions {
    /// From the far end to us.
    pub inbound: Conclusion,
    /// From us to the far end.
    pub outbound: Conclusion,
    /// There and back. `Some(false)` says that a direction is dead, not which.
    pub round_trip: Conclusion,
}

/// Fewer packets than this may all have been lost on the way to an answer.
const ENOUGH: u64 = 50;
/// A far end that counts at least one in this many of our packets hears us; what it counts besides
/// audio is at most a frame or two a second.
const HEARS: u64 = 10;
/// A far end that counts less than one in this many has counted other frames only.
const DEAF: u64 = 33;

/// Concludes which way audio passes. Silence alone is no evidence: it decides only where the far end is
/// known to have had something to say.
#[must_use]
pub fn directions(heard: &Heard) -> Directions {
    let outbound = outbound(heard);
    Directions {
        inbound: inbound(heard, &outbound),
        round_trip: round_trip(heard),
        outbound,
    }
}

/// So few of so many that they are no stream: the first packet of a call is a full frame and passes where the
/// others, in trunk frames, do not.
const fn is_next_to_nothing(count: u64, of: u64) -> bool {
    count == 0 || count * DEAF < of
}

fn outbound(heard: &Heard) -> Conclusion {
    if heard.returned > 0 && heard.returned * HEARS >= heard.sent {
        return conclude(Some(true), [Fact::Returned(heard.returned)]);
    }
    let (sent, returned) = (Fact::Sent(heard.sent), Fact::Returned(heard.returned));
    if heard.voice_missing {
        return conclude(Some(false), [sent, returned, Fact::VoiceMissing]);
    }
    match heard.report {
        None => conclude(None, [sent, returned, Fact::NoReport]),
        Some(report) if !report.is_measured() => {
            conclude(None, [sent, returned, Fact::ReportsMeasureNothing])
        }
        Some(report) => {
            let counted = u64::from(report.packets);
            let passes = if heard.sent < ENOUGH {
                None
            } else if counted * HEARS >= heard.sent {
                Some(true)
            } else if counted * DEAF < heard.sent {
                Some(false)
            } else {
                None
            };
            conclude(passes, [sent, Fact::Reported(report.packets)])
        }
    }
}

fn inbound(heard: &Heard, outbound: &Conclusion) -> Conclusion {
    let received = Fact::Received(heard.received);
    if !is_next_to_nothing(heard.received, heard.sent) {
        let passes = heard.received * HEARS >= heard.sent;
        return conclude(passes.then_some(true), [received]);
    }
    match heard.far_end {
        FarEnd::Speaks => conclude(Some(false), [received, Fact::FarEndSpeaks]),
        FarEnd::Echo if outbound.passes == Some(true) => {
            let mut because = vec![received, Fact::FarEndEchoes];
            because.extend(&outbound.because);
            conclude(Some(false), because)
        }
        FarEnd::Echo => {
            let mut because = vec![received];
            because.extend(&outbound.because);
            conclude(None, because)
        }
        FarEnd::Unknown => conclude(None, [received, Fact::FarEndMayBeSilent]),
    }
}

fn round_trip(heard: &Heard) -> Conclusion {
    let returned = Fact::Returned(heard.returned);
    if heard.returned > 0 && heard.returned * HEARS >= heard.sent {
        return conclude(Some(true), [returned]);
    }
    let facts = [Fact::Sent(heard.sent), Fact::Received(heard.received)];
    // Audio that is not ours may be the announcement before the echo.
    let silent = is_next_to_nothing(heard.received, heard.sent);
    if heard.far_end == FarEnd::Echo && heard.sent >= ENOUGH && silent {
        let [sent, received] = facts;
        return conclude(Some(false), [sent, received, Fact::FarEndEchoes]);
    }
    conclude(None, facts)
}

fn conclude(passes: Option<bool>, because: impl Into<Vec<Fact>>) -> Conclusion {
    Conclusion {
        passes,
        because: because.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Heard = Heard {
        sent: 1000,
        received: 0,
        returned: 0,
        report: None,
        voice_missing: false,
        far_end: FarEnd::Unknown,
    };

    fn reporting(packets: u32) -> ReceiverReport {
        ReceiverReport {
            packets,
            delay_ms: 40,
            ..ReceiverReport::default()
        }
    }

    /// Inbound, outbound, round trip.
    fn passes(heard: Heard) -> [Option<bool>; 3] {
        let all = directions(&heard);
        [all.inbound, all.outbound, all.round_trip].map(|conclusion| {
            assert!(!conclusion.because.is_empty(), "{heard:?}");
            conclusion.passes
        })
    }

    #[test]
    fn silence_alone_decides_nothing() {
        assert_eq!(passes(SILENT), [None; 3]);
        // What an Asterisk without jitter buffer reports.
        let unmeasured = Heard {
            report: Some(reporting(1)),
            ..SILENT
        };
        assert_eq!(passes(unmeasured), [None; 3]);
        assert_eq!(
            directions(&unmeasured).outbound.because,
            [
                Fact::Sent(1000),
                Fact::Returned(0),
                Fact::ReportsMeasureNothing
            ]
        );
    }

    #[test]
    fn an_echo_that_came_back_proves_both() {
        let echoed = Heard {
            received: 990,
            returned: 980,
            far_end: FarEnd::Echo,
            ..SILENT
        };
        assert_eq!(passes(echoed), [Some(true); 3]);
    }

    #[test]
    fn a_silent_echo_breaks_the_loop_and_no_more() {
        let silent = Heard {
            far_end: FarEnd::Echo,
            ..SILENT
        };
        assert_eq!(passes(silent), [None, None, Some(false)]);
        let barely_begun = Heard { sent: 49, ..silent };
        assert_eq!(passes(barely_begun), [None; 3]);

        let hears_us = Heard {
            report: Some(reporting(900)),
            ..silent
        };
        assert_eq!(passes(hears_us), [Some(false), Some(true), Some(false)]);
        assert_eq!(
            directions(&hears_us).inbound.because,
            [
                Fact::Received(0),
                Fact::FarEndEchoes,
                Fact::Sent(1000),
                Fact::Reported(900)
            ]
        );

        let deaf = Heard {
            report: Some(reporting(7)),
            ..silent
        };
        assert_eq!(passes(deaf), [None, Some(false), Some(false)]);
    }

    #[test]
    fn a_tone_is_owed_to_us() {
        let no_tone = Heard {
            far_end: FarEnd::Speaks,
            ..SILENT
        };
        assert_eq!(passes(no_tone), [Some(false), None, None]);
        let tone = Heard {
            received: 998,
            ..no_tone
        };
        assert_eq!(passes(tone), [Some(true), None, None]);
        let deaf = Heard {
            report: Some(reporting(7)),
            ..tone
        };
        assert_eq!(passes(deaf), [Some(true), Some(false), None]);
    }

    #[test]
    fn one_packet_of_many_is_no_stream() {
        let first_alone = Heard {
            sent: 101,
            received: 1,
            returned: 1,
            far_end: FarEnd::Echo,
            ..SILENT
        };
        assert_eq!(passes(first_alone), [None, None, Some(false)]);
        let some = Heard {
            received: 6,
            returned: 6,
            ..first_alone
        };
        assert_eq!(passes(some), [None; 3]);
    }

    #[test]
    fn an_announcement_does_not_disprove_the_echo() {
        let announced = Heard {
            received: 400,
            far_end: FarEnd::Echo,
            ..SILENT
        };
        assert_eq!(passes(announced), [Some(true), None, None]);
    }

    #[test]
    fn a_full_frame_that_never_arrives_tells_of_all_the_audio() {
        let blocked = Heard {
            voice_missing: true,
            ..SILENT
        };
        assert_eq!(passes(blocked), [None, Some(false), None]);
        let tone = Heard {
            received: 998,
            far_end: FarEnd::Speaks,
            ..blocked
        };
        assert_eq!(passes(tone), [Some(true), Some(false), None]);
    }

    #[test]
    fn counts_between_deaf_and_hearing_decide_nothing() {
        let few = Heard {
            report: Some(reporting(60)),
            ..SILENT
        };
        assert_eq!(passes(few), [None; 3]);
        let nothing_sent = Heard { sent: 0, ..few };
        assert_eq!(passes(nothing_sent), [None; 3]);
    }
}
