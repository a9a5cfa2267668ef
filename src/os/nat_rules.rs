//! Which interfaces the NAT rules in force name as a way out, and what they translate to: of nft, and
//! of iptables in both its forms.

use std::{fs, net::IpAddr};

use serde_json::Value;

use crate::os::program::output;

/// One rule that gives packets another source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRule {
    /// The interface packets leave by, as the rule writes it: `ppp0`, `ppp+` (iptables) or `ppp*`
    /// (nft) for all that begin so; `None` where it does not say, or says it in a way that is not
    /// read here.
    pub out: Option<String>,
    /// What the source becomes; empty for whatever the interface has (MASQUERADE).
    pub to: Vec<(IpAddr, IpAddr)>,
}

impl NatRule {
    /// Whether the rule names this interface.
    #[must_use]
    pub fn names(&self, interface: &str) -> bool {
        self.out
            .as_deref()
            .is_some_and(|out| match out.strip_suffix(['+', '*']) {
                Some(beginning) => interface.starts_with(beginning),
                None => interface == out,
            })
    }

    /// Whether the rule may translate what leaves by this interface.
    #[must_use]
    pub fn covers(&self, interface: &str) -> bool {
        self.out.is_none() || self.names(interface)
    }

    /// Whether it takes the address of the interface.
    #[must_use]
    pub const fn is_masquerade(&self) -> bool {
        self.to.is_empty()
    }

    /// Whether the rule itself names this address to translate to.
    #[must_use]
    pub fn gives(&self, address: IpAddr) -> bool {
        self.to
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&address))
    }
}

/// Reads the rules in force; `None` where no program that could tell them is there and allowed to.
#[must_use]
pub fn read() -> Option<Vec<NatRule>> {
    let mut rules = vec![];
    let mut told = false;
    if let Some(text) = output("nft", &["-j", "list", "ruleset"]) {
        told = true;
        rules.extend(nft(&text));
    }
    for (program, tables) in [
        ("iptables-nft-save", None),
        ("ip6tables-nft-save", None),
        ("iptables-legacy-save", Some("/proc/net/ip_tables_names")),
        ("ip6tables-legacy-save", Some("/proc/net/ip6_tables_names")),
    ] {
        // The old program would load its table into the kernel by looking at it.
        let in_use = tables.is_none_or(|file| {
            fs::read_to_string(file).is_ok_and(|names| names.lines().any(|name| name == "nat"))
        });
        if in_use && let Some(text) = output(program, &["-t", "nat"]) {
            told = true;
            rules.extend(iptables(&text));
        }
    }
    told.then_some(rules)
}

/// The rules of `nft -j list ruleset`.
fn nft(text: &str) -> Vec<NatRule> {
    let ruleset: Value = serde_json::from_str(text).unwrap_or_default();
    let objects = ruleset["nftables"].as_array();
    objects
        .into_iter()
        .flatten()
        .filter_map(|object| object["rule"]["expr"].as_array())
        .filter_map(|statements| nft_rule(statements))
        .collect()
}

fn nft_rule(statements: &[Value]) -> Option<NatRule> {
    let (mut out, mut to) = (None, None);
    for statement in statements {
        let test = &statement["match"];
        if test["left"]["meta"]["key"] == "oifname" && test["op"] == "==" {
            out = test["right"].as_str().map(str::to_owned);
        }
        if statement.get("masquerade").is_some() {
            to = Some(vec![]);
        } else if let Some(snat) = statement.get("snat") {
            let address = &snat["addr"];
            let ends = match &address["range"] {
                Value::Array(ends) => (ends.first(), ends.last()),
                _ => (Some(address), Some(address)),
            };
            let ip = |value: Option<&Value>| value?.as_str()?.parse().ok();
            // An address that comes from a map or a set is none that the rule names.
            let (first, last) = (ip(ends.0)?, ip(ends.1)?);
            to = Some(vec![(first, last)]);
        }
    }
    Some(NatRule { out, to: to? })
}

/// The rules of `iptables-save`.
fn iptables(text: &str) -> Vec<NatRule> {
    text.lines()
        .filter(|line| line.starts_with("-A "))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let after = |name: &str| {
                let at = words.iter().position(|word| *word == name)?;
                let negated = at > 0 && words.get(at - 1) == Some(&"!");
                words.get(at + 1).filter(|_| !negated).copied()
            };
            let to = match after("-j")? {
                "MASQUERADE" => vec![],
                "SNAT" => vec![addresses(after("--to-source")?)?],
                _ => return None,
            };
            let out = after("-o").map(str::to_owned);
            Some(NatRule { out, to })
        })
        .collect()
}

/// `ADDRESS[-ADDRESS][:PORT[-PORT]]`, an IPv6 address in brackets where ports follow.
fn addresses(text: &str) -> Option<(IpAddr, IpAddr)> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    let (first, last) = bare.split_once('-').unwrap_or((bare, bare));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rules_of_iptables_are_read() {
        let text = "\
*nat
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i ppp0 -p udp --dport 4569 -j DNAT --to-destination 192.168.1.10
-A POSTROUTING -s 192.168.1.0/24 -o ppp+ -j MASQUERADE
-A POSTROUTING -o eth1 -j SNAT --to-source 198.51.100.7-198.51.100.9:1024-65535
-A POSTROUTING -o eth2 -j SNAT --to-source 2001:db8::1
-A POSTROUTING ! -o lan0 -j MASQUERADE
COMMIT
";
        let rules = iptables(text);
        assert_eq!(rules.len(), 4);
        assert!(rules[0].is_masquerade() && rules[0].names("ppp0") && !rules[0].names("eth1"));
        assert!(rules[1].gives(ip("198.51.100.8")) && !rules[1].gives(ip("198.51.100.10")));
        assert!(rules[1].covers("eth1") && !rules[1].covers("ppp0"));
        assert!(rules[2].gives(ip("2001:db8::1")));
        assert!(rules[3].covers("ppp0") && !rules[3].names("ppp0"));
    }

    #[test]
    fn rules_of_nft_are_read() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"rule": {"family": "ip", "table": "nat", "chain": "post", "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "ppp*"}},
                {"masquerade": null}]}},
            {"rule": {"family": "ip", "table": "nat", "chain": "post", "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "eth1"}},
                {"snat": {"addr": "198.51.100.7"}}]}},
            {"rule": {"family": "ip", "table": "f", "chain": "in", "expr": [{"drop": null}]}}]}"#;
        let rules = nft(text);
        assert_eq!(rules.len(), 2);
        assert!(rules[0].is_masquerade() && rules[0].names("ppp0"));
        assert!(rules[1].gives(ip("198.51.100.7")) && rules[1].names("eth1"));
        assert_eq!(nft("no JSON"), vec![]);
    }
}
