//! The corpus of the fuzzer, replayed: every input that once was of interest, and every beginning of each.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on fails

#[path = "../fuzz/bodies.rs"]
mod bodies;
#[path = "../fuzz/texts.rs"]
mod texts;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::StdRng};

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

/// Goes on from the corpus by chance: octets flipped, set, cut, doubled and taken from other inputs; for the time
/// in `IAX2_FUZZ_SECONDS`, 20 s unless given. A failure names the input, so that it can join the corpus.
fn mutate(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let corpus: Vec<Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| fs::read(entry.path()).unwrap())
        .collect();
    let seconds = std::env::var("IAX2_FUZZ_SECONDS").map_or(20, |told| told.parse().unwrap());
    let mut rng: StdRng = rand::make_rng();
    let began = Instant::now();
    let mut runs = 0_u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut octets = corpus[rng.random_range(0..corpus.len())].clone();
        for _ in 0..rng.random_range(1..8) {
            mutation(&mut octets, &corpus, &mut rng);
        }
        let kept = octets.clone();
        let ended = std::panic::catch_unwind(|| target(&octets));
        assert!(ended.is_ok(), "{name} fails on {kept:02x?}");
        runs += 1;
    }
    eprintln!("{name}: {runs} inputs in {seconds} s");
    assert!(runs > 0);
}

fn mutation(octets: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut StdRng) {
    let at = rng.random_range(0..=octets.len());
    match rng.random_range(0..6) {
        0 => octets.truncate(at),
        1 => {
            let other = &corpus[rng.random_range(0..corpus.len())];
            let from = rng.random_range(0..=other.len());
            octets.truncate(at);
            octets.extend_from_slice(&other[from..]);
        }
        2 => {
            let length = rng.random_range(0..=(octets.len() - at).min(64));
            let piece = octets[at..at + length].to_vec();
            octets.splice(at..at, piece);
        }
        kind => {
            if let Some(octet) = octets.get_mut(at) {
                *octet = match kind {
                    3 => *octet ^ 1 << rng.random_range(0..8),
                    4 => [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
                    _ => rng.random(),
                };
            }
        }
    }
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_accounts() {
    mutate("accounts", texts::accounts);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_captures() {
    mutate("captures", bodies::captures);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_configuration() {
    mutate("configuration", texts::configuration);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_console() {
    mutate("console", texts::console);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_frames() {
    mutate("frames", bodies::frames);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_machines() {
    mutate("machines", bodies::machines);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_manager() {
    mutate("manager", texts::manager);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_port_mapping() {
    mutate("port_mapping", texts::port_mapping);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_reports() {
    mutate("reports", texts::reports);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_rules() {
    mutate("rules", texts::rules);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_scripts() {
    mutate("scripts", texts::scripts);
}

#[test]
#[ignore = "takes IAX2_FUZZ_SECONDS, 20 s unless given"]
fn full_mutations_of_stun() {
    mutate("stun", bodies::stun);
}

#[test]
fn the_corpus_of_accounts() {
    replay("accounts", texts::accounts);
}

#[test]
fn the_corpus_of_captures() {
    replay("captures", bodies::captures);
}

#[test]
fn the_corpus_of_configuration() {
    replay("configuration", texts::configuration);
}

#[test]
fn the_corpus_of_console() {
    replay("console", texts::console);
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
fn the_corpus_of_manager() {
    replay("manager", texts::manager);
}

#[test]
fn the_corpus_of_port_mapping() {
    replay("port_mapping", texts::port_mapping);
}

#[test]
fn the_corpus_of_reports() {
    replay("reports", texts::reports);
}

#[test]
fn the_corpus_of_rules() {
    replay("rules", texts::rules);
}

#[test]
fn the_corpus_of_scripts() {
    replay("scripts", texts::scripts);
}

#[test]
fn the_corpus_of_stun() {
    replay("stun", bodies::stun);
}
