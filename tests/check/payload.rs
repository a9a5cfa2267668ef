//! A router that rewrites the content of packets is found out.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use iax2_natcheck::lab::network::Router;
use serde_json::json;

use crate::support::{
    site::{REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, findings},
};

/// Rewrites two octets of the bait, which begins behind the header of UDP (8), the full frame (12), its
/// element (2) and the fields of the request (18). No other packet of the test is that long.
const OUTBOUND: &str = "table ip alg { chain out { type filter hook postrouting priority 300; \
    oifname \"wan\" udp length > 150 @th,352,16 set 0x5858; }; }\n";

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_router_that_rewrites_the_content_is_found_out() {
    for (name, rules, rewritten) in [("plain", "", false), ("outbound", OUTBOUND, true)] {
        let site = Site::behind([Router::masquerade(30, 120)]);
        if !rules.is_empty() {
            site.lab().routers()[0].nft(rules).unwrap();
        }
        let _reflector = site.reflector();
        let line = format!("nat mapping {REFLECTOR}:{REFLECTOR_PORT} --json");
        let ended = tool::run(&mut tool::command(&line), &site.near());
        let report = ended.report();
        let seen = &report["measurements"]["payload"];
        assert_eq!(seen["rewritten"], json!(rewritten), "{name}: {report:#}");
        let expected: &[&str] = if rewritten {
            &["payload-rewritten"]
        } else {
            &[]
        };
        assert_eq!(findings(&report), expected, "{name}");
        if rewritten {
            let because = report["findings"][0]["because"].to_string();
            assert!(because.contains("as 58 58"), "{because}");
        }
    }
}
