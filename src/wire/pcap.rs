//! Capture files: pcap in every variant of it, and pcapng, read whole or as they stream in; classic pcap is
//! written.

mod decoder;
mod pcapng;

use std::time::Duration;

use super::link::LinkType;

pub use decoder::{Decoder, Step};

/// Octets of the classic file's header.
const FILE_HEADER: usize = 24;
/// The most octets of a packet that [`write_packet`] keeps: what capture programs use.
const SNAP_LENGTH: usize = 262_144;
/// The magic number of files whose times are in nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Why octets are not a capture. Offsets are in octets from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The file begins with something else.
    #[error("the file begins with {0:02x?}, which is neither pcap nor pcapng")]
    NotPcap([u8; 4]),
    /// The file ends inside its own header.
    #[error("the capture file's header needs {needed} octets, the file has {have}")]
    FileHeader {
        /// Octets it needs.
        needed: usize,
        /// Octets there are.
        have: usize,
    },
    /// The file ends inside a packet: it was cut, or the length is wrong.
    #[error(
        "packet {number} at offset {offset} needs {needed} octets, {have} are left in the file"
    )]
    Packet {
        /// Which packet, from 1.
        number: u64,
        /// Where its header begins.
        offset: u64,
        /// Octets of its header and data, or of its header alone where that is cut.
        needed: usize,
        /// Octets left.
        have: usize,
    },
    /// A packet claims a length that no packet has: the file is damaged there.
    #[error("packet {number} at offset {offset} claims {claimed} octets, which no packet has")]
    Length {
        /// Which packet, from 1.
        number: u64,
        /// Where its header begins.
        offset: u64,
        /// Octets it claims.
        claimed: u32,
    },
    /// A block of a pcapng file contradicts itself.
    #[error("the pcapng block at offset {offset} is damaged: {what}")]
    Block {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured, since 1970-01-01T00:00:00Z as the capturing host knew it.
    pub time: Duration,
    /// What the octets begin with.
    pub link: LinkType,
    /// The interface of a pcapng file it was captured on; 0 in other files.
    pub interface: u32,
    /// Octets the packet had on the link; the capture may hold fewer.
    pub length: usize,
    /// The octets captured.
    pub octets: &'a [u8],
}

/// Walks the packets of a capture that is there as a whole. An error is the last item.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    decoder: Decoder,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// Reads the header of a capture file: either order of octets, microseconds or nanoseconds.
    ///
    /// # Errors
    ///
    /// Where the file is no capture, or is shorter than the header of one.
    pub fn new(file: &'a [u8]) -> Result<Self, CaptureError> {
        let mut decoder = Decoder::new();
        let rest = match decoder.step(file)? {
            Step::Skip(length) => rest_behind(file, length),
            Step::Need(_) | Step::Packet(..) => return Err(decoder.cut(file)),
        };
        Ok(Self {
            rest,
            decoder,
            failed: false,
        })
    }

    /// What the packets of a classic file begin with; in a pcapng file each packet says it.
    #[must_use]
    pub fn link(&self) -> Option<LinkType> {
        self.decoder.link()
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Packet<'a>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && !self.rest.is_empty() {
            match self.decoder.step(self.rest) {
                Ok(Step::Packet(length, packet)) => {
                    self.rest = self.rest.get(length..).unwrap_or_default();
                    return Some(Ok(packet));
                }
                Ok(Step::Skip(length)) => self.rest = rest_behind(self.rest, length),
                Ok(Step::Need(_)) => {
                    self.failed = true;
                    return Some(Err(self.decoder.cut(self.rest)));
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// What follows the first `length` octets.
fn rest_behind(octets: &[u8], length: u64) -> &[u8] {
    usize::try_from(length)
        .ok()
        .and_then(|length| octets.get(length..))
        .unwrap_or_default()
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
            interface: 0,
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
            CaptureError::FileHeader {
                needed: 24,
                have: 23
            }
        );
        assert_eq!(
            Reader::new(&[]).unwrap_err(),
            CaptureError::FileHeader { needed: 4, have: 0 }
        );
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(
            Reader::new(b"RIFF....").unwrap_err().to_string(),
            "the file begins with [52, 49, 46, 46], which is neither pcap nor pcapng"
        );
    }

    #[test]
    fn a_length_that_lies_is_named() {
        let mut file = Vec::new();
        write_header(LinkType::Raw, &mut file);
        write_packet(Duration::ZERO, &[1, 2, 3], &mut file);
        file[32..36].fill(0xff);
        let error = Reader::new(&file).unwrap().next().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "packet 1 at offset 24 claims 4294967295 octets, which no packet has"
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
