//! `nat filtering` tells whom a kernel NAT lets in.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{thread, time::Duration};

use iax2_natcheck::lab::network::{Ports, Router};
use serde_json::json;

use crate::support::{
    coturn::Coturn,
    site::{ALTERNATE, REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, Ended, findings},
};

const LINUX: Router = Router::masquerade(30, 120);

/// Lets everybody in to the client, whatever its port: a full cone.
pub(super) const FULL_CONE: &str = "flush chain ip lab forward\n\
    table ip cone { chain in { type nat hook prerouting priority dstnat; \
    iifname \"wan\" udp dport 1024-65535 dnat to 192.168.1.10; }; }\n";

/// Lets in whom the client has sent to, from any port: a restricted cone.
pub(super) const RESTRICTED_CONE: &str = "flush chain ip lab forward\n\
    table ip cone { set known { type ipv4_addr; flags dynamic; timeout 1m; };\n\
    chain out { type filter hook forward priority 1; oifname \"wan\" add @known { ip daddr }; };\n\
    chain in { type nat hook prerouting priority dstnat; \
    iifname \"wan\" ip saddr @known udp dport 1024-65535 dnat to 192.168.1.10; }; }\n";

/// A firewall that keeps state and translates nothing; the far end knows the way back.
fn without_nat(site: &Site) {
    let router = &site.lab().routers()[0];
    router.nft("flush chain ip lab nat\n").unwrap();
    let route = "route add 192.168.1.0/24 via 198.51.100.7";
    site.lab().server().ip(&[route]).unwrap();
}

fn ask(site: &Site) -> Ended {
    let line = format!("nat filtering {REFLECTOR}:{REFLECTOR_PORT} --json");
    tool::run(&mut tool::command(&line), &site.near())
}

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn whom_it_lets_in_is_told_of_every_filter() {
    type Row<'a> = (&'a str, Option<Router>, fn(&Site), &'a str, Option<bool>);
    let ports = |ports| Some(Router { ports, ..LINUX });
    let nothing: fn(&Site) = |_| {};
    let rows: [Row<'_>; 9] = [
        (
            "plain",
            ports(Ports::Kept),
            nothing,
            "address-and-port-dependent",
            Some(false),
        ),
        (
            "random",
            ports(Ports::Random),
            nothing,
            "address-and-port-dependent",
            Some(false),
        ),
        (
            "fully random",
            ports(Ports::FullyRandom),
            nothing,
            "address-and-port-dependent",
            Some(false),
        ),
        (
            "persistent",
            ports(Ports::Persistent),
            nothing,
            "address-and-port-dependent",
            Some(false),
        ),
        (
            "full cone",
            Some(LINUX),
            |site| site.lab().routers()[0].nft(FULL_CONE).unwrap(),
            "endpoint-independent",
            Some(true),
        ),
        (
            "restricted cone",
            Some(LINUX),
            |site| site.lab().routers()[0].nft(RESTRICTED_CONE).unwrap(),
            "address-dependent",
            Some(false),
        ),
        (
            "firewall without NAT",
            Some(LINUX),
            without_nat,
            "address-and-port-dependent",
            Some(false),
        ),
        ("nothing at all", None, nothing, "none", Some(true)),
        (
            "loss",
            Some(LINUX),
            |site| {
                let arrival = "table ip loss { chain arrival { type filter hook prerouting priority -400; \
                               iifname \"wan\" numgen random mod 100 < 5 drop; }; }\n";
                site.lab().routers()[0].nft(arrival).unwrap();
            },
            "address-and-port-dependent",
            Some(false),
        ),
    ];
    thread::scope(|scope| {
        for (name, router, change, behaviour, other_address) in rows {
            scope.spawn(move || {
                let site = Site::behind(router);
                change(&site);
                let _reflector = site.reflector();
                let ended = ask(&site);
                let report = ended.report();
                let seen = &report["measurements"]["filtering"];
                assert_eq!(seen["behaviour"], behaviour, "{name}: {report:#}");
                assert_eq!(
                    seen["other_address"],
                    json!(other_address),
                    "{name}: {seen}"
                );
                assert_eq!(findings(&report), [""; 0], "{name}");
                assert!(
                    ended.took < Duration::from_secs(10),
                    "{name}: {:?}",
                    ended.took
                );
            });
        }
    });
}

/// A server that is not ours gives the same answer.
#[test]
#[ignore = "needs root, ip, nft and coturn"]
fn a_stun_server_tells_it_too() {
    for (router, behaviour) in [(Some(LINUX), "address-and-port-dependent"), (None, "none")] {
        let site = Site::behind(router);
        let stun = Coturn::start(REFLECTOR.into(), ALTERNATE.into(), &site.far());
        let _provider = tool::serve("--bind 203.0.113.1", &site.far());
        let line = format!("nat filtering 203.0.113.1 --stun {} --json", stun.primary());
        let report = tool::run(&mut tool::command(&line), &site.near()).report();
        let seen = &report["measurements"]["filtering"];
        assert_eq!(seen["behaviour"], behaviour, "{report:#}");
        assert_eq!(seen["via"], "stun");
    }
}

/// The other address of the server stays silent for another reason: that is no filter of the NAT.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_server_whose_other_address_is_dead_proves_nothing() {
    let site = Site::behind([LINUX]);
    let _reflector = site.reflector();
    let deaf = format!(
        "table ip deaf {{ chain out {{ type filter hook output priority 0; ip saddr {ALTERNATE} drop; }}; }}\n"
    );
    site.lab().server().nft(&deaf).unwrap();
    let report = ask(&site).report();
    assert_eq!(report["measurements"]["filtering"]["behaviour"], "unknown");
    assert_eq!(findings(&report), ["not-measured"]);
    let because = report["findings"][0]["because"].to_string();
    assert!(because.contains("asked directly"), "{because}");
}
