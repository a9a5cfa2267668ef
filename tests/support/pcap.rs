//! Writes UDP datagrams into a capture file that other tools read.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

/// Every packet begins with its IP header (the LINKTYPE registry's `LINKTYPE_RAW`).
const LINKTYPE_RAW: u32 = 101;
/// The protocol number of UDP.
const UDP: u8 = 17;

/// A classic pcap file in the making: little-endian, microseconds.
pub struct Capture {
    bytes: Vec<u8>,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl Capture {
    /// A capture without packets.
    pub fn new() -> Self {
        let mut bytes = Vec::new();
        bytes.extend(0xa1b2_c3d4_u32.to_le_bytes()); // magic: microseconds
        bytes.extend([2, 0, 4, 0]); // version 2.4
        bytes.extend([0; 8]); // time zone, accuracy: both unused
        bytes.extend(65_535_u32.to_le_bytes()); // the longest packet
        bytes.extend(LINKTYPE_RAW.to_le_bytes());
        Self { bytes }
    }

    /// Adds one datagram seen `at` after the epoch; both addresses are of one family.
    pub fn push(&mut self, at: Duration, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        let packet = ip_packet(source, destination, data);
        let length = u32::try_from(packet.len()).unwrap();
        self.bytes
            .extend(u32::try_from(at.as_secs()).unwrap().to_le_bytes());
        self.bytes.extend(at.subsec_micros().to_le_bytes());
        self.bytes.extend(length.to_le_bytes()); // captured
        self.bytes.extend(length.to_le_bytes()); // on the wire
        self.bytes.extend(packet);
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// As [`fs::write`].
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, &self.bytes)
    }
}

fn ip_packet(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    let mut udp = Vec::new();
    udp.extend(source.port().to_be_bytes());
    udp.extend(destination.port().to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(data);

    let (mut packet, mut pseudo) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0x45, 0]; // version 4, five words
            header.extend((20 + length).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]); // don't fragment, TTL 64
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            (header, [from.octets(), to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0]; // version 6
            header.extend(length.to_be_bytes());
            header.extend([UDP, 64]);
            header.extend(from.octets());
            header.extend(to.octets());
            (header, [from.octets(), to.octets()].concat())
        }
        _ => panic!("{source} and {destination} are of two families"),
    };
    pseudo.extend([0, UDP]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&udp);
    let sum = match checksum(&pseudo) {
        0 => 0xffff, // zero means "no checksum" (RFC 768)
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
