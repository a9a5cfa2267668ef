//! The command as its user meets it.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, path::PathBuf};

use assert_cmd::Command;

const COMMANDS: [&str; 20] = [
    "",
    "check",
    "demo",
    "register",
    "call",
    "nat",
    "nat mapping",
    "nat filtering",
    "nat hops",
    "nat lifetime",
    "nat hairpin",
    "taint",
    "serve",
    "snat",
    "report",
    "report diff",
    "report schema",
    "devices",
    "man",
    "completions",
];

#[derive(Debug)]
struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

fn run(line: &str) -> Ended {
    run_with(line.split_whitespace(), "")
}

fn run_with<'a>(words: impl IntoIterator<Item = &'a str>, stdin: &str) -> Ended {
    let output = Command::cargo_bin("iax2-natcheck")
        .unwrap()
        .args(words)
        .env_remove("IAX2_SECRET")
        .write_stdin(stdin)
        .output()
        .unwrap();
    Ended {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn fixture(name: &str) -> String {
    format!(
        "{}/tests/data/reports/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn usage_errors_are_3_and_one_sentence() {
    let rows = [
        ("", "requires a subcommand"),
        ("chek host", "unrecognized subcommand 'chek'"),
        ("check", "<PROVIDER>"),
        ("check host --refresh soon", "such as 60s or 5m"),
        ("check host:port", "the port is no number"),
        ("check host --secret s3cret", "--secret"),
        ("nat", "requires a subcommand"),
        ("nat mapping host --sockets 0", "0 is not in 1..=60000"),
        ("serve --bind example.net", "write ADDRESS, ADDRESS:PORT"),
        ("report", "<FILE>"),
        ("report diff a", "<AFTER>"),
        (
            "check host --device sonicwall",
            "4 boxes have these words: SonicWall SonicOS 5.x/6.x",
        ),
        ("check host --device no-such-box", "no such box is known"),
        (
            "report x --format xml",
            "[possible values: text, json, jsonl, html, nagios, prometheus]",
        ),
        ("report x --json --format text", "cannot be used with"),
    ];
    for (line, words) in rows {
        let ended = run(line);
        assert_eq!(ended.status, 3, "{line}");
        assert_eq!(ended.stdout, "", "{line}");
        assert_eq!(ended.stderr.lines().count(), 1, "{line}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("iax2-natcheck: "), "{line}");
        assert!(ended.stderr.contains(words), "{line}: {}", ended.stderr);
        assert!(ended.stderr.ends_with("--help\n"), "{line}");
    }
}

#[test]
fn help_fits_80_columns_and_has_one_example() {
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let ended = run(&format!("{command} {flag}"));
            assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{command}");
            for line in ended.stdout.lines() {
                assert!(line.chars().count() <= 80, "{command}: {line}");
            }
            assert_eq!(ended.stdout.matches("Example:\n").count(), 1, "{command}");
        }
    }
    assert_eq!(
        run("--version").stdout,
        format!("iax2-natcheck {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_saved_report_keeps_its_status_in_every_format() {
    let rows = [
        ("ok", 0, "OK"),
        ("warning", 1, "WARNING"),
        ("critical", 2, "CRITICAL"),
        ("unreachable", 2, "CRITICAL"),
        ("unknown", 3, "UNKNOWN"),
    ];
    for (name, status, word) in rows {
        let file = fixture(name);
        let text = run(&format!("report {file}"));
        assert_eq!(text.status, status, "{name}");
        assert!(text.stdout.starts_with(&format!("{word}: ")), "{name}");
        assert!(!text.stdout.contains('\x1b'), "{name}");

        let line = run(&format!("report {file} --format jsonl"));
        assert_eq!((line.status, line.stdout.lines().count()), (status, 1));
        let whole = run_with(["report", "-", "--json"], &line.stdout);
        assert_eq!(whole.stdout, run(&format!("report {file} --json")).stdout);

        let nagios = run(&format!("report {file} --format nagios"));
        assert_eq!(nagios.status, status, "{name}");
        assert!(nagios.stdout.starts_with(&format!("IAX2 {word} - ")));
        assert_eq!(nagios.stdout.lines().count(), 1, "{name}");

        let json = run(&format!("report {file} --json"));
        assert_eq!(json.status, status, "{name}");
        let again = run_with(["report", "-", "--format", "json"], &json.stdout);
        assert_eq!(again.status, status, "{name}");
        assert_eq!(again.stdout, json.stdout, "{name}");
        let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            value["verdict"].as_str().map(str::to_uppercase).as_deref(),
            Some(word)
        );
        for ended in [text, nagios, json] {
            assert_eq!(ended.stderr, "", "{name}");
        }
    }
}

#[test]
fn what_is_no_report_is_3_and_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let rows = [
        ("/nonexistent.json".to_owned(), "No such file"),
        (file("empty", ""), "is no report"),
        (
            file("later", r#"{"schema_version": 7}"#),
            "schema_version 7",
        ),
        (
            file("broken", &fs::read_to_string(fixture("ok")).unwrap()[..200]),
            "is no report",
        ),
    ];
    for (path, words) in rows {
        let ended = run(&format!("report {path}"));
        assert_eq!(ended.status, 3, "{path}");
        assert_eq!(ended.stdout, "", "{path}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(&path), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[test]
fn the_knowledge_base_is_shown_as_text_and_as_json() {
    let text = run("devices SonicWall TZ");
    assert_eq!((text.status, text.stderr.as_str()), (0, ""));
    assert!(text.stdout.contains("Enable consistent NAT"), "{text:?}");
    let all = run("devices");
    assert_eq!(all.status, 0);
    assert!(all.stdout.lines().count() > 50, "{all:?}");
    assert!(all.stdout.lines().all(|line| line.chars().count() <= 80));
    let nothing = run("devices no such box");
    assert_eq!(nothing.status, 0);
    assert!(
        nothing
            .stdout
            .starts_with("Nothing is known of \"no such box\"")
    );

    let json = run("devices 30/120 --json");
    assert_eq!((json.status, json.stderr.as_str()), (0, ""));
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(value["schema_version"], 1);
    assert_eq!(
        (&value["command"], &value["words"]),
        (&"devices".into(), &"30/120".into())
    );
    let first = &value["devices"][0];
    assert_eq!(first["vendor"], "Linux");
    assert_eq!(first["udp_stream_timeout_s"], 120);
    assert_eq!(first["confidence"], "verified");
    assert_eq!(
        first["timeout_command"],
        "sysctl -w net.netfilter.nf_conntrack_udp_timeout=65"
    );
    assert!(first["sip_alg"].is_string());
    assert_eq!(run("devices x --format nagios").status, 3);
}

#[test]
fn two_reports_are_compared_with_the_status_of_the_second() {
    let (bad, good) = (fixture("linux-defaults"), fixture("ok"));
    let better = run(&format!("report diff {bad} {good}"));
    assert_eq!((better.status, better.stderr.as_str()), (0, ""));
    assert!(
        better.stdout.contains("   - verdict: OK, was CRITICAL\n"),
        "{}",
        better.stdout
    );
    assert!(better.stdout.lines().all(|line| line.chars().count() <= 80));
    let worse = run(&format!("report diff {good} {bad} --json"));
    assert_eq!(worse.status, 2);
    let value: serde_json::Value = serde_json::from_str(&worse.stdout).unwrap();
    assert_eq!(value["command"], "report diff");
    assert_eq!(value["worse"][0], "verdict: CRITICAL, was OK");

    for (line, words) in [
        (
            format!("report diff {bad} nowhere.json"),
            "nowhere.json cannot be read",
        ),
        ("report diff - -".to_owned(), "the other has to be a file"),
        (
            format!("report diff {bad} {good} --format nagios"),
            "text and JSON alone",
        ),
        (
            format!("report diff {bad} {good} --html x.html"),
            "makes no page",
        ),
    ] {
        let ended = run(&line);
        assert_eq!((ended.status, ended.stdout.as_str()), (3, ""), "{line}");
        assert!(ended.stderr.contains(words), "{line}: {}", ended.stderr);
    }
}

#[test]
fn a_page_is_written_beside_the_report_or_instead_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let line = format!("report {}", fixture("critical"));
    let both = run(&format!("{line} --html {}", page.display()));
    assert_eq!((both.status, both.stdout), (2, run(&line).stdout));
    let alone = run(&format!("{line} --format html"));
    assert_eq!(alone.status, 2);
    assert_eq!(alone.stdout, fs::read_to_string(&page).unwrap());
    assert!(alone.stdout.starts_with("<!DOCTYPE html>"));

    let ended = run(&format!("{line} --html /nonexistent/page.html"));
    assert_eq!((ended.status, ended.stdout.as_str()), (3, ""));
    assert!(ended.stderr.contains("give --html a file in a directory"));
}

#[test]
fn the_schema_in_the_repository_is_the_one_the_program_prints() {
    let path = format!("{}/schema/report-1.json", env!("CARGO_MANIFEST_DIR"));
    let ended = run("report schema");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert!(
        ended.stdout == fs::read_to_string(path).unwrap(),
        "run: cargo run -- report schema > schema/report-1.json"
    );
}

#[test]
fn the_schema_takes_every_report_and_no_broken_one() {
    let schema = serde_json::from_str(&run("report schema").stdout).unwrap();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap()
    };
    for name in [
        "critical",
        "linux-defaults",
        "ok",
        "unknown",
        "unreachable",
        "warning",
    ] {
        let report = read(name);
        let errors: Vec<String> = validator
            .iter_errors(&report)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
    let mut later = read("critical");
    later["incidents"] = serde_json::json!([1]);
    later["measurements"]["weather"] = "fair".into();
    assert!(validator.is_valid(&later), "keys are added freely");

    for (pointer, value) in [
        ("/schema_version", serde_json::json!(2)),
        ("/started_at", "yesterday".into()),
        ("/started_at", "2026-11-22T10:00:00+01:00".into()),
        ("/verdict", "bad".into()),
        ("/tool", serde_json::json!({})),
        ("/findings", serde_json::json!({})),
        ("/findings/0/severity", "ok".into()),
        ("/findings/0/because", "a text".into()),
        ("/measurements/reachability/sent", serde_json::json!(-1)),
        ("/measurements/reachability/rtt_ms", serde_json::json!(10)),
        ("/measurements/lifetime/exchange/dead_s", "30".into()),
        ("/measurements/hops/nats/0", serde_json::json!({})),
        ("/measurements/calls/attempted", "20".into()),
        (
            "/measurements/taint/entries",
            serde_json::json!([{"kind": "healthy"}]),
        ),
    ] {
        let mut broken = read("critical");
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        assert!(!validator.is_valid(&broken), "{pointer}: {value}");
    }
}

#[test]
fn output_goes_to_a_file_and_not_to_stdout() {
    let directory = tempfile::tempdir().unwrap();
    let target: PathBuf = directory.path().join("again.json");
    let line = format!(
        "report {} --json --output {}",
        fixture("critical"),
        target.display()
    );
    for _ in 0..2 {
        let ended = run(&line);
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""));
        assert_eq!(
            run(&format!("report {}", target.display())).stdout,
            run(&format!("report {}", fixture("critical"))).stdout
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let ended = run(&format!(
        "report {} --output /nonexistent/report.json",
        fixture("ok")
    ));
    assert_eq!(ended.status, 3);
    assert!(
        ended
            .stderr
            .contains("/nonexistent/report.json cannot be written")
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("iax2-natcheck"))
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_manual_in_the_repository_is_the_one_the_program_prints() {
    let committed = fs::read_to_string(format!(
        "{}/man/iax2-natcheck.1",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let ended = run("man");
    assert_eq!(ended.status, 0);
    assert!(
        ended.stdout == committed,
        "run: cargo run -- man > man/iax2-natcheck.1"
    );
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&format!("completions {shell}"));
        assert_eq!(ended.status, 0, "{shell}");
        assert!(ended.stdout.contains("max-lifetime"), "{shell}");
    }
}

#[test]
#[ignore = "needs bash, fish and zsh"]
fn shells_take_their_completions_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, ask) in [
        (
            "bash",
            "source FILE; way=$(complete -p iax2-natcheck); way=${way#*-F }; \
             COMP_WORDS=(iax2-natcheck rep); COMP_CWORD=1; \
             ${way%% *} iax2-natcheck rep iax2-natcheck; echo \"${COMPREPLY[@]}\"",
        ),
        ("fish", "source FILE; complete -C 'iax2-natcheck rep'"),
        (
            "zsh",
            "autoload -Uz compinit; compinit -u -D; source FILE; echo ${_comps[iax2-natcheck]}; \
             whence -f _iax2-natcheck | grep -o report | head -1",
        ),
    ] {
        let file = folder.path().join(shell);
        fs::write(&file, run(&format!("completions {shell}")).stdout).unwrap();
        let script = ask.replace("FILE", &file.display().to_string());
        let output = std::process::Command::new(shell)
            .args(["-c", &script])
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
        assert!(output.status.success(), "{shell}: {said}");
        assert!(said.contains("report"), "{shell}: {said}");
    }
}
