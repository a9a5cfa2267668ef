//! `taint` as its user meets it.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    street::{NEW_WAN, PBX, PROVIDER, Street, WAN, on},
    support::{
        process::{Running, poll},
        tool::{self, Ended, findings},
    },
};

const MASQUERADE: &str = "table ip nat {\nchain post {\ntype nat hook postrouting priority 100\n\
                          oifname \"ppp0\" masquerade\n}\n}";
const MASQUERADE_V6: &str = "table ip6 nat {\nchain post {\n\
                             type nat hook postrouting priority 100\n\
                             oifname \"ppp0\" masquerade\n}\n}";

fn run(street: &Street, line: &str) -> Ended {
    tool::run(&mut tool::command(line), &street.on_router())
}

/// Has the program `conntrack` do something on the router; what it prints.
fn conntrack(street: &Street, arguments: &str) -> String {
    let mut command = Command::new("conntrack");
    command.args(arguments.split(' '));
    let output = street.router.run(|| command.output()).unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// An entry as if the flow had begun before the rules were there, or behind the address `known_as`.
fn insert(street: &Street, host: u8, ports: (u16, u16), known_as: &str) {
    let (sport, dport) = ports;
    // Two hosts behind one address are told apart by their ports.
    let mapped = if known_as == WAN {
        1024 + u16::from(host)
    } else {
        sport
    };
    conntrack(
        street,
        &format!(
            "-I -p udp -s 192.168.1.{host} -d 203.0.113.1 --sport {sport} --dport {dport} \
             --reply-src 203.0.113.1 --reply-dst {known_as} --reply-port-src {dport} \
             --reply-port-dst {mapped} --timeout 100"
        ),
    );
}

fn entries(report: &Value) -> &Vec<Value> {
    report["measurements"]["taint"]["entries"]
        .as_array()
        .unwrap()
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn ipv6_is_named_and_healed_too() {
    let street = Street::new();
    street.ip(&[
        "address add 2001:db8:7::7/64 dev ppp0 nodad",
        "route add 2001:db8::/64 via 2001:db8:7::1",
    ]);
    let retrying = street.retry_v6();
    retrying.packets(2);
    street.nft(MASQUERADE_V6);
    assert_eq!(retrying.packets(2), 0);
    let found = run(&street, "taint --json").report();
    assert_eq!(findings(&found), ["null-binding"]);
    let entry = &entries(&found)[0];
    assert_eq!(entry["original"]["source"], "[fd00::10]:4569");
    assert_eq!(entry["kept_alive"], true, "{entry}");
    let mended = run(&street, "taint --fix --json");
    assert_eq!(mended.status, 1);
    assert_eq!(entries(&mended.report())[0]["verified"], true);
    assert_eq!(retrying.packets(3), 3);
    assert_eq!(run(&street, "taint").status, 0);
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_fix_deletes_the_tainted_entries_and_no_other() {
    let street = Street::new();
    street.nft(MASQUERADE);
    for host in 10..13 {
        insert(&street, host, (4569, 4569), &format!("192.168.1.{host}"));
        insert(&street, host + 10, (4569, 4569), WAN);
        insert(&street, host, (5060, 5060), &format!("192.168.1.{host}"));
    }
    let before = conntrack(&street, "-L");
    assert_eq!(before.lines().count(), 9);

    let shown = run(&street, "taint --fix --dry-run --look 0s --json");
    let report = shown.report();
    assert_eq!((shown.status, findings(&report)), (2, vec!["null-binding"]));
    assert_eq!(entries(&report).len(), 6);
    assert!(
        entries(&report)
            .iter()
            .all(|entry| entry["deleted"] == false)
    );
    assert_eq!(conntrack(&street, "-L").lines().count(), 9);

    let mended = run(&street, "taint --fix --look 0s --wait 1s --json");
    let report = mended.report();
    assert_eq!(mended.status, 1);
    for entry in entries(&report) {
        let tainted = entry["kind"] == "null-binding";
        assert_eq!(entry["deleted"], tainted, "{entry}");
        assert_eq!(entry["verified"], Value::Null, "no packet came: {entry}");
    }
    let left = conntrack(&street, "-L");
    assert_eq!(left.lines().count(), 6, "{left}");
    assert!(
        left.lines()
            .all(|line| line.contains(WAN) || line.contains("5060"))
    );

    let text = run(&street, "taint --look 0s --peer 203.0.113.1");
    assert!(
        text.stdout
            .starts_with("OK: No entry of this router is tainted.")
    );
    let other = run(&street, "taint --look 0s --peer 203.0.113.2 --json");
    assert!(entries(&other.report()).is_empty());
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn an_entry_that_comes_again_as_wrong_is_told() {
    let street = Street::new();
    // The rule names an address of yesterday.
    street.nft(&MASQUERADE.replace("masquerade", &format!("snat to {WAN}")));
    street.ip(&["address flush dev ppp0"]);
    street.wan_up(NEW_WAN);
    let retrying = street.retry();
    retrying.packets(1);
    let mended = run(&street, "taint --fix --json");
    let report = mended.report();
    assert_eq!(
        (mended.status, findings(&report)),
        (2, vec!["stale-source"])
    );
    let entry = &entries(&report)[0];
    assert_eq!(
        (&entry["deleted"], &entry["verified"]),
        (&true.into(), &false.into())
    );
    let because = entry["because"].to_string();
    assert!(
        because.contains("a rule still translates to 198.51.100.7"),
        "{because}"
    );
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_way_out_that_another_router_translates_is_left_alone() {
    // The firewall of OpenWrt names the interface in the jump; Docker's rule is for its own network.
    let zones = "table inet fw4 {\nchain srcnat {\ntype nat hook postrouting priority srcnat\n\
                 oifname \"ppp0\" jump srcnat_wan\n}\n\
                 chain srcnat_wan {\nmeta nfproto ipv4 masquerade\n}\n}\n\
                 table ip docker {\nchain post {\ntype nat hook postrouting priority srcnat\n\
                 ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade\n}\n}";
    let street = Street::new();
    street.nft(zones);
    street.wan_down();
    street.ip(&["route add default via 192.168.100.1 dev eth1"]);
    let back = "route add 192.168.1.0/24 via 192.168.100.2 dev isp1";
    street.net.ip(&[back]).unwrap();
    let retrying = street.retry();
    assert_eq!(retrying.packets(2), 2);
    let ended = run(&street, "taint --json");
    let report = ended.report();
    assert_eq!((ended.status, entries(&report).len()), (0, 1), "{report:#}");
    assert_eq!(entries(&report)[0]["kind"], "healthy");
    // The same entry is wrong once packets leave by the zone that translates.
    street.wan_up(WAN);
    street.net.ip(&[&back.replace("add", "del")]).unwrap();
    street.ip(&["route del default via 192.168.100.1 dev eth1"]);
    assert_eq!(retrying.packets(2), 0);
    let report = run(&street, "taint --fix --json").report();
    assert_eq!(findings(&report), ["null-binding"]);
    assert_eq!(entries(&report)[0]["verified"], true);
    assert_eq!(retrying.packets(2), 2);
}

#[test]
#[ignore = "needs root, ip, iptables and conntrack"]
fn an_old_router_with_one_kind_of_iptables_tells_its_rules_too() {
    let street = Street::new();
    street.restore(
        "iptables-legacy-restore",
        "*nat\n-A POSTROUTING -o ppp0 -j MASQUERADE\nCOMMIT\n",
    );
    insert(&street, 10, (4569, 4569), PBX);
    let folder = tempfile::tempdir().unwrap();
    let because = || {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "mount --bind {} /usr/sbin && exec \"$0\" taint --json --look 0s",
                folder.path().display()
            ))
            .arg(tool::program());
        let report = tool::run(&mut command, &street.on_router()).report();
        assert_eq!(findings(&report), ["null-binding"]);
        report["findings"][0]["because"].to_string()
    };
    // Without any program the rules are not known.
    assert!(because().contains("its own address there is 198.51.100.7"));
    fs::copy(
        "/usr/sbin/xtables-legacy-multi",
        folder.path().join("iptables-save"),
    )
    .unwrap();
    let because = because();
    assert!(
        because.contains("a rule translates what leaves by ppp0"),
        "{because}"
    );
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn packets_with_a_private_source_are_seen_on_the_wire() {
    let street = Street::new();
    let retrying = street.retry();
    retrying.packets(1);
    street.nft(MASQUERADE);
    let report = run(&street, "taint --look 2s --json").report();
    let leaks = report["measurements"]["taint"]["leaks"].as_array().unwrap();
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    assert_eq!(leaks[0]["interface"], "ppp0");
    assert_eq!(leaks[0]["source"], format!("{PBX}:4569"));
    assert!(leaks[0]["packets"].as_u64().unwrap() >= 2, "{leaks:?}");
    assert!(
        report["findings"][0]["because"]
            .to_string()
            .contains("seen leaving by ppp0"),
        "{report:#}"
    );
    let mended = run(&street, "taint --fix").stdout;
    assert!(
        mended.contains("the next packet made a right one"),
        "{mended}"
    );
    let report = run(&street, "taint --look 2s --json").report();
    assert_eq!(report["measurements"]["taint"]["leaks"], Value::Null);
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_taint_is_told_live_and_mended_live() {
    let street = Street::new();
    street.nft(MASQUERADE);
    street.ip(&["route add default via 192.168.100.1 dev eth1 metric 200"]);
    let retrying = street.retry();
    assert_eq!(retrying.packets(2), 2);
    let watch = |line: &str| Running::start(&mut tool::command(line), &street.on_router());
    let told = watch("taint --follow --json");
    let kinds = |running: &Running| -> Vec<String> {
        let text = running.stdout();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| line["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let comes = |running: &Running, kind: &str| {
        poll(Duration::from_secs(20), || {
            (kinds(running).last().map(String::as_str) == Some(kind)).then_some(())
        })
        .unwrap_or_else(|| panic!("{kind} does not come: {:?}", kinds(running)));
    };
    comes(&told, "healthy");
    street.wan_down();
    comes(&told, "null-binding");
    street.wan_up(WAN);
    assert_eq!(retrying.packets(2), 0);
    drop(told);

    let mends = watch("taint --follow --fix");
    let healed = poll(Duration::from_secs(20), || {
        let text = mends.stdout();
        (text.contains("null-binding") && text.contains("; deleted") && text.contains(": healthy"))
            .then_some(())
    });
    assert!(healed.is_some(), "{}", mends.stdout());
    assert_eq!(retrying.packets(3), 3);
}

#[test]
#[ignore = "needs root, setpriv, ip, nft and conntrack"]
fn without_rights_it_says_what_more_it_could_do() {
    let street = Street::new();
    street.nft(MASQUERADE);
    insert(&street, 10, (4569, 4569), PBX);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = folder.path().join("iax2-natcheck");
    fs::copy(tool::program(), &copy).unwrap();
    let as_nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy)
            .args(line.split(' '));
        tool::run(&mut command, &street.on_router())
    };
    for line in ["taint --json", "taint --fix --json"] {
        let ended = as_nobody(line);
        let report = ended.report();
        assert_eq!((ended.status, findings(&report)), (3, vec!["not-measured"]));
        let taint = &report["measurements"]["taint"];
        assert_eq!(taint["suspected"], Value::Null);
        assert_eq!(taint["table"]["entries"], 1, "what may be read is told");
        assert_eq!(taint["timers"]["udp_s"], 20);
        let advice = report["findings"][0]["do_this"].to_string();
        assert!(advice.contains("sudo iax2-natcheck taint"), "{advice}");
    }
    let ended = as_nobody("taint --follow");
    ended.assert_complaint(&["cannot be watched", "CAP_NET_ADMIN"]);
    assert_eq!(conntrack(&street, "-L").lines().count(), 1);
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_check_on_the_router_looks_at_the_router_too() {
    let street = Street::new();
    let _provider = tool::serve(&format!("--bind {PROVIDER}"), &on(&street.net));
    let check = |options: &str| {
        let line = format!("check {PROVIDER} --refresh 60s --max-lifetime 2s --json {options}");
        tool::run(&mut tool::command(&line), &street.on_router())
    };
    insert(&street, 10, (4569, 4569), PBX);
    street.nft(MASQUERADE);
    for options in ["", "--router"] {
        let ended = check(options);
        let report = ended.report();
        assert_eq!(findings(&report)[0], "null-binding", "{report:#}");
        assert_eq!(ended.status, 2);
        assert_eq!(report["measurements"]["taint"]["suspected"], true);
    }
    assert_eq!(run(&street, "taint --fix --wait 0s").status, 1);

    // The timer of 20 s is shorter than the 50 s from one registration to the next.
    insert(&street, 10, (4569, 4569), WAN);
    let report = check("--router").report();
    assert_eq!(findings(&report)[0], "short-mapping-timeout", "{report:#}");
    let because = report["findings"][0]["because"].to_string();
    assert!(
        because.contains("nf_conntrack_udp_timeout is 20 s"),
        "{because}"
    );
    let taint = &report["measurements"]["taint"];
    assert_eq!(
        (&taint["suspected"], &taint["timers"]["udp_s"]),
        (&false.into(), &20.into())
    );
    street.router.udp_timeouts(60, 120).unwrap();
    let report = check("--router").report();
    assert!(
        !findings(&report).contains(&"short-mapping-timeout"),
        "{report:#}"
    );

    // The rules: no guard, then a static address too, then the guard.
    assert!(findings(&report).contains(&"no-leak-guard"), "{report:#}");
    assert!(!findings(&report).contains(&"masquerade-on-static-wan"));
    street.ip(&[
        "address flush dev ppp0",
        &format!("address add {WAN}/24 dev ppp0"),
        "route replace default dev ppp0",
    ]);
    let ids = |options: &str| {
        let report = check(options).report();
        let ids = findings(&report).into_iter().map(str::to_owned);
        ids.filter(|id| id.contains("guard") || id.contains("masquerade"))
            .collect::<Vec<_>>()
    };
    let both = ["masquerade-on-static-wan", "no-leak-guard"];
    assert_eq!(ids("--router"), both);
    // Untold, an entry of a host behind this one shows that it is the PBX's router.
    conntrack(&street, "-F");
    insert(&street, 10, (4569, 4569), WAN);
    assert_eq!(ids(""), both);
    conntrack(&street, "-F");
    assert!(ids("").is_empty());
    street.nft(
        "table ip guard {\nchain post {\n type filter hook postrouting priority 300\n\
         ip saddr 192.168.1.0/24 ip daddr != { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } \
         udp dport 4569 drop\n}\n}",
    );
    assert!(ids("--router").is_empty());

    // On the PBX nothing of the kind is asked for unless told.
    let line = format!("check {PROVIDER} --refresh 60s --max-lifetime 2s --json");
    let report = tool::run(&mut tool::command(&line), &on(&street.pbx)).report();
    assert_eq!(report["measurements"]["taint"], Value::Null);
}

#[test]
#[ignore = "needs root, setpriv, ip, nft and conntrack"]
fn the_file_stands_in_for_netlink_and_allows_no_deletion() {
    let street = Street::new();
    street.nft(MASQUERADE);
    insert(&street, 10, (4569, 4569), PBX);
    let without_netlink = |line: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
            .arg(tool::program())
            .args(line.split(' '));
        tool::run(&mut command, &street.on_router())
    };
    let found = without_netlink("taint --json");
    let report = found.report();
    assert_eq!((found.status, findings(&report)), (2, vec!["null-binding"]));
    assert!(
        found.stderr.contains("but not deleted; root can"),
        "{}",
        found.stderr
    );
    // The rules are not told either; that the way out is public is enough.
    let because = report["findings"][0]["because"].to_string();
    assert!(because.contains("198.51.100.7, a public one"), "{because}");

    let refused = without_netlink("taint --fix");
    assert_eq!((refused.status, refused.stdout.as_str()), (3, ""));
    assert!(
        refused.stderr.contains("run this as root"),
        "{}",
        refused.stderr
    );
    assert_eq!(conntrack(&street, "-L").lines().count(), 1);
}
