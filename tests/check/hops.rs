//! `nat hops` tells which box of the kernel lab keeps state, and for how long each.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{thread, time::Duration};

use iax2_natcheck::lab::network::{Ports, Router};
use serde_json::{Value, json};

use crate::support::{
    process::plain,
    site::{REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, Ended, findings},
};

fn ask(site: &Site, options: &str) -> Ended {
    let line = format!("nat hops {REFLECTOR}:{REFLECTOR_PORT} --json {options}");
    let mut command = tool::command(&line);
    tool::run_within(Duration::from_secs(200), &mut command, &site.near())
}

fn nats(report: &Value) -> &Value {
    &report["measurements"]["hops"]["nats"]
}

fn two(home: u64, carrier: u64) -> Value {
    json!([
        {"hop": 1, "address": "192.168.1.1", "exchange_s": home, "alive_s": home - 1},
        {"hop": 2, "address": "100.64.0.1", "exchange_s": carrier, "alive_s": carrier - 1},
    ])
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn each_of_two_boxes_in_a_row_is_timed_by_itself() {
    thread::scope(|scope| {
        for (home, carrier) in [(12, 5), (5, 12), (8, 8)] {
            scope.spawn(move || {
                let routers = [home, carrier].map(|timer| Router::masquerade(timer, timer + 8));
                let site = Site::behind(routers);
                let _reflector = site.reflector();
                let ended = ask(&site, "--max-lifetime 15s");
                let report = ended.report();
                assert_eq!(nats(&report), &two(home, carrier), "{report:#}");
                assert_eq!(report["measurements"]["hops"]["outermost"], 2);
                assert_eq!(findings(&report), ["double-nat"]);
                let advice = report["findings"][0]["do_this"][0].as_str().unwrap();
                let least = home.min(carrier);
                assert!(advice.contains(&format!("every {least} s")), "{advice}");
            });
        }
    });
}

#[test]
#[ignore = "needs root, network namespaces, ip, nft and two minutes"]
fn full_a_router_of_120_s_and_a_carrier_of_35_s_in_either_order() {
    thread::scope(|scope| {
        for (home, carrier) in [(120, 35), (35, 120)] {
            scope.spawn(move || {
                let routers = [home, carrier].map(|timer| Router::masquerade(timer, 180));
                let site = Site::behind(routers);
                let _reflector = site.reflector();
                let ended = ask(&site, "");
                println!("the hops took {:.1} s", ended.took.as_secs_f64());
                let report = ended.report();
                assert_eq!(nats(&report), &two(home, carrier), "{report:#}");
                assert!(ended.took < Duration::from_secs(145), "{:?}", ended.took);
            });
        }
    });
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn one_box_is_one_whatever_its_ports() {
    thread::scope(|scope| {
        for ports in [Ports::Kept, Ports::Persistent, Ports::FullyRandom] {
            scope.spawn(move || {
                let router = Router {
                    ports,
                    ..Router::masquerade(6, 12)
                };
                let site = Site::behind([router]);
                let _reflector = site.reflector();
                let report = ask(&site, "--max-lifetime 13s").report();
                let expected = json!([
                    {"hop": 1, "address": "192.168.1.1", "exchange_s": 6, "alive_s": 5}
                ]);
                assert_eq!(nats(&report), &expected, "{ports:?}: {report:#}");
                assert_eq!(findings(&report), [""; 0], "{ports:?}");
            });
        }
        scope.spawn(|| {
            let site = Site::behind([]);
            let _reflector = site.reflector();
            let report = ask(&site, "").report();
            assert_eq!(nats(&report), &json!([]));
            assert_eq!(findings(&report), [""; 0]);
            assert!(report["summary"].as_str().unwrap().starts_with("No router"));
        });
    });
}

/// Without a second address the outermost filter does not show; the timers do.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_reflector_with_one_address_times_them_too() {
    let site = Site::behind([Router::masquerade(5, 20), Router::masquerade(9, 20)]);
    let line = format!("--bind {REFLECTOR}:{REFLECTOR_PORT}");
    let _reflector = tool::serve(&line, &site.far());
    let report = ask(&site, "--max-lifetime 13s").report();
    assert_eq!(nats(&report), &two(5, 9), "{report:#}");
    assert_eq!(report["measurements"]["hops"]["outermost"], Value::Null);
}

/// A demonstration runs all of it in a network of its own.
#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn the_demonstration_of_two_names_both() {
    let ended = tool::run(&mut tool::command("demo double-nat --json"), &plain);
    let report = ended.report();
    assert_eq!(findings(&report), ["double-nat"]);
    assert_eq!(nats(&report)[0]["address"], "192.168.1.1");
    assert_eq!(nats(&report)[1]["address"], "100.64.0.1");
}
