//! Which format a call gets: the one the caller likes best among those that the switchboard plays, else the
//! one it likes best, which is carried as it is.

use crate::wire::iax2::{
    format::{Formats, preferred_format},
    frame::FullFrame,
    ie_value::Ie,
};

/// What the switchboard plays.
const PLAYED: Formats = Formats::ULAW.or(Formats::ALAW);
/// What is audio: bits 0 to 15, and those of later codecs (G.719, Speex 16 kHz, Opus).
const AUDIO: Formats = Formats::from_bits(0x0007_0000_ffff);

/// The format for a NEW of a caller who can do these; `None` where none is audio.
pub(super) fn format_for(frame: &FullFrame<'_>, capability: Formats) -> Option<Formats> {
    let (mut preferences, mut narrow, mut wide) = (&[][..], 0, None);
    for ie in frame.ies().map(Ie::read) {
        match ie {
            Ie::CodecPrefs(letters) => preferences = letters.0,
            Ie::Format(bits) => narrow = u64::from(bits),
            Ie::Format2(bits) => wide = Some(bits),
            _ => {}
        }
    }
    let wanted = Formats::from_bits(wide.unwrap_or(narrow));
    let liked: Vec<Formats> = preferences
        .iter()
        .filter_map(|letter| preferred_format(*letter))
        .chain(wanted.iter())
        .chain(capability.iter())
        .filter(|format| capability.and(AUDIO).contains(*format))
        .collect();
    let played = liked.iter().find(|format| PLAYED.contains(**format));
    played.or_else(|| liked.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        types::{CallNumber, Timestamp},
        wire::iax2::{ie::IeWriter, ie_value::Text},
    };

    fn chosen(preferences: &str, format: Formats, capability: Formats) -> Option<Formats> {
        let elements = IeWriter::new()
            .ie(Ie::CodecPrefs(Text(preferences.as_bytes())))
            .ie(Ie::Format(format.low_bits()))
            .finish()
            .unwrap();
        let frame = FullFrame {
            payload: &elements,
            ..FullFrame::poke_from(CallNumber::from_bits(7), Timestamp::ZERO)
        };
        format_for(&frame, capability)
    }

    #[test]
    fn the_caller_prefers_and_the_switchboard_plays() {
        let both = Formats::ULAW.or(Formats::ALAW);
        let all = both.or(Formats::GSM).or(Formats::from_bits(1 << 21));
        for (preferences, format, capability, expected) in [
            ("CED", Formats::GSM, all, Some(Formats::ALAW)),
            ("", Formats::ALAW, all, Some(Formats::ALAW)),
            ("", Formats::GSM, all, Some(Formats::ULAW)),
            ("D", Formats::ULAW, Formats::ALAW, Some(Formats::ALAW)),
            (
                "JC",
                Formats::ULAW,
                Formats::GSM.or(Formats::G729),
                Some(Formats::G729),
            ),
            ("", Formats::NONE, Formats::OPUS, Some(Formats::OPUS)),
            ("V", Formats::NONE, Formats::from_bits(1 << 21), None),
            ("D", Formats::ULAW, Formats::NONE, None),
        ] {
            assert_eq!(
                chosen(preferences, format, capability),
                expected,
                "{preferences}"
            );
        }
    }
}
