//! One line for people: what a frame is.

use std::fmt;

use super::{
    DecodeError,
    command::{Command, Control, FrameType, Html},
    frame::{Frame, FullFrame, Kind},
    ie_value::{DateTime, Ie, read_sockaddr},
};

/// Shows a datagram in one line: call numbers, clock, sequence numbers, kind, elements. The secret of a
/// PASSWORD element is not shown.
#[derive(Clone, Copy)]
pub struct Show<'a>(pub &'a [u8]);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Frame::decode(self.0) {
            Ok(frame) => show(&frame, f),
            Err(error) => broken(self.0, error, f),
        }
    }
}

fn broken(datagram: &[u8], error: DecodeError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{} octets, not IAX2: {error}", datagram.len())
}

fn show(frame: &Frame<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match frame {
        Frame::Full(full) => show_full(full, f),
        Frame::Mini(mini) => write!(
            f,
            "audio from {}, {} ms, {} octets",
            mini.source,
            mini.timestamp,
            mini.payload.len()
        ),
        Frame::Video(video) => write!(
            f,
            "video from {}, {} ms, {} octets{}",
            video.source,
            video.timestamp,
            video.payload.len(),
            if video.mark { ", mark" } else { "" }
        ),
        Frame::Trunk(trunk) => write!(
            f,
            "trunk, {}, {} entries{}",
            trunk.timestamp,
            trunk.entries().count(),
            if trunk.has_entry_timestamps() {
                " with timestamps"
            } else {
                ""
            }
        ),
        Frame::Meta(meta) => {
            write!(
                f,
                "meta command {}, {} octets",
                meta.command,
                meta.payload.len()
            )
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.subclass.raw();
        match self.frame_type {
            FrameType::Iax => write!(f, "{}", Command::from(raw)),
            FrameType::Control => write!(f, "CONTROL {}", Control::from(raw)),
            FrameType::DtmfBegin | FrameType::DtmfEnd => {
                write!(
                    f,
                    "{} {}",
                    self.frame_type,
                    char::from(raw).escape_default()
                )
            }
            FrameType::Html => write!(f, "HTML {}", Html::from(raw)),
            FrameType::Voice | FrameType::Video | FrameType::Image => match self.format() {
                Some(format) => write!(f, "{} {format}", self.frame_type),
                None => write!(f, "{}", self.frame_type),
            },
            FrameType::Null
            | FrameType::Text
            | FrameType::ComfortNoise
            | FrameType::Modem
            | FrameType::Unknown(_) => write!(f, "{} {raw}", self.frame_type),
        }
    }
}

fn show_full(frame: &FullFrame<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}", frame.kind())?;
    write!(
        f,
        " {}→{} {} o{} i{}",
        frame.source, frame.destination, frame.timestamp, frame.oseqno, frame.iseqno
    )?;
    if frame.retransmission {
        f.write_str(" again")?;
    }
    for ie in frame.ies().map(Ie::read) {
        f.write_str(" · ")?;
        show_ie(&ie, f)?;
    }
    if frame.frame_type != FrameType::Iax && !frame.payload.is_empty() {
        write!(f, " · {} octets", frame.payload.len())?;
    }
    Ok(())
}

fn show_ie(ie: &Ie<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = super::ie::IeId::from(ie.id());
    match ie {
        Ie::Password(_) => write!(f, "{name} (not shown)"),
        Ie::ApparentAddr(octets) => match read_sockaddr(octets) {
            Some(address) => write!(f, "{name} {address}"),
            None => write!(f, "{name} {octets:02x?}"),
        },
        Ie::CallToken([]) => write!(f, "{name} (empty)"),
        Ie::CallToken(octets) | Ie::Challenge(octets) | Ie::OspToken(octets) => {
            write!(f, "{name} {}", super::ie_value::Text(octets))
        }
        Ie::CalledNumber(text)
        | Ie::CallingNumber(text)
        | Ie::CallingAni(text)
        | Ie::CallingName(text)
        | Ie::CalledContext(text)
        | Ie::Username(text)
        | Ie::Language(text)
        | Ie::Dnid(text)
        | Ie::Md5Result(text)
        | Ie::RsaResult(text)
        | Ie::Cause(text)
        | Ie::Rdnis(text)
        | Ie::CodecPrefs(text)
        | Ie::Variable(text) => write!(f, "{name} {text}"),
        Ie::Refresh(value) | Ie::AuthMethods(value) | Ie::Version(value) => {
            write!(f, "{name} {value}")
        }
        Ie::CauseCode(code) => write!(f, "{name} {code} ({})", super::cause::Cause::from(*code)),
        Ie::DateTime(packed) => {
            let DateTime {
                year,
                month,
                day,
                hour,
                minute,
                second,
            } = DateTime::unpack(*packed);
            write!(
                f,
                "{name} {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
            )
        }
        Ie::Probe(octets) => write!(f, "{name} {} octets", octets.len()),
        other => {
            // The derived form of an element without one of its own, without its variant's name.
            let debug = format!("{other:?}");
            let value = debug
                .split_once('(')
                .map_or("", |(_, rest)| rest.trim_end_matches(')'));
            write!(f, "{name} {value}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_golden_registration() {
        let request = b"\xa6\xe2\0\0\0\0\0\x04\0\0\x06\x0d\x06\x05alice\x13\x02\0\x3c\x36\0";
        assert_eq!(
            Show(request).to_string(),
            "REGREQ 9954→0 4 o0 i0 · USERNAME alice · REFRESH 60 · CALLTOKEN (empty)"
        );
        assert_eq!(
            Show(&[0x80]).to_string(),
            "1 octets, not IAX2: a frame needs 4 octets, the datagram has 1"
        );
        let stop_tones = b"\xbf\x27\x0b\xb9\0\0\0\x15\x03\x02\x04\xff";
        assert_eq!(
            Show(stop_tones).to_string(),
            "CONTROL stop tones 16167→3001 21 o3 i2"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let request = b"\xa6\xe2\0\0\0\0\0\x04\0\0\x06\x0d\x07\x06s3cret";
        assert!(!Show(request).to_string().contains("s3cret"));
    }
}
