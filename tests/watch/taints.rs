//! Each taint of a router's table, brought about with real rules and links, and cured on the router.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    street::{NEW_WAN, PROVIDER, SECOND, WAN},
    support::process,
    town::{MASQUERADE, Town},
};

/// How long a cure on the router may take on a busy machine; what it took is printed.
const SOON: Duration = Duration::from_secs(30);
/// For how long the PBX retries into the fault.
const FAULT: Duration = Duration::from_secs(10);
/// The router's own table is read and mended; nothing is held, so that the taint comes about.
const MENDING: &str = "remedies = [\"delete-entry\", \"reregister\", \"notify\"]\u{0}[observe]\n\
    router = true\n[policy]\nmin_gap = \"2s\"\n";
/// The same, and packets are held while the WAN is down.
const ON_ROUTER: &str = "[observe]\nrouter = true\nwan = \"ppp0\"\n[policy]\nmin_gap = \"2s\"\n";

/// SNAT to an address, as on a static line.
fn snat(to: &str) -> String {
    MASQUERADE.replace("masquerade", &format!("snat to {to}"))
}

/// Brings a taint about with `fault`, undoes the fault with `back`, and waits for the cure.
fn cured(name: &str, town: &Town, taint: &str, public: &str, fault: impl Fn(), back: impl Fn()) {
    let guardian = town.guardian(&town.street.router, "", MENDING);
    guardian.wait_for("main", "healthy", SOON);
    guardian.wait_for("other", "healthy", SOON);
    fault();
    thread::sleep(FAULT);
    back();
    let Some(took) = town.wait_until_through(public, SOON) else {
        panic!(
            "{name}: not cured\n{}\n{:#}\n{}",
            town.entries(PROVIDER),
            guardian.status().unwrap_or_default(),
            guardian.log()
        );
    };
    eprintln!("{name}: through again {took:.1?} after the WAN's return");
    let incidents = guardian.wait_for_incidents("main", 1, Duration::from_secs(90));
    let log = guardian.log();
    assert!(
        incidents.iter().any(|incident| incident["taint"] == taint),
        "{name}: {incidents:#?}\n{log}"
    );
    guardian.wait_for("main", "healthy", SOON);
    guardian.wait_for("other", "healthy", SOON);
    drop(guardian);
    let left = Town::left_in_nft(&town.street.router);
    assert!(!left.contains("iax2_natcheck"), "{left}");
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_null_binding_is_deleted() {
    let town = Town::new(MASQUERADE);
    let street = &town.street;
    // Only a way of its own for this one provider, so that the WAN seems to be up.
    let way = format!("{PROVIDER} via 192.168.100.1 dev eth1");
    let fault = || {
        town.forget();
        street.ip(&[&format!("route add {way}")]);
    };
    let back = || street.ip(&[&format!("route del {way}")]);
    cured("null binding", &town, "null-binding", WAN, fault, back);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_wrong_source_is_deleted() {
    let town = Town::new(MASQUERADE);
    let street = &town.street;
    let fault = || {
        street.ip(&[
            "address flush dev ppp0",
            "route replace default dev ppp0 metric 100",
        ]);
        town.forget();
    };
    let back = || street.address(WAN);
    cured(
        "wrong source",
        &town,
        "wrong-source-masquerade",
        WAN,
        fault,
        back,
    );
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_stale_source_is_deleted() {
    let town = Town::new(&snat(WAN));
    let street = &town.street;
    let fault = || {
        street.wan_down();
        street.ip(&["address flush dev ppp0"]);
    };
    let back = || {
        street.nft(&snat(NEW_WAN));
        street.wan_up(NEW_WAN);
    };
    cured("stale source", &town, "stale-source", NEW_WAN, fault, back);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_source_of_another_uplink_is_deleted() {
    let second = "oifname \"eth1\" masquerade\n}\n}";
    let rules = snat(WAN);
    let rules = rules.strip_suffix("}\n}").unwrap();
    let town = Town::new(&format!("{rules}{second}"));
    let street = &town.street;
    street.ip(&["route add default via 192.168.100.1 dev eth1 metric 200"]);
    let guardian = town.guardian(&street.router, "", MENDING);
    guardian.wait_for("main", "healthy", SOON);
    street.wan_down();
    let took = town.wait_until_through(SECOND, SOON);
    let log = guardian.log();
    let took = took.unwrap_or_else(|| panic!("{}\n{log}", town.entries(PROVIDER)));
    eprintln!("wrong uplink: through again {took:.1?} after the failover");
    let incidents = guardian.wait_for_incidents("main", 1, Duration::from_secs(90));
    assert_eq!(
        incidents[0]["taint"], "wrong-uplink",
        "{incidents:#?}\n{log}"
    );
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn packets_are_held_while_the_wan_is_down() {
    let town = Town::new(MASQUERADE);
    let street = &town.street;
    let guardian = town.guardian(&street.router, "", ON_ROUTER);
    guardian.wait_for("main", "healthy", SOON);
    street.wan_down();
    guardian.wait_for("main", "wan-down", SOON);
    let held = process::poll(SOON, || {
        Town::left_in_nft(&street.router)
            .contains("elements = { 203.0.113.1 . 4569 timeout")
            .then_some(())
    });
    assert!(held.is_some(), "{}", guardian.log());
    thread::sleep(FAULT);
    street.wan_up(WAN);
    let began = Instant::now();
    let took = town.wait_until_through(WAN, SOON);
    let log = guardian.log();
    let took = took.unwrap_or_else(|| panic!("{}\n{log}", town.entries(PROVIDER)));
    eprintln!("hold: through again {took:.1?} after the WAN's return");
    guardian.wait_for_incidents("main", 1, SOON);
    guardian.wait_for_incidents("other", 1, SOON);
    eprintln!("hold: over {:.1?} after the WAN's return", began.elapsed());
    let left = Town::left_in_nft(&street.router);
    assert!(!left.contains("iax2_natcheck"), "{left}");
}
