//! The other rules of the kernel, each with its answer in JSON.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fs, process::Command, thread, time::Duration};

use iax2_natcheck::{
    lab::{
        kernel::Namespace,
        network::{Ports, Router, SourceNat},
    },
    types::{CallNumber, Timestamp},
    wire::iax2::frame::{Frame, FullFrame},
};
use serde_json::{Value, json};

use crate::support::{
    process,
    site::{REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, Ended, findings},
};

const LINUX: Router = Router::masquerade(30, 120);

/// SNAT to a range of ports that no client's port is in.
const RANGE: &str = "flush chain ip lab nat\n\
    add rule ip lab nat oifname \"wan\" udp sport 1-65535 snat to 198.51.100.7:1024-2047\n";

/// Every experiment that lasts seconds: the reflector is the provider, and no lifetime is tried that is worth it.
fn check(site: &Site) -> Ended {
    let line = format!("check {REFLECTOR}:{REFLECTOR_PORT} --refresh 1s --max-lifetime 2s --json");
    tool::run(&mut tool::command(&line), &site.near())
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn snat_with_a_range_and_without_is_consistent() {
    let snat = Router {
        rule: SourceNat::Snat,
        ..LINUX
    };
    let random = Router {
        ports: Ports::FullyRandom,
        ..snat
    };
    thread::scope(|scope| {
        for (name, router, rules, mapping, kept) in [
            ("without", snat, "", "endpoint-independent", true),
            ("a range", snat, RANGE, "endpoint-independent", false),
            ("random", random, "", "address-and-port-dependent", false),
        ] {
            scope.spawn(move || {
                let site = Site::behind([router]);
                if !rules.is_empty() {
                    site.lab().routers()[0].nft(rules).unwrap();
                }
                let _reflector = site.reflector();
                let ended = check(&site);
                let report = ended.report();
                let measured = &report["measurements"];
                println!(
                    "{name}: {} in {:?}",
                    measured["mapping"]["behaviour"], ended.took
                );
                assert_eq!(
                    measured["mapping"]["behaviour"], mapping,
                    "{name}: {report:#}"
                );
                assert_eq!(measured["mapping"]["port_preserved"], json!(kept), "{name}");
                let allocation = measured["mapping"]["port_allocation"].as_str();
                assert_eq!(allocation == Some("preserved"), kept, "{name}: {report:#}");
                assert_eq!(measured["mapping"]["pooling"], "paired", "{name}");
                assert_eq!(measured["mapping"]["stable_under_load"], true, "{name}");
                assert_eq!(
                    measured["filtering"]["behaviour"],
                    "address-and-port-dependent"
                );
                assert_eq!(measured["payload"]["rewritten"], false, "{name}");
                assert_eq!(measured["hops"]["distance"], 2, "{name}");
                // All of it but lifetimes is over in ten seconds.
                assert!(
                    ended.took < Duration::from_secs(10),
                    "{name}: {:?}",
                    ended.took
                );
            });
        }
    });
}

/// A router that sends ICMP errors instead of silence is told from one that is silent.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn icmp_errors_of_the_router_are_told() {
    let site = Site::behind([LINUX]);
    let reject = "table ip refuse { chain out { type filter hook forward priority -10; \
                  oifname \"wan\" meta l4proto udp reject with icmp type admin-prohibited; }; }\n";
    site.lab().routers()[0].nft(reject).unwrap();
    let _reflector = site.reflector();
    let report = check(&site).report();
    assert_eq!(findings(&report), ["provider-unreachable"]);
    let icmp = &report["measurements"]["reachability"]["icmp"];
    assert_eq!(icmp, "administratively prohibited");
}

/// Gives the network of the site IPv6, with a firewall that keeps state and no NAT.
fn add_ipv6(site: &Site) {
    let (client, router, server) = (
        site.lab().client(),
        &site.lab().routers()[0],
        site.lab().server(),
    );
    let address = |namespace: &Namespace, interface, address: &str| {
        namespace
            .address(interface, address.parse().unwrap(), 64)
            .unwrap();
    };
    address(client, "eth0", "2001:db8:1::10");
    address(router, "lan", "2001:db8:1::1");
    address(router, "wan", "2001:db8:2::1");
    for end in ["2001:db8:2::10", "2001:db8:2::11"] {
        address(server, "eth0", end);
    }
    client
        .default_route("2001:db8:1::1".parse().unwrap())
        .unwrap();
    server
        .default_route("2001:db8:2::1".parse().unwrap())
        .unwrap();
    let rules = "table ip6 lab { chain forward { type filter hook forward priority filter; \
                 ct state established,related accept; iifname \"wan\" drop; }; }\n";
    router.nft(rules).unwrap();
}

/// A provider with both families: the one that is measured, and a short look at the other.
#[test]
#[ignore = "needs root, network and mount namespaces, ip and nft"]
fn both_families_of_a_name_are_compared() {
    let site = Site::behind([LINUX]);
    add_ipv6(&site);
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let names = format!("{REFLECTOR} iax.example.net\n2001:db8:2::10 iax.example.net\n");
    fs::write(&hosts, names).unwrap();
    let check = |options: &str| {
        let mut command = Command::new("unshare");
        let inside = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        command
            .args(["--mount", "sh", "-c", inside, "sh"])
            .arg(&hosts);
        command.arg(env!("CARGO_BIN_EXE_iax2-natcheck"));
        let line = format!("check iax.example.net:4570 --refresh 1s --max-lifetime 2s {options}");
        command.args(line.split_whitespace());
        tool::run(&mut command, &site.near())
    };
    let both = format!("--bind {REFLECTOR}:4570 --bind [2001:db8:2::10]:4570");
    let server = tool::serve(&both, &site.far());
    let report = check("--json").report();
    let address = report["provider"]["address"].as_str().unwrap();
    let is_v6 = address.starts_with('[');
    let other = &report["measurements"]["other_family"];
    assert_eq!(other["address"].as_str().unwrap().starts_with('['), !is_v6);
    assert_eq!(other["sent"], other["received"], "{report:#}");
    assert_eq!(other["nat"], json!(is_v6), "{report:#}");
    assert_eq!(report["measurements"]["mapping"]["nat"], json!(!is_v6));
    let text = check("").stdout;
    assert!(
        text.contains(if is_v6 { "over IPv4" } else { "over IPv6" }),
        "{text}"
    );
    drop(server);

    // The one that is measured is silent, and the other answers.
    let line = if is_v6 {
        format!("--bind {REFLECTOR}:4570")
    } else {
        "--bind [2001:db8:2::10]:4570".to_owned()
    };
    let _server = tool::serve(&line, &site.far());
    let report = check("--json").report();
    assert_eq!(findings(&report), ["provider-unreachable"], "{report:#}");
    let advice = report["findings"][0]["do_this"][0].as_str().unwrap();
    assert!(
        advice.starts_with("use the address that answers"),
        "{advice}"
    );
}

/// IPv6 has no NAT here, and a firewall that keeps state.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_firewall_of_ipv6_is_called_one() {
    let site = Site::behind([LINUX]);
    add_ipv6(&site);
    let line = "--bind [2001:db8:2::10]:4570 --alternate [2001:db8:2::11]:4571";
    let _reflector = tool::serve(line, &site.far());
    let line = "check [2001:db8:2::10]:4570 --refresh 1s --max-lifetime 2s --json";
    let report = tool::run(&mut tool::command(line), &site.near()).report();
    let measured = &report["measurements"];
    assert_eq!(measured["mapping"]["behaviour"], "none", "{report:#}");
    assert_eq!(
        measured["filtering"]["behaviour"],
        "address-and-port-dependent"
    );
    assert_eq!(measured["hops"]["outermost"], 1, "{report:#}");
    assert_eq!(measured["hops"]["nats"][0]["address"], "2001:db8:1::1");
    assert_eq!(measured["payload"]["rewritten"], false);
    let text = tool::run(
        &mut tool::command("nat filtering [2001:db8:2::10]:4570"),
        &site.near(),
    );
    assert!(
        text.stdout.contains("The firewall lets in only answers"),
        "{text:#?}"
    );
}

/// Fills the router's table with flows of others that nothing drops. The limit is read-only in a namespace.
fn fill_table(router: &Namespace) {
    let file = "/proc/sys/net/netfilter/nf_conntrack_max";
    let most: usize = router
        .run(|| fs::read_to_string(file))
        .unwrap()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("entries");
    let entry = |number: usize| {
        let (host, port) = (number / 60_000, number % 60_000 + 1024);
        format!(
            "-A -s 10.{host}.0.1 -d 10.200.0.1 -p udp --sport {port} --dport 9 -t 600 \
             -u ASSURED,SEEN_REPLY\n"
        )
    };
    let entries: Vec<String> = (0..most + 1000).map(entry).collect();
    fs::write(&list, entries.concat()).unwrap();
    let mut restore = Command::new("conntrack");
    restore.args(["-R", list.to_str().unwrap()]);
    let inside = crate::support::site::inside(router);
    process::run(&mut restore, &inside, Duration::from_secs(120));
    let count = router
        .run(|| fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count"))
        .unwrap()
        .unwrap();
    println!("{} of {most}", count.trim());
}

/// A table that is full takes no new flow: nothing is made up, and what it may be is said.
#[test]
#[ignore = "needs root, network namespaces, ip, nft and conntrack"]
fn a_table_without_room_is_silence_towards_new_flows_and_nothing_is_made_up() {
    let site = Site::behind([LINUX]);
    let router = &site.lab().routers()[0];
    let _reflector = site.reflector();
    fill_table(router);
    let report = check(&site).report();
    assert_eq!(report["measurements"]["mapping"]["behaviour"], Value::Null);
    assert_eq!(findings(&report), ["provider-unreachable"]);
    let advice = report["findings"][0]["do_this"].to_string();
    assert!(
        advice.contains("table of connections may be full"),
        "{advice}"
    );
}

/// What is in the table goes on, and the port of such a flow tells.
#[test]
#[ignore = "needs root, network namespaces, ip, nft and conntrack"]
fn a_flow_that_goes_on_beside_a_table_without_room_tells_it() {
    let site = Site::behind([LINUX]);
    let router = &site.lab().routers()[0];
    let _reflector = site.reflector();
    // The PBX's flow, for longer than two seconds, so that the kernel does not drop it for others.
    let client = site.lab().client();
    let pbx = client.bind("192.168.1.10:4569".parse().unwrap()).unwrap();
    pbx.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let poke = FullFrame::poke_from(CallNumber::from_bits(7), Timestamp::ZERO);
    let poke = Frame::Full(poke).to_vec();
    for _ in 0..4 {
        pbx.send_to(&poke, (REFLECTOR, REFLECTOR_PORT)).unwrap();
        pbx.recv(&mut [0; 512]).unwrap();
        thread::sleep(Duration::from_secs(1));
    }
    drop(pbx);
    fill_table(router);
    let line = format!(
        "check {REFLECTOR}:{REFLECTOR_PORT} --local-port 4569 --refresh 1s --max-lifetime 2s --json"
    );
    let report = tool::run(&mut tool::command(&line), &site.near()).report();
    let found = findings(&report);
    assert!(found.contains(&"conntrack-table-full"), "{report:#}");
    assert!(!found.contains(&"provider-unreachable"), "{report:#}");
    assert!(!found.contains(&"tainted-mapping"), "{report:#}");
    let because = report["findings"].to_string();
    assert!(because.contains("from a fresh port none"), "{because}");
}
