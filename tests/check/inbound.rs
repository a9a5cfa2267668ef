//! A real Asterisk behind the kernel's NAT: do strangers reach it?

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{net::Ipv4Addr, thread};

use iax2_natcheck::lab::network::{CLIENT, Router};
use serde_json::json;

use crate::support::{
    asterisk::Asterisk,
    site::{REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, findings},
};

/// What a port forward on the router is.
pub(crate) fn forward(port: u16, to: Ipv4Addr) -> String {
    format!(
        "insert rule ip lab forward ct status dnat accept\n\
         table ip forwards {{ chain in {{ type nat hook prerouting priority dstnat; \
         iifname \"wan\" udp dport {port} dnat to {to}:4569; }}; }}\n"
    )
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_port_forward_is_missed_only_where_it_is_needed() {
    type Row<'a> = (&'a str, Option<u16>, &'a str, u16, bool, &'a [&'a str]);
    let rows: [Row<'_>; 5] = [
        ("absent, not needed", None, "", 4569, false, &[]),
        (
            "absent, needed",
            None,
            "--inbound 4569",
            4569,
            false,
            &["port-forward-missing"],
        ),
        ("present", Some(4569), "--inbound 4569", 4569, true, &[]),
        (
            "another port",
            Some(5036),
            "--inbound 5036",
            5036,
            true,
            &[],
        ),
        (
            "the wrong port",
            Some(5036),
            "--inbound 4569",
            4569,
            false,
            &["port-forward-missing"],
        ),
    ];
    thread::scope(|scope| {
        for (name, forwarded, options, port, answered, expected) in rows {
            scope.spawn(move || {
                let site = Site::behind([Router::masquerade(30, 120)]);
                if let Some(port) = forwarded {
                    site.lab().routers()[0].nft(&forward(port, CLIENT)).unwrap();
                }
                let _pbx = Asterisk::registrar(CLIENT).start(&site.near());
                let _reflector = site.reflector();
                let line = format!("nat filtering {REFLECTOR}:{REFLECTOR_PORT} --json {options}");
                let report = tool::run(&mut tool::command(&line), &site.near()).report();
                let seen = &report["measurements"]["inbound"];
                assert_eq!(seen["address"], format!("198.51.100.7:{port}"), "{name}");
                assert_eq!(seen["answered"], json!(answered), "{name}: {report:#}");
                assert_eq!(findings(&report), expected, "{name}");
            });
        }
    });
}
