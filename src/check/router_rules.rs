//! Do the rules of a router let an entry of its NAT table go wrong?

use std::net::Ipv4Addr;

use crate::{
    check::{
        Finding, FindingId, Severity,
        snat::{Guarded, guarded, translates, translating},
    },
    probe::router::Router,
    wire::firewall::{Prefix, Ruleset, Verdict},
};

/// `masquerade-on-static-wan` and `no-leak-guard`, for the way out to the provider.
///
/// Rules that translate nothing there are no router's, and nothing is said of them. With the whole
/// leak guard MASQUERADE stands every fault that SNAT stands, so that it is no finding then.
#[must_use]
pub fn findings(ruleset: &Ruleset, router: &Router, port: u16) -> Vec<Finding> {
    if !translates(ruleset, &router.wan.interface) {
        return vec![];
    }
    let lans = if router.lans.is_empty() {
        Prefix::PRIVATE.to_vec()
    } else {
        router.lans.clone()
    };
    let guard = guarded(ruleset, &lans, port);
    if guard == Guarded::Full {
        return vec![];
    }
    masquerade(ruleset, router)
        .into_iter()
        .chain([no_guard(router, guard, &lans)])
        .collect()
}

/// The networks that have to be kept in: those of the hosts that were seen to talk to the provider, and
/// all networks of the router where none was. Who has guarded one of these knew which one it is.
#[must_use]
pub fn networks(ruleset: &Ruleset, router: &Router, hosts: &[Ipv4Addr], port: u16) -> Vec<Prefix> {
    let lans = &router.lans;
    if hosts.is_empty() {
        let kept_in = lans
            .iter()
            .find(|lan| guarded(ruleset, &[**lan], port) == Guarded::Full);
        return kept_in.map_or_else(|| lans.clone(), |lan| vec![*lan]);
    }
    let mut networks: Vec<Prefix> = hosts
        .iter()
        .map(|host| {
            let lan = lans.iter().find(|lan| lan.contains(*host));
            lan.copied().unwrap_or_else(|| Prefix::from(*host))
        })
        .collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn masquerade(ruleset: &Ruleset, router: &Router) -> Option<Finding> {
    let wan = &router.wan;
    let address = wan.static_address()?;
    let rules: Vec<String> = translating(ruleset, &wan.interface)
        .into_iter()
        .filter(|rule| matches!(rule.verdict, Verdict::Masquerade(_)))
        .map(|rule| format!("rule {} of {}: {}", rule.number, rule.place, rule.text))
        .collect();
    if rules.is_empty() {
        return None;
    }
    let mut because = rules;
    because.extend(wan.because.iter().cloned());
    because.push("no leak guard stands beside it".into());
    Some(Finding {
        id: FindingId::MasqueradeOnStaticWan,
        severity: Severity::Warning,
        title: format!(
            "{} has the static address {address}, and MASQUERADE may take another one when the line \
             comes back",
            wan.interface
        ),
        because,
        do_this: vec![format!(
            "put SNAT in its place; as root, this shows how: iax2-natcheck snat --wan {} --static \
             {address}",
            wan.interface
        )],
    })
}

fn no_guard(router: &Router, guard: Guarded, lans: &[Prefix]) -> Finding {
    let networks: Vec<String> = lans.iter().map(ToString::to_string).collect();
    let networks = networks.join(", ");
    let wan = &router.wan.interface;
    let seen = match guard {
        Guarded::No | Guarded::Full => {
            format!("no rule behind the translation drops what leaves with a source in {networks}")
        }
        Guarded::Forward => format!(
            "a rule in forward drops what would not leave by {wan}; it does not help at boot, nor \
             when MASQUERADE takes a wrong source"
        ),
        Guarded::OneInterface => format!(
            "the rule that drops sources in {networks} names one interface, and an entry that is made \
             over another way lives on"
        ),
    };
    Finding {
        id: FindingId::NoLeakGuard,
        severity: Severity::Warning,
        title:
            "Nothing keeps the router from sending on with a private source, for as long as the \
                PBX retries"
                .into(),
        because: vec![
            format!("rules translate the source of what leaves by {wan}"),
            seen,
        ],
        do_this: vec![format!(
            "add the leak guard; as root, this shows how: iax2-natcheck snat --wan {wan}"
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        probe::router::{Setting, Uplink},
        wire::firewall::{Backend, read},
    };

    fn router(setting: Setting) -> Router {
        Router {
            wan: Uplink {
                address: "198.51.100.7".parse().ok(),
                setting,
                ..Uplink::named("ppp0")
            },
            others: vec![],
            lans: vec!["192.168.1.0/24".parse().unwrap()],
            udp_timeout_s: None,
        }
    }

    fn ids(rule: &str, beside: &str, setting: Setting) -> Vec<FindingId> {
        let text = format!(
            "table ip nat {{\nchain post {{\ntype nat hook postrouting priority 100;\n{rule}\n}}\n\
             chain guard {{\ntype filter hook postrouting priority 300;\n{beside}\n}}\n}}\n"
        );
        let found = findings(&read(&text, Backend::Nft).unwrap(), &router(setting), 4569);
        found.into_iter().map(|found| found.id).collect()
    }

    #[test]
    fn each_is_told_by_the_rules_and_the_address() {
        use FindingId::{MasqueradeOnStaticWan, NoLeakGuard};
        let (masquerade, snat) = (
            "oifname \"ppp0\" masquerade",
            "oifname \"ppp0\" snat to 198.51.100.7",
        );
        let guard = "ip saddr 192.168.1.0/24 ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } udp dport 4569 drop";
        let narrow = "oifname \"ppp0\" ip saddr 192.168.1.0/24 drop";
        let rows = [
            (
                masquerade,
                "",
                Setting::Static,
                vec![MasqueradeOnStaticWan, NoLeakGuard],
            ),
            (masquerade, "", Setting::Dynamic, vec![NoLeakGuard]),
            (masquerade, "", Setting::Unknown, vec![NoLeakGuard]),
            (
                masquerade,
                narrow,
                Setting::Static,
                vec![MasqueradeOnStaticWan, NoLeakGuard],
            ),
            (masquerade, guard, Setting::Static, vec![]),
            (snat, "", Setting::Static, vec![NoLeakGuard]),
            (snat, guard, Setting::Static, vec![]),
            ("oifname \"eth1\" masquerade", "", Setting::Static, vec![]),
        ];
        for (rule, beside, setting, expected) in rows {
            assert_eq!(
                ids(rule, beside, setting),
                expected,
                "{rule} {beside} {setting:?}"
            );
        }
    }

    #[test]
    fn the_networks_are_those_of_the_hosts_that_were_seen() {
        let text = "table ip guard {\nchain post {\ntype filter hook postrouting priority 300;\n\
                    ip saddr 192.168.1.0/24 udp dport 4569 drop\n}\n}\n";
        let (guard, none) = (read(text, Backend::Nft).unwrap(), Ruleset::default());
        let two = Router {
            lans: ["192.168.1.0/24", "192.168.2.0/24"]
                .map(|lan| lan.parse().unwrap())
                .to_vec(),
            ..router(Setting::Static)
        };
        let seen = |ruleset: &Ruleset, hosts: &[&str]| {
            let hosts: Vec<Ipv4Addr> = hosts.iter().map(|host| host.parse().unwrap()).collect();
            let networks = networks(ruleset, &two, &hosts, 4569);
            networks.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(seen(&none, &[]), ["192.168.1.0/24", "192.168.2.0/24"]);
        assert_eq!(seen(&guard, &[]), ["192.168.1.0/24"]);
        let both = ["192.168.2.9", "192.168.2.8", "10.0.0.5"];
        assert_eq!(seen(&guard, &both), ["10.0.0.5", "192.168.2.0/24"]);
    }
}
