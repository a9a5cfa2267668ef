//! The rules of the house, enforced by reading the source: floors, purity, length and form.

#![allow(unreachable_pub, reason = "a test crate exports nothing")]

#[path = "floors/rules.rs"]
mod rules;
#[path = "floors/scan.rs"]
mod scan;

use std::{fs, path::Path};

use rules::Source;

#[test]
fn the_project_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "only {} files found", files.len());
    let violations = rules::violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Reads every `.rs` file below `folder`, in a fixed order.
fn collect(root: &Path, folder: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return; // the project has no such folder
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(root, &path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path.strip_prefix(root).unwrap_or(&path);
            files.push(Source {
                path: inside.to_string_lossy().into_owned(),
                text: fs::read_to_string(&path)
                    .unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            });
        }
    }
}

/// What the rules find in one file that has a module doc.
fn found(path: &str, body: &str) -> Vec<String> {
    found_all(&[(path, body)])
}

fn found_all(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, body)| Source {
            path: (*path).to_owned(),
            text: format!("//! A file.\n{body}\n"),
        })
        .collect();
    rules::violations(&files)
}

/// Asserts that `body` breaks one rule, on the line after the module doc, with `word` in the message.
#[track_caller]
fn breaks(path: &str, body: &str, word: &str) {
    let found = found(path, body);
    assert_eq!(found.len(), 1, "{body:?}: {found:?}");
    assert!(found[0].starts_with(&format!("{path}:2: ")), "{found:?}");
    assert!(found[0].contains(word), "{word:?} is not in {found:?}");
}

/// Asserts that `body` breaks no rule.
#[track_caller]
fn keeps(path: &str, body: &str) {
    let found = found(path, body);
    assert!(found.is_empty(), "{body:?}: {found:?}");
}

#[test]
fn a_file_uses_its_own_floor_and_those_below() {
    keeps(
        "src/check/audio.rs",
        "use crate::{guard::policy, probe::{a, b}, types};",
    );
    keeps(
        "src/main.rs",
        "use iax2_natcheck::cli; fn main() { iax2_natcheck::net::drive(); }",
    );
    keeps(
        "src/lib.rs",
        "pub mod cli; pub mod wire; use crate::cli::Exit;",
    );
    keeps(
        "src/wire/iax2/frame.rs",
        "use super::super::stun; use super::ie; use self::x::y;",
    );
    keeps(
        "src/wire/iax2.rs",
        "mod inner { use super::super::stun; use super::ie; }",
    );

    breaks(
        "src/wire/iax2.rs",
        "use crate::proto::contract;",
        "proto on floor 1",
    );
    breaks(
        "src/wire/iax2.rs",
        "use crate::{types, net::{self, udp}};",
        "net on floor 3",
    );
    breaks(
        "src/wire/iax2.rs",
        "use super::super::cli;",
        "cli on floor 6",
    );
    breaks(
        "src/wire/iax2.rs",
        "mod a { use super::super::super::cli; }",
        "cli on floor 6",
    );
    breaks("src/types.rs", "use super::proto;", "proto on floor 1");
    breaks(
        "src/probe.rs",
        "fn f(x: &crate::net::Udp) {}",
        "net on floor 3",
    );
    breaks(
        "src/probe.rs",
        "fn f() { crate::lab::up(); }",
        "lab on floor 3",
    );
    breaks(
        "src/probe.rs",
        "macro_rules! m { () => { $crate::check::x() } }",
        "check on floor 4",
    );
    breaks(
        "src/net/udp.rs",
        "use crate::check as judge;",
        "check on floor 4",
    );
    breaks("src/report.rs", "use iax2_natcheck::cli;", "cli on floor 6");
    breaks("src/report.rs", "use crate::*;", "name the modules");
    breaks(
        "src/report.rs",
        "use crate::Timeout;",
        "Timeout at the root",
    );
    let found = found("src/utils.rs", "");
    assert!(found[0].contains("utils has no floor"), "{found:?}");
}

#[test]
fn pure_floors_bring_nothing_in() {
    for (body, word) in [
        ("fn f() { let t = Instant::now(); }", "Instant::now"),
        (
            "fn f() { let t = std::time::SystemTime::now(); }",
            "SystemTime::now",
        ),
        ("fn f(t: Instant) { t.elapsed(); }", ".elapsed()"),
        ("use tokio::time;", "tokio"),
        ("use std::{collections::BTreeMap, fs};", "std::fs"),
        ("use std::{net::{IpAddr, UdpSocket}};", "UdpSocket"),
        ("fn f() { std::env::var(\"HOME\"); }", "std::env"),
        ("use std::thread;", "std::thread"),
        ("use std::process::Command;", "std::process"),
        ("fn f() { rand::rng(); }", "rand::rng"),
        ("async fn f() {}", "async"),
        ("static mut COUNT: u32 = 0;", "static"),
        ("static COUNT: AtomicU32 = AtomicU32::new(0);", "static"),
        ("fn f() { println!(\"x\"); }", "println!"),
        ("thread_local! { static X: u8 = 0; }", "thread_local!"),
    ] {
        for pure in [
            "types.rs",
            "wire/a.rs",
            "proto.rs",
            "probe/a.rs",
            "trace.rs",
            "check.rs",
            "guard.rs",
        ] {
            breaks(&format!("src/{pure}"), body, word);
        }
        for other in [
            "net/a.rs",
            "os.rs",
            "lab.rs",
            "report.rs",
            "config.rs",
            "cli.rs",
            "main.rs",
        ] {
            keeps(&format!("src/{other}"), body);
        }
    }
    for body in [
        "fn f(now: Instant, elapsed: Duration) { x.elapsed; from_elapsed(now); }",
        "static NAMES: [&str; 2] = [\"static mut\", \"tokio::spawn\"];",
        "static TABLE: LazyLock<Table> = LazyLock::new(Table::parse);",
        "fn f() { include_str!(\"x\"); env!(\"CARGO_PKG_VERSION\"); writeln!(f); }",
        "use std::net::{IpAddr, SocketAddr}; use rand::RngCore;",
    ] {
        keeps("src/proto.rs", body);
    }
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    for body in [
        "// Instant::now()",
        "/// use crate::cli::x;\nfn f() {}",
        "/* tokio /* std::fs */ println!() */",
        "fn f() { \"Instant::now() \\\" tokio\"; }",
        "fn f() { r#\"crate::cli \" tokio::x\"#; br##\"tokio\"# \"##; }",
        "fn f<'a>(c: char) { c == '\"'; c == '\\''; c == '\\\\'; \"tokio\"; }",
        "#[cfg(test)]\nmod tests {\n use crate::cli; fn f() { Instant::now(); }\n}",
        "#[cfg(test)]\n#[allow(x)]\nfn f<A, B>(a: [A; 2]) -> B { tokio::spawn() }",
        "#[cfg(test)] use crate::{cli, net};",
        "#[test] fn f() { Instant::now(); }",
    ] {
        keeps("src/proto.rs", body);
    }
    // What stands beside such things still counts.
    let beside = [
        "fn f() { \"a\\\\\"; Instant::now(); }",
        "fn f<'a>(c: &'a str) { Instant::now(); }",
        "#[cfg(test)] mod tests { fn f() {} } fn g() { Instant::now(); }",
        "#[cfg(test)] use crate::{cli, net}; fn g() { Instant::now(); }",
        "#[cfg(not(test))] fn g() { Instant::now(); }",
        "/* a */ fn g() { '\"'; Instant::now(); '\"'; }",
        "fn g() { r\"\\\"; Instant::now(); }",
    ];
    for body in beside {
        breaks("src/proto.rs", body, "Instant::now");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_a_test() {
    let clock = "fn f() { Instant::now(); }";
    let parent = "#[cfg(test)]\nmod tests;\nmod real;";
    let files = [
        ("src/proto/call.rs", parent),
        ("src/proto/call/tests.rs", clock),
        ("src/proto/call/tests/more.rs", clock),
        ("src/proto/call/real.rs", clock),
    ];
    let found = found_all(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("src/proto/call/real.rs:2:"),
        "{found:?}"
    );
}

#[test]
fn form_is_enforced_everywhere() {
    let long = "\n".repeat(600);
    for folder in ["src/net", "tests", "examples"] {
        let path = format!("{folder}/a.rs");
        let found = found(&path, &long);
        assert!(
            found.len() == 1 && found[0].contains("split it"),
            "{found:?}"
        );
        keeps(&path, &long[2..]);

        breaks(&path, concat!("// TO", "DO: more"), "finish it");
        breaks(&path, concat!("fn f() { \"FIX", "ME\" }"), "finish it");
        keeps(&path, concat!("// TO", "DOWN"));

        breaks(&path, "#[ignore] fn f() {}", "say why");
        breaks(&path, "#[ignore = \" \"] fn f() {}", "say why");
        keeps(&path, "#[ignore = \"needs root\"] fn f() {}");
    }
    let found = found("src/net/mod.rs", "");
    assert!(
        found.len() == 1 && found[0].contains("name it"),
        "{found:?}"
    );

    let bare = Source {
        path: "src/net/a.rs".to_owned(),
        text: "use std::fs;\n".to_owned(),
    };
    let found = rules::violations(&[bare]);
    assert!(found.len() == 1 && found[0].contains("//!"), "{found:?}");
}
