//! Capture files as they lie on disk or come through a pipe: read piece by piece, unpacked where they are packed.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::{
    trace::reading::{Got, Reading},
    wire::pcap::{CaptureError, Decoder, Packet, Step},
};

/// Octets read at a time.
const PIECE: usize = 256 * 1024;
/// What a gzip file begins with (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a capture file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureFileError {
    /// The file cannot be opened or read.
    #[error("{} cannot be read ({why}); name a capture file that you may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The file is no capture.
    #[error(
        "{} is no capture: {why}; give a file that tcpdump -w or dumpcap wrote (pcap or pcapng, gzip or \
         not)",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        why: CaptureError,
    },
}

/// A capture file that is open.
pub struct CaptureFile {
    path: PathBuf,
    source: Box<dyn Read>,
    decoder: Decoder,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    over: bool,
    /// Why it ended before its end.
    damaged: Option<String>,
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Opens a capture file; `-` is stdin.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureFileError> {
        let unreadable = |why| CaptureFileError::Read {
            path: path.to_owned(),
            why,
        };
        let mut file: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let file = File::open(path).map_err(unreadable)?;
            if file.metadata().map_err(unreadable)?.is_dir() {
                return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            Box::new(file)
        };
        let mut head = Vec::with_capacity(2);
        file.by_ref()
            .take(2)
            .read_to_end(&mut head)
            .map_err(unreadable)?;
        let packed = head == GZIP;
        let whole = io::Cursor::new(head).chain(file);
        let source: Box<dyn Read> = if packed {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, whole)))
        } else {
            Box::new(whole)
        };
        let mut capture = Self {
            path: path.to_owned(),
            source,
            decoder: Decoder::new(),
            buffer: vec![0; PIECE],
            begin: 0,
            end: 0,
            over: false,
            damaged: None,
        };
        capture.begin()?;
        Ok(capture)
    }

    /// Reads the file's header.
    fn begin(&mut self) -> Result<(), CaptureFileError> {
        loop {
            let octets = self.buffer.get(self.begin..self.end).unwrap_or_default();
            let format = |why| CaptureFileError::Format {
                path: self.path.clone(),
                why,
            };
            match self.decoder.step(octets).map_err(format)? {
                Step::Skip(length) => return self.skip(length),
                Step::Need(_) if self.over => {
                    let why = self.decoder.cut(octets);
                    return Err(CaptureFileError::Format {
                        path: self.path.clone(),
                        why,
                    });
                }
                Step::Need(needed) => self.fill(needed)?,
                Step::Packet(..) => return Ok(()),
            }
        }
    }

    /// The next packet; `None` at the end, and where the file is damaged, which [`CaptureFile::damaged`] tells.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    #[inline]
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureFileError> {
        loop {
            let octets = self.buffer.get(self.begin..self.end).unwrap_or_default();
            if octets.is_empty() {
                if self.over || self.damaged.is_some() {
                    return Ok(None);
                }
                self.fill(1)?;
                if self.begin == self.end {
                    return Ok(None);
                }
                continue;
            }
            let step = self.decoder.step(octets);
            match step {
                Ok(Step::Packet(length, found)) => {
                    let (link, time) = (found.link, found.time);
                    let (interface, whole) = (found.interface, found.length);
                    // The packet's octets end where it does, but for what a block of pcapng has behind them.
                    let behind = octets_behind(octets, found.octets);
                    let from = self.begin + behind;
                    let to = from + found.octets.len();
                    self.begin += length;
                    return Ok(Some(Packet {
                        time,
                        link,
                        interface,
                        length: whole,
                        octets: self.buffer.get(from..to).unwrap_or_default(),
                    }));
                }
                Ok(Step::Skip(length)) => self.skip(length)?,
                Ok(Step::Need(needed)) => {
                    if self.over {
                        self.end_with(None);
                        return Ok(None);
                    }
                    self.fill(needed)?;
                }
                Err(error) => {
                    self.end_with(Some(error));
                    return Ok(None);
                }
            }
        }
    }

    /// Why the file ended before its end.
    #[must_use]
    pub fn damaged(&self) -> Option<&str> {
        self.damaged.as_deref()
    }

    /// Packets that the capturing host says it lost.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.decoder.dropped()
    }

    fn end_with(&mut self, error: Option<CaptureError>) {
        let octets = self.buffer.get(self.begin..self.end).unwrap_or_default();
        let error = error.unwrap_or_else(|| self.decoder.cut(octets));
        if self.damaged.is_none() {
            self.damaged = Some(error.to_string());
        }
        self.begin = self.end;
        self.over = true;
    }

    /// Leaves out so many octets, which may not be there yet.
    fn skip(&mut self, length: u64) -> Result<(), CaptureFileError> {
        let mut left = length;
        loop {
            let there = self.end - self.begin;
            match usize::try_from(left) {
                Ok(left) if left <= there => {
                    self.begin += left;
                    return Ok(());
                }
                _ => {
                    left -= there as u64;
                    self.begin = self.end;
                    if self.over {
                        return Ok(());
                    }
                    self.fill(1)?;
                }
            }
        }
    }

    /// Reads on until so many octets are there, or the file ends.
    fn fill(&mut self, needed: usize) -> Result<(), CaptureFileError> {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.buffer.len() < needed {
            self.buffer.resize(needed.next_multiple_of(PIECE), 0);
        }
        while self.end < needed && !self.over {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => self.over = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A packed file that was cut has given all that it holds.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
                    ) || error.kind() == io::ErrorKind::InvalidData =>
                {
                    self.damaged = Some(format!("the packed file is damaged ({error})"));
                    self.over = true;
                }
                Err(why) => {
                    return Err(CaptureFileError::Read {
                        path: self.path.clone(),
                        why,
                    });
                }
            }
        }
        Ok(())
    }
}

/// How many octets stand before `part` in `whole`, which contains it.
fn octets_behind(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// Reads a whole capture, and hands over what each packet gives; `true` goes on.
///
/// # Errors
///
/// Where the file cannot be read, or is no capture.
pub fn read_all(
    path: &Path,
    reading: &mut Reading,
    mut take: impl FnMut(&Packet<'_>, Got<'_>) -> bool,
) -> Result<(), CaptureFileError> {
    let mut file = CaptureFile::open(path)?;
    while let Some(packet) = file.next_packet()? {
        if !take(&packet, reading.take(&packet)) {
            break;
        }
    }
    reading.note_end(file.dropped(), file.damaged());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::wire::{
        link::LinkType,
        pcap::{write_header, write_packet},
    };

    fn capture(packets: u32) -> Vec<u8> {
        let mut octets = Vec::new();
        write_header(LinkType::Raw, &mut octets);
        for number in 0..packets {
            let data = vec![7; 50 + number as usize % 1000];
            write_packet(Duration::from_secs(number.into()), &data, &mut octets);
        }
        octets
    }

    fn read(octets: &[u8]) -> (u64, Option<String>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(octets).unwrap();
        let mut reading = Reading::new(0);
        read_all(file.path(), &mut reading, |_, _| true).unwrap();
        let losses = reading.losses();
        (losses.packets, losses.damaged)
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole_packed_or_not() {
        let octets = capture(3000);
        assert!(octets.len() > 4 * PIECE);
        assert_eq!(read(&octets), (3000, None));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&octets).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(read(&packed), (3000, None));
        let (packets, damaged) = read(&packed[..packed.len() / 2]);
        assert!(packets > 0 && packets < 3000, "{packets}");
        assert!(damaged.unwrap().contains("packed file is damaged"));
    }

    #[test]
    fn a_cut_file_gives_what_it_holds_and_says_so() {
        let octets = capture(10);
        let (packets, damaged) = read(&octets[..octets.len() - 1]);
        assert_eq!(packets, 9);
        assert!(damaged.unwrap().starts_with("packet 10 at offset "));
    }

    #[test]
    fn what_is_no_capture_is_refused_in_a_sentence() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"From: alice\n").unwrap();
        let error = CaptureFile::open(file.path()).unwrap_err().to_string();
        assert!(
            error.contains("is no capture: the file begins with"),
            "{error}"
        );
        assert!(CaptureFile::open(Path::new("/nonexistent")).is_err());
        assert!(CaptureFile::open(Path::new("/")).is_err());
        let empty = tempfile::NamedTempFile::new().unwrap();
        let error = CaptureFile::open(empty.path()).unwrap_err().to_string();
        assert!(error.contains("needs 4 octets, the file has 0"), "{error}");
    }
}
