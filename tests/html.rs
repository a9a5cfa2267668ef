//! The page of a report in a real browser, at the width of a telephone and of a desk, in light and in
//! the dark: nothing is too wide, every word stands out, nothing runs and nothing is loaded.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

const WIDTHS: [u32; 2] = [360, 1280];
/// The least contrast of text that WCAG 2 calls AA.
const CONTRAST: f64 = 4.5;
const EVIL: &str = "</style><script>document.title='run'</script>\"'><img src=x onerror=alert(1)>";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> Value {
    let path = root().join(format!("tests/data/reports/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Two NATs of which the outer one forgets first, long addresses, a call that did not arrive, calls that
/// fail, and keys that no version knows yet.
fn rich() -> Value {
    let mut report = fixture("linux-defaults");
    let measured = &mut report["measurements"];
    measured["hops"] = json!({
        "nats": [
            {"hop": 1, "address": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", "exchange_s": 120, "alive_s": 119},
            {"hop": 3, "address": null, "exchange_s": 30, "alive_s": 29}
        ],
        "distance": 6, "outermost": 3, "routers": ["192.168.1.1", null, "100.64.0.1", "203.0.113.254"]
    });
    measured["callback"] = json!({
        "extension": "609", "arrives": false,
        "late": {"after_s": 46.2, "arrived": false, "took_ms": null},
        "control": {"after_s": 1.5, "arrived": true, "took_ms": 88}
    });
    measured["calls"] = json!({
        "extension": "600", "attempted": 40, "answered": 38, "completed": 33, "raw_hangups": 5, "invals": 2,
        "pattern": "random", "pattern_because": "5 of 40 calls end at no common point",
        "signatures": {"raw-hangup": 5, "invalidated": 2}, "rtt_ms": {"min": 9.1, "median": 10.4, "max": 31.8},
        "media": {"sent": 5000, "received": 4900, "lost": 100, "reordered": 3, "duplicated": 0,
                  "jitter_ms": 4.4, "one_way": false, "delay_ms": {"min": 20, "median": 24.5, "p95": 40, "max": 61}}
    });
    measured["calls_dreamt"] =
        json!([{"number": 4711, "frames": ["NEW", "ACCEPT"], "ended": {"cause": 16}}]);
    report["incidents"] = json!([
        {"began": "2026-11-24T03:00:00Z", "what": "x".repeat(300), "ended": null}
    ]);
    report
}

fn strange() -> Value {
    let mut report = rich();
    for key in ["summary", "command"] {
        report[key] = json!(EVIL);
    }
    report["provider"]["name"] = json!(format!("{EVIL}{}", "w".repeat(200)));
    report["findings"][0]["title"] = json!(EVIL);
    report["findings"][0]["do_this"] = json!([EVIL]);
    report[EVIL] = json!(EVIL);
    report
}

/// Pages in a folder, by the program itself.
fn pages(folder: &Path) -> Vec<String> {
    let names = [
        "critical",
        "ok",
        "unknown",
        "unreachable",
        "warning",
        "linux-defaults",
    ];
    let reports = names
        .map(|name| (name.to_owned(), fixture(name)))
        .into_iter()
        .chain([
            ("rich".to_owned(), rich()),
            ("strange".to_owned(), strange()),
        ]);
    reports
        .map(|(name, report)| {
            let file = folder.join(format!("{name}.json"));
            fs::write(&file, report.to_string()).unwrap();
            let page = folder.join(format!("{name}.html"));
            let output = Command::new(cargo_bin!("iax2-natcheck"))
                .args(["report", "-q"])
                .arg(&file)
                .arg("--html")
                .arg(&page)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
            assert!(!output.stdout.is_empty(), "the text is printed as well");
            format!("{name}.html")
        })
        .chain([history(folder)])
        .collect()
}

/// A page of the guardian's incidents: short ones and one over midnight, of providers with long and with
/// malicious names.
fn history(folder: &Path) -> String {
    let incident = |provider: &str, cause: &str, began: &str, ended: &str, lost: u32| {
        json!({
            "provider": provider, "began_at": began, "ended_at": ended, "lasted_s": lost + 2,
            "unreachable_s": lost, "cause": cause, "taint": null,
            "because": [EVIL, "3 of the last 5 POKEs are unanswered"],
            "actions": [{"at": began, "action": "quiet", "reason": "x".repeat(200), "result": "done"}],
            "acted": 3
        })
    };
    let long = "w".repeat(200);
    let incidents = [
        incident(
            "main",
            "wan-down",
            "2026-11-01T03:00:00Z",
            "2026-11-01T03:00:20Z",
            20,
        ),
        incident(
            "main",
            "tainted",
            "2026-11-03T22:30:00Z",
            "2026-11-04T02:00:00Z",
            12_600,
        ),
        incident(
            &long,
            "provider-down",
            "2026-11-20T12:00:00Z",
            "2026-11-20T12:05:00Z",
            300,
        ),
        incident(
            EVIL,
            "hole",
            "2026-11-20T18:00:00Z",
            "2026-11-20T18:00:01Z",
            0,
        ),
    ];
    let lines = incidents.map(|told| told.to_string()).join("\n");
    fs::write(folder.join("incidents.jsonl"), lines).unwrap();
    let config = "[[provider]]\nname = \"main\"\nhost = \"192.0.2.1\"\n\
                  [files]\nincidents = \"incidents.jsonl\"\n";
    fs::write(folder.join("watch.toml"), config).unwrap();
    let output = Command::new(cargo_bin!("iax2-natcheck"))
        .args(["watch", "history", "--config", "watch.toml"])
        .args(["--html", "history.html"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("wan-down")
    );
    "history.html".to_owned()
}

/// Chromium without a network.
fn chromium(folder: &Path, arguments: &[String]) -> Output {
    let output = Command::new("unshare")
        .args([
            "--net",
            "timeout",
            "120",
            "chromium",
            "--headless",
            "--no-sandbox",
        ])
        .args(["--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn measured(folder: &Path, pages: &[String], dark: bool) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    let names = list(&mut pages.iter().map(|page| format!("'{page}'")));
    let widths = list(&mut WIDTHS.iter().map(u32::to_string));
    let measure = fs::read_to_string(root().join("tests/html/measure.html")).unwrap();
    let measure = measure
        .replace("/*PAGES*/", &names)
        .replace("/*WIDTHS*/", &widths);
    let path = folder.join("measure.html");
    fs::write(&path, measure).unwrap();
    let scheme = u32::from(!dark);
    let output = chromium(
        folder,
        &[
            "--allow-file-access-from-files".into(),
            "--virtual-time-budget=30000".into(),
            format!("--blink-settings=preferredColorScheme={scheme}"),
            "--dump-dom".into(),
            url(&path),
        ],
    );
    let page = String::from_utf8(output.stdout).unwrap();
    let result = page.split("<pre id=\"result\">").nth(1).unwrap();
    result.split("</pre>").next().unwrap().to_owned()
}

#[test]
#[ignore = "needs Chromium, and a network namespace to shut it in"]
fn a_page_reads_well_on_every_screen() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(folder.path());
    for dark in [false, true] {
        let result = measured(folder.path(), &pages, dark);
        let mut lines = result.lines();
        assert_eq!(
            lines.next(),
            Some(format!("dark={dark}").as_str()),
            "{result}"
        );
        let mut seen = 0;
        for line in lines.take_while(|line| *line != "end") {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, _, room, wide, contrast, scripts, loaded, texts] = fields.as_slice() else {
                panic!("{line}");
            };
            let number = |text: &str| text.parse::<f64>().unwrap();
            assert!(number(room) > 300.0, "{line}");
            assert!(number(wide) <= 0.0, "too wide: {line}");
            assert!(number(contrast) >= CONTRAST, "too faint: {line}");
            assert_eq!((*scripts, *loaded), ("0", "0"), "{line}");
            assert!(number(texts) > 10.0, "{line}");
            seen += 1;
        }
        assert_eq!(seen, pages.len() * WIDTHS.len(), "{result}");
    }
}

/// What is measured there is measured: a page that breaks each rule is told.
#[test]
#[ignore = "needs Chromium, and a network namespace to shut it in"]
fn a_page_that_reads_badly_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bad = "<!doctype html><body style='background:#fff'><p style='color:#999'>faint</p>\
               <p style='width:2000px'>wide</p><img src='x.png'><script>1</script>";
    fs::write(folder.path().join("bad.html"), bad).unwrap();
    let result = measured(folder.path(), &["bad.html".to_owned()], false);
    let line = result.lines().nth(1).unwrap();
    let fields: Vec<f64> = line
        .split(' ')
        .skip(2)
        .map(|field| field.parse().unwrap())
        .collect();
    assert!(fields[1] > 0.0 && fields[2] < CONTRAST, "{line}");
    assert!(fields[3] > 0.0 && fields[4] > 0.0, "{line}");
}

/// Pictures for people to look at, and paper, in `target/html`.
#[test]
#[ignore = "needs Chromium and pdftotext, and a network namespace to shut it in"]
fn a_page_is_drawn_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let shown: PathBuf = root().join("target/html");
    fs::create_dir_all(&shown).unwrap();
    pages(folder.path());
    for (name, scheme, width) in [
        ("rich", 1, 1280),
        ("rich", 0, 1280),
        ("strange", 1, 360),
        ("history", 1, 360),
        ("history", 0, 1280),
    ] {
        let word = if scheme == 0 { "dark" } else { "light" };
        let picture = shown.join(format!("{name}-{width}-{word}.png"));
        let _ = fs::remove_file(&picture);
        chromium(
            folder.path(),
            &[
                format!("--blink-settings=preferredColorScheme={scheme}"),
                format!("--window-size={width},3200"),
                format!("--screenshot={}", picture.display()),
                url(&folder.path().join(format!("{name}.html"))),
            ],
        );
        assert!(
            fs::metadata(&picture).unwrap().len() > 20_000,
            "{picture:?}"
        );
    }
    let paper = shown.join("rich.pdf");
    chromium(
        folder.path(),
        &[
            format!("--print-to-pdf={}", paper.display()),
            "--no-pdf-header-footer".into(),
            url(&folder.path().join("rich.html")),
        ],
    );
    let output = Command::new("pdftotext")
        .args(["-layout".as_ref(), paper.as_os_str(), "-".as_ref()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "CRITICAL",
        "sysctl -w net.netfilter.nf_conntrack_udp_timeout=65",
        "Between two registrations",
        "alive at 119 s, gone at 120 s",
        "33 of 40 calls came to their planned end",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}
