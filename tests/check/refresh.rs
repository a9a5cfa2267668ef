//! What keeps a mapping of the kernel's NAT open, and whether a busy one ends.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{process::Command, thread, time::Duration};

use iax2_natcheck::lab::network::Router;
use serde_json::{Value, json};

use crate::support::{
    process,
    site::{REFLECTOR, REFLECTOR_PORT, Site, inside},
    tool::{self, Ended, edge, findings},
};

fn lifetime(site: &Site, options: &str) -> Ended {
    let line = format!("nat lifetime {REFLECTOR}:{REFLECTOR_PORT} --json {options}");
    let mut command = tool::command(&line);
    tool::run_within(Duration::from_secs(200), &mut command, &site.near())
}

/// The kernel counts a packet before it looks at its time to live, and counts none that does not reach it.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn packets_of_ours_refresh_where_they_come_to() {
    let one = vec![Router::masquerade(6, 22)];
    let two = vec![Router::masquerade(30, 40), Router::masquerade(6, 22)];
    let dies_at_one = json!([{"ttl": 1, "refreshes": true}]);
    let dies_at_two = json!([{"ttl": 1, "refreshes": false}, {"ttl": 2, "refreshes": true}]);
    thread::scope(|scope| {
        for (routers, low_ttl) in [(one, dies_at_one), (two, dies_at_two)] {
            scope.spawn(move || {
                let site = Site::behind(routers);
                let _reflector = site.reflector();
                let ended = lifetime(&site, "--max-lifetime 25s");
                let report = ended.report();
                assert_eq!(edge(&report, "exchange"), (Some(5.0), Some(6.0)));
                let seen = &report["measurements"]["lifetime"];
                assert_eq!(seen["inbound_refreshes"], true, "{seen:#}");
                let expected = json!({
                    "outbound": true, "inval": true, "low_ttl": low_ttl,
                    "ended_by_icmp_error": false,
                });
                assert_eq!(seen["refreshed_by"], expected, "{seen:#}");
                // Five seconds by the counted clock of the simulation; this host has other work, too.
                assert!(ended.took < Duration::from_secs(22 + 7), "{:?}", ended.took);
            });
        }
    });
}

/// One timer for all traffic: who wants to know waits.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_flat_timer_tells_it_on_request() {
    let site = Site::behind([Router::masquerade(8, 8)]);
    let _reflector = site.reflector();
    let report = lifetime(&site, "--max-lifetime 15s --who-refreshes").report();
    let seen = &report["measurements"]["lifetime"]["refreshed_by"];
    assert_eq!(seen["outbound"], true, "{report:#}");
    assert_eq!(seen["inval"], true);
    let text =
        format!("nat lifetime {REFLECTOR}:{REFLECTOR_PORT} --max-lifetime 15s --who-refreshes");
    let text = tool::run(&mut tool::command(&text), &site.near()).stdout;
    assert!(
        text.contains("kept open by: packets of ours, INVAL, packets that die at hop 1"),
        "{text}"
    );
}

/// The kernel ends no mapping by age. Where all of them end at once, busy ones do too, and that is told.
#[test]
#[ignore = "needs root, network namespaces, ip, nft and conntrack"]
fn mappings_that_end_although_packets_pass_are_told() {
    const END: u64 = 25;
    let routers = || [Router::masquerade(15, 120)];
    thread::scope(|scope| {
        scope.spawn(|| {
            let site = Site::behind(routers());
            let _reflector = site.reflector();
            let report = lifetime(&site, "--max-lifetime 40s").report();
            let busy = &report["measurements"]["lifetime"]["busy"];
            assert_eq!(busy["dead_s"], Value::Null, "{report:#}");
            assert!(busy["alive_s"].as_f64().unwrap() > 35.0, "{busy:#}");
            assert!(
                !findings(&report).contains(&"absolute-lifetime"),
                "{report:#}"
            );
        });
        scope.spawn(|| {
            let site = Site::behind(routers());
            let _reflector = site.reflector();
            let router = &site.lab().routers()[0];
            let report = thread::scope(|inner| {
                let report = inner.spawn(|| lifetime(&site, "--max-lifetime 40s").report());
                thread::sleep(Duration::from_secs(END));
                let mut delete = Command::new("conntrack");
                delete.args(["-F"]);
                process::run(&mut delete, &inside(router), Duration::from_secs(10));
                report.join().unwrap()
            });
            let busy = &report["measurements"]["lifetime"]["busy"];
            let dead = busy["dead_s"].as_f64().unwrap_or(0.0);
            assert!((20.0..27.0).contains(&dead), "{report:#}");
            assert!(
                findings(&report).contains(&"absolute-lifetime"),
                "{report:#}"
            );
        });
    });
}
