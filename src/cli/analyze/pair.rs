//! Captures of both sides of a NAT.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use iax2_natcheck::{
    os::capture_file::{self, CaptureFile},
    report::assemble::Observed,
    trace::{
        mark::Seen,
        pairing::{Matcher, Wire, clock_difference},
        reading::{Got, Losses, Reading},
        traced::{Belongs, Settings},
        tracer::Tracer,
    },
};

use super::{frames, most};
use crate::cli::{
    args::{AnalyzeArgs, Common, Format},
    output,
};

/// So many datagrams of each capture are looked at to reckon out the difference of the clocks.
const SAMPLE: usize = 5000;
/// So many octets of each.
const HEAD: usize = 512;

/// Whether these captures show the same datagrams.
pub(super) fn are_of_one_nat(lan: &Path, wan: &[PathBuf], settings: &Settings) -> Result<bool> {
    if lan == Path::new("-") || wan.iter().any(|file| file == Path::new("-")) {
        return Ok(false);
    }
    let inside = sample(lan, settings)?;
    for file in wan {
        if clock_difference(settings.seed, &inside, &sample(file, settings)?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first datagrams of IAX2 of a capture.
fn sample(file: &Path, settings: &Settings) -> Result<Vec<(Duration, Vec<u8>)>> {
    let mut sample = Vec::new();
    let mut tracer = Tracer::new(settings.clone());
    capture_file::read_all(file, &mut Reading::new(0), |_, got| {
        if let Got::Datagram(seen) = got
            && tracer.handle_input(&seen) != Belongs::Nowhere
        {
            let head = seen.payload.get(..HEAD).unwrap_or(seen.payload);
            sample.push((seen.mark.time(), head.to_vec()));
        }
        sample.len() < SAMPLE
    })?;
    Ok(sample)
}

/// One capture of several that are read side by side.
struct Side {
    wire: Wire,
    file: CaptureFile,
    reading: Reading,
    tracer: Tracer,
    /// What the next packet gives, which was read ahead.
    next: Option<Owned>,
    later: (Duration, bool),
}

/// A datagram that was read ahead.
struct Owned {
    at: Duration,
    mark: iax2_natcheck::trace::mark::Mark,
    source: std::net::SocketAddr,
    destination: std::net::SocketAddr,
    payload: Vec<u8>,
    missing: usize,
}

impl Side {
    /// Reads on to the next datagram of IAX2.
    fn advance(&mut self) -> Result<()> {
        self.next = None;
        while let Some(packet) = self.file.next_packet()? {
            match self.reading.take(&packet) {
                Got::Datagram(seen) => {
                    if self.tracer.handle_input(&seen) == Belongs::Nowhere {
                        continue;
                    }
                    let (later, negative) = self.later;
                    let time = seen.mark.time();
                    self.next = Some(Owned {
                        at: if negative {
                            time + later
                        } else {
                            time.saturating_sub(later)
                        },
                        mark: seen.mark,
                        source: seen.source,
                        destination: seen.destination,
                        payload: seen.payload.to_vec(),
                        missing: seen.missing,
                    });
                    return Ok(());
                }
                Got::Icmp(error, mark) => self.tracer.handle_icmp(&error, mark),
                Got::Nothing => {}
            }
        }
        self.reading
            .note_end(self.file.dropped(), self.file.damaged());
        Ok(())
    }
}

/// Reads all of them side by side.
pub(super) fn observe(
    lan: &Path,
    wan: &[PathBuf],
    args: &AnalyzeArgs,
    settings: &Settings,
    common: &Common,
) -> Result<Observed> {
    let inside = sample(lan, settings)?;
    let mut sides = Vec::new();
    let all = std::iter::once(lan).chain(wan.iter().map(PathBuf::as_path));
    for (place, path) in all.enumerate() {
        let number = u16::try_from(place).unwrap_or(u16::MAX);
        let later = match place {
            0 => None,
            _ => clock_difference(settings.seed, &inside, &sample(path, settings)?),
        };
        let mut side = Side {
            wire: match place {
                0 => Wire::Lan,
                _ => Wire::Wan(number),
            },
            file: CaptureFile::open(path)?,
            reading: Reading::new(number),
            tracer: Tracer::new(settings.clone()),
            next: None,
            later: later.unwrap_or_default(),
        };
        side.advance()?;
        sides.push(side);
    }
    let mut matcher = Matcher::new(settings.seed);
    loop {
        let first = sides
            .iter_mut()
            .filter(|side| side.next.is_some())
            .min_by_key(|side| side.next.as_ref().map(|next| next.at));
        let Some(side) = first else { break };
        if let Some(next) = &side.next {
            let seen = Seen {
                mark: next.mark,
                source: next.source,
                destination: next.destination,
                payload: &next.payload,
                missing: next.missing,
            };
            if let Some(matched) = matcher.handle_input(side.wire, &seen, next.at)
                && args.frames
            {
                let json = common.format() == Format::Json;
                output::print(&frames::translated(&matched, json))?;
            }
        }
        side.advance()?;
    }
    let mut losses = Losses::default();
    let mut traced = None;
    for side in sides {
        losses.add(&side.reading.losses());
        // Registrations and calls are those of the LAN: there every host has its own address.
        traced.get_or_insert_with(|| side.tracer.finish());
    }
    Ok(Observed {
        sources: std::iter::once(lan)
            .chain(wan.iter().map(PathBuf::as_path))
            .map(|file| file.display().to_string())
            .collect(),
        traced: traced.unwrap_or_default(),
        losses,
        pairing: Some(matcher.finish()),
        ladder: None,
        most: most(common),
        interrupted: false,
    })
}
