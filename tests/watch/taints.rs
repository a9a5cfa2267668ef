//! Each taint of a router's table, brought about with real rules and links, and cured.

use std::{thread, time::Duration};

use crate::{
    street::{NEW_WAN, SECOND, WAN},
    town::{MASQUERADE, Town},
};

/// How long a cure on the router may take on a busy machine; what it took is printed.
const SOON: Duration = Duration::from_secs(20);
/// For how long the PBX retries into the fault.
const FAULT: Duration = Duration::from_secs(8);
/// The router's own table is read and mended.
const ON_ROUTER: &str = "[observe]\nrouter = true\n[policy]\nmin_gap = \"2s\"\n";

/// Brings a taint about with `fault`, undoes the fault with `back`, and waits for the cure.
fn cured(name: &str, town: &Town, taint: &str, public: &str, fault: impl Fn(), back: impl Fn()) {
    let guardian = town.guardian(&town.street.router, "", ON_ROUTER);
    guardian.wait_for("main", "healthy", SOON);
    guardian.wait_for("other", "healthy", SOON);
    fault();
    thread::sleep(FAULT);
    back();
    let took = town.wait_until_through(public, SOON);
    let Some(took) = took else {
        panic!(
            "{name}: not cured\n{}\n{:#}\n{}",
            town.entries("203.0.113.1"),
            guardian.status().unwrap_or_default(),
            guardian.log()
        );
    };
    println!("{name}: cured in {took:.1?}");
    let incidents = guardian.wait_for_incidents("main", 1, Duration::from_secs(90));
    println!("{name}: {:#}", incidents[0]);
    println!("{}", guardian.log());
    assert_eq!(incidents[0]["taint"], taint, "{:#}", incidents[0]);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_null_binding_is_deleted() {
    let town = Town::new(MASQUERADE);
    let street = &town.street;
    street.ip(&["route add default via 192.168.100.1 dev eth1 metric 200"]);
    let (fault, back) = (|| street.wan_down(), || street.wan_up(WAN));
    cured("null binding", &town, "null-binding", WAN, fault, back);
}
