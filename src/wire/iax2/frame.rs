//! The five kinds of datagram and the full frame's header (RFC 5456 §8.1).

use super::{
    DecodeError,
    command::{Command, Control, FrameType},
    format::Formats,
    ie::Ies,
    trunk::MetaTrunk,
};
use crate::types::{CallNumber, SeqNo, Timestamp};

/// Octets of a full frame's header (RFC 5456 §8.1.1).
pub const FULL_HEADER: usize = 12;
/// Octets of a mini frame's header (RFC 5456 §8.1.2).
pub const MINI_HEADER: usize = 4;
/// Octets of a meta video frame's header (RFC 5456 §8.1.3.1).
pub const VIDEO_HEADER: usize = 6;
/// Octets of a meta trunk frame's header (RFC 5456 §8.1.3.2).
pub const TRUNK_HEADER: usize = 8;

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Reliable: signalling, and media that announces its format.
    Full(FullFrame<'a>),
    /// Audio, unreliable.
    Mini(MiniFrame<'a>),
    /// Video, unreliable.
    Video(MetaVideo<'a>),
    /// Audio of many calls.
    Trunk(MetaTrunk<'a>),
    /// A meta command that is neither: dropped silently by every peer.
    Meta(MetaOther<'a>),
}

impl<'a> Frame<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    ///
    /// Where the datagram is shorter than its header, or an information element exceeds it.
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let &[b0, b1, b2, b3, ref rest @ ..] = datagram else {
            return Err(truncated("a frame", MINI_HEADER, datagram));
        };
        if b0 & 0x80 != 0 {
            return FullFrame::decode(datagram).map(Self::Full);
        }
        if b0 != 0 || b1 != 0 {
            return Ok(Self::Mini(MiniFrame {
                source: CallNumber::from_bits(u16::from_be_bytes([b0, b1])),
                timestamp: u16::from_be_bytes([b2, b3]),
                payload: rest,
            }));
        }
        if b2 & 0x80 != 0 {
            return MetaVideo::decode(datagram).map(Self::Video);
        }
        if b2 == MetaTrunk::COMMAND {
            return MetaTrunk::decode(datagram).map(Self::Trunk);
        }
        Ok(Self::Meta(MetaOther {
            command: b2,
            data: b3,
            payload: rest,
        }))
    }

    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Full(full) => full.encode(out),
            Self::Mini(mini) => mini.encode(out),
            Self::Video(video) => video.encode(out),
            Self::Trunk(trunk) => trunk.encode(out),
            Self::Meta(meta) => {
                out.extend_from_slice(&[0, 0, meta.command & 0x7f, meta.data]);
                out.extend_from_slice(meta.payload);
            }
        }
    }

    /// The datagram by itself.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A full frame (RFC 5456 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullFrame<'a> {
    /// The sender's call number.
    pub source: CallNumber,
    /// The receiver's call number, or [`CallNumber::NONE`].
    pub destination: CallNumber,
    /// The R bit: this frame was sent before.
    pub retransmission: bool,
    /// The sender's clock, or the echo of the receiver's.
    pub timestamp: Timestamp,
    /// The number of this frame in the sender's stream.
    pub oseqno: SeqNo,
    /// The number the sender expects next from the receiver.
    pub iseqno: SeqNo,
    /// What the frame is.
    pub frame_type: FrameType,
    /// What kind of that it is.
    pub subclass: Subclass,
    /// Information elements for IAX frames, else the data. Where the call is encrypted the octets from
    /// offset 4 on are not what they seem.
    pub payload: &'a [u8],
}

impl<'a> FullFrame<'a> {
    /// Reads a full frame; the first octet's top bit is taken for granted.
    #[inline]
    fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((header, payload)) = datagram.split_first_chunk::<FULL_HEADER>() else {
            return Err(truncated("a full frame", FULL_HEADER, datagram));
        };
        let [
            s0,
            s1,
            d0,
            d1,
            t0,
            t1,
            t2,
            t3,
            oseqno,
            iseqno,
            kind,
            subclass,
        ] = *header;
        let destination = u16::from_be_bytes([d0, d1]);
        let frame = Self {
            source: CallNumber::from_bits(u16::from_be_bytes([s0, s1])),
            destination: CallNumber::from_bits(destination),
            retransmission: destination & 0x8000 != 0,
            timestamp: Timestamp::from_millis(u32::from_be_bytes([t0, t1, t2, t3])),
            oseqno: SeqNo::new(oseqno),
            iseqno: SeqNo::new(iseqno),
            frame_type: FrameType::from(kind),
            subclass: Subclass(subclass),
            payload,
        };
        if frame.frame_type == FrameType::Iax {
            Ies::parse(payload, FULL_HEADER)?;
        }
        Ok(frame)
    }

    /// A bare POKE (RFC 5456 §6.7.1).
    #[must_use]
    pub fn poke_from(source: CallNumber, timestamp: Timestamp) -> Self {
        Self {
            source,
            destination: CallNumber::NONE,
            retransmission: false,
            timestamp,
            oseqno: SeqNo::ZERO,
            iseqno: SeqNo::ZERO,
            frame_type: FrameType::Iax,
            subclass: Command::Poke.into(),
            payload: &[],
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let retransmission = if self.retransmission { 0x8000 } else { 0 };
        out.reserve(FULL_HEADER + self.payload.len());
        out.extend_from_slice(&(self.source.get() | 0x8000).to_be_bytes());
        out.extend_from_slice(&(self.destination.get() | retransmission).to_be_bytes());
        out.extend_from_slice(&self.timestamp.millis().to_be_bytes());
        out.extend_from_slice(&[
            self.oseqno.get(),
            self.iseqno.get(),
            self.frame_type.get(),
            self.subclass.raw(),
        ]);
        out.extend_from_slice(self.payload);
    }

    /// What the frame is, without the rest of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        Kind {
            frame_type: self.frame_type,
            subclass: self.subclass,
        }
    }

    /// The command of an IAX frame; `None` for other frames.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        (self.frame_type == FrameType::Iax).then(|| Command::from(self.subclass.raw()))
    }

    /// The control of a control frame; `None` for other frames.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        (self.frame_type == FrameType::Control).then(|| Control::from(self.subclass.raw()))
    }

    /// The format of a voice, video or image frame; `None` for other frames.
    #[must_use]
    pub fn format(&self) -> Option<Formats> {
        self.kind().format()
    }

    /// The elements of an IAX frame, none for other frames. In a frame that was not decoded they end
    /// before the first broken one.
    #[must_use]
    pub fn ies(&self) -> Ies<'a> {
        let elements = if self.frame_type == FrameType::Iax {
            self.payload
        } else {
            &[]
        };
        Ies::trusted(elements)
    }

    /// Whether the frame consumes a sequence number of its sender.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.command()
            .is_none_or(|command| !command.is_unnumbered())
    }
}

/// Type and subclass of a full frame; printed as the field names it: `NEW`, `CONTROL answer`, `VOICE ulaw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The type.
    pub frame_type: FrameType,
    /// The subclass.
    pub subclass: Subclass,
}

impl Kind {
    /// An IAX frame with this command.
    #[must_use]
    pub fn iax(command: Command) -> Self {
        Self {
            frame_type: FrameType::Iax,
            subclass: command.into(),
        }
    }

    /// The format of a voice, video or image frame; `None` for other frames.
    #[must_use]
    pub fn format(self) -> Option<Formats> {
        let subclass = match self.frame_type {
            FrameType::Voice | FrameType::Image => self.subclass,
            // The mark shares the octet with the format (deployed peers; not in the RFC).
            FrameType::Video => Subclass(self.subclass.raw() & !0x40),
            _ => return None,
        };
        subclass.value().map(Formats::from_bits)
    }
}

/// Whom a datagram names, read without looking further: in an encrypted call these octets alone are in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// A full frame's two call numbers.
    Full {
        /// The sender's.
        source: CallNumber,
        /// The receiver's, or [`CallNumber::NONE`].
        destination: CallNumber,
    },
    /// A mini frame's one.
    Mini {
        /// The sender's.
        source: CallNumber,
    },
    /// None: a meta frame.
    Meta,
}

impl Numbers {
    /// The call numbers of a datagram; `None` where it is too short for any frame.
    #[inline]
    #[must_use]
    pub const fn of(datagram: &[u8]) -> Option<Self> {
        let &[b0, b1, b2, b3, ..] = datagram else {
            return None;
        };
        let source = CallNumber::from_bits(u16::from_be_bytes([b0, b1]));
        Some(if b0 & 0x80 != 0 {
            Self::Full {
                source,
                destination: CallNumber::from_bits(u16::from_be_bytes([b2, b3])),
            }
        } else if source.is_none() {
            Self::Meta
        } else {
            Self::Mini { source }
        })
    }
}

/// The last octet of a full frame's header: a value below 128, or a power of two (RFC 5456 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subclass(u8);

impl Subclass {
    /// The subclass with this octet.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        Self(raw)
    }

    /// The octet.
    #[must_use]
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// The shortest form of `value`; `None` where the field cannot hold it.
    #[must_use]
    pub fn from_value(value: u64) -> Option<Self> {
        match u8::try_from(value) {
            Ok(small) if small < 0x80 => Some(Self(small)),
            _ if value.is_power_of_two() => u8::try_from(value.trailing_zeros())
                .ok()
                .map(|power| Self(0x80 | power)),
            _ => None,
        }
    }

    /// The value, or `None` for −1 (0xFF) and powers above 2^63. With the C bit the low bits are a
    /// power of two: the RFC reads seven of them, deployed peers six; every defined format fits both.
    #[must_use]
    pub const fn value(self) -> Option<u64> {
        if self.0 & 0x80 == 0 {
            return Some(self.0 as u64);
        }
        1u64.checked_shl((self.0 & 0x7f) as u32)
    }
}

impl From<Command> for Subclass {
    fn from(command: Command) -> Self {
        Self(command.get())
    }
}

impl From<Control> for Subclass {
    fn from(control: Control) -> Self {
        Self(control.get())
    }
}

/// A mini frame: audio in the format of the sender's last full voice frame (RFC 5456 §8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniFrame<'a> {
    /// The sender's call number, never [`CallNumber::NONE`]: that would make it a meta frame.
    pub source: CallNumber,
    /// The low 16 bits of the sender's clock, in milliseconds.
    pub timestamp: u16,
    /// The audio.
    pub payload: &'a [u8],
}

impl MiniFrame<'_> {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source.get().to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// A meta video frame (RFC 5456 §8.1.3.1). The RFC prints 16 bits of timestamp with an unspecified top
/// bit; deployed peers use 15 and the mark, which we follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaVideo<'a> {
    /// The sender's call number.
    pub source: CallNumber,
    /// The last packet of a picture.
    pub mark: bool,
    /// The low 15 bits of the sender's clock, in milliseconds.
    pub timestamp: u16,
    /// The video.
    pub payload: &'a [u8],
}

impl<'a> MetaVideo<'a> {
    fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let &[_, _, s0, s1, t0, t1, ref payload @ ..] = datagram else {
            return Err(truncated("a meta video frame", VIDEO_HEADER, datagram));
        };
        let timestamp = u16::from_be_bytes([t0, t1]);
        Ok(Self {
            source: CallNumber::from_bits(u16::from_be_bytes([s0, s1])),
            mark: timestamp & 0x8000 != 0,
            timestamp: timestamp & 0x7fff,
            payload,
        })
    }

    /// Appends the frame to `out`; the timestamp's top bit is the mark's.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mark = if self.mark { 0x8000 } else { 0 };
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(self.source.get() | 0x8000).to_be_bytes());
        out.extend_from_slice(&(self.timestamp & 0x7fff | mark).to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// A meta command other than trunk: nobody defines one, and everybody drops it. Four zero octets are
/// one, and harmless to every peer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaOther<'a> {
    /// The command, seven bits, not 1.
    pub command: u8,
    /// The octet after it.
    pub data: u8,
    /// What follows.
    pub payload: &'a [u8],
}

pub(super) const fn truncated(what: &'static str, needed: usize, datagram: &[u8]) -> DecodeError {
    DecodeError::Truncated {
        what,
        needed,
        have: datagram.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subclasses_compress_powers_of_two() {
        // Values as deployed peers send them.
        for (bit, raw) in [
            (2, 0x04),
            (6, 0x40),
            (7, 0x87),
            (8, 0x88),
            (12, 0x8c),
            (34, 0xa2),
        ] {
            let subclass = Subclass::from_value(1 << bit).unwrap();
            assert_eq!(subclass.raw(), raw);
            assert_eq!(subclass.value(), Some(1 << bit));
        }
        assert_eq!(Subclass::from_value(0x81), None);
        assert_eq!(Subclass::from_raw(0xff).value(), None);
    }

    #[test]
    fn video_mark_is_not_part_of_the_format() {
        let frame = FullFrame {
            source: CallNumber::from_bits(2),
            destination: CallNumber::from_bits(3),
            retransmission: false,
            timestamp: Timestamp::ZERO,
            oseqno: SeqNo::ZERO,
            iseqno: SeqNo::ZERO,
            frame_type: FrameType::Video,
            subclass: Subclass::from_raw(0xd5),
            payload: &[],
        };
        assert_eq!(frame.format(), Some(Formats::from_bits(1 << 21)));
    }

    #[test]
    fn four_zero_octets_are_an_empty_meta_frame() {
        let frame = Frame::decode(&[0; 4]).unwrap();
        assert_eq!(
            frame,
            Frame::Meta(MetaOther {
                command: 0,
                data: 0,
                payload: &[]
            })
        );
        assert_eq!(frame.to_vec(), [0; 4]);
    }
}
