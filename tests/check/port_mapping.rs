//! `--port-mapping` against Debian's miniupnpd on the lab's router, and against a router without it.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use iax2_natcheck::{lab::network::Router, wire::port_mapping::nat_pmp::Request};
use serde_json::{Value, json};

use crate::support::{
    miniupnpd::{EXTERNAL, Miniupnpd},
    process,
    site::{PROVIDER, Site},
    tool::{self, Ended, findings},
};

const ROUTER: Router = Router::masquerade(30, 120);

fn check(site: &Site, options: &str) -> Ended {
    let line = format!("check {PROVIDER} --refresh 5s --max-lifetime 2s --json {options}");
    tool::run(&mut tool::command(&line), &site.near())
}

fn mapper(name: &str) -> Value {
    json!({
        "name": name, "external_address": EXTERNAL,
        "mapping_made": true, "mapping_removed": true
    })
}

#[test]
#[ignore = "needs root, network namespaces, ip, nft and miniupnpd"]
fn every_protocol_is_seen_and_nothing_is_left_behind() {
    let site = Site::behind([ROUTER]);
    let (router, server) = (&site.lab().routers()[0], site.lab().server());
    let daemon = Miniupnpd::start(router, server, "enable_natpmp=yes\nenable_upnp=yes");
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());

    let ended = check(&site, "--port-mapping");
    println!("{:.1} s", ended.took.as_secs_f64());
    let report = ended.report();
    let seen = &report["measurements"]["port_mapping"];
    assert_eq!(seen["upnp"], true, "{seen:#}\n{}", daemon.log());
    assert_eq!(seen["nat_pmp"], true, "{seen:#}");
    assert_eq!(seen["pcp"], true, "{seen:#}");
    assert_eq!(seen["gateway"], "192.168.1.1");
    assert_eq!(seen["external_address"], EXTERNAL);
    let protocols = ["upnp", "nat_pmp", "pcp"].map(mapper);
    assert_eq!(seen["protocols"], json!(protocols), "{seen:#}");
    assert!(
        seen["device"].as_str().unwrap().contains("router"),
        "{seen:#}"
    );
    // The address is the one that the reflector saw.
    let mapped = &report["measurements"]["mapping"]["observations"][0]["mapped"];
    assert!(mapped.as_str().unwrap().starts_with(EXTERNAL), "{mapped}");
    assert_eq!(daemon.mappings(), [""; 0]);
    assert!(
        daemon.log().contains("redirecting port"),
        "{}",
        daemon.log()
    );

    // A mapping that is left would have been seen.
    let client = site
        .lab()
        .client()
        .bind("192.168.1.10:0".parse().unwrap())
        .unwrap();
    let left = Request::MapUdp {
        internal: 40_123,
        external: 40_123,
        lifetime_s: 120,
    };
    client.send_to(&left.encode(), "192.168.1.1:5351").unwrap();
    let seen = process::poll(Duration::from_secs(5), || {
        let mappings = daemon.mappings();
        (!mappings.is_empty()).then_some(mappings)
    });
    assert!(seen.unwrap()[0].contains("40123"));

    // Nothing of it without being asked for.
    let before = daemon.log().len();
    let report = check(&site, "").report();
    assert_eq!(report["measurements"]["port_mapping"], Value::Null);
    let log = daemon.log();
    assert!(
        !log[before..].contains("192.168.1.10"),
        "{}",
        &log[before..]
    );
}

/// A router may speak some of them and refuse to map; it says which box it is all the same.
#[test]
#[ignore = "needs root, network namespaces, ip, nft and miniupnpd"]
fn what_is_off_is_not_seen_and_what_is_refused_is_told() {
    let site = Site::behind([ROUTER]);
    let (router, server) = (&site.lab().routers()[0], site.lab().server());
    let lines = "enable_natpmp=no\nenable_upnp=yes\ndeny 0-65535 192.168.1.0/24 0-65535\n\
                 friendly_name=FRITZ!Box 7590\nmanufacturer_name=AVM Berlin";
    let daemon = Miniupnpd::start(router, server, lines);
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    let report = check(&site, "--port-mapping").report();
    let seen = &report["measurements"]["port_mapping"];
    assert_eq!(
        (&seen["nat_pmp"], &seen["pcp"]),
        (&json!(false), &json!(false))
    );
    let upnp = &seen["protocols"][0];
    assert_eq!(upnp["external_address"], EXTERNAL, "{}", daemon.log());
    assert_eq!(upnp["mapping_made"], false, "{upnp:#}");
    assert!(upnp["refused"].is_string(), "{upnp:#}");
    let device = &report["measurements"]["device"];
    assert_eq!(device["product"], "FRITZ!Box", "{seen:#}");
    assert_eq!(device["by"], "upnp");
    assert_eq!(daemon.mappings(), [""; 0]);
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_router_without_any_says_so_soon() {
    let site = Site::behind([ROUTER]);
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    let ended = check(&site, "--port-mapping");
    let seen = &ended.report()["measurements"]["port_mapping"];
    let expected = json!({
        "upnp": false, "nat_pmp": false, "pcp": false, "gateway": "192.168.1.1"
    });
    assert_eq!(seen, &expected);
    assert!(ended.took.as_secs_f64() < 10.0, "{:?}", ended.took);
}

/// What the router tells as its public address is none: a carrier's NAT stands behind it.
#[test]
#[ignore = "needs root, network namespaces, ip, nft and miniupnpd"]
fn a_router_that_tells_another_address_than_is_seen_stands_before_a_nat() {
    let site = Site::behind([ROUTER]);
    let (router, server) = (&site.lab().routers()[0], site.lab().server());
    let daemon = Miniupnpd::start(router, server, "enable_natpmp=yes\nenable_upnp=yes");
    // The next host translates what it gets, as a carrier does.
    let carrier = "table ip carrier { chain in { type nat hook input priority 100; \
                   ip saddr 11.0.0.7 snat to 198.51.100.99; }; }\n";
    server.nft(carrier).unwrap();
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    let report = check(&site, "--port-mapping").report();
    let seen = &report["measurements"]["port_mapping"];
    assert_eq!(seen["external_address"], EXTERNAL, "{}", daemon.log());
    let mapped = &report["measurements"]["mapping"]["observations"][0]["mapped"];
    let mapped = mapped.as_str().unwrap();
    assert!(mapped.starts_with("198.51.100.99:"), "{mapped}");
    assert!(findings(&report).contains(&"double-nat"), "{report:#}");
    let found = report["findings"].as_array().unwrap();
    let found = found.iter().find(|found| found["id"] == "double-nat");
    let fact = found.unwrap()["because"][0].as_str().unwrap();
    assert!(
        fact.contains("11.0.0.7") && fact.contains("198.51.100.99"),
        "{fact}"
    );
    let title = found.unwrap()["title"].as_str().unwrap();
    assert!(title.contains("192.168.1.1"), "{title}");
}
