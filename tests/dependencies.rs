//! The crates that the program is made of: their licences, and what comes in two versions.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Licences under which the program may be given on; of "A OR B" one is enough, of "A AND B" all are needed.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What may come in two versions, and why.
const TWICE: [(&str, &str); 5] = [
    (
        "cpufeatures",
        "aes and the digests that rsa 0.9 needs, beside rand 0.10",
    ),
    (
        "getrandom",
        "the randomness of rsa 0.9 and of hickory-resolver",
    ),
    ("rand", "the same"),
    ("rand_core", "the same"),
    ("syn", "derive macros, which are no part of the program"),
];

/// Crates of every kind that end in the program on Linux, as cargo resolves them.
fn linked() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let mut reached = BTreeSet::new();
    let mut ahead = vec![metadata["resolve"]["root"].as_str().unwrap()];
    while let Some(id) = ahead.pop() {
        if !reached.insert(id) {
            continue;
        }
        for dependency in list(&nodes[id]["deps"]) {
            // Those of tests and of build scripts stay out of the program.
            if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                ahead.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    list(&metadata["packages"])
        .filter(|package| reached.contains(package["id"].as_str().unwrap()))
        .cloned()
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

/// Whether an expression of SPDX allows it, for the few forms that occur.
fn is_free(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|needed| {
        needed
            .split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn every_licence_lets_the_program_be_given_on() {
    let crates = linked();
    assert!(crates.len() > 100, "only {} crates", crates.len());
    for package in &crates {
        let name = &package["name"];
        let licence = package["license"].as_str();
        assert!(licence.is_some_and(is_free), "{name}: {licence:?}");
        // Nothing but the registry of crates, whose versions cargo's lock file holds to their checksums.
        let source = package["source"].as_str();
        let is_ours = name == env!("CARGO_PKG_NAME");
        assert!(
            is_ours || source.is_some_and(|source| source.starts_with("registry+")),
            "{name}: {source:?}"
        );
    }
    assert!(!is_free("GPL-3.0-only"));
    assert!(!is_free("MIT AND GPL-2.0"));
    assert!(is_free("GPL-2.0 OR MIT"));
}

#[test]
fn no_crate_comes_twice_without_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions
            .entry(text("name"))
            .or_default()
            .insert(text("version"));
    }
    versions.retain(|_, versions| versions.len() > 1);
    let found: Vec<&str> = versions.keys().map(String::as_str).collect();
    let known: Vec<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "{versions:#?}");
}
