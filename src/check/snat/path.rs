//! Does a rule apply to what leaves by an interface? The jumps that lead to its chain have conditions
//! too.

use super::translates;
use crate::wire::firewall::{Key, Match, Rule, Ruleset, Verdict};

/// How much of what a rule applies to leaves by the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Share {
    /// Nothing.
    None,
    /// Something, or it cannot be told.
    Some,
    /// Nothing but that.
    All,
}

/// The interfaces that rules name which translate the source of what leaves by them, in order.
#[must_use]
pub fn ways_out(ruleset: &Ruleset) -> Vec<String> {
    let rules = ruleset.rules.iter().filter(|rule| {
        matches!(
            rule.verdict,
            Verdict::Masquerade(_) | Verdict::Snat { .. } | Verdict::Jump(_)
        )
    });
    let mut names: Vec<String> = rules
        .flat_map(|rule| &rule.matches)
        .filter(|found| found.key == Key::OutInterface && !found.negated)
        .flat_map(|found| &found.values)
        .filter(|name| !name.ends_with('*'))
        .cloned()
        .collect();
    names.retain(|name| translates(ruleset, name));
    names.sort_unstable();
    names.dedup();
    names
}

/// Jumps may be this deep (`NFT_JUMP_STACK_SIZE`, `linux/netfilter/nf_tables.h`).
const DEEPEST: usize = 16;

/// How much of what a rule translates leaves by `interface`. A rule that no hook leads to has none.
pub(super) fn share(ruleset: &Ruleset, rule: &Rule, interface: &str) -> Share {
    let own = of_matches(&rule.matches, interface);
    let ways = ways(ruleset, rule, interface, DEEPEST);
    if own == Share::None || ways.iter().all(|way| *way == Share::None) {
        Share::None
    } else if own == Share::All || ways.iter().all(|way| *way == Share::All) {
        Share::All
    } else {
        Share::Some
    }
}

/// Whether a rule that translates sources may be met by what leaves by `interface`.
pub(crate) fn leaves_by(ruleset: &Ruleset, rule: &Rule, interface: &str) -> bool {
    share(ruleset, rule, interface) != Share::None
}

/// How much each way to the rule's chain lets through.
fn ways(ruleset: &Ruleset, rule: &Rule, interface: &str, depth: usize) -> Vec<Share> {
    let place = &rule.place;
    let hooked = ruleset.chain(place).and_then(|chain| chain.hook.as_ref());
    if let Some(hook) = hooked {
        let translates = hook.kind == "nat" && hook.hook == "postrouting";
        return vec![if translates { Share::Some } else { Share::None }];
    }
    let Some(depth) = depth.checked_sub(1) else {
        return vec![Share::None];
    };
    let mut found = Vec::new();
    for jump in &ruleset.rules {
        if jump.place != place.sibling(&jump.place.chain) || jump.place.chain == place.chain {
            continue;
        }
        let own = match &jump.verdict {
            Verdict::Jump(chain) if *chain == place.chain => of_matches(&jump.matches, interface),
            Verdict::Other(words) if goes_to(words, &place.chain) => {
                of_matches(&jump.matches, interface)
            }
            Verdict::Map(chains, words) if chains.contains(&place.chain) => {
                of_map(words, &place.chain, interface)
            }
            _ => continue,
        };
        found.extend(
            ways(ruleset, jump, interface, depth)
                .into_iter()
                .map(|before| {
                    if own == Share::None || before == Share::None {
                        Share::None
                    } else {
                        own.max(before)
                    }
                }),
        );
    }
    found
}

fn goes_to(words: &str, chain: &str) -> bool {
    words
        .split_once(' ')
        .is_some_and(|(verb, name)| matches!(verb, "goto" | "-g") && name == chain)
}

/// How much a map lets through to a chain: told by its keys where they are interfaces that leave.
fn of_map(words: &str, chain: &str, interface: &str) -> Share {
    let inside = words
        .strip_prefix("oifname vmap {")
        .and_then(|inside| inside.strip_suffix('}'));
    let Some(inside) = inside else {
        return Share::Some;
    };
    let leading = inside.split(',').filter_map(|pair| {
        let (key, verdict) = pair.split_once(':')?;
        let to = verdict.trim().split_once(' ')?.1;
        (to.trim() == chain).then(|| key.trim().trim_matches('"').to_owned())
    });
    of_match(
        &Match {
            key: Key::OutInterface,
            negated: false,
            values: leading.collect(),
            words: vec![],
        },
        interface,
    )
}

fn of_matches(matches: &[Match], interface: &str) -> Share {
    let on_interface = matches
        .iter()
        .filter(|found| found.key == Key::OutInterface);
    let shares: Vec<Share> = on_interface
        .map(|found| of_match(found, interface))
        .collect();
    if shares.contains(&Share::None) {
        Share::None
    } else {
        shares.into_iter().max().unwrap_or(Share::Some)
    }
}

fn of_match(found: &Match, interface: &str) -> Share {
    let named = found.values.iter().any(|value| fits(value, interface));
    match (found.values.as_slice(), found.negated) {
        // A named set: its content is not looked at.
        ([], _) => Share::Some,
        (_, negated) if named == negated => Share::None,
        ([only], false) if only == interface => Share::All,
        _ => Share::Some,
    }
}

fn fits(pattern: &str, interface: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => pattern == interface,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::firewall::{Backend, read};

    fn shares(text: &str) -> Vec<Share> {
        let ruleset = read(text, Backend::Iptables).unwrap();
        let translations = ruleset
            .rules
            .iter()
            .filter(|rule| matches!(rule.verdict, Verdict::Masquerade(_)));
        translations
            .map(|rule| share(&ruleset, rule, "ppp0"))
            .collect()
    }

    #[test]
    fn interfaces_decide() {
        let saved = |conditions: &str| {
            format!(
                "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING {conditions} -j MASQUERADE\nCOMMIT\n"
            )
        };
        for (conditions, expected) in [
            ("-o ppp0", Share::All),
            ("", Share::Some),
            ("-o ppp+", Share::Some),
            ("! -o docker0", Share::Some),
            ("! -o ppp0", Share::None),
            ("-o eth1", Share::None),
        ] {
            assert_eq!(shares(&saved(conditions)), [expected], "{conditions}");
        }
        let input = "*nat\n:INPUT ACCEPT [0:0]\n-A INPUT -j MASQUERADE\nCOMMIT\n";
        assert_eq!(shares(input), [Share::None]);
    }

    #[test]
    fn jumps_decide_too() {
        let table = |jump: &str| {
            format!(
                "table inet fw4 {{\nchain srcnat {{\ntype nat hook postrouting priority srcnat; policy accept;\n\
                 {jump}\n}}\nchain srcnat_wan {{\nmasquerade\n}}\n}}\n"
            )
        };
        for (jump, expected) in [
            ("oifname \"ppp0\" jump srcnat_wan", Share::All),
            ("oifname \"ppp0\" goto srcnat_wan", Share::All),
            ("oifname \"eth1\" jump srcnat_wan", Share::None),
            ("jump srcnat_wan", Share::Some),
            (
                "oifname \"ppp0\" jump srcnat_wan\noifname \"eth1\" jump srcnat_wan",
                Share::Some,
            ),
            (
                "oifname vmap { \"ppp0\" : jump srcnat_wan, \"eth1\" : jump other }",
                Share::All,
            ),
            (
                "oifname vmap { \"ppp0\" : jump other, \"eth1\" : jump srcnat_wan }",
                Share::None,
            ),
            (
                "oifname vmap { \"ppp0\" : jump srcnat_wan, \"eth1\" : goto srcnat_wan }",
                Share::Some,
            ),
            ("meta mark vmap { 0x1 : jump srcnat_wan }", Share::Some),
            ("oifname @wans jump srcnat_wan", Share::Some),
            ("return", Share::None),
        ] {
            assert_eq!(shares(&table(jump)), [expected], "{jump}");
        }
    }
}
