//! The blocks of pcapng (draft-ietf-opsawg-pcapng). Blocks with options are read by `pcap-parser`; those that
//! hold packets are read here, as they come by the million and their options are of no use.

use std::{collections::BTreeMap, time::Duration};

use pcap_parser::{
    InterfaceDescriptionBlock, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_interfacestatisticsblock_be,
    parse_interfacestatisticsblock_le,
};

use super::{CaptureError, Packet, Step, decoder::LONGEST};
use crate::wire::link::LinkType;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// The byte-order magic of a section in the order in which it is written.
const ORDER: u32 = 0x1a2b_3c4d;
/// Octets around the body of a block: its type, and its length twice.
const FRAME: usize = 12;
/// Blocks other than those of packets are read up to this length; longer ones are passed over.
const LONGEST_BLOCK: u32 = 0x0010_0000;
/// A file with more interfaces is damaged, or means harm.
const MOST_INTERFACES: usize = 65_536;

/// A section of a pcapng file: everything up to the next section header.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    big_endian: bool,
    begun: bool,
    interfaces: Vec<Interface>,
    /// Packets lost at each interface, and those of sections before.
    dropped: BTreeMap<u32, u64>,
    dropped_before: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// Units a second.
    resolution: u64,
    /// Seconds to add.
    offset: i64,
    snap: u32,
}

impl Section {
    /// Packets that were lost while this was captured.
    pub(super) fn dropped(&self) -> Option<u64> {
        let here = (!self.dropped.is_empty()).then(|| self.dropped.values().sum::<u64>());
        match (here, self.dropped_before) {
            (None, None) => None,
            (here, before) => Some(here.unwrap_or(0).saturating_add(before.unwrap_or(0))),
        }
    }

    /// Reads one block.
    #[inline]
    pub(super) fn block<'a>(
        &mut self,
        octets: &'a [u8],
        offset: u64,
        number: u64,
    ) -> Result<Step<'a>, CaptureError> {
        let damaged = |what| CaptureError::Block { offset, what };
        let Some(&[kind, length]) = words(octets, 0) else {
            return Ok(Step::Need(8));
        };
        if u32::from_le_bytes(kind) == SECTION_HEADER {
            return self.begin(octets, length, offset);
        }
        if !self.begun {
            return Err(damaged("it stands before the section header"));
        }
        let length = self.word(length);
        let whole = length as usize;
        if whole < FRAME || !whole.is_multiple_of(4) {
            return Err(damaged("its length is no length of a block"));
        }
        let kind = self.word(kind);
        let is_packet = matches!(kind, PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        let is_read = is_packet || matches!(kind, INTERFACE | STATISTICS);
        if !is_read || (!is_packet && length > LONGEST_BLOCK) {
            return Ok(Step::Skip(length.into()));
        }
        if length > LONGEST + LONGEST_BLOCK {
            return Err(CaptureError::Length {
                number,
                offset,
                claimed: length,
            });
        }
        let Some(block) = octets.get(..whole) else {
            return Ok(Step::Need(whole));
        };
        let body = block.get(8..whole - 4).unwrap_or_default();
        match kind {
            INTERFACE => self.interface(block, offset)?,
            STATISTICS => self.statistics(block),
            _ => {
                let packet = self.packet(kind, body).ok_or_else(|| {
                    damaged("its packet exceeds it, or belongs to no interface of the section")
                })?;
                return Ok(Step::Packet(whole, packet));
            }
        }
        Ok(Step::Skip(whole as u64))
    }

    fn begin<'a>(
        &mut self,
        octets: &'a [u8],
        length: [u8; 4],
        offset: u64,
    ) -> Result<Step<'a>, CaptureError> {
        const MINIMUM: usize = 28;
        let damaged = |what| CaptureError::Block { offset, what };
        let Some(&[order]) = words(octets, 8) else {
            return Ok(Step::Need(MINIMUM));
        };
        let big_endian = match (u32::from_le_bytes(order), u32::from_be_bytes(order)) {
            (ORDER, _) => false,
            (_, ORDER) => true,
            _ => return Err(damaged("its byte-order magic is unknown")),
        };
        let dropped_before = self.dropped();
        *self = Self {
            big_endian,
            begun: true,
            dropped_before,
            ..Self::default()
        };
        let length = self.word(length);
        if (length as usize) < MINIMUM || !length.is_multiple_of(4) {
            return Err(damaged("its length is no length of a section header"));
        }
        Ok(Step::Skip(length.into()))
    }

    fn interface(&mut self, block: &[u8], offset: u64) -> Result<(), CaptureError> {
        let damaged = |what| CaptureError::Block { offset, what };
        let parsed = if self.big_endian {
            parse_interfacedescriptionblock_be(block)
        } else {
            parse_interfacedescriptionblock_le(block)
        };
        let (_, described): (_, InterfaceDescriptionBlock<'_>) =
            parsed.map_err(|_| damaged("it describes no interface"))?;
        if self.interfaces.len() >= MOST_INTERFACES {
            return Err(damaged("it is one interface too many"));
        }
        self.interfaces.push(Interface {
            link: LinkType::from_raw(described.linktype.0.cast_unsigned()),
            resolution: resolution(described.if_tsresol),
            offset: described.ts_offset(),
            snap: described.snaplen,
        });
        Ok(())
    }

    /// The last statistics of an interface count.
    fn statistics(&mut self, block: &[u8]) {
        let parsed = if self.big_endian {
            parse_interfacestatisticsblock_be(block)
        } else {
            parse_interfacestatisticsblock_le(block)
        };
        if let Ok((_, told)) = parsed
            && let Some(Ok(dropped)) = told.isb_ifdrop()
            && (told.if_id as usize) < self.interfaces.len()
        {
            self.dropped.insert(told.if_id, dropped);
        }
    }

    fn packet<'a>(&self, kind: u32, body: &'a [u8]) -> Option<Packet<'a>> {
        if kind == SIMPLE_PACKET {
            let [length] = *words(body, 0)?;
            let length = self.word(length) as usize;
            let interface = self.interfaces.first()?;
            let snap = match interface.snap {
                0 => length,
                snap => length.min(snap as usize),
            };
            return Some(Packet {
                time: Duration::ZERO,
                link: interface.link,
                interface: 0,
                length,
                octets: body.get(4..)?.get(..snap)?,
            });
        }
        let [first, high, low, captured, length] = *words(body, 0)?;
        let number = match kind {
            // The old packet block: interface and drops share the word.
            PACKET if self.big_endian => self.word(first) >> 16,
            PACKET => self.word(first) & 0xffff,
            _ => self.word(first),
        };
        let interface = self.interfaces.get(number as usize)?;
        let units = u64::from(self.word(high)) << 32 | u64::from(self.word(low));
        Some(Packet {
            time: interface.time(units),
            link: interface.link,
            interface: number,
            length: self.word(length) as usize,
            octets: body.get(20..)?.get(..self.word(captured) as usize)?,
        })
    }

    const fn word(&self, octets: [u8; 4]) -> u32 {
        if self.big_endian {
            u32::from_be_bytes(octets)
        } else {
            u32::from_le_bytes(octets)
        }
    }
}

impl Interface {
    fn time(&self, units: u64) -> Duration {
        let time = match self.resolution {
            1_000_000 => Duration::from_micros(units),
            1_000_000_000 => Duration::from_nanos(units),
            resolution => {
                let seconds = units / resolution;
                let rest = u128::from(units % resolution) * 1_000_000_000 / u128::from(resolution);
                Duration::from_secs(seconds)
                    + Duration::from_nanos(u64::try_from(rest).unwrap_or(0))
            }
        };
        let shift = Duration::from_secs(self.offset.unsigned_abs());
        if self.offset < 0 {
            time.saturating_sub(shift)
        } else {
            time.saturating_add(shift)
        }
    }
}

/// Units a second: a power of ten, or of two where the top bit is set; microseconds where it fits neither.
fn resolution(told: u8) -> u64 {
    let power = u32::from(told & 0x7f);
    let units = if told & 0x80 == 0 {
        10_u64.checked_pow(power)
    } else {
        1_u64.checked_shl(power)
    };
    units.unwrap_or(1_000_000)
}

/// Words of four octets from `at` on.
fn words<const N: usize>(octets: &[u8], at: usize) -> Option<&[[u8; 4]; N]> {
    let (words, _) = octets.get(at..)?.as_chunks::<4>();
    words.first_chunk::<N>()
}
