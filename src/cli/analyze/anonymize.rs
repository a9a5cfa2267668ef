//! `--anonymize`: the capture without people, for somebody else to look at.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    os::capture_file,
    trace::{
        anonymous::Anonymizer,
        reading::{Got, Reading},
        traced::Belongs,
        tracer::Tracer,
    },
    wire::{
        ip_packet,
        link::LinkType,
        pcap::{write_header, write_packet},
    },
};

use super::settings;
use crate::cli::{args::AnalyzeArgs, output};

/// Writes the IAX2 of these captures, and ICMP errors about it, without people.
pub(super) fn run(files: &[PathBuf], target: &Path, args: &AnalyzeArgs) -> Result<u8> {
    let [file] = files else {
        bail!("--anonymize takes one capture at a time; give each a file of its own");
    };
    let same = fs::canonicalize(target)
        .ok()
        .zip(fs::canonicalize(file).ok());
    if same.is_some_and(|(target, file)| target == file) {
        bail!(
            "{} is the capture itself; give --anonymize another file",
            target.display()
        );
    }
    let mut tracer = Tracer::new(settings(args)?);
    let mut reading = Reading::new(0);
    let mut anonymizer = Anonymizer::new(rand::random());
    let unwritable = || {
        format!(
            "{} cannot be written; give --anonymize a file in a directory that you may write to",
            target.display()
        )
    };
    // Nothing is written before the capture can be read.
    drop(capture_file::CaptureFile::open(file)?);
    let mut out = BufWriter::new(File::create(target).with_context(unwritable)?);
    let mut octets = Vec::new();
    write_header(LinkType::Raw, &mut octets);
    out.write_all(&octets).with_context(unwritable)?;
    let mut written = 0_u64;
    let mut left_out = 0_u64;
    let mut failed = None;
    capture_file::read_all(file, &mut reading, |_, got| {
        let (time, packet) = match got {
            Got::Datagram(seen) if tracer.handle_input(&seen) != Belongs::Nowhere => {
                let source = anonymizer.address(seen.source);
                let destination = anonymizer.address(seen.destination);
                let payload = anonymizer.datagram(seen.payload);
                (
                    seen.mark.time(),
                    ip_packet::udp(source, destination, &payload),
                )
            }
            Got::Icmp(error, mark) => {
                let source = anonymizer.address(error.quoted.source);
                let destination = anonymizer.address(error.quoted.destination);
                let (from, to) = (anonymizer.host(error.from), anonymizer.host(error.to));
                let packet = ip_packet::udp(source, destination, &[]).and_then(|quoted| {
                    ip_packet::icmp_error(from, to, error.kind, error.code, &quoted)
                });
                (mark.time(), packet)
            }
            Got::Datagram(_) | Got::Nothing => {
                left_out += 1;
                return true;
            }
        };
        let Some(packet) = packet else {
            left_out += 1;
            return true;
        };
        octets.clear();
        write_packet(time, &packet, &mut octets);
        written += 1;
        failed = out.write_all(&octets).err();
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error).with_context(unwritable);
    }
    out.flush().with_context(unwritable)?;
    output::print(&format!(
        "{} holds {written} packets without names, numbers, addresses and audio; {left_out} others were \
         left out\n",
        target.display()
    ))?;
    Ok(0)
}
