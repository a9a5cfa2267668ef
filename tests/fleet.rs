//! The questions of `examples/fleet.sql`, answered by DuckDB over 10 000 reports whose truth is known.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::report::{
    json,
    model::{Device, Edge, Gone, Hops, NatHop, Number, Report, Severity, Time, Verdict},
};
use serde_json::Value;

const CUSTOMERS: u64 = 1010;
const DAYS: u64 = 10;
const DAY: Duration = Duration::from_secs(86_400);
const CYCLE_S: f64 = 50.0;

/// Boxes, and after how many seconds they forget.
const BOXES: [(&str, &str, f64); 4] = [
    ("Linux", "kernel 5.0 and later", 30.0),
    ("SonicWall", "TZ", 30.0),
    ("Cisco", "IOS", 300.0),
    ("Other", "\"quoted\", 'twice'", 64.0),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is true of a customer on a day.
#[derive(Clone, Copy)]
struct Truth {
    customer: u64,
    day: u64,
}

impl Truth {
    fn device(self) -> (&'static str, &'static str, f64) {
        BOXES[usize::try_from(self.customer % 4).unwrap()]
    }

    /// Every 100th customer's box was replaced on the fifth day by one that forgets after 30 s.
    fn dead_s(self) -> f64 {
        if self.is_worse() && self.day >= 5 {
            30.0
        } else {
            self.device().2
        }
    }

    fn is_worse(self) -> bool {
        self.customer % 100 == 2
    }

    fn is_double(self) -> bool {
        self.customer.is_multiple_of(7)
    }

    /// Every 100th customer stopped reporting after the sixth day.
    fn is_silent(self) -> bool {
        self.customer % 100 == 99
    }

    fn open(self) -> f64 {
        (self.dead_s() / CYCLE_S).min(1.0)
    }

    fn report(self, template: &Report) -> Report {
        let mut report = template.clone();
        let hours = Duration::from_secs(3600 * (self.customer % 24));
        report.finished_at = Time(
            SystemTime::UNIX_EPOCH + DAY * 20_780 + DAY * u32::try_from(self.day).unwrap() + hours,
        );
        report.started_at = report.finished_at;
        report.provider.as_mut().unwrap().user = Some(format!("customer{:04}", self.customer));
        let (vendor, product, _) = self.device();
        let measured = &mut report.measurements;
        measured.device = Some(Device {
            vendor: vendor.into(),
            product: product.into(),
            by: "user".into(),
            confidence: "verified".into(),
        });
        measured.lifetime.as_mut().unwrap().exchange = Some(Edge {
            alive_s: Some(Number::new(self.dead_s() - 1.0)),
            dead_s: Gone::After(Number::new(self.dead_s())),
        });
        let reachable = measured.reachable.as_mut().unwrap();
        reachable.fraction = Some(Number::new(self.open()));
        reachable.open_s = Some(Number::new(self.dead_s()));
        reachable.cycle_s = Some(Number::new(CYCLE_S));
        let nats = if self.is_double() { 1..=2 } else { 1..=1 };
        measured.hops = Some(Hops {
            nats: nats
                .map(|hop| NatHop {
                    hop,
                    ..NatHop::default()
                })
                .collect(),
            ..Hops::default()
        });
        let mut double = report.findings[0].clone();
        if self.open() >= 1.0 {
            report.verdict = Verdict::Ok;
            report.findings.clear();
        }
        if self.is_double() {
            double.id = "double-nat".into();
            double.severity = Severity::Warning;
            report.findings.push(double);
            if report.verdict == Verdict::Ok {
                report.verdict = Verdict::Warning;
            }
        }
        report
    }

    fn name(self) -> String {
        format!("customer{:04}", self.customer)
    }
}

/// The last report of each customer.
fn latest() -> Vec<Truth> {
    let last = |customer| Truth { customer, day: 0 };
    (0..CUSTOMERS)
        .map(|customer| Truth {
            customer,
            day: if last(customer).is_silent() {
                6
            } else {
                DAYS - 1
            },
        })
        .collect()
}

/// Every query of the file by its name, with its rows.
fn answers(folder: &Path) -> BTreeMap<String, Vec<Vec<Value>>> {
    let script = r#"
import json, sys, duckdb
db = duckdb.connect()
answers = {}
for statement in open(sys.argv[1]).read().split(";"):
    words = [line for line in statement.splitlines() if line and not line.startswith("--")]
    if not words:
        continue
    rows = db.execute("\n".join(words)).fetchall()
    if words[0].startswith("SELECT"):
        name = [line for line in statement.splitlines() if line.startswith("--")][0][3:].split(":")[0]
        answers[name] = [[str(cell) if not isinstance(cell, (int, float, type(None))) else cell for cell in row] for row in rows]
print(json.dumps(answers))
"#;
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(root().join("examples/fleet.sql"))
        .env("PYTHONPATH", root().join("target/peers/python"))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Names of the first column.
fn first(rows: &[Vec<Value>]) -> BTreeSet<&str> {
    rows.iter().map(|row| text(&row[0])).collect()
}

#[test]
#[ignore = "needs DuckDB for Python"]
fn the_questions_of_a_provider_are_answered_over_10_000_reports() {
    let path = root().join("tests/data/reports/linux-defaults.json");
    let mut template = json::read(&fs::read_to_string(path).unwrap()).unwrap();
    template.measurements.mapping = None;
    let mut lines = String::new();
    let mut count = 0;
    for customer in 0..CUSTOMERS {
        for day in 0..DAYS {
            let truth = Truth { customer, day };
            if truth.is_silent() && day > 6 {
                continue;
            }
            let line = json::line(&truth.report(&template));
            assert_eq!(line.lines().count(), 1);
            write!(lines, "{line}").unwrap();
            count += 1;
        }
    }
    // Reports of other kinds stand between them: without an account, without measurements, of later versions.
    for (name, from) in [
        ("unreachable", "192.0.2.1:4569"),
        ("unknown", "192.0.2.2:4569"),
    ] {
        let path = root().join(format!("tests/data/reports/{name}.json"));
        let mut report = json::read(&fs::read_to_string(path).unwrap()).unwrap();
        report.provider.as_mut().unwrap().user = None;
        report.host.as_mut().unwrap().local_address = from.parse().ok();
        report.finished_at = Truth {
            customer: 1,
            day: DAYS - 1,
        }
        .report(&template)
        .finished_at;
        lines.push_str(&json::line(&report));
        count += 1;
    }
    assert!(count >= 10_000);
    lines.push_str("{\"schema_version\": 2, \"new\": true}\n");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("reports.jsonl"), &lines).unwrap();
    let began = Instant::now();
    let answers = answers(folder.path());
    println!(
        "{count} reports, {} MB, answered in {:?}",
        lines.len() / 1_000_000,
        began.elapsed()
    );
    assert_eq!(answers.len(), 6);

    let latest = latest();
    let names = |holds: &dyn Fn(&Truth) -> bool| -> BTreeSet<String> {
        let those = latest.iter().filter(|truth| holds(truth));
        those.map(|truth| truth.name()).collect()
    };
    let owned =
        |set: BTreeSet<&str>| -> BTreeSet<String> { set.into_iter().map(str::to_owned).collect() };

    let doubles = names(&|truth| truth.is_double());
    assert_eq!(owned(first(&answers["double"])), doubles);
    let worse = names(&|truth| truth.is_worse());
    assert!(!worse.is_empty());
    assert_eq!(owned(first(&answers["worse"])), worse);
    for row in &answers["worse"] {
        assert_eq!((&row[3], &row[4]), (&1.0.into(), &0.6.into()), "{row:?}");
    }
    assert_eq!(
        owned(first(&answers["silent"])),
        names(&|truth| truth.is_silent())
    );

    let mut devices: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for truth in &latest {
        let (vendor, product, _) = truth.device();
        let entry = devices.entry(format!("{vendor} {product}")).or_default();
        entry.0 += 1;
        entry.1 += u64::from(truth.dead_s() < CYCLE_S);
    }
    let told: BTreeMap<String, (u64, u64)> = answers["devices"]
        .iter()
        .map(|row| {
            let counts = (row[1].as_u64().unwrap(), row[2].as_u64().unwrap());
            (text(&row[0]).to_owned(), counts)
        })
        .collect();
    assert_eq!(told, devices);

    let verdicts: u64 = answers["verdicts"]
        .iter()
        .map(|row| row[1].as_u64().unwrap())
        .sum();
    assert_eq!(verdicts, CUSTOMERS + 2);
    let found: BTreeMap<&str, u64> = answers["findings"]
        .iter()
        .map(|row| (text(&row[0]), row[2].as_u64().unwrap()))
        .collect();
    let short = names(&|truth| truth.open() < 1.0).len();
    assert_eq!(
        found["short-mapping-timeout"],
        u64::try_from(short).unwrap()
    );
    assert_eq!(found["double-nat"], u64::try_from(doubles.len()).unwrap());
    assert_eq!(found["provider-unreachable"], 1);
}
