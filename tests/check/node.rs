//! A node of `AllStarLink` behind the kernel's NAT, which a real Asterisk plays: is it reached, and at which
//! port is it seen?

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{io::Write as _, thread};

use iax2_natcheck::lab::network::{CLIENT, Ports, Router};

use crate::{
    inbound::forward,
    support::{
        asterisk::Asterisk,
        loopback,
        process::plain,
        site::{REFLECTOR, REFLECTOR_PORT, Site},
        tool::{self, findings},
    },
};

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_node_needs_its_port_both_ways() {
    type Row<'a> = (&'a str, Ports, bool, i32, &'a [&'a str], &'a [&'a str]);
    let rows: [Row<'_>; 4] = [
        (
            "forwarded, kept",
            Ports::Kept,
            true,
            0,
            &[],
            &["port-forward-missing", "announced-port-changed"],
        ),
        (
            "kept alone",
            Ports::Kept,
            false,
            2,
            &["port-forward-missing"],
            &["announced-port-changed"],
        ),
        (
            "forwarded, drawn",
            Ports::Random,
            true,
            1,
            &["announced-port-changed"],
            &["port-forward-missing"],
        ),
        (
            "neither",
            Ports::FullyRandom,
            false,
            2,
            &["port-forward-missing", "announced-port-changed"],
            &[],
        ),
    ];
    thread::scope(|scope| {
        for (name, ports, is_forwarded, status, wanted, unwanted) in rows {
            scope.spawn(move || {
                let site = Site::behind([Router {
                    ports,
                    ..Router::masquerade(30, 120)
                }]);
                if is_forwarded {
                    site.lab().routers()[0].nft(&forward(4569, CLIENT)).unwrap();
                }
                let _node = Asterisk::registrar(CLIENT).start(&site.near());
                let _reflector = site.reflector();
                let line =
                    format!("check {REFLECTOR}:{REFLECTOR_PORT} --profile allstarlink --json");
                let ended = tool::run(&mut tool::command(&line), &site.near());
                let report = ended.report();
                let found = findings(&report);
                assert_eq!(ended.status, status, "{name}: {report:#}");
                for id in wanted {
                    assert!(found.contains(id), "{name}: {found:?}");
                }
                for id in unwanted {
                    assert!(!found.contains(id), "{name}: {found:?}");
                }
                assert!(
                    report["measurements"].get("registration").is_none(),
                    "{name}"
                );
                assert!(report["measurements"].get("lifetime").is_none(), "{name}");
            });
        }
    });
}

/// Test calls are made as the user that nodes have, without a secret; what was not measured is said.
#[test]
fn a_node_calls_as_radio() {
    let here = loopback::address();
    let mut users = tempfile::NamedTempFile::new().unwrap();
    writeln!(users, "[radio]\nauth = []").unwrap();
    let line = format!("--bind {here} --users {}", users.path().display());
    let _server = tool::serve(&line, &plain);
    let line = format!("check {here} --profile allstarlink --echo 600 --json");
    let ended = tool::run(&mut tool::command(&line), &plain);
    let report = ended.report();
    assert_eq!(
        report["measurements"]["calls"]["completed"], 3,
        "{report:#}"
    );
    assert_eq!(findings(&report), ["not-measured"], "{report:#}");

    let line = format!("check {here} --profile allstarlink --asterisk");
    tool::run(&mut tool::command(&line), &plain).assert_complaint(&["--asterisk", "registers"]);
}
