//! The leak guard: what keeps an entry with a private source from being made at all.
//!
//! A chain of nft in the hook `postrouting`, priority 300, sees a packet after its source was
//! translated and before its entry is confirmed. What still has a private source there is dropped,
//! and no entry stays. It names no interface, because an entry that is made over another way out
//! lives on when the right one is back.

use super::{Change, GuardKind, Plan, Wish, source_nat};
use crate::{
    check::taint::Kind,
    probe::router::Router,
    wire::firewall::{
        Backend, Hook, Key, Match, Prefix, Rule, Ruleset, SOURCE_NAT_PRIORITY, Verdict,
    },
};

/// The table of the guard in nft.
pub(super) const TABLE: &str = "iax2_leak_guard";
/// The chain of the guard in iptables.
pub(super) const CHAIN: &str = "IAX2-LEAK-GUARD";
/// The priority of the guard: behind everything (`NF_IP_PRI_CONNTRACK_CONFIRM` comes last).
const PRIORITY: i32 = 300;

/// How well private sources are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarded {
    /// Not at all.
    No,
    /// Before the translation, by another rule for each way out: not at boot, and not when the
    /// translation itself takes a wrong source.
    Forward,
    /// Behind the translation, on one interface only: not over a fallback route.
    OneInterface,
    /// Behind the translation, wherever it leaves.
    Full,
}

/// How well the rules keep the sources of these networks in.
#[must_use]
pub fn guarded(ruleset: &Ruleset, lans: &[Prefix], port: u16) -> Guarded {
    let by_network = lans.iter().map(|lan| {
        let kinds = ruleset
            .rules
            .iter()
            .map(|rule| kind(ruleset, rule, *lan, port));
        kinds.max().unwrap_or(Guarded::No)
    });
    by_network.min().unwrap_or(Guarded::No)
}

/// What a rule does for one network.
fn kind(ruleset: &Ruleset, rule: &Rule, lan: Prefix, port: u16) -> Guarded {
    let hook = ruleset
        .chain(&rule.place)
        .and_then(|chain| chain.hook.as_ref());
    let (Some(hook), true) = (hook, applies(rule, lan, port)) else {
        return Guarded::No;
    };
    let drops = rule.verdict == Verdict::Drop;
    let ours = rule.verdict == Verdict::Jump(CHAIN.to_owned());
    let out = rule
        .matches
        .iter()
        .find(|found| found.key == Key::OutInterface);
    match (hook.kind.as_str(), hook.hook.as_str(), out) {
        ("filter", "postrouting", out) if drops && is_behind_translation(hook) => match out {
            None => Guarded::Full,
            Some(_) => Guarded::OneInterface,
        },
        ("filter", "forward", Some(out)) if drops && out.negated => Guarded::Forward,
        ("filter", "forward", None) if ours => Guarded::Forward,
        _ => Guarded::No,
    }
}

fn is_behind_translation(hook: &Hook) -> bool {
    hook.priority > SOURCE_NAT_PRIORITY
}

/// Whether a rule applies to IAX2 from this network to anywhere but private networks.
fn applies(rule: &Rule, lan: Prefix, port: u16) -> bool {
    let prefix = |value: &String| value.parse::<Prefix>().ok();
    rule.matches.iter().all(|found: &Match| match found.key {
        Key::Source => {
            !found.negated
                && found
                    .values
                    .iter()
                    .filter_map(prefix)
                    .any(|source| source.covers(lan))
        }
        Key::Destination => {
            found.negated
                && found
                    .values
                    .iter()
                    .filter_map(prefix)
                    .all(Prefix::is_private)
        }
        Key::Protocol => {
            !found.negated
                && found
                    .values
                    .iter()
                    .any(|value| value == "udp" || value == "17")
        }
        Key::DestinationPort => {
            !found.negated && found.values.iter().any(|value| value == &port.to_string())
        }
        Key::OutInterface => true,
        Key::Family => found.values.iter().any(|value| value == "ipv4"),
        Key::InInterface | Key::Mark => false,
        Key::Other => {
            let words: Vec<&str> = found.words.iter().map(String::as_str).collect();
            matches!(
                words.as_slice(),
                ["counter"] | ["-m", "udp" | "comment"] | ["--comment", ..]
            )
        }
    })
}

/// Adds the guard, where it is not there already.
pub(super) fn add(
    plan: &mut Plan,
    ruleset: &Ruleset,
    router: &Router,
    lans: &[Prefix],
    wish: &Wish,
) {
    let now = guarded(ruleset, lans, wish.port);
    let wanted = match wish.guard {
        GuardKind::Nft => Guarded::Full,
        GuardKind::Forward => Guarded::Forward,
    };
    if now >= wanted {
        plan.notes.push("the leak guard is in force".into());
        return;
    }
    if router.lans.is_empty() {
        plan.notes.push(
            "the network behind the router is not known, so that the leak guard is for all private \
             ones; with a second way out that has a private address itself, name yours with --lan"
                .into(),
        );
    }
    plan.changes.push(match wish.guard {
        GuardKind::Nft => by_nft(router, lans, wish.port),
        GuardKind::Forward => by_forward(ruleset, router, lans, wish),
    });
}

/// The guard as text for `nft -f`. It takes the place of an earlier one.
pub(super) fn text(router: &Router, lans: &[Prefix], port: u16) -> String {
    let private = format!(
        "ip daddr != {{ {} }} udp dport {port} drop",
        list(&Prefix::PRIVATE)
    );
    let sources = match lans {
        [lan] => lan.to_string(),
        _ => format!("{{ {} }}", list(lans)),
    };
    let mut rules = vec![format!("ip saddr {sources} {private}")];
    for other in &router.others {
        if let Some(address) = other.address
            && Prefix::from(address).is_private()
            && !lans.iter().any(|lan| lan.contains(address))
        {
            // A way out that has no address of its own may borrow the one of this.
            rules.push(format!(
                "ip saddr {address} oifname != \"{}\" {private}",
                other.interface
            ));
        }
    }
    let rules = rules.join("\n\t\t");
    format!(
        "add table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n\tchain postrouting {{\n\
         \t\ttype filter hook postrouting priority {PRIORITY}; policy accept;\n\t\t{rules}\n\t}}\n}}\n"
    )
}

fn list(prefixes: &[Prefix]) -> String {
    let texts: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn by_nft(router: &Router, lans: &[Prefix], port: u16) -> Change {
    Change {
        title: "the leak guard: no private source leaves, so that no entry with one is made".into(),
        command: format!("nft -f - <<'RULES'\n{}RULES", text(router, lans, port)),
        undo: format!("nft delete table ip {TABLE}"),
        still: None,
        still_done: None,
        prevents: vec![Kind::WrongSourceMasquerade, Kind::NullBinding],
        why: "It looks at a packet after its source was translated and before its entry is kept. A \
              packet that would leave with a private source is dropped there, on whatever interface, \
              and the next one is translated afresh; private peers (VPN) and a translated failover \
              pass. It works beside iptables of both kinds."
            .into(),
    }
}

/// The rules of the weaker guard, as `iptables-restore` takes them.
pub(super) fn forward_text(
    ruleset: &Ruleset,
    router: &Router,
    lans: &[Prefix],
    port: u16,
) -> String {
    let translated = router
        .others
        .iter()
        .filter(|other| source_nat::translates(ruleset, &other.interface));
    let ways = [&router.wan].into_iter().chain(translated);
    let mut lines = vec!["*filter".to_owned(), format!(":{CHAIN} - [0:0]")];
    lines.extend(ways.map(|way| format!("-A {CHAIN} -o {} -j RETURN", way.interface)));
    lines.extend(Prefix::PRIVATE.map(|private| format!("-A {CHAIN} -d {private} -j RETURN")));
    lines.push(format!("-A {CHAIN} -j DROP"));
    lines.extend(
        lans.iter()
            .map(|lan| format!("-I FORWARD 1 {}", jump(*lan, port))),
    );
    lines.push("COMMIT\n".to_owned());
    lines.join("\n")
}

fn jump(lan: Prefix, port: u16) -> String {
    format!("-s {lan} -p udp -m udp --dport {port} -j {CHAIN}")
}

/// Takes these jumps and the chain away again.
pub(super) fn forward_removal(jumps: &[String]) -> String {
    let mut lines = vec!["*filter".to_owned()];
    lines.extend(jumps.iter().map(|jump| format!("-D FORWARD {jump}")));
    lines.push(format!("-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n"));
    lines.join("\n")
}

/// `iptables-restore`, with these lines, added to what is there.
pub(super) fn restore(backend: Backend, lines: &str) -> String {
    format!(
        "{}-restore --noflush <<'RULES'\n{lines}RULES",
        backend.program()
    )
}

fn by_forward(ruleset: &Ruleset, router: &Router, lans: &[Prefix], wish: &Wish) -> Change {
    let backend = match wish.backend {
        Backend::Nft => Backend::Iptables,
        other => other,
    };
    let jumps: Vec<String> = lans.iter().map(|lan| jump(*lan, wish.port)).collect();
    Change {
        title: "the weaker leak guard: nothing is forwarded by a way out that translates nothing"
            .into(),
        command: restore(backend, &forward_text(ruleset, router, lans, wish.port)),
        undo: restore(backend, &forward_removal(&jumps)),
        still: None,
        still_done: None,
        prevents: vec![Kind::NullBinding],
        why: "There is no nft here, and iptables has no chain behind the translation. This drops \
              before it what would leave by a fallback route. It does not help when the first packet \
              comes before the NAT rules are loaded, nor when MASQUERADE takes a wrong source: where \
              you can, install nft."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        probe::router::{Router, Uplink},
        wire::firewall::read,
    };

    fn lan() -> Prefix {
        "192.168.1.0/24".parse().unwrap()
    }

    fn router() -> Router {
        Router {
            wan: Uplink::named("ppp0"),
            others: vec![],
            lans: vec![lan()],
            udp_timeout_s: None,
        }
    }

    #[test]
    fn our_own_guards_are_known_again() {
        let text = text(&router(), &[lan()], 4569);
        let table = text
            .split_once("delete")
            .unwrap()
            .1
            .split_once('\n')
            .unwrap()
            .1;
        let ruleset = read(table, Backend::Nft).unwrap();
        assert_eq!(guarded(&ruleset, &[lan()], 4569), Guarded::Full);
        assert_eq!(guarded(&ruleset, &[lan()], 4570), Guarded::No);
        let other: Prefix = "192.168.2.0/24".parse().unwrap();
        assert_eq!(guarded(&ruleset, &[lan(), other], 4569), Guarded::No);
    }

    #[test]
    fn guards_are_told_by_what_they_leave_open() {
        let table = |hook: &str, rule: &str| {
            let text =
                format!("table inet x {{\nchain y {{\ntype filter hook {hook};\n{rule}\n}}\n}}\n");
            guarded(&read(&text, Backend::Nft).unwrap(), &[lan()], 4569)
        };
        let all = "ip saddr 192.168.0.0/16 ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } udp dport 4569 counter drop";
        for (hook, rule, expected) in [
            ("postrouting priority 300", all, Guarded::Full),
            (
                "postrouting priority 300",
                "ip saddr 192.168.1.0/24 drop",
                Guarded::Full,
            ),
            ("postrouting priority 0", all, Guarded::No),
            (
                "postrouting priority 300",
                "oifname \"ppp0\" ip saddr 192.168.1.0/24 drop",
                Guarded::OneInterface,
            ),
            (
                "postrouting priority 300",
                "ip saddr 192.168.1.0/24 accept",
                Guarded::No,
            ),
            (
                "postrouting priority 300",
                "ip saddr 192.168.1.0/24 ct state invalid drop",
                Guarded::No,
            ),
            (
                "postrouting priority 300",
                "ip saddr 192.168.1.0/24 ip daddr 203.0.113.1 drop",
                Guarded::No,
            ),
            (
                "forward priority 0",
                "oifname != \"ppp0\" ip saddr 192.168.1.0/24 drop",
                Guarded::Forward,
            ),
            (
                "forward priority 0",
                "oifname \"ppp0\" ip saddr 192.168.1.0/24 drop",
                Guarded::No,
            ),
        ] {
            assert_eq!(table(hook, rule), expected, "{hook}: {rule}");
        }
    }

    #[test]
    fn a_way_out_with_a_private_address_is_no_source_for_another() {
        let mut router = router();
        router.others.push(Uplink {
            address: "192.168.100.2".parse().ok(),
            ..Uplink::named("eth1")
        });
        let text = text(&router, &[lan()], 4569);
        assert!(
            text.contains("ip saddr 192.168.100.2 oifname != \"eth1\" ip daddr != {"),
            "{text}"
        );
    }
}
