//! `nat hairpin` through kernel NATs that lead packets back, and that do not.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use iax2_natcheck::lab::network::{CLIENT, PUBLIC, Router};
use serde_json::{Value, json};

use crate::support::{
    site::{PROVIDER, Site},
    tool::{self, Ended, findings},
};

fn hairpin(site: &Site) -> Ended {
    let line = format!("nat hairpin {PROVIDER} --json");
    tool::run(&mut tool::command(&line), &site.near())
}

fn hairpin_of(report: &Value) -> &Value {
    &report["measurements"]["hairpin"]
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn plain_masquerade_leads_nothing_back() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    let ended = hairpin(&site);
    let report = ended.report();
    assert_eq!(
        hairpin_of(&report),
        &json!({"supported": false, "sent": 10})
    );
    assert_eq!(
        (ended.status, findings(&report).len()),
        (0, 0),
        "{report:#}"
    );
    assert_eq!(report["measurements"]["lifetime"], Value::Null);
}

/// The rules that lead packets back. Without a new source they come from the very host they go to, and
/// that drops them: such a NAT is none that leads back, here and in RFC 4787 (REQ-9a).
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_router_that_leads_packets_back_is_seen_to() {
    let snat = format!("oifname \"lan\" ip saddr 192.168.1.0/24 snat to {PUBLIC}");
    for (source, supported) in [(snat.as_str(), true), ("", false)] {
        let site = Site::behind([Router::masquerade(30, 120)]);
        let router = &site.lab().routers()[0];
        let rules = format!(
            "table ip hairpin {{\n\
             chain in {{ type nat hook prerouting priority dstnat;\n\
             iifname \"lan\" ip daddr {PUBLIC} meta l4proto udp dnat to {CLIENT}\n}}\n\
             chain out {{ type nat hook postrouting priority 90;\n{source}\n}}\n}}\n"
        );
        router.nft(&rules).unwrap();
        let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
        let report = hairpin(&site).report();
        let seen = hairpin_of(&report);
        assert_eq!(seen["supported"], supported, "{seen:#}");
        let external = if supported { json!(true) } else { Value::Null };
        assert_eq!(seen["external_source"], external, "{seen:#}");
    }
}

/// It is no part of a check unless asked for.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn only_on_request() {
    let site = Site::behind([Router::masquerade(6, 12)]);
    let _reflector = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    for (option, supported) in [("", Value::Null), ("--hairpin", json!(false))] {
        let line = format!("check {PROVIDER} --refresh 5s --max-lifetime 2s --json {option}");
        let report = tool::run(&mut tool::command(&line), &site.near()).report();
        assert_eq!(hairpin_of(&report)["supported"], supported);
    }
}

/// The public address has to be told by somebody.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn without_anybody_who_tells_the_address_it_stays_open() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let ended = hairpin(&site);
    let report = ended.report();
    assert_eq!(hairpin_of(&report), &json!({"supported": null, "sent": 0}));
    assert!(ended.status >= 2, "{report:#}");
}
