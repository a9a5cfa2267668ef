//! The recorded datagrams.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use iax2_natcheck::wire::{
    iax2::{PORT, frame::Frame, ie_value::Ie},
    link::Udp,
    pcap::Reader,
};

/// A line of `tests/data/vectors.txt`.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) datagram: Vec<u8>,
}

/// Every golden vector, in the order of the file.
pub(crate) fn golden() -> Vec<Golden> {
    fs::read_to_string(data("vectors.txt"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let name = columns.next().unwrap().to_owned();
            let datagram = octets(columns.next().unwrap());
            assert!(!columns.next().unwrap().is_empty(), "{name} has no comment");
            Golden { name, datagram }
        })
        .collect()
}

/// The octets of hexadecimal digits, blanks between them left out.
pub(crate) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| *digit != ' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}

/// Every capture file, by its path under `tests/data/captures` without the extension.
pub(crate) fn captures() -> Vec<(String, Vec<u8>)> {
    let root = data("captures");
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "pcap")
            {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                files.push((name.to_str().unwrap().to_owned(), fs::read(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The UDP payloads of a capture that came from or went to the port of IAX2.
pub(crate) fn datagrams(capture: &[u8]) -> Vec<&[u8]> {
    Reader::new(capture)
        .unwrap()
        .filter_map(|packet| {
            let packet = packet.unwrap();
            Udp::read(packet.link, packet.octets).unwrap()
        })
        .filter(|udp| udp.source.port() == PORT || udp.destination.port() == PORT)
        .map(|udp| udp.payload)
        .collect()
}

/// Every different datagram among golden vectors and captures.
pub(crate) fn every_datagram() -> BTreeSet<Vec<u8>> {
    let golden = golden().into_iter().map(|golden| golden.datagram);
    let captures = captures();
    let recorded = captures
        .iter()
        .flat_map(|(_, capture)| datagrams(capture))
        .map(<[u8]>::to_vec);
    golden.chain(recorded).collect()
}

/// Reads a datagram through every accessor, prints all there is, and demands that what was accepted
/// is written back as it came; says whether it was accepted.
pub(crate) fn exercise(datagram: &[u8]) -> bool {
    let frame = match Frame::decode(datagram) {
        Ok(frame) => frame,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert_eq!(frame.to_vec(), datagram);
    assert!(!format!("{frame:?}").is_empty());
    match frame {
        Frame::Full(full) => {
            let printed = format!(
                "{} {} {} {:?} {:?} {:?}",
                full.source,
                full.timestamp,
                full.frame_type,
                full.command().map(|command| command.to_string()),
                full.control().map(|control| control.to_string()),
                full.format().map(|format| format.to_string()),
            );
            assert!(!printed.is_empty());
            let mut elements = 0;
            for raw in full.ies() {
                elements += 2 + raw.data.len();
                assert!(!format!("{:?}", Ie::read(raw)).is_empty());
            }
            let expected = full.command().map_or(0, |_| full.payload.len());
            assert_eq!(elements, expected, "elements do not cover the payload");
        }
        Frame::Trunk(trunk) => {
            let mut entries = trunk.entries();
            let header = if trunk.has_entry_timestamps() { 6 } else { 4 };
            let length: usize = entries
                .by_ref()
                .map(|entry| header + entry.payload.len())
                .sum();
            assert_eq!(length + entries.rest().len(), trunk.body.len());
        }
        Frame::Mini(_) | Frame::Video(_) | Frame::Meta(_) => {}
    }
    true
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}
