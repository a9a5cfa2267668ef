//! What `snat` prints: for the rules of real set-ups, with the way back, and where it cannot.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    home::{Home, PUBLIC},
    rules,
    support::{
        process::{self, plain},
        tool::{self, Ended},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The rules in `tests/data/rules`, the interface that leads out, and the program that loads them
/// where they can be loaded.
const FIXTURES: &[(&str, &str, Option<&str>)] = &[
    ("docker.rules", "ppp0", Some("iptables-restore")),
    ("firewalld-2.nft", "ppp0", None),
    ("firewalld.nft", "ppp0", Some("nft -f")),
    ("iptables-nft.nft", "ppp0", None),
    ("map.nft", "ppp0", Some("nft -f")),
    ("matches.rules", "ppp0", Some("iptables-legacy-restore")),
    ("openwrt-fw4.nft", "pppoe-wan", Some("nft -f")),
    ("plain.rules", "ppp0", Some("iptables-restore")),
    ("plain.sh", "ppp0", None),
    ("sets.nft", "ppp0", Some("nft -f")),
    ("two-lines.json", "ppp0", Some("nft -j -f")),
    ("ufw.rules", "ppp0", Some("iptables-restore")),
];

/// The routers of `--for`.
const ROUTERS: [&str; 5] = ["openwrt", "firewalld", "ufw", "mikrotik", "edgeos"];

fn fixture(name: &str) -> String {
    format!("{}/tests/data/rules/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn snat(options: &str) -> Ended {
    tool::run(&mut tool::command(&format!("snat {options}")), &plain)
}

/// The report of `--json`, which must follow the contract.
fn json(options: &str) -> Value {
    let ended = snat(&format!("{options} --json"));
    assert_eq!(ended.status, 0, "{ended:#?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    crate::support::json_contract::validate(&report);
    report
}

/// What is to be changed in force, with its way back, and what was refused, for people to compare.
fn changes(report: &Value) -> String {
    let rules = report["rules"].as_array().unwrap().iter();
    let rules = rules.filter(|rule| rule["file"].is_null()).map(|rule| {
        let word = |key: &str| rule[key].as_str().unwrap_or_default();
        let prevents = &rule["prevents"];
        format!(
            "# {}: {prevents}\n{}\n# back\n{}\n",
            word("title"),
            word("command"),
            word("undo")
        )
    });
    let refused = report["measurements"]["router"]["refused"].as_array();
    let refused = refused.unwrap().iter();
    let refused = refused.map(|refused| format!("refused {}: {}", refused["what"], refused["why"]));
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|found| format!("found {}", found["id"]));
    rules
        .chain(refused)
        .chain(findings)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_rules_of_real_set_ups_are_translated_or_refused() {
    for (name, wan, _) in FIXTURES {
        let report = json(&format!(
            "--wan {wan} --static {PUBLIC} --lan 192.168.1.0/24 --rules {}",
            fixture(name)
        ));
        insta::assert_snapshot!(*name, changes(&report));
    }
}

#[test]
fn a_changing_address_keeps_masquerade() {
    let report = json(&format!("--wan ppp0 --rules {}", fixture("plain.rules")));
    let commands = changes(&report);
    assert!(
        !commands.contains("SNAT") && commands.contains("leak_guard"),
        "{commands}"
    );
    let notes = report["measurements"]["router"]["notes"].to_string();
    assert!(notes.contains("kept: rule 1 of nat POSTROUTING"), "{notes}");
    let ids: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|found| found["id"].as_str())
        .collect();
    assert_eq!(ids, ["no-leak-guard"]);
}

#[test]
fn other_routers_get_their_own_words() {
    for router in ROUTERS {
        let ended = snat(&format!(
            "--for {router} --wan pppoe0 --static {PUBLIC} --lan 192.168.1.0/24 --refresh 60s"
        ));
        assert_eq!(ended.status, 0, "{ended:#?}");
        assert!(ended.stdout.contains("not run"), "{router}");
        insta::assert_snapshot!(format!("for-{router}"), ended.stdout);
    }
}

#[test]
fn without_rules_it_is_the_advice_in_general() {
    let ended = snat("--wan ppp0 --static 198.51.100.7 --rules /dev/null");
    ended.assert_complaint(&["/dev/null, line 1", "no rules"]);
    for (backend, rule) in [
        (
            "iptables",
            "iptables -t nat -A POSTROUTING -o ppp0 -j SNAT --to-source 198.51.100.7 ",
        ),
        (
            "iptables-legacy",
            "iptables-legacy -t nat -A POSTROUTING -o ppp0 -j SNAT --to-source 198.51.100.7 ",
        ),
        ("nft", "oifname \"ppp0\" snat to 198.51.100.7 "),
    ] {
        let mut command = Command::new("unshare");
        // In a network of its own, so that the rules of the machine are not those that are read.
        command
            .args(["--map-root-user", "--net"])
            .arg(tool::program())
            .args([
                "snat",
                "--wan",
                "ppp0",
                "--static",
                "198.51.100.7",
                "--backend",
                backend,
            ]);
        let ended = tool::run(&mut command, &plain);
        assert_eq!(ended.status, 0, "{ended:#?}");
        assert!(ended.stdout.contains(rule), "{}", ended.stdout);
    }
}

/// Rules that cannot be read, and options that say too little.
#[test]
fn what_cannot_be_read_is_named() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let cut = fs::read_to_string(fixture("openwrt-fw4.nft")).unwrap();
    let rows: [(String, &[&str]); 8] = [
        (
            file("cut.nft", &cut[..cut.len() - 4]),
            &["line ", "cut short"],
        ),
        (
            file("cut.rules", "*nat\n:POSTROUTING ACCEPT [0:0]\n"),
            &["line 2", "no COMMIT"],
        ),
        (
            file(
                "wrong.rules",
                "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o\nCOMMIT\n",
            ),
            &["line 3", "-o without a value"],
        ),
        (
            file(
                "wan.sh",
                "iptables -t nat -A POSTROUTING -o $WAN -j MASQUERADE\n",
            ),
            &["line 1", "$WAN has no value"],
        ),
        (
            file("cut.json", "{\"nftables\": [\n"),
            &["line 2", "no JSON"],
        ),
        (
            file("poem", "\nroses are red\n"),
            &["line 2", "begins no rules"],
        ),
        ("/nonexistent".to_owned(), &["cannot be read"]),
        (
            fixture("matches.rules"),
            &["no interface tun7", "eth1, ppp0"],
        ),
    ];
    for (path, words) in rows {
        let ended = snat(&format!("--wan tun7 --static {PUBLIC} --rules {path}"));
        if path.ends_with("matches.rules") {
            // A rule without an interface is for every one.
            assert_eq!(ended.status, 0, "{ended:#?}");
            continue;
        }
        ended.assert_complaint(words);
    }
    let two = file(
        "two.rules",
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o ppp0 -j MASQUERADE\n-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n",
    );
    snat(&format!("--rules {two}")).assert_complaint(&["eth1, ppp0", "--wan"]);
    snat(&format!("--rules {two} --wan tun7"))
        .assert_complaint(&["no interface tun7", "eth1, ppp0"]);
    snat("--wan ppp0 --static here").assert_complaint(&["--static"]);
    snat("--wan ppp0 --lan here").assert_complaint(&["192.168.1.0/24"]);
    snat("--rules x --apply").assert_complaint(&["cannot be used with"]);
}

#[test]
#[ignore = "needs root and setpriv"]
fn without_root_it_says_what_more_it_could_do() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("iax2-natcheck");
    fs::copy(tool::program(), &program).unwrap();
    let open = |path: &Path| {
        let mut command = Command::new("chmod");
        assert!(command.arg("755").arg(path).status().unwrap().success());
    };
    open(folder.path());
    open(&program);
    let run = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(arguments);
        tool::run(&mut command, &plain)
    };
    let advice = run(&["snat", "--wan", "ppp0", "--static", PUBLIC]);
    assert_eq!(advice.status, 0, "{advice:#?}");
    assert!(
        advice
            .stdout
            .contains("-o ppp0 -j SNAT --to-source 198.51.100.7"),
        "{advice:#?}"
    );
    let words = advice.stdout.replace("\n#  ", "");
    assert!(words.contains("run as root on the router"), "{words}");
    run(&["snat"]).assert_complaint(&["run as root", "--rules FILE", "--wan"]);
    run(&["snat", "--wan", "ppp0", "--apply"]).assert_complaint(&["run as root"]);
}

/// Reads a script as shellcheck does.
fn check(script: &str, what: &str) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("script.sh");
    fs::write(&file, script).unwrap();
    let finished = process::run(Command::new("shellcheck").arg(&file), &plain, PATIENCE);
    assert!(
        finished.status.success(),
        "{what}: {}\n{script}",
        finished.stdout
    );
}

#[test]
#[ignore = "needs shellcheck"]
fn every_script_is_clean() {
    for (name, wan, _) in FIXTURES {
        let rules = fixture(name);
        for options in [
            "",
            "--undo",
            "--guard forward",
            "--guard forward --undo",
            "--refresh 600s",
        ] {
            let line = format!("--wan {wan} --static {PUBLIC} --rules {rules} {options}");
            check(&snat(&line).stdout, &line);
        }
    }
    for router in ROUTERS.iter().filter(|router| **router != "mikrotik") {
        for options in ["", "--undo"] {
            let line = format!(
                "--for {router} --wan ppp0 --static {PUBLIC} --lan 192.168.1.0/24 --refresh 60s {options}"
            );
            check(&snat(&line).stdout, &line);
        }
    }
}

/// A router with the rules of a fixture.
fn loaded(name: &str, program: &str) -> Home {
    let home = Home::new();
    home.sh(&format!("{program} {}", fixture(name)));
    home
}

fn run(home: &Home, script: &str) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("script.sh");
    fs::write(&file, script).unwrap();
    home.sh(&format!("sh {}", file.display()));
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn the_way_back_restores_the_same_rules_in_the_same_order() {
    for (name, wan, program) in FIXTURES {
        let Some(program) = program else {
            continue;
        };
        for guard in ["", "--guard forward"] {
            let home = loaded(name, program);
            if !guard.is_empty() {
                // A router filters something; else iptables leaves an empty table where it was asked.
                for iptables in ["iptables", "iptables-legacy"] {
                    home.sh(&format!(
                        "{iptables} -w -A FORWARD -i lan0 -o ppp0 -j ACCEPT"
                    ));
                }
            }
            let options = format!("--wan {wan} --static {PUBLIC} --lan 192.168.1.0/24 {guard}");
            let before = rules::seen(&home);
            // Printed before: for a script that is at hand when the change proves wrong.
            let (forth, back) = (home.snat(&options), home.snat(&format!("{options} --undo")));
            assert_eq!(
                rules::seen(&home),
                before,
                "{name}: printing changes nothing"
            );
            run(&home, &forth);
            let after = rules::seen(&home);
            assert_ne!(after, before, "{name}");
            assert!(after.to_lowercase().contains("guard"), "{name}: {after}");
            let again = home.snat(&options);
            assert!(
                again.contains("Nothing of what is in force has to be changed"),
                "{name}: {again}"
            );
            run(&home, &back);
            assert_eq!(rules::seen(&home), before, "{name} {guard}");
            // Printed afterwards: from the marks in the rules.
            run(&home, &home.snat(&options));
            assert_eq!(rules::seen(&home), after, "{name}");
            run(&home, &home.snat(&format!("{options} --undo")));
            assert_eq!(rules::seen(&home), before, "{name} {guard}");
        }
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn a_saved_file_is_as_good_as_the_rules_in_force() {
    for (name, wan, program) in FIXTURES {
        let Some(program) = program.filter(|_| !name.contains("matches") && !name.contains("json"))
        else {
            continue;
        };
        let home = loaded(name, program);
        let file = fixture(name);
        let before = rules::seen(&home);
        let options = format!("--wan {wan} --static {PUBLIC} --lan 192.168.1.0/24 --rules {file}");
        let (forth, back) = (
            snat(&options).stdout,
            snat(&format!("{options} --undo")).stdout,
        );
        run(&home, &forth);
        let again = home.snat(&format!(
            "--wan {wan} --static {PUBLIC} --lan 192.168.1.0/24"
        ));
        assert!(
            again.contains("Nothing of what is in force has to be changed"),
            "{name}: {again}"
        );
        run(&home, &back);
        assert_eq!(rules::seen(&home), before, "{name}");
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn nothing_is_changed_when_a_rule_is_no_longer_the_one_that_was_read() {
    for (name, program, change) in [
        (
            "plain.rules",
            "iptables-restore",
            "iptables -w -t nat -I POSTROUTING -o eth9 -j ACCEPT",
        ),
        (
            "openwrt-fw4.nft",
            "nft -f",
            "nft flush chain inet fw4 srcnat_wan; nft add rule inet fw4 srcnat_wan meta nfproto ipv4 masquerade random",
        ),
    ] {
        let home = loaded(name, program);
        let wan = if name.starts_with("openwrt") {
            "pppoe-wan"
        } else {
            "ppp0"
        };
        let script = home.snat(&format!("--wan {wan} --static {PUBLIC}"));
        home.sh(change);
        let before = rules::seen(&home);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("script.sh");
        fs::write(&file, script).unwrap();
        let finished = home.try_sh(&format!("sh {}", file.display()));
        assert_eq!(finished.status.code(), Some(1), "{finished:#?}");
        assert!(
            finished.stderr.starts_with("nothing was changed: rule"),
            "{finished:#?}"
        );
        assert_eq!(rules::seen(&home), before, "{name}");
    }
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn a_step_that_fails_takes_back_those_before_it() {
    let home = loaded("matches.rules", "iptables-restore");
    let script = home.snat(&format!(
        "--wan ppp0 --static {PUBLIC} --lan 192.168.1.0/24"
    ));
    let before = rules::seen(&home);
    let folder = TempDir::new().unwrap();
    // An iptables that takes no rule for the chain SITES, which comes last.
    let broken = folder.path().join("iptables");
    fs::write(
        &broken,
        "#!/bin/sh\ncase \"$*\" in *'-I SITES'*) exit 4 ;; esac\nexec /usr/sbin/iptables \"$@\"\n",
    )
    .unwrap();
    let file = folder.path().join("script.sh");
    fs::write(&file, script).unwrap();
    home.sh(&format!("chmod 755 {}", broken.display()));
    let finished = home.try_sh(&format!(
        "PATH={}:$PATH sh {}",
        folder.path().display(),
        file.display()
    ));
    assert_eq!(finished.status.code(), Some(4), "{finished:#?}");
    assert!(finished.stderr.contains("a step failed"), "{finished:#?}");
    assert_eq!(rules::seen(&home), before);
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn the_advice_in_general_has_the_effect_of_the_classic_rule() {
    let rules_of = |script: &str| {
        let home = Home::new();
        run(&home, script);
        let rules = home.sh("iptables -t nat -S POSTROUTING");
        let comment = " -m comment --comment \"iax2-natcheck ppp0 0: added\"";
        (rules.replace(comment, ""), home)
    };
    let classic = "iptables -t nat -A POSTROUTING -o ppp0 -j SNAT --to 198.51.100.7";
    let home = Home::new();
    let advice = home.snat("--wan ppp0 --static 198.51.100.7");
    let (printed, home) = rules_of(&advice);
    assert_eq!(printed, rules_of(classic).0);
    // And it goes away again.
    run(&home, &home.snat("--wan ppp0 --static 198.51.100.7 --undo"));
    assert!(
        !rules::seen(&home).contains("SNAT"),
        "{}",
        rules::seen(&home)
    );
}

#[test]
#[ignore = "needs root, ip, nft and systemd-analyze"]
fn the_unit_is_one_that_systemd_takes() {
    let home = loaded("plain.rules", "iptables-restore");
    let root = TempDir::new().unwrap();
    for folder in ["etc/systemd/system", "etc/ppp/ip-up.d", "etc/sysctl.d"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let script = home.snat(&format!("--wan ppp0 --static {PUBLIC} --refresh 60s"));
    let file = root.path().join("snat.sh");
    fs::write(&file, &script).unwrap();
    let at = root.path().display();
    home.sh(&format!("DESTDIR={at} sh {} install", file.display()));
    let unit = root
        .path()
        .join("etc/systemd/system/iax2-leak-guard.service");
    let mut verify = Command::new("systemd-analyze");
    let finished = process::run(
        verify.args(["verify", "--man=no"]).arg(&unit),
        &plain,
        PATIENCE,
    );
    assert_eq!(
        (finished.status.code(), finished.stderr.as_str()),
        (Some(0), "")
    );
    // What the unit loads is the guard, and loading it again changes nothing.
    let before = rules::seen(&home);
    home.sh(&format!("nft -f {at}/etc/iax2-leak-guard.nft"));
    assert_eq!(rules::seen(&home), before);
    let settings = fs::read_to_string(root.path().join("etc/sysctl.d/90-iax2-natcheck.conf"));
    assert_eq!(
        settings.unwrap(),
        "net.netfilter.nf_conntrack_udp_timeout = 65\n"
    );
    assert!(
        root.path()
            .join("etc/ppp/ip-up.d/iax2-stale-entries")
            .exists()
    );
    assert!(
        !root.path().join("etc/hotplug.d").exists(),
        "no hooks of what is not there"
    );
    // And the way back takes the files away too.
    let back = home.snat(&format!(
        "--wan ppp0 --static {PUBLIC} --refresh 60s --undo"
    ));
    fs::write(&file, back).unwrap();
    home.sh(&format!("DESTDIR={at} sh {} install", file.display()));
    assert!(!unit.exists() && !root.path().join("etc/iax2-stale-entries").exists());
}
