//! A capture file in the making that does not grow without end: full, it takes a number, and the oldest goes.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::wire::{
    link::LinkType,
    pcap::{Packet, write_header, write_packet},
};

/// Octets of one file.
const FULL: u64 = 100_000_000;
/// Files besides the one that is written.
const KEPT: u32 = 9;

/// The ring.
#[derive(Debug)]
pub struct CaptureRing {
    path: PathBuf,
    link: LinkType,
    file: BufWriter<File>,
    written: u64,
    full: u64,
    packet: Vec<u8>,
}

impl CaptureRing {
    /// Begins the file; one of this name is replaced.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn create(path: &Path, link: LinkType) -> io::Result<Self> {
        let mut ring = Self {
            path: path.to_owned(),
            link,
            file: BufWriter::new(File::create(path)?),
            written: 0,
            full: FULL,
            packet: Vec::new(),
        };
        ring.begin()?;
        Ok(ring)
    }

    /// Writes a packet.
    ///
    /// # Errors
    ///
    /// Where the disk is full, or the file cannot be renamed.
    pub fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        self.packet.clear();
        write_packet(packet.time, packet.octets, &mut self.packet);
        if self.written + self.packet.len() as u64 > self.full {
            self.turn()?;
        }
        self.written += self.packet.len() as u64;
        self.file.write_all(&self.packet)
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    ///
    /// Where the disk is full.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut header = Vec::new();
        write_header(self.link, &mut header);
        self.written = header.len() as u64;
        self.file.write_all(&header)
    }

    /// The full file becomes FILE.1, FILE.1 becomes FILE.2, and so on.
    fn turn(&mut self) -> io::Result<()> {
        self.file.flush()?;
        for number in (1..KEPT).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        self.file = BufWriter::new(File::create(&self.path)?);
        self.begin()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::pcap::Reader;

    #[test]
    fn the_oldest_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.pcap");
        let mut ring = CaptureRing::create(&path, LinkType::Raw).unwrap();
        ring.full = 60;
        for number in 0..20_u8 {
            let packet = Packet {
                time: Duration::from_secs(number.into()),
                link: LinkType::Raw,
                interface: 0,
                length: 1,
                octets: &[number],
            };
            ring.write(&packet).unwrap();
        }
        ring.finish().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 10);
        let numbers = |path: &Path| -> Vec<u8> {
            let file = fs::read(path).unwrap();
            Reader::new(&file)
                .unwrap()
                .map(|packet| packet.unwrap().octets[0])
                .collect()
        };
        assert_eq!(numbers(&path), [18, 19]);
        assert_eq!(numbers(&folder.path().join("wire.pcap.1")), [16, 17]);
        assert_eq!(numbers(&folder.path().join("wire.pcap.9")), [0, 1]);
    }
}
