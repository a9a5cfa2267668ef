//! Capture files in the classic pcap format: reading every variant of it, writing one.

use std::time::Duration;

use pcap_parser::{
    PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use super::link::LinkType;

/// Octets of the file's header.
const FILE_HEADER: usize = 24;
/// Octets of a packet's header.
const PACKET_HEADER: usize = 16;
/// Octets of a packet's header in the variant with interface and protocol.
const MODIFIED_HEADER: usize = 24;
/// The most octets of a packet that [`write_packet`] keeps: what capture programs use.
const SNAP_LENGTH: usize = 262_144;
/// The magic number of files whose times are in nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Why octets are not a capture. Offsets are in octets from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The file begins with something else.
    #[error("the file begins with {0:02x?}, which is no classic pcap file (pcapng is not read)")]
    NotPcap([u8; 4]),
    /// The file ends inside its own header.
    #[error("the pcap file's header needs {FILE_HEADER} octets, the file has {have}")]
    FileHeader {
        /// Octets there are.
        have: usize,
    },
    /// The file ends inside a packet: it was cut, or the length is wrong.
    #[error(
        "packet {number} at offset {offset} needs {needed} octets, {have} are left in the file"
    )]
    Packet {
        /// Which packet, from 1.
        number: usize,
        /// Where its header begins.
        offset: usize,
        /// Octets of its header and data, or of its header alone where that is cut.
        needed: usize,
        /// Octets left.
        have: usize,
    },
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured, since 1970-01-01T00:00:00Z as the capturing host knew it.
    pub time: Duration,
    /// What the octets begin with.
    pub link: LinkType,
    /// Octets the packet had on the link; the capture may hold fewer.
    pub length: usize,
    /// The octets captured.
    pub octets: &'a [u8],
}

/// Walks the packets of a capture. An error is the last item.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    header: PcapHeader,
    offset: usize,
    number: usize,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// Reads the header of a capture file: either order of octets, microseconds or nanoseconds.
    ///
    /// # Errors
    ///
    /// Where the file is no classic pcap file, or is shorter than the header of one.
    pub fn new(file: &'a [u8]) -> Result<Self, CaptureError> {
        match parse_pcap_header(file) {
            Ok((rest, header)) => Ok(Self {
                rest,
                header,
                offset: FILE_HEADER,
                number: 0,
                failed: false,
            }),
            Err(nom_error) => Err(match file.first_chunk() {
                Some(magic) if !nom_error.is_incomplete() => CaptureError::NotPcap(*magic),
                _ => CaptureError::FileHeader { have: file.len() },
            }),
        }
    }

    /// What the packets begin with.
    #[must_use]
    pub const fn link(&self) -> LinkType {
        // The upper bits tell whether and how packets end in a check sequence.
        LinkType::from_raw(self.header.network.0.cast_unsigned() & 0x03ff_ffff)
    }

    fn time(&self, seconds: u32, fraction: u32) -> Duration {
        let fraction = u64::from(fraction);
        Duration::from_secs(seconds.into())
            + if self.header.is_nanosecond_precision() {
                Duration::from_nanos(fraction)
            } else {
                Duration::from_micros(fraction)
            }
    }

    /// The error about the packet that `rest` begins with and does not hold.
    fn cut(&self) -> CaptureError {
        let header = if self.header.is_modified_format() {
            MODIFIED_HEADER
        } else {
            PACKET_HEADER
        };
        let captured = self
            .rest
            .get(8..12)
            .filter(|_| self.rest.len() >= header)
            .and_then(|field| field.try_into().ok())
            .map_or(0, |field| {
                if self.header.is_bigendian() {
                    u32::from_be_bytes(field)
                } else {
                    u32::from_le_bytes(field)
                }
            });
        CaptureError::Packet {
            number: self.number,
            offset: self.offset,
            needed: header.saturating_add(captured as usize),
            have: self.rest.len(),
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Packet<'a>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let parsed = if self.header.is_modified_format() {
            parse_pcap_frame_modified(self.rest)
        } else if self.header.is_bigendian() {
            parse_pcap_frame_be(self.rest)
        } else {
            parse_pcap_frame(self.rest)
        };
        let Ok((rest, block)) = parsed else {
            self.failed = true;
            return Some(Err(self.cut()));
        };
        self.offset += self.rest.len() - rest.len();
        self.rest = rest;
        Some(Ok(Packet {
            time: self.time(block.ts_sec, block.ts_usec),
            link: self.link(),
            length: block.origlen as usize,
            octets: block.data,
        }))
    }
}

/// Appends the header of a capture file whose packets begin as `link` says.
pub fn write_header(link: LinkType, out: &mut Vec<u8>) {
    const VERSION: [u16; 2] = [2, 4];
    out.extend_from_slice(&NANOSECONDS.to_le_bytes());
    out.extend(VERSION.iter().flat_map(|part| part.to_le_bytes()));
    // The time zone and its accuracy, which nobody uses.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&field(SNAP_LENGTH).to_le_bytes());
    out.extend_from_slice(&link.get().to_le_bytes());
}

/// Appends a packet that was captured `time` after 1970-01-01T00:00:00Z; the seconds wrap at 2^32, and
/// octets from 262144 on are left out, both as the format has it.
#[allow(clippy::cast_possible_truncation)] // the width of the field
pub fn write_packet(time: Duration, octets: &[u8], out: &mut Vec<u8>) {
    let captured = octets.get(..SNAP_LENGTH).unwrap_or(octets);
    for value in [
        time.as_secs() as u32,
        time.subsec_nanos(),
        field(captured.len()),
        field(octets.len()),
    ] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(captured);
}

/// A length as the format holds it.
fn field(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One packet of two octets, one of which was captured, at 1.5 s, in every variant.
    #[test]
    fn every_variant_is_read() {
        let expected = Packet {
            time: Duration::from_millis(1500),
            link: LinkType::Ethernet,
            length: 2,
            octets: &[0xaa],
        };
        for (magic, fraction) in [(0xa1b2_c3d4, 500_000), (NANOSECONDS, 500_000_000)] {
            let words = [magic, 0, 0, 0, 0, 1, 1, fraction, 1, 2];
            for file in [
                words.map(u32::to_le_bytes).concat(),
                words.map(u32::to_be_bytes).concat(),
            ] {
                let file = [file, vec![0xaa]].concat();
                let packets: Vec<_> = Reader::new(&file).unwrap().collect();
                assert_eq!(packets, [Ok(expected)]);
            }
        }
        let modified = [0xa1b2_cd34, 0, 0, 0, 0, 1, 1, 500_000, 1, 2, 7, 7u32];
        let file = [modified.map(u32::to_le_bytes).concat(), vec![0xaa]].concat();
        assert_eq!(Reader::new(&file).unwrap().next(), Some(Ok(expected)));
    }

    #[test]
    fn a_cut_file_says_where() {
        let mut file = Vec::new();
        write_header(LinkType::Raw, &mut file);
        write_packet(Duration::ZERO, &[1, 2, 3], &mut file);
        write_packet(Duration::ZERO, &[4, 5, 6], &mut file);
        file.pop();
        let mut reader = Reader::new(&file).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().octets, [1, 2, 3]);
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "packet 2 at offset 43 needs 19 octets, 18 are left in the file"
        );
        assert_eq!(reader.next(), None);
        let error = Reader::new(&file[..50])
            .unwrap()
            .nth(1)
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "packet 2 at offset 43 needs 16 octets, 7 are left in the file"
        );
        assert_eq!(
            Reader::new(&file[..23]).unwrap_err(),
            CaptureError::FileHeader { have: 23 }
        );
        assert_eq!(
            Reader::new(&[]).unwrap_err(),
            CaptureError::FileHeader { have: 0 }
        );
    }

    #[test]
    fn other_files_are_refused() {
        let pcapng = [0x0a, 0x0d, 0x0d, 0x0a, 0x1c, 0, 0, 0];
        assert_eq!(
            Reader::new(&pcapng).unwrap_err().to_string(),
            "the file begins with [0a, 0d, 0d, 0a], which is no classic pcap file (pcapng is not read)"
        );
    }

    #[test]
    fn long_packets_are_cut_as_the_format_has_it() {
        let mut file = Vec::new();
        write_header(LinkType::Raw, &mut file);
        write_packet(Duration::ZERO, &vec![0; SNAP_LENGTH + 1], &mut file);
        let packet = Reader::new(&file).unwrap().next().unwrap().unwrap();
        assert_eq!(packet.octets.len(), SNAP_LENGTH);
        assert_eq!(packet.length, SNAP_LENGTH + 1);
    }
}
