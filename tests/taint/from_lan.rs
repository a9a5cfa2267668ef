//! A tainted flow told from the PBX's own host, without rights and without the router's help.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use serde_json::Value;

use crate::{
    street::{PBX, PROVIDER, Street, WAN, on},
    support::{
        process::Running,
        tool::{self, Ended, findings},
    },
};

const MASQUERADE: &str = "table ip nat {\nchain post {\ntype nat hook postrouting priority 100\n\
                          oifname \"ppp0\" masquerade\n}\n}";

fn provider(street: &Street) -> Running {
    tool::serve(&format!("--bind {PROVIDER}"), &on(&street.net))
}

fn ask(street: &Street, line: &str) -> Ended {
    tool::run(&mut tool::command(line), &on(&street.pbx))
}

fn flow(street: &Street) -> (Ended, Value) {
    let ended = ask(
        street,
        &format!("taint --peer {PROVIDER} --local-port 4569 --json"),
    );
    let report = ended.report();
    (ended, report)
}

/// One packet from the PBX's port, which makes the entry.
fn packet(street: &Street) {
    let socket = street
        .pbx
        .bind(format!("{PBX}:4569").parse().unwrap())
        .unwrap();
    socket.send_to(b"nothing", (PROVIDER, 4569)).unwrap();
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_dead_flow_is_told_from_an_outage_and_from_a_live_one() {
    let street = Street::new();
    let _provider = provider(&street);
    packet(&street);
    street.nft(MASQUERADE);

    let (dead, report) = flow(&street);
    assert_eq!(
        (dead.status, findings(&report)),
        (2, vec!["tainted-mapping"])
    );
    assert_eq!(report["measurements"]["taint"]["suspected"], true);
    let because = report["findings"][0]["because"].to_string();
    assert!(
        because.contains(&format!("{PBX}:4569: 0 of 5")),
        "{because}"
    );
    assert!(because.contains("10 of 10"), "{because}");

    // The whole check says so too, with and without an account.
    let line = format!("check {PROVIDER} --local-port 4569 --max-lifetime 2s --refresh 60s --json");
    for command in [
        &mut tool::command(&line),
        &mut tool::with_secret(&format!("{line} --user alice"), "secret"),
    ] {
        let ended = tool::run(command, &on(&street.pbx));
        let report = ended.report();
        assert_eq!(findings(&report)[0], "tainted-mapping", "{report:#}");
        assert!(!findings(&report).contains(&"registration-timeout"));
        assert_eq!(ended.status, 2);
    }

    let mended = tool::run(
        &mut tool::command("taint --fix --wait 0s"),
        &street.on_router(),
    );
    assert_eq!(mended.status, 1, "{mended:?}");
    let (alive, report) = flow(&street);
    assert_eq!((alive.status, findings(&report)), (0, vec![]));
    assert_eq!(report["measurements"]["taint"]["suspected"], false);

    street.wan_down();
    let (outage, report) = flow(&street);
    assert_eq!(outage.status, 2);
    assert_eq!(findings(&report), ["provider-unreachable"]);
    assert_eq!(report["measurements"]["taint"]["suspected"], Value::Null);
    street.wan_up(WAN);
}

#[test]
#[ignore = "needs root, ip, nft and conntrack"]
fn a_port_in_use_is_told_before_anything_is_sent() {
    let street = Street::new();
    let _pbx = street.pbx.bind("0.0.0.0:4569".parse().unwrap()).unwrap();
    let ended = ask(
        &street,
        &format!("taint --peer {PROVIDER} --local-port 4569"),
    );
    ended.assert_complaint(&["4569"]);
    let ended = ask(&street, "taint --local-port 4569");
    ended.assert_complaint(&["--peer"]);
}
