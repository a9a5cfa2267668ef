//! Captures read by the library, as the command does.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, path::Path, path::PathBuf};

use iax2_natcheck::{
    check::{Judgement, passive},
    os::capture_file,
    trace::{
        reading::{Got, Losses, Reading},
        traced::{Limits, Settings, Traced},
        tracer::Tracer,
    },
};

/// What is told to the tracer of a test.
pub(crate) fn settings() -> Settings {
    Settings {
        seed: [1, 2],
        ports: vec![],
        secret: None,
        limits: Limits::default(),
    }
}

/// Reads a capture.
pub(crate) fn traced(path: &Path, settings: Settings) -> (Traced, Losses) {
    let mut tracer = Tracer::new(settings);
    let mut reading = Reading::new(0);
    capture_file::read_all(path, &mut reading, |_, got| {
        match got {
            Got::Datagram(seen) => {
                tracer.handle_input(&seen);
            }
            Got::Icmp(error, mark) => tracer.handle_icmp(&error, mark),
            Got::Nothing => {}
        }
        true
    })
    .unwrap();
    (tracer.finish(), reading.losses())
}

/// Reads and judges a capture.
pub(crate) fn judged(path: &Path) -> (Traced, Judgement) {
    let (traced, _) = traced(path, settings());
    let judgement = passive::judge(&traced, None);
    (traced, judgement)
}

/// All captures that are kept, by their names without the ending.
pub(crate) fn captures() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let mut found = Vec::new();
    for folder in ["", "ast16", "ast22"] {
        for entry in fs::read_dir(root.join(folder)).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "pcap") {
                let name = path.with_extension("");
                let name = name.strip_prefix(&root).unwrap();
                found.push((name.display().to_string(), path));
            }
        }
    }
    found.sort();
    found
}
