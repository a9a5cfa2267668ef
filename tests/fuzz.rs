//! The corpus of the fuzzer, replayed: every input that once was of interest, and every beginning of each.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on fails

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::{fs, path::Path};

/// Runs a target on its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        let octets = fs::read(entry.path()).unwrap();
        target(&octets);
        // Cut at the begin, where headers are, every way; farther on here and there.
        for length in (0..octets.len()).filter(|at| *at < 64 || at.is_multiple_of(41)) {
            target(octets.get(..length).unwrap());
        }
        inputs += 1;
    }
    assert!(inputs >= 5, "{} has {inputs} inputs", folder.display());
}

#[test]
fn the_corpus_of_captures() {
    replay("captures", bodies::captures);
}

#[test]
fn the_corpus_of_frames() {
    replay("frames", bodies::frames);
}

#[test]
fn the_corpus_of_machines() {
    replay("machines", bodies::machines);
}

#[test]
fn the_corpus_of_stun() {
    replay("stun", bodies::stun);
}
