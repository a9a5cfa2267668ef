//! What a router says of its own ways out: which one leads to the provider, and whether its address
//! stays.

use serde_json::Value;

use crate::{
    home::{Home, PROVIDER, PUBLIC, SECOND},
    rules::Backend,
    support::{json_contract, site::inside, tool},
};

/// `measurements.router` of what `snat` says on the router.
fn told(home: &Home, options: &str) -> Value {
    let line = format!("snat --json --backend nft {options}");
    let ended = tool::run(&mut tool::command(&line), &inside(&home.router));
    assert_eq!(ended.status, 0, "{ended:#?}");
    // Its status is 0 whatever is found of the rules.
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    json_contract::validate(&report);
    report["measurements"]["router"].clone()
}

#[test]
#[ignore = "needs root, ip and nft"]
fn the_kernel_tells_how_an_address_was_set() {
    let home = Home::new();
    Backend::Nft.load(&home, false);
    let orders = |orders: &[&str]| home.router.ip(orders).unwrap();
    let again = format!("address add {PUBLIC}/24 dev ppp0");
    let lent = format!("{again} valid_lft 3600 preferred_lft 3600");
    let by_dhcp = "route replace default dev ppp0 proto dhcp";
    let rows: [(&[&str], Value, &str); 4] = [
        (&[], Value::Null, "is a point-to-point link"),
        (
            &[
                "address flush dev ppp0",
                &again,
                "route replace default dev ppp0",
            ],
            true.into(),
            "has no end, no peer, and no DHCP client",
        ),
        (
            &[
                "address flush dev ppp0",
                &lent,
                "route replace default dev ppp0",
            ],
            false.into(),
            "is lent for 3",
        ),
        (
            &["address flush dev ppp0", &again, by_dhcp],
            false.into(),
            "the default route over ppp0 comes from DHCP",
        ),
    ];
    for (changes, is_static, words) in rows {
        orders(changes);
        let router = told(&home, "");
        assert_eq!(router["wan"], "ppp0");
        assert_eq!(router["address"], PUBLIC);
        assert_eq!(router["static"], is_static, "{router:#}");
        let notes = router["notes"].to_string();
        assert!(notes.contains(words), "{notes}");
        // The second way out has an address alike, and is one of a LAN unless something leads there.
        let lans = ["192.168.1.0/24", "192.168.100.0/24"];
        assert_eq!(router["lans"], serde_json::json!(lans));
    }
}

#[test]
#[ignore = "needs root, ip and nft"]
fn the_way_to_the_provider_is_the_one_that_the_kernel_takes() {
    let home = Home::new();
    Backend::Nft.load(&home, true);
    assert_eq!(told(&home, "")["wan"], "ppp0");
    home.add_fallback();
    let router = told(&home, "");
    assert_eq!(
        (&router["wan"], &router["others"][0]),
        (&"ppp0".into(), &"eth1".into())
    );
    home.router
        .ip(&[&format!(
            "route add {PROVIDER}/32 via 192.168.100.1 dev eth1"
        )])
        .unwrap();
    let router = told(&home, &format!("--peer {PROVIDER}"));
    assert_eq!(
        (&router["wan"], &router["address"]),
        (&"eth1".into(), &SECOND.into())
    );
    // Two that share the load, and none at all.
    let complains = |words: &[&str]| {
        let ended = tool::run(&mut tool::command("snat"), &inside(&home.router));
        ended.assert_complaint(words);
    };
    home.router
        .ip(&["route replace default nexthop dev ppp0 nexthop via 192.168.100.1 dev eth1"])
        .unwrap();
    complains(&["eth1, ppp0 have default routes alike", "--wan"]);
    home.remove_fallback();
    home.router.ip(&["route del default"]).unwrap();
    complains(&["there is no default route", "--wan"]);
}
