//! Two hosts behind the kernel's NAT that send from one port.

use std::thread;

use iax2_natcheck::lab::network::{Ports, Router, SIBLING};
use serde_json::json;

use crate::support::{
    site::{REFLECTOR, REFLECTOR_PORT, Site},
    tool,
};

#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn the_first_host_keeps_the_port_and_the_second_gets_another() {
    thread::scope(|scope| {
        for (ports, kept) in [(Ports::Kept, true), (Ports::FullyRandom, false)] {
            scope.spawn(move || {
                let router = Router {
                    ports,
                    ..Router::masquerade(30, 120)
                };
                let site = Site::with_sibling([router]);
                let _reflector = site.reflector();
                let line = format!("nat mapping {REFLECTOR}:{REFLECTOR_PORT} --sibling {SIBLING}");
                let json_line = format!("{line} --json");
                let report = tool::run(&mut tool::command(&json_line), &site.near()).report();
                let seen = &report["measurements"]["mapping"]["neighbours"];
                assert_eq!(seen["first_keeps_port"], json!(kept), "{report:#}");
                assert_eq!(seen["second_keeps_port"], false, "{seen:#}");
                assert_eq!(seen["first_stays"], true, "{seen:#}");
                assert_ne!(seen["first"], seen["second"], "{seen:#}");
                let text = tool::run(&mut tool::command(&line), &site.near()).stdout;
                assert!(text.contains("of two hosts with port"), "{text}");
            });
        }
    });
}
