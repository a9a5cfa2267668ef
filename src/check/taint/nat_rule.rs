//! The rules that give packets another source, by what they mean for the interfaces of this router:
//! whom they apply to, where, and what the source becomes.

use std::net::IpAddr;

use crate::{
    check::snat,
    os::route::Link,
    wire::firewall::{Key, Match, Prefix, Rule, Ruleset, Verdict},
};

/// One rule that gives packets another source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRule {
    /// The interfaces of this router that packets may leave by to meet it.
    covers: Vec<String>,
    /// It is for those alone and not for any interface, so that it names them as ways out.
    names: bool,
    /// It is for IPv4, for IPv6.
    families: (bool, bool),
    /// What it says of the source before.
    sources: Vec<Match>,
    to: To,
}

/// What the source becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    /// Whatever the interface has (MASQUERADE).
    Interface,
    /// An address from the first to the last.
    Range(IpAddr, IpAddr),
    /// What a map or a target says that is not understood here.
    Unknown,
}

/// The rules that translate sources of UDP at an interface of this router, the chains that lead to
/// them included.
#[must_use]
pub fn nat_rules(ruleset: &Ruleset, links: &[Link]) -> Vec<NatRule> {
    snat::source_rules(ruleset)
        .filter(|rule| may_be_udp(rule))
        .filter_map(|rule| {
            let covers: Vec<String> = links
                .iter()
                .map(|link| &link.name)
                .filter(|name| snat::leaves_by(ruleset, rule, name))
                .cloned()
                .collect();
            (!covers.is_empty()).then(|| NatRule {
                covers,
                // No interface has this name.
                names: !snat::leaves_by(ruleset, rule, ""),
                families: families(rule),
                sources: of_key(rule, Key::Source).cloned().collect(),
                to: to(&rule.verdict),
            })
        })
        .collect()
}

impl NatRule {
    /// Whether it may translate what leaves by this interface from this host.
    #[must_use]
    pub fn covers(&self, interface: &str, inside: IpAddr) -> bool {
        self.covers.iter().any(|name| name == interface) && self.is_for(inside)
    }

    /// Whether it names this interface as a way out.
    #[must_use]
    pub fn names(&self, interface: &str) -> bool {
        self.names && self.covers.iter().any(|name| name == interface)
    }

    /// Whether it takes the address of the interface.
    #[must_use]
    pub const fn is_masquerade(&self) -> bool {
        matches!(self.to, To::Interface)
    }

    /// Whether it names this address to translate to.
    #[must_use]
    pub fn gives(&self, address: IpAddr) -> bool {
        matches!(self.to, To::Range(first, last) if (first..=last).contains(&address))
    }

    /// Whether it is not understood what it translates to.
    #[must_use]
    pub const fn is_obscure(&self) -> bool {
        matches!(self.to, To::Unknown)
    }

    /// Whether it may translate this host at all.
    #[must_use]
    pub fn is_for(&self, inside: IpAddr) -> bool {
        let (v4, v6) = self.families;
        let family = if inside.is_ipv4() { v4 } else { v6 };
        family && self.sources.iter().all(|source| may_be(source, inside))
    }
}

fn of_key(rule: &Rule, key: Key) -> impl Iterator<Item = &Match> {
    rule.matches.iter().filter(move |found| found.key == key)
}

fn may_be_udp(rule: &Rule) -> bool {
    of_key(rule, Key::Protocol).all(|found| {
        let udp = found
            .values
            .iter()
            .any(|name| name == "udp" || name == "17");
        found.values.is_empty() || udp != found.negated
    })
}

fn families(rule: &Rule) -> (bool, bool) {
    let family = |table: &str, name: &str| {
        let place = rule.place.family == table || rule.place.family == "inet";
        place
            && of_key(rule, Key::Family).all(|found| {
                let named = found.values.iter().any(|value| value == name);
                found.values.is_empty() || named != found.negated
            })
    };
    (family("ip", "ipv4"), family("ip6", "ipv6"))
}

/// Whether a condition on the source may hold for a host. What is not spelled out may.
fn may_be(source: &Match, inside: IpAddr) -> bool {
    let IpAddr::V4(inside) = inside else {
        return true;
    };
    let read: Vec<Option<Prefix>> = source
        .values
        .iter()
        .map(|value| value.parse().ok())
        .collect();
    let found = read.iter().flatten().any(|prefix| prefix.contains(inside));
    let clear = !read.is_empty() && read.iter().all(Option::is_some);
    if found {
        !source.negated
    } else {
        source.negated || !clear
    }
}

fn to(verdict: &Verdict) -> To {
    match verdict {
        Verdict::Masquerade(_) => To::Interface,
        Verdict::Snat { address, .. } => {
            let (first, last) = address.split_once('-').unwrap_or((address, address));
            let read = |text: &str| text.trim_matches(['[', ']']).parse().ok();
            match (read(first), read(last)) {
                (Some(first), Some(last)) => To::Range(first, last),
                _ => To::Unknown,
            }
        }
        _ => To::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::taint::tests::links, wire::firewall};

    const PBX: &str = "192.168.1.10";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn rules(text: &str) -> Vec<NatRule> {
        let ruleset = firewall::read(text, firewall::Backend::Iptables).unwrap();
        nat_rules(&ruleset, &links())
    }

    #[test]
    fn rules_of_iptables_are_read() {
        let rules = rules(
            "*nat\n\
             :PREROUTING ACCEPT [0:0]\n\
             :POSTROUTING ACCEPT [0:0]\n\
             -A PREROUTING -i ppp0 -p udp -m udp --dport 4569 -j DNAT --to-destination 192.168.1.10\n\
             -A POSTROUTING -s 192.168.1.0/24 -o ppp+ -j MASQUERADE\n\
             -A POSTROUTING -o eth1 -j SNAT --to-source 198.51.100.7-198.51.100.9:1024-65535\n\
             -A POSTROUTING -s 192.168.1.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535\n\
             -A POSTROUTING ! -o lan0 -j MASQUERADE\n\
             COMMIT\n",
        );
        assert_eq!(rules.len(), 3, "{rules:?}");
        assert!(rules[0].is_masquerade() && rules[0].names("ppp0") && !rules[0].names("eth1"));
        assert!(rules[0].covers("ppp0", ip(PBX)) && !rules[0].covers("ppp0", ip("172.17.0.2")));
        assert!(rules[1].gives(ip("198.51.100.8")) && !rules[1].gives(ip("198.51.100.10")));
        assert!(rules[1].covers("eth1", ip(PBX)) && !rules[1].covers("ppp0", ip(PBX)));
        assert!(rules[2].covers("ppp0", ip(PBX)) && !rules[2].names("ppp0"));
        assert!(!rules[2].covers("lan0", ip(PBX)));
    }

    #[test]
    fn a_rule_that_jumps_lead_to_is_for_what_they_let_through() {
        let rules = rules(
            "table inet fw4 {\n\
             chain srcnat {\ntype nat hook postrouting priority srcnat; policy accept;\n\
             oifname \"ppp0\" jump srcnat_wan\n}\n\
             chain srcnat_wan {\nmeta nfproto ipv4 masquerade\n}\n}\n",
        );
        assert_eq!(rules.len(), 1);
        assert!(rules[0].names("ppp0") && rules[0].covers("ppp0", ip(PBX)));
        assert!(!rules[0].covers("eth1", ip(PBX)), "another zone");
        assert!(!rules[0].covers("ppp0", ip("fd00::10")), "IPv4 alone");
    }

    #[test]
    fn sources_are_let_in_or_kept_out() {
        let covers = |condition: &str, host: &str| {
            let rules = rules(&format!(
                "table ip nat {{\nchain post {{\ntype nat hook postrouting priority 100;\n\
                 oifname \"ppp0\" {condition} masquerade\n}}\n}}\n"
            ));
            rules.iter().any(|rule| rule.covers("ppp0", ip(host)))
        };
        let rows = [
            ("", true),
            ("ip saddr 192.168.1.0/24", true),
            ("ip saddr { 10.0.0.0/8, 192.168.1.10 }", true),
            ("ip saddr 172.17.0.0/16", false),
            ("ip saddr != 192.168.1.0/24", false),
            ("ip saddr != 172.17.0.0/16", true),
            ("ip saddr @lan", true),
            ("ip saddr 192.168.1.5-192.168.1.20", true),
        ];
        for (condition, expected) in rows {
            assert_eq!(covers(condition, PBX), expected, "{condition}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let rules = rules(
            "table ip nat {\nchain post {\ntype nat hook postrouting priority 100;\n\
             oifname \"ppp0\" snat to ip saddr map { 192.168.1.10 : 198.51.100.7 }\n}\n}\n",
        );
        assert_eq!(rules.len(), 1);
        assert!(rules[0].is_obscure() && !rules[0].is_masquerade());
        assert!(!rules[0].gives(ip("198.51.100.7")));
    }
}
