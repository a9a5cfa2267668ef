//! One entry after another, on the router of the reproductions: ppp0 198.51.100.7, lan0 192.168.1.1,
//! eth1 192.168.100.2.

use std::time::Duration;

use super::*;
use crate::{
    os::conntrack::Flow,
    wire::firewall::{self, Backend},
};

const PPP0: u32 = 2;
const LAN0: u32 = 3;
const ETH1: u32 = 4;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An entry from `inside` to `outside` that goes out as `known_as`, all on port 4569.
pub(super) fn sample(inside: &str, outside: &str, known_as: &str) -> Entry {
    let at = |text| (ip(text), 4569).into();
    Entry {
        original: Flow {
            source: at(inside),
            destination: at(outside),
        },
        reply: Flow {
            source: at(outside),
            destination: at(known_as),
        },
        seen_reply: false,
        assured: false,
        expires: Some(Duration::from_secs(29)),
        mark: 0,
        zone: 0,
        id: Some(1),
    }
}

/// A rule for what leaves by `out`, or by anything where that is empty.
fn rule(out: &str, to: &[&str]) -> NatRule {
    let out = if out.is_empty() {
        String::new()
    } else {
        format!("oifname \"{out}\"")
    };
    let target = match to {
        [] => "masquerade".to_owned(),
        to => format!("snat to {}", to.join("-")),
    };
    let text = format!(
        "table inet nat {{\nchain post {{\ntype nat hook postrouting priority 100;\n\
         {out} {target}\n}}\n}}\n"
    );
    let ruleset = firewall::read(&text, Backend::Nft).unwrap();
    let mut rules = nat_rules(&ruleset, &links());
    assert_eq!(rules.len(), 1, "{text}");
    rules.remove(0)
}

pub(super) fn links() -> Vec<Link> {
    let link = |index, name: &str| Link {
        index,
        name: name.into(),
        up: true,
        point_to_point: index == PPP0,
        loopback: false,
    };
    vec![link(PPP0, "ppp0"), link(LAN0, "lan0"), link(ETH1, "eth1")]
}

pub(super) fn router() -> Router {
    let address = |link, text: &str, prefix| Address {
        link,
        ip: ip(text),
        prefix,
        peer: None,
        valid: None,
    };
    Router {
        links: links(),
        addresses: vec![
            address(PPP0, "198.51.100.7", 32),
            address(LAN0, "192.168.1.1", 24),
            address(ETH1, "192.168.100.2", 24),
            address(LAN0, "fd00::1", 64),
            address(PPP0, "2001:db8:7::7", 64),
        ],
        routes: vec![Route {
            destination: (ip("0.0.0.0"), 0),
            links: vec![PPP0],
            metric: 0,
            table: 254,
            by_dhcp: false,
        }],
        rules: Some(vec![rule("ppp0", &[])]),
    }
}

fn by(link: u32) -> Way {
    Way {
        link,
        source: None,
        gateway: None,
    }
}

fn kind(entry: &Entry, router: &Router, way: impl Into<Option<Way>>) -> Kind {
    let judged = judge(entry, router, way.into(), None);
    assert!(!judged.because.is_empty(), "no facts: {judged:?}");
    judged.kind
}

const PBX: &str = "192.168.1.10";
const PROVIDER: &str = "203.0.113.1";

#[test]
fn the_four_taints_and_the_right_entry_are_told_apart() {
    let masquerade = router();
    let snat = Router {
        rules: Some(vec![rule("ppp0", &["198.51.100.7"])]),
        ..router()
    };
    let two = Router {
        rules: Some(vec![rule("ppp0", &["198.51.100.7"]), rule("eth1", &[])]),
        ..router()
    };
    let rows = [
        (&masquerade, "198.51.100.7", PPP0, Kind::Healthy),
        (&snat, "198.51.100.7", PPP0, Kind::Healthy),
        (&masquerade, PBX, PPP0, Kind::NullBinding),
        (&snat, PBX, PPP0, Kind::NullBinding),
        (&masquerade, PBX, ETH1, Kind::NullBinding),
        (
            &masquerade,
            "192.168.1.1",
            PPP0,
            Kind::WrongSourceMasquerade,
        ),
        (&masquerade, "198.51.100.9", PPP0, Kind::StaleSource),
        (&snat, "198.51.100.9", PPP0, Kind::StaleSource),
        (&two, "198.51.100.7", ETH1, Kind::WrongUplink),
        (&two, "192.168.100.2", ETH1, Kind::Healthy),
    ];
    for (router, known_as, way, expected) in rows {
        let entry = sample(PBX, PROVIDER, known_as);
        assert_eq!(
            kind(&entry, router, by(way)),
            expected,
            "{known_as} by {way}"
        );
    }
}

#[test]
fn ipv6_entries_are_judged_alike() {
    let rows = [
        ("2001:db8:7::7", Kind::Healthy),
        ("fd00::10", Kind::NullBinding),
        ("fd00::1", Kind::WrongSourceMasquerade),
        ("2001:db8:9::9", Kind::StaleSource),
    ];
    for (known_as, expected) in rows {
        let entry = sample("fd00::10", "2001:db8::1", known_as);
        assert_eq!(kind(&entry, &router(), by(PPP0)), expected, "{known_as}");
    }
    let public = sample("2001:db8:7::10", "2001:db8::1", "2001:db8:7::10");
    assert_eq!(kind(&public, &router(), by(PPP0)), Kind::Healthy);
}

#[test]
fn a_source_that_needs_no_nat_is_right() {
    let rows = [
        ("198.51.100.7", PROVIDER), // the router itself
        ("192.168.1.1", PROVIDER),
        ("203.0.113.77", PROVIDER), // a public PBX
        (PBX, "10.8.0.1"),          // a peer behind a tunnel
    ];
    for (inside, outside) in rows {
        let entry = sample(inside, outside, inside);
        assert_eq!(kind(&entry, &router(), by(PPP0)), Kind::Healthy, "{inside}");
    }
}

#[test]
fn a_router_without_nat_is_no_place_for_a_taint() {
    let plain = Router {
        rules: Some(vec![]),
        ..router()
    };
    assert_eq!(
        kind(&sample(PBX, PROVIDER, PBX), &plain, by(PPP0)),
        Kind::Healthy
    );
    let answered = Entry {
        seen_reply: true,
        ..sample(PBX, PROVIDER, PBX)
    };
    assert_eq!(
        kind(&answered, &router(), by(ETH1)),
        Kind::Healthy,
        "the far end of eth1 translates"
    );
    assert_eq!(
        kind(&answered, &router(), by(PPP0)),
        Kind::NullBinding,
        "answers of before do not help where a rule translates now"
    );
}

#[test]
fn rules_for_other_hosts_and_other_ways_make_no_taint() {
    // Docker's, on a host that passes on a network which another router translates.
    let docker = "*nat\n:POSTROUTING ACCEPT [0:0]\n\
                  -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";
    let of = |text: &str| {
        let ruleset = firewall::read(text, Backend::Iptables).unwrap();
        Router {
            rules: Some(nat_rules(&ruleset, &links())),
            ..router()
        }
    };
    let entry = sample(PBX, PROVIDER, PBX);
    assert_eq!(kind(&entry, &of(docker), by(PPP0)), Kind::Healthy);
    let container = sample("172.17.0.2", PROVIDER, "172.17.0.2");
    assert_eq!(
        kind(&container, &of(docker), by(PPP0)),
        Kind::NullBinding,
        "the rule is for this one"
    );
    // OpenWrt's: the rule itself names no interface, the jump to it does.
    let fw4 = "table inet fw4 {\nchain srcnat {\ntype nat hook postrouting priority 100;\n\
               oifname \"ppp0\" jump srcnat_wan\n}\n\
               chain srcnat_wan {\nmeta nfproto ipv4 masquerade\n}\n}\n";
    let answered = Entry {
        seen_reply: true,
        ..entry
    };
    assert_eq!(kind(&answered, &of(fw4), by(ETH1)), Kind::Healthy);
    assert_eq!(kind(&answered, &of(fw4), by(PPP0)), Kind::NullBinding);
    let mut down = of(fw4);
    down.routes[0].links = vec![ETH1];
    let of_ppp0 = sample(PBX, PROVIDER, "198.51.100.7");
    assert_eq!(
        judge(&of_ppp0, &down, Some(by(ETH1)), Some(true)).kind,
        Kind::WrongUplink,
        "ppp0 is a way out by the jump alone"
    );
    // A map's addresses are not known.
    let mapped = "table ip nat {\nchain post {\ntype nat hook postrouting priority 100;\n\
                  snat to ip saddr map { 192.168.1.10 : 198.51.100.99 }\n}\n}\n";
    let pool = sample(PBX, PROVIDER, "198.51.100.99");
    assert_eq!(kind(&pool, &of(mapped), by(PPP0)), Kind::Healthy);
}

#[test]
fn rules_that_are_not_known_pick_no_side() {
    let unknown = Router {
        rules: None,
        ..router()
    };
    let entry = sample(PBX, PROVIDER, PBX);
    assert_eq!(
        kind(&entry, &unknown, by(PPP0)),
        Kind::NullBinding,
        "ppp0 is public"
    );
    assert_eq!(
        kind(&entry, &unknown, by(ETH1)),
        Kind::Healthy,
        "eth1 is not"
    );
    assert_eq!(kind(&entry, &unknown, None), Kind::Healthy);
}

#[test]
fn addresses_that_are_meant_are_right() {
    let mut pool = router();
    pool.rules = Some(vec![rule("ppp0", &["198.51.100.100"])]);
    let mut entry = sample(PBX, PROVIDER, "198.51.100.100");
    assert_eq!(
        kind(&entry, &pool, by(PPP0)),
        Kind::StaleSource,
        "named by a rule, and never answered"
    );
    entry.seen_reply = true;
    assert_eq!(kind(&entry, &pool, by(PPP0)), Kind::Healthy, "routed to us");

    let mut inner = router();
    inner.rules = Some(vec![rule("ppp0", &["192.168.1.1"])]);
    let entry = sample(PBX, PROVIDER, "192.168.1.1");
    assert_eq!(
        kind(&entry, &inner, by(PPP0)),
        Kind::Healthy,
        "a rule says so"
    );

    let mut unnumbered = router();
    unnumbered.addresses.retain(|address| address.link != PPP0);
    unnumbered.addresses.push(Address {
        link: LAN0,
        ip: ip("198.51.100.33"),
        prefix: 29,
        peer: None,
        valid: None,
    });
    let entry = sample(PBX, PROVIDER, "198.51.100.33");
    assert_eq!(kind(&entry, &unnumbered, by(PPP0)), Kind::Healthy);
}

#[test]
fn what_the_kernel_mends_itself_is_no_taint_unless_it_does_not() {
    let two = Router {
        rules: Some(vec![rule("ppp0", &[]), rule("eth1", &[])]),
        ..router()
    };
    let entry = sample(PBX, PROVIDER, "198.51.100.7");
    assert_eq!(kind(&entry, &two, by(ETH1)), Kind::Healthy);
    assert_eq!(
        judge(&entry, &two, Some(by(ETH1)), Some(true)).kind,
        Kind::WrongUplink
    );
}

#[test]
fn uplinks_that_share_the_load_are_both_right() {
    let mut both = Router {
        rules: Some(vec![
            rule("ppp0", &["198.51.100.7"]),
            rule("eth1", &["192.168.100.2"]),
        ]),
        ..router()
    };
    let entry = sample(PBX, PROVIDER, "198.51.100.7");
    assert_eq!(kind(&entry, &both, by(ETH1)), Kind::WrongUplink);
    both.routes[0].links = vec![PPP0, ETH1];
    assert_eq!(kind(&entry, &both, by(ETH1)), Kind::Healthy);
}

#[test]
fn without_a_route_only_what_is_certain_is_said() {
    let rows = [
        ("198.51.100.7", Kind::Healthy),
        ("198.51.100.9", Kind::StaleSource),
        ("192.168.1.1", Kind::WrongSourceMasquerade),
        (PBX, Kind::NullBinding),
    ];
    for (known_as, expected) in rows {
        let entry = sample(PBX, PROVIDER, known_as);
        assert_eq!(kind(&entry, &router(), None), expected, "{known_as}");
    }
}

#[test]
fn calls_that_come_in_are_judged_by_the_address_they_came_to() {
    let forwarded = |to: &str| {
        let mut entry = sample(PROVIDER, to, PROVIDER);
        entry.reply.source = (ip(PBX), 4569).into();
        entry
    };
    let entry = forwarded("198.51.100.7");
    let seen = ends(&entry, &router());
    assert!(seen.inbound);
    assert_eq!((seen.inside, seen.outside), (ip(PBX), ip(PROVIDER)));
    assert_eq!(kind(&entry, &router(), by(PPP0)), Kind::Healthy);
    assert_eq!(
        kind(&forwarded("198.51.100.9"), &router(), by(PPP0)),
        Kind::StaleSource
    );
    let to_router = sample(PROVIDER, "198.51.100.7", PROVIDER);
    assert_eq!(kind(&to_router, &router(), by(PPP0)), Kind::Healthy);
}

#[test]
fn private_is_what_nobody_outside_answers_to() {
    for text in [
        "10.1.2.3",
        "172.31.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "fd00::1",
        "fe80::1",
    ] {
        assert!(is_private(ip(text)), "{text}");
    }
    for text in ["172.32.0.1", "100.128.0.1", "198.51.100.7", "2001:db8::1"] {
        assert!(!is_private(ip(text)), "{text}");
    }
}
