//! What the documents promise is there: every command, file and finding of the README, its report,
//! the unit of systemd and the manual.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use assert_cmd::cargo::cargo_bin;
use iax2_natcheck::{
    check::FindingId,
    proto::switchboard::{EXTENSIONS, fault::FAULTS},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The contents of the blocks of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = vec![];
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word == language, String::new())),
            (Some(_), Some(_)) => {
                let (wanted, block) = open.take().unwrap();
                if wanted {
                    blocks.push(block);
                }
            }
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The commands of the README, a line each, without what they are redirected to.
fn commands() -> Vec<Vec<String>> {
    let text = blocks(&read("README.md"), "console")
        .concat()
        .replace("\\\n", " ");
    text.lines()
        .map(|line| {
            let command = line
                .strip_prefix("$ ")
                .unwrap_or_else(|| panic!("no command: {line}"));
            let command = command.split(" > ").next().unwrap();
            command.split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

/// The arguments, where the command is ours.
fn ours(command: &[String]) -> Option<&[String]> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["iax2-natcheck", ..] => command.get(1..),
        ["cargo", "run", "--", ..] => command.get(3..),
        ["cargo", "run", "--release", "--", ..] => command.get(4..),
        _ => None,
    }
}

fn run(arguments: &[String], folder: &Path) -> Output {
    Command::new(cargo_bin!("iax2-natcheck"))
        .args(arguments)
        .env_remove("IAX2_SECRET")
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Whether the command line knows everything that stands before `--help`.
fn is_known(arguments: &[String]) -> Result<(), String> {
    let mut arguments = arguments.to_vec();
    arguments.push("--help".into());
    let output = run(&arguments, root());
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_command_is_one_of_ours_or_of_a_short_list() {
    let mut known = 0;
    for command in commands() {
        if let Some(arguments) = ours(&command) {
            is_known(arguments).unwrap_or_else(|error| panic!("{command:?}: {error}"));
            known += 1;
            continue;
        }
        let line = command.join(" ");
        let first = command.first().unwrap();
        if let Some(example) = line.strip_prefix("cargo run --example ") {
            let name = example.split(' ').next().unwrap();
            assert!(
                root().join(format!("examples/{name}.rs")).exists(),
                "{line}"
            );
        } else if first == "cargo" {
            let verbs = ["test", "doc", "install"];
            assert!(verbs.contains(&command[1].as_str()), "{line}");
        } else {
            let others = ["tests/all", "install", "systemctl", "head"];
            assert!(others.contains(&first.as_str()), "{line}");
        }
    }
    assert!(known > 15, "{known}");

    for line in [
        "guard",
        "check host --secret x",
        "demo --list --sockets 3",
        "serve --bind here",
    ] {
        assert!(is_known(&words(line)).is_err(), "{line}");
    }
}

#[test]
fn the_commands_that_need_no_network_work() {
    let folder = tempfile::tempdir().unwrap();
    let report = root().join("tests/data/reports/linux-defaults.json");
    fs::copy(report, folder.path().join("report.json")).unwrap();
    let mut ran = vec![];
    for command in commands() {
        let Some(arguments) = ours(&command) else {
            continue;
        };
        let line = arguments.join(" ");
        let status = match arguments.first().map(String::as_str) {
            Some("report") => 2,
            Some("man" | "completions" | "devices") => 0,
            Some("demo") if line == "demo --list" => 0,
            _ => continue,
        };
        let output = run(arguments, folder.path());
        assert_eq!(output.status.code(), Some(status), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        ran.push(line);
    }
    assert_eq!(ran.len(), 8, "{ran:?}");
}

#[test]
fn scenarios_that_are_named_exist() {
    let list = run(&words("demo --list"), root());
    let list = String::from_utf8(list.stdout).unwrap();
    for command in commands() {
        if let Some([demo, name]) = ours(&command)
            && demo == "demo"
            && !name.starts_with('-')
        {
            assert!(
                list.lines().any(|line| line.starts_with(name.as_str())),
                "{name}"
            );
        }
    }
    let count = list.lines().count();
    let numbers = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    assert!(
        read("CHANGELOG.md").contains(&format!("{} networks", numbers[count])),
        "the changelog does not say that demo has {count} networks"
    );
}

#[test]
fn the_report_of_the_readme_is_a_real_one() {
    let report = run(
        &words("report tests/data/reports/linux-defaults.json"),
        root(),
    );
    let report = String::from_utf8(report.stdout).unwrap();
    let shown = blocks(&read("README.md"), "text").remove(0);
    let mut rest = report.as_str();
    for (index, piece) in shown.split("[…]\n").enumerate() {
        let at = rest
            .find(piece)
            .unwrap_or_else(|| panic!("not in the report:\n{piece}\nwhich goes on:\n{rest}"));
        assert!(index > 0 || at == 0, "the report begins otherwise");
        rest = &rest[at + piece.len()..];
    }
    assert_eq!(rest, "", "the end is missing");
}

#[test]
fn files_that_are_named_exist() {
    let readme = read("README.md");
    let linked: Vec<&str> = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("https://"))
        .collect();
    assert!(linked.len() > 3, "{linked:?}");
    for target in linked {
        if let Some(anchor) = target.strip_prefix('#') {
            let heading = anchor.replace('-', " ");
            let headings = readme.lines().filter_map(|line| line.split_once("# "));
            assert!(
                headings
                    .into_iter()
                    .any(|(_, text)| text.to_lowercase() == heading),
                "{target}"
            );
        } else {
            assert!(root().join(target).exists(), "{target}");
        }
    }
    for command in commands() {
        for word in &command {
            let inside = ["examples/", "systemd/", "tests/", "man/"];
            if inside.iter().any(|folder| word.starts_with(folder)) {
                assert!(root().join(word).exists(), "{word}");
            }
        }
    }
}

#[test]
fn every_finding_is_explained() {
    let readme = read("README.md");
    for id in FindingId::ALL {
        assert!(readme.contains(&format!("| `{id}` |")), "{id}");
        assert!(read("CHANGELOG.md").contains(&format!("`{id}`")), "{id}");
    }
}

/// The unit, with the program that was built in place of the installed one.
fn unit(folder: &Path) -> PathBuf {
    let text = read("systemd/iax2-natcheck-serve.service");
    let installed = "/usr/local/bin/iax2-natcheck";
    assert!(text.contains(installed));
    let built = cargo_bin!("iax2-natcheck").display().to_string();
    let path = folder.join("iax2-natcheck-serve.service");
    fs::write(&path, text.replace(installed, &built)).unwrap();
    path
}

#[test]
fn the_unit_starts_what_is_there() {
    let text = read("systemd/iax2-natcheck-serve.service");
    let lists = text.lines().filter(|line| line.contains("Environment="));
    let mut seen = 0;
    for value in lists.flat_map(|line| line.split('"').skip(1).step_by(2)) {
        let (_, arguments) = value.split_once('=').unwrap();
        let line = format!("serve {}", arguments.replace("%d", "/run/credentials/x"));
        is_known(&words(&line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_the_unit_and_calls_it_safe() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(folder.path());
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    assert_eq!(analyze(&["verify", "--man=no"]), "");
    // Its scale goes from 0, safe, to 100.
    analyze(&["security", "--offline=true", "--no-pager", "--threshold=15"]);
}

#[test]
#[ignore = "needs mandoc"]
fn the_manual_is_clean() {
    let output = Command::new("mandoc")
        .args(["-T", "lint", "man/iax2-natcheck.1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn every_extension_and_fault_of_serve_is_explained() {
    let readme = read("README.md");
    let extensions = EXTENSIONS.map(|(number, meaning)| format!("| {number} | {meaning} |"));
    let faults = FAULTS.map(|(name, meaning)| format!("| `{name}` | {meaning} |"));
    for row in extensions.iter().chain(&faults) {
        assert!(readme.contains(row.as_str()), "{row}");
    }
}
