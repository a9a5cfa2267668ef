//! Packets from a capture file that is there in part: whoever reads it hands over what there is, and is told how
//! much was used or is still needed.

use std::time::Duration;

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::{CaptureError, FILE_HEADER, Packet, pcapng::Section};
use crate::wire::link::LinkType;

/// Octets of a packet's header.
const PACKET_HEADER: usize = 16;
/// Octets of a packet's header in the variant with interface and protocol.
const MODIFIED_HEADER: usize = 24;
/// No packet is captured with more octets: larger lengths are damage.
pub(super) const LONGEST: u32 = 0x0010_0000;
/// What a section header block of pcapng begins with.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Reads a capture file from its beginning to its end, as it streams in.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    format: Format,
    offset: u64,
    packets: u64,
}

#[derive(Clone, Debug, Default)]
enum Format {
    #[default]
    Unknown,
    Pcap(Classic),
    PcapNg(Section),
}

/// What the classic file's header says, ready for use.
#[derive(Clone, Copy, Debug)]
struct Classic {
    link: LinkType,
    big_endian: bool,
    nanoseconds: bool,
    header: usize,
}

/// What the octets at the present place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A packet, which took so many octets.
    Packet(usize, Packet<'a>),
    /// Something else that is so many octets long; they may not be there yet.
    Skip(u64),
    /// So many octets are needed to go on, and fewer are there.
    Need(usize),
}

impl Decoder {
    /// Stands at the beginning of a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets read so far.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// What the packets of a classic file begin with; `None` for pcapng, where each packet says it.
    #[must_use]
    pub const fn link(&self) -> Option<LinkType> {
        match &self.format {
            Format::Pcap(classic) => Some(classic.link),
            Format::Unknown | Format::PcapNg(_) => None,
        }
    }

    /// Packets that the capturing host says it lost; `None` where the file does not tell.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        match &self.format {
            Format::PcapNg(section) => section.dropped(),
            Format::Unknown | Format::Pcap(_) => None,
        }
    }

    /// Reads what `octets` begin with. After [`Step::Packet`] and [`Step::Skip`] the next call takes what
    /// follows; after [`Step::Need`] the same octets and more.
    ///
    /// # Errors
    ///
    /// Where this is no capture, or a damaged one; nothing more can be read then.
    #[inline]
    pub fn step<'a>(&mut self, octets: &'a [u8]) -> Result<Step<'a>, CaptureError> {
        let step = match &mut self.format {
            Format::Pcap(classic) => classic.packet(octets, self.offset, self.packets + 1)?,
            Format::PcapNg(section) => section.block(octets, self.offset, self.packets + 1)?,
            Format::Unknown => self.begin(octets)?,
        };
        match step {
            Step::Packet(length, _) => {
                self.packets += 1;
                self.offset += length as u64;
            }
            Step::Skip(length) => self.offset = self.offset.saturating_add(length),
            Step::Need(_) => {}
        }
        Ok(step)
    }

    /// The error about a file that ends where `step` needs more than `rest`.
    #[must_use]
    pub fn cut(&mut self, rest: &[u8]) -> CaptureError {
        let needed = match self.step(rest) {
            Ok(Step::Need(needed)) => needed,
            Ok(Step::Packet(length, _)) => length,
            Ok(Step::Skip(length)) => usize::try_from(length).unwrap_or(usize::MAX),
            Err(error) => return error,
        };
        match self.format {
            Format::Unknown => CaptureError::FileHeader {
                needed,
                have: rest.len(),
            },
            Format::Pcap(_) | Format::PcapNg(_) => CaptureError::Packet {
                number: self.packets + 1,
                offset: self.offset,
                needed,
                have: rest.len(),
            },
        }
    }

    fn begin<'a>(&mut self, octets: &'a [u8]) -> Result<Step<'a>, CaptureError> {
        let Some(magic) = octets.first_chunk::<4>() else {
            return Ok(Step::Need(4));
        };
        if *magic == PCAPNG {
            self.format = Format::PcapNg(Section::default());
            return Ok(Step::Skip(0));
        }
        match parse_pcap_header(octets) {
            Ok((_, header)) => {
                self.format = Format::Pcap(Classic::new(&header));
                Ok(Step::Skip(FILE_HEADER as u64))
            }
            Err(error) if error.is_incomplete() => Ok(Step::Need(FILE_HEADER)),
            Err(_) => Err(CaptureError::NotPcap(*magic)),
        }
    }
}

impl Classic {
    fn new(header: &PcapHeader) -> Self {
        Self {
            // The upper bits tell whether and how packets end in a check sequence.
            link: LinkType::from_raw(header.network.0.cast_unsigned() & 0x03ff_ffff),
            big_endian: header.is_bigendian(),
            nanoseconds: header.is_nanosecond_precision(),
            header: if header.is_modified_format() {
                MODIFIED_HEADER
            } else {
                PACKET_HEADER
            },
        }
    }

    #[inline]
    fn packet<'a>(
        &self,
        octets: &'a [u8],
        offset: u64,
        number: u64,
    ) -> Result<Step<'a>, CaptureError> {
        let Some((header, rest)) = octets.split_at_checked(self.header) else {
            return Ok(Step::Need(self.header));
        };
        let word = |at: usize| {
            let field = header.get(at..).and_then(<[u8]>::first_chunk::<4>);
            let field = field.copied().unwrap_or_default();
            if self.big_endian {
                u32::from_be_bytes(field)
            } else {
                u32::from_le_bytes(field)
            }
        };
        let captured = word(8);
        if captured > LONGEST {
            return Err(CaptureError::Length {
                number,
                offset,
                claimed: captured,
            });
        }
        let needed = self.header + captured as usize;
        let Some(data) = rest.get(..captured as usize) else {
            return Ok(Step::Need(needed));
        };
        let fraction = u64::from(word(4));
        let time = Duration::from_secs(word(0).into())
            + if self.nanoseconds {
                Duration::from_nanos(fraction)
            } else {
                Duration::from_micros(fraction)
            };
        let packet = Packet {
            time,
            link: self.link,
            interface: 0,
            length: word(12) as usize,
            octets: data,
        };
        Ok(Step::Packet(needed, packet))
    }
}
