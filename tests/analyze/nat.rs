//! Both sides of a kernel NAT captured at once: what it translated, what it dropped, and during each fault the same
//! findings as the active commands give.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use iax2_natcheck::lab::{
    kernel::Namespace,
    network::{Ports, Router},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    street::{NEW_WAN, Street, WAN},
    support::{
        asterisk::SECRET,
        process::{self, Running, plain},
        site::{PROVIDER, Site, inside},
        tool,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The timers that Linux comes with.
const LINUX: Router = Router::masquerade(30, 120);

/// tcpdump on one interface of a host.
struct Capturing {
    running: Running,
    file: PathBuf,
}

impl Capturing {
    fn begin(folder: &Path, host: &Namespace, interface: &str) -> Self {
        let file = folder.join(format!("{}-{interface}.pcap", host.label()));
        let mut command = Command::new("tcpdump");
        command.args([
            "--immediate-mode",
            "-s",
            "2048",
            "-U",
            "-B",
            "8192",
            "-Z",
            "root",
            "-i",
            interface,
        ]);
        command.arg("-w").arg(&file).arg("udp port 4569 or icmp");
        let running = Running::start(&mut command, &inside(host));
        let ready = process::poll(PATIENCE, || {
            running.stderr().contains("listening on").then_some(())
        });
        assert!(ready.is_some(), "{}", running.stderr());
        Self { running, file }
    }

    fn end(self) -> PathBuf {
        self.running.signal(Signal::SIGINT);
        let ended = self.running.end(PATIENCE);
        assert!(
            ended.stderr.contains("0 packets dropped by kernel"),
            "{ended:?}"
        );
        self.file
    }
}

/// Analyses captures together.
fn analyzed(files: &[PathBuf]) -> Value {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let line = format!("analyze {} --json", names.join(" "));
    tool::run(&mut tool::command(&line), &plain).report()
}

/// The ids of the findings, but for those that a busy machine makes by itself.
fn ids(report: &Value) -> BTreeSet<&str> {
    tool::findings(report)
        .into_iter()
        .filter(|id| !matches!(*id, "poor-audio" | "reordered-packets"))
        .collect()
}

/// A provider of ours with one account.
fn serve(folder: &TempDir, site: &Site, options: &str) -> Running {
    let users = folder.path().join("users.toml");
    fs::write(&users, format!("[alice]\nsecret = \"{SECRET}\"\n")).unwrap();
    let line = format!("--bind {PROVIDER} --users {} {options}", users.display());
    tool::serve(&line, &site.far())
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn each_packet_is_matched_with_its_translation() {
    let folder = tempfile::tempdir().unwrap();
    let random = Router {
        ports: Ports::FullyRandom,
        ..LINUX
    };
    let site = Site::behind([random]);
    let _server = serve(&folder, &site, "");
    let router = &site.lab().routers()[0];
    let captures = ["lan", "wan"].map(|it| Capturing::begin(folder.path(), router, it));
    let line =
        format!("call {PROVIDER} 600 --user alice --duration 2s --expect echo --local-port 4569");
    let ended = tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
    assert_eq!(ended.status, 0, "{ended:#?}");
    let files = captures.map(Capturing::end);
    let report = analyzed(&files);
    let nat = &report["measurements"]["translations"];
    assert_eq!(ids(&report), BTreeSet::new(), "{report:#}");
    // The call has port 4569; other sockets look how far the provider is, with packets that die on the way.
    let mappings = nat["mappings"].as_array().unwrap();
    let of_call: Vec<&Value> = mappings
        .iter()
        .filter(|it| it["inner"] == "192.168.1.10:4569")
        .collect();
    let [mapping] = of_call.as_slice() else {
        panic!("{nat:#}");
    };
    let outer = mapping["outer"].as_str().unwrap();
    assert!(
        outer.starts_with("198.51.100.7:") && !outer.ends_with(":4569"),
        "{nat:#}"
    );
    let dropped = nat["dropped"].to_string();
    assert!(
        !dropped.contains("192.168.1.10:4569 ") && !dropped.contains(outer),
        "{dropped}"
    );
    let passed = mapping["sent"].as_u64().unwrap() + mapping["received"].as_u64().unwrap();
    assert!(
        passed > 50 && mapping["received"] == mapping["answers"],
        "{mapping:#}"
    );

    let line = format!(
        "analyze {} {} --frames",
        files[0].display(),
        files[1].display()
    );
    let lines = tool::run(&mut tool::command(&line), &plain).stdout;
    let of_call = lines
        .lines()
        .filter(|line| line.contains("192.168.1.10:4569 is "));
    let (right, all) = of_call.fold((0, 0), |(right, all), line| {
        (right + u64::from(line.contains(outer)), all + 1)
    });
    assert_eq!((right, all), (passed, passed), "{lines}");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn what_the_router_drops_is_counted_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::behind([LINUX]);
    let _server = serve(&folder, &site, "");
    let router = &site.lab().routers()[0];
    let captures = ["lan", "wan"].map(|it| Capturing::begin(folder.path(), router, it));
    // HANGUP from inside does not pass: type 6, subclass 5 in the octets 38 and 39 from the IP header on.
    router
        .nft("table ip fault {\nchain forward {\ntype filter hook forward priority -10\niifname \"lan\" @th,144,16 0x0605 drop\n}\n}\n")
        .unwrap();
    let line =
        format!("call {PROVIDER} 600 --user alice --duration 1s --expect echo --local-port 4569");
    tool::run(&mut tool::with_secret(&line, SECRET), &site.near());
    let report = analyzed(&captures.map(Capturing::end));
    let nat = &report["measurements"]["translations"];
    let dropped: Vec<&str> = nat["dropped"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let out = dropped
        .iter()
        .filter(|it| it.starts_with("inside frame ") && it.contains(" 192.168.1.10:4569 →"));
    assert!(out.count() >= 1, "{nat:#}");
    let inward = dropped
        .iter()
        .filter(|it| it.ends_with("→ 198.51.100.7:4569"));
    assert_eq!(inward.count(), 0, "{nat:#}");
}

/// Plays a fault in front of captures of the PBX's side and of the router's ways out; the report on them.
fn street(fault: impl FnOnce(&Street)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let street = Street::new();
    let captures = [
        Capturing::begin(folder.path(), &street.pbx, "eth0"),
        Capturing::begin(folder.path(), &street.router, "ppp0"),
        Capturing::begin(folder.path(), &street.router, "eth1"),
    ];
    fault(&street);
    thread::sleep(Duration::from_millis(500));
    analyzed(&captures.map(Capturing::end))
}

fn nat_rules(street: &Street, target: &str) {
    street.nft(&format!(
        "table ip mine\ndelete table ip mine\ntable ip mine {{\nchain post {{\n\
         type nat hook postrouting priority 100\noifname \"ppp0\" {target}\n}}\n}}"
    ));
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn rules_that_load_late_are_a_null_binding() {
    let report = street(|street| {
        let retrying = street.retry();
        retrying.packets(2);
        nat_rules(street, "masquerade");
        assert_eq!(retrying.packets(4), 0);
    });
    assert!(ids(&report).contains("null-binding"), "{report:#}");
    assert_eq!(ids(&report).len(), 1, "{report:#}");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn a_link_without_address_is_a_wrong_source() {
    let report = street(|street| {
        nat_rules(street, "masquerade");
        let retrying = street.retry();
        assert_eq!(retrying.packets(2), 2);
        street.wan_down();
        street.ip(&["address flush dev ppp0"]);
        retrying.packets(1);
        street.ip(&["link set ppp0 up", "route add default dev ppp0 metric 100"]);
        retrying.packets(2);
        street.address(WAN);
        assert_eq!(retrying.packets(4), 0);
    });
    assert!(
        ids(&report).contains("wrong-source-masquerade"),
        "{report:#}"
    );
    assert_eq!(ids(&report).len(), 1, "{report:#}");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn an_address_that_changed_is_a_stale_source() {
    let report = street(|street| {
        nat_rules(street, &format!("snat to {WAN}"));
        let retrying = street.retry();
        assert_eq!(retrying.packets(2), 2);
        street.wan_down();
        street.ip(&["address flush dev ppp0"]);
        retrying.packets(1);
        nat_rules(street, &format!("snat to {NEW_WAN}"));
        street.wan_up(NEW_WAN);
        assert_eq!(retrying.packets(14), 0);
        // A fresh port of the same host is answered, with the new address.
        let fresh = street
            .pbx
            .bind("192.168.1.10:4570".parse().unwrap())
            .unwrap();
        for number in 1_000_000_u32..1_000_005 {
            fresh
                .send_to(&number.to_be_bytes(), "203.0.113.1:4569")
                .unwrap();
            retrying.packets(1);
        }
    });
    assert_eq!(ids(&report), BTreeSet::from(["stale-source"]), "{report:#}");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn a_failover_with_the_old_address_is_a_wrong_uplink() {
    let report = street(|street| {
        nat_rules(street, &format!("snat to {WAN}"));
        street.ip(&["route add default via 192.168.100.1 dev eth1 metric 200"]);
        let retrying = street.retry();
        assert_eq!(retrying.packets(2), 2);
        street.wan_down();
        assert_eq!(retrying.packets(4), 0);
    });
    assert_eq!(ids(&report), BTreeSet::from(["wrong-uplink"]), "{report:#}");
}

/// Places calls towards a faulty provider; what the command finds, and what the captures of both sides show.
fn call_fault(fault: &str, options: &str) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::behind([LINUX]);
    let _server = serve(&folder, &site, fault);
    let router = &site.lab().routers()[0];
    let captures = ["lan", "wan"].map(|it| Capturing::begin(folder.path(), router, it));
    let line = format!("call {PROVIDER} 600 --user alice --json {options}");
    let mut command = tool::with_secret(&line, SECRET);
    let active = tool::run_within(Duration::from_secs(150), &mut command, &site.near()).report();
    (active, analyzed(&captures.map(Capturing::end)))
}

#[track_caller]
fn assert_alike(fault: &str, options: &str) {
    let (active, passive) = call_fault(fault, options);
    assert_eq!(
        ids(&active),
        ids(&passive),
        "{fault}\n{active:#}\n{passive:#}"
    );
    assert_ne!(ids(&active), BTreeSet::new(), "{fault}");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn an_inval_is_found_alike() {
    assert_alike("--fault inval", "--duration 2s");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn calls_that_all_end_by_inval_are_found_alike() {
    assert_alike("--fault inval", "--duration 2s --calls 4");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn a_naked_reject_is_found_alike() {
    assert_alike("--fault naked-reject", "--duration 1s");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn a_refusal_is_found_alike() {
    assert_alike("--fault cause=50", "--duration 1s");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn one_way_audio_is_found_alike() {
    assert_alike("--fault one-way", "--duration 6s --expect echo");
}

#[test]
#[ignore = "needs root, ip, nft and tcpdump"]
fn a_new_that_nobody_answers_is_found_alike() {
    assert_alike("--fault silence", "--duration 1s");
}
