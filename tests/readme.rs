//! What the documents promise is there: every command and file of every page, the findings and the
//! report of the README, the units of systemd and the manual.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    path::Path,
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

/// Every page with commands or links.
const PAGES: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/how-it-measures.md",
    "docs/openwrt.md",
    "benches/README.md",
];

/// The commands of the pages, a line each, without what they are redirected to.
fn commands() -> Vec<Vec<String>> {
    let text = PAGES
        .map(|page| blocks(&read(page), "console").concat())
        .concat()
        .replace("\\\n", " ");
    text.lines()
        .map(|line| {
            let command = line
                .strip_prefix("$ ")
                .unwrap_or_else(|| panic!("no command: {line}"));
            let command = [" > ", " >> ", " < "]
                .iter()
                .fold(command, |command, to| command.split(to).next().unwrap());
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
            let others = [
                "tests/all",
                "packaging/deb",
                "packaging/static",
                "benches/all",
                "install",
                "systemctl",
                "head",
                "apt",
                "duckdb",
            ];
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
    for name in ["report.json", "later.json"] {
        fs::copy(&report, folder.path().join(name)).unwrap();
    }
    let mut ran = vec![];
    for command in commands() {
        let Some(arguments) = ours(&command) else {
            continue;
        };
        let line = arguments.join(" ");
        let status = match arguments.first().map(String::as_str) {
            Some("report") if line != "report schema" => 2,
            Some("report" | "man" | "completions" | "devices") => 0,
            Some("demo") if line == "demo --list" => 0,
            _ => continue,
        };
        let output = run(arguments, folder.path());
        assert_eq!(output.status.code(), Some(status), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        ran.push(line);
    }
    assert_eq!(ran.len(), 14, "{ran:?}");
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
    for page in PAGES {
        links(page);
    }
    for command in commands() {
        for word in &command {
            let inside = ["examples/", "systemd/", "tests/", "man/", "schema/"];
            if inside.iter().any(|folder| word.starts_with(folder)) {
                assert!(root().join(word).exists(), "{word}");
            }
        }
    }
}

/// Every link of a page that stays in the repository.
fn links(page: &str) {
    let text = read(page);
    let linked: Vec<&str> = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("https://"))
        .collect();
    let folder = root().join(page);
    for target in linked {
        if let Some(anchor) = target.strip_prefix('#') {
            let heading = anchor.replace('-', " ");
            let headings = text.lines().filter_map(|line| line.split_once("# "));
            assert!(
                headings
                    .into_iter()
                    .any(|(_, text)| text.to_lowercase() == heading),
                "{target}"
            );
        } else {
            let path = folder.parent().unwrap().join(target);
            assert!(path.exists(), "{page}: {target}");
        }
    }
}

#[test]
fn every_finding_is_explained() {
    let readme = read("README.md");
    let manual = read("man/iax2-natcheck.1");
    let section = manual.split(".SH FINDINGS").nth(1).unwrap();
    let section = section.split(".SH ").next().unwrap();
    for id in FindingId::ALL {
        let item = format!("\\fB{}\\fR\n", id.as_str().replace('-', "\\-"));
        let words = section
            .split(&item)
            .nth(1)
            .unwrap_or_else(|| panic!("{id}"));
        let words = words.split(".TP").next().unwrap();
        assert!(words.contains("What to do:"), "{id}: {words}");
        assert!(readme.contains(&format!("| `{id}` |")), "{id}");
        assert!(read("CHANGELOG.md").contains(&format!("`{id}`")), "{id}");
    }
}

/// The services, and how many environments each shows.
const SERVICES: [(&str, usize); 2] = [("serve", 4), ("check", 3)];

fn service(name: &str) -> String {
    read(&format!("systemd/iax2-natcheck-{name}.service"))
}

#[test]
fn the_units_start_what_is_there() {
    for (name, environments) in SERVICES {
        let text = service(name);
        let lists = text.lines().filter(|line| line.contains("Environment="));
        let mut seen = 0;
        for value in lists.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let (variable, arguments) = value.split_once('=').unwrap();
            if variable == "REPORT" {
                continue;
            }
            let line = format!("{name} {}", arguments.replace("%d", "/run/credentials/x"));
            is_known(&words(&line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            seen += 1;
        }
        assert_eq!(seen, environments);
    }
    // What the service of the check does: the variables as it sets them, in a folder of ours.
    let folder = tempfile::tempdir().unwrap();
    let report = root().join("tests/data/reports/linux-defaults.json");
    fs::create_dir(folder.path().join("iax2-natcheck-check")).unwrap();
    let kept = folder.path().join("iax2-natcheck-check/report.json");
    fs::copy(report, &kept).unwrap();
    let text = service("check").replace("\\\n", " ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=iax2-natcheck report "))
        .unwrap()
        .replace("${REPORT}", &kept.display().to_string())
        .replace("%t", &folder.path().display().to_string());
    let output = run(&words(&format!("report {line}")), folder.path());
    assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
    for file in ["iax2-natcheck.prom", "report.html"] {
        assert!(kept.with_file_name(file).exists(), "{file}");
    }
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_the_units_and_calls_them_safe() {
    let folder = tempfile::tempdir().unwrap();
    let built = cargo_bin!("iax2-natcheck").display().to_string();
    let start = format!("ExecStart={built} ");
    let analyze = |arguments: &[&str], unit: &Path| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    for (name, _) in SERVICES {
        let text = service(name);
        assert!(text.contains("ExecStart=iax2-natcheck "), "{name}");
        let unit = folder.path().join(format!("iax2-natcheck-{name}.service"));
        fs::write(&unit, text.replace("ExecStart=iax2-natcheck ", &start)).unwrap();
        assert_eq!(analyze(&["verify", "--man=no"], &unit), "");
        // Its scale goes from 0, safe, to 100.
        analyze(
            &["security", "--offline=true", "--no-pager", "--threshold=15"],
            &unit,
        );
    }
    let timer = folder.path().join("iax2-natcheck-check.timer");
    fs::write(&timer, read("systemd/iax2-natcheck-check.timer")).unwrap();
    assert_eq!(analyze(&["verify", "--man=no"], &timer), "");
}

/// The commands and metrics in the samples for monitoring.
#[test]
fn the_samples_for_monitoring_name_what_is_there() {
    let telegraf: toml::Value = toml::from_str(&read("examples/telegraf.conf")).unwrap();
    let command = telegraf["inputs"]["exec"][0]["commands"][0]
        .as_str()
        .unwrap();
    let (program, arguments) = command.split_once(' ').unwrap();
    assert_eq!(program, "/usr/bin/iax2-natcheck");
    is_known(&words(arguments)).unwrap();

    let icinga = read("examples/icinga2.conf");
    let options = icinga
        .split('"')
        .filter(|word| word.starts_with("--"))
        .collect::<Vec<_>>();
    assert!(options.len() > 4, "{options:?}");
    for option in options {
        let value = if option == "--format" { "nagios" } else { "5m" };
        is_known(&words(&format!("check host --user a {option} {value}")))
            .or_else(|_| is_known(&words(&format!("check host {option} {value}"))))
            .unwrap_or_else(|error| panic!("{option}: {error}"));
    }

    let report = root().join("tests/data/reports/critical.json");
    let line = format!("report {} --format prometheus", report.display());
    let metrics = String::from_utf8(run(&words(&line), root()).stdout).unwrap();
    let rules = read("examples/prometheus-rules.yml");
    let named = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("iax2_natcheck_"));
    let mut count = 0;
    for metric in named {
        assert!(metrics.contains(&format!("\n{metric}{{")), "{metric}");
        count += 1;
    }
    assert!(count > 4);
}

#[test]
#[ignore = "needs mandoc"]
fn the_manual_is_clean() {
    let output = Command::new("mandoc")
        .args([
            "-T",
            "lint",
            "man/iax2-natcheck.1",
            "man/iax2-natcheck.toml.5",
        ])
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
