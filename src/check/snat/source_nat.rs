//! The rules that translate sources: SNAT in place of MASQUERADE where the address is static.

use std::net::Ipv4Addr;

use super::{
    Change, Plan, Refusal, Still, Wish,
    mark::{Done, Mark},
    path::{self, Share},
};
use crate::{
    check::taint::Kind,
    probe::router::Router,
    wire::firewall::{
        Backend, Key, Match, Owner, Place, Rule, Ruleset, Target, Verdict, iptables, words,
    },
};

/// The table of a rule that stands alone, where no other is known.
pub(super) const TABLE: &str = "iax2_source_nat";

/// Whether a rule translates sources of what leaves by an interface.
#[must_use]
pub fn translates(ruleset: &Ruleset, interface: &str) -> bool {
    !translations(ruleset, interface).is_empty()
}

/// The rules that translate sources of what leaves by an interface, in order.
#[must_use]
pub fn translating<'a>(ruleset: &'a Ruleset, interface: &str) -> Vec<&'a Rule> {
    let found = translations(ruleset, interface);
    found.into_iter().map(|(rule, _)| rule).collect()
}

/// The rules that translate sources, wherever they stand and of whatever family.
pub(crate) fn source_rules(ruleset: &Ruleset) -> impl Iterator<Item = &Rule> {
    ruleset.rules.iter().filter(|rule| match &rule.verdict {
        Verdict::Masquerade(_) | Verdict::Snat { .. } => true,
        Verdict::Other(words) => is_obscure_translation(words),
        _ => false,
    })
}

/// The same, with how much of what they translate leaves there.
pub(super) fn translations<'a>(ruleset: &'a Ruleset, interface: &str) -> Vec<(&'a Rule, Share)> {
    source_rules(ruleset)
        .filter(|rule| rule.place.family != "ip6")
        .map(|rule| (rule, path::share(ruleset, rule, interface)))
        .filter(|(_, share)| *share != Share::None)
        .collect()
}

/// A translation that is not understood: by a map, or by a target that nft cannot name.
fn is_obscure_translation(words: &str) -> bool {
    [
        "snat ",
        "-j SNAT",
        "-j NETMAP",
        "-j SAME",
        "(xt MASQUERADE",
        "(xt SNAT",
        "(xt NETMAP",
    ]
    .iter()
    .any(|start| words.starts_with(start))
}

/// Adds what is to be done with the rules that translate what leaves by the WAN.
pub(super) fn add(plan: &mut Plan, ruleset: Option<&Ruleset>, router: &Router, wish: &Wish) {
    let wan = &router.wan.interface;
    let found = ruleset
        .map(|rules| translations(rules, wan))
        .unwrap_or_default();
    let Some(rules) = ruleset.filter(|_| !found.is_empty()) else {
        if ruleset.is_some() {
            plan.notes.push(format!(
                "no rule translates the source of what leaves by {wan}"
            ));
        }
        plan.changes.push(alone(router, wish));
        return;
    };
    hint_at_manager(plan, &found);
    let mut places: Vec<&Place> = found.iter().map(|(rule, _)| &rule.place).collect();
    places.dedup();
    for place in places {
        let here: Vec<_> = found
            .iter()
            .filter(|(rule, _)| rule.place == *place)
            .collect();
        // From the last to the first, so that the numbers of those that come later stay right.
        for (rule, share) in here.iter().rev() {
            if follows_ours(rules, rule, router) {
                plan.notes.push(format!(
                    "right as it is, behind the rule for {wan}: {}",
                    rule.text
                ));
                continue;
            }
            let above = here.iter().filter(|(other, share)| {
                other.number < rule.number
                    && is_inserted(other, *share, router)
                    && !follows_ours(rules, other, router)
            });
            let above = above.count();
            one(plan, rules, rule, *share, router, above);
        }
    }
}

/// Whether the rule before this one is there because it was put there by an earlier plan.
fn follows_ours(ruleset: &Ruleset, rule: &Rule, router: &Router) -> bool {
    let fixed = router
        .wan
        .static_address()
        .map(|address| address.to_string());
    let before = ruleset
        .rules
        .iter()
        .find(|other| other.place == rule.place && other.number + 1 == rule.number);
    before.is_some_and(|before| {
        let mark = before.comment.as_deref().and_then(Mark::read);
        mark.is_some_and(|mark| mark.interface == router.wan.interface && mark.done == Done::Added)
            && matches!(&before.verdict, Verdict::Snat { address, .. } if Some(address) == fixed.as_ref())
    })
}

/// Whether a rule stays and gets another one before it.
fn is_inserted(rule: &Rule, share: Share, router: &Router) -> bool {
    let replaced = share == Share::All && is_ipv4(rule);
    router.wan.static_address().is_some()
        && matches!(rule.verdict, Verdict::Masquerade(_))
        && !replaced
}

fn one(
    plan: &mut Plan,
    ruleset: &Ruleset,
    rule: &Rule,
    share: Share,
    router: &Router,
    above: usize,
) {
    let wan = &router.wan;
    let what = format!("rule {} of {}: {}", rule.number, rule.place, rule.text);
    let refuse = |why: &str| Refusal {
        what: what.clone(),
        why: why.to_owned(),
    };
    let owner = ruleset.owned.iter().find(|owned| {
        rule.place.backend == Backend::Nft
            && owned.family == rule.place.family
            && owned.table == rule.place.table
    });
    match owner.map(|owned| owned.owner) {
        Some(Owner::Iptables) => plan.refusals.push(refuse(
            "iptables keeps this table in nft; give the output of iptables-save instead",
        )),
        Some(Owner::Process) => plan.refusals.push(refuse(
            "the table belongs to a running program (flags owner), and the kernel lets nobody else \
             change it; change that program's configuration: see --for",
        )),
        None => match (&rule.verdict, wan.static_address()) {
            (Verdict::Masquerade(target), Some(address)) => {
                plan.changes.push(replaced(rule, share, target, address, router, above));
            }
            (Verdict::Masquerade(_), None) => plan.notes.push(format!(
                "kept: {what}, because the address of {} is not known to be static (else give it \
                 with --static); MASQUERADE notices most changes of the address, and with the leak \
                 guard it takes no wrong source",
                wan.interface
            )),
            (Verdict::Snat { address, .. }, Some(fixed)) if *address == fixed.to_string() => {
                plan.notes.push(format!("right as it is: {what}"));
            }
            (Verdict::Snat { address, .. }, _) => plan.refusals.push(refuse(&format!(
                "it translates to {address}, which {}; say with --static which address is right, \
                 and change the rule by hand",
                match wan.address {
                    Some(now) => format!("is not {now}, the address of {}", wan.interface),
                    None => format!("may not be the address of {} any more", wan.interface),
                }
            ))),
            _ => plan.refusals.push(refuse(
                "its address comes from a map or another module, and which packets get which one is \
                 not for this program to judge; change it by hand",
            )),
        },
    }
}

/// SNAT in the place of a rule, or before it where it serves other interfaces too.
fn replaced(
    rule: &Rule,
    share: Share,
    target: &Target,
    address: Ipv4Addr,
    router: &Router,
    above: usize,
) -> Change {
    let wan = &router.wan.interface;
    let whole = share == Share::All && is_ipv4(rule);
    let mut changed = rule.clone();
    changed.verdict = Verdict::Snat {
        address: address.to_string(),
        target: target.clone(),
    };
    if !whole {
        narrow(&mut changed, share, wan);
    }
    let number = rule
        .handle
        .unwrap_or_else(|| u64::try_from(rule.number).unwrap_or(0));
    let done = if whole {
        let comment = rule
            .comment
            .clone()
            .filter(|_| rule.place.backend == Backend::Nft);
        Done::Was(verdict_words(rule), comment)
    } else {
        Done::Added
    };
    let mark = Mark {
        interface: wan.clone(),
        number,
        done,
    };
    let (command, undo, still, still_done) = match rule.place.backend {
        Backend::Nft => by_nft(rule, &changed, &mark, whole),
        Backend::Iptables | Backend::IptablesLegacy => {
            by_iptables(rule, &changed, &mark, whole, above)
        }
    };
    Change {
        title: format!(
            "SNAT to {address} {} MASQUERADE: rule {} of {}",
            if whole { "in place of" } else { "before" },
            rule.number,
            rule.place
        ),
        command,
        undo,
        still,
        still_done,
        prevents: vec![Kind::WrongSourceMasquerade],
        why: why(router, whole, wan),
    }
}

fn why(router: &Router, whole: bool, wan: &str) -> String {
    let mut why = "MASQUERADE asks for the address of the way out when a flow begins, and takes \
                   another one of this router where the line is up without an address. SNAT names \
                   the address, and its entries outlive a reconnect."
        .to_owned();
    if !whole {
        why = format!(
            "{why} The rule below it stays, because it serves other interfaces than {wan} or more \
             than IPv4."
        );
    }
    if !router.others.is_empty() {
        why.push_str(
            " Entries also go on over another way out when this one is down (wrong-uplink); the hook \
             that install writes deletes them.",
        );
    }
    why
}

/// Adds the conditions under which a copy of a rule is right for the WAN alone.
fn narrow(rule: &mut Rule, share: Share, wan: &str) {
    let condition = |key, words: &[&str]| Match {
        key,
        negated: false,
        values: vec![],
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    if rule.place.backend == Backend::Nft {
        if !is_ipv4(rule) {
            rule.matches
                .insert(0, condition(Key::Family, &["meta", "nfproto", "ipv4"]));
        }
        if share != Share::All {
            let name = format!("\"{wan}\"");
            rule.matches
                .insert(0, condition(Key::OutInterface, &["oifname", &name]));
        }
        return;
    }
    // iptables takes one -o a rule; what it said here holds for the WAN, or the rule would not apply.
    rule.matches.retain(|found| found.key != Key::OutInterface);
    let at = rule
        .matches
        .iter()
        .position(|found| !matches!(found.key, Key::Source | Key::Destination | Key::InInterface))
        .unwrap_or(rule.matches.len());
    rule.matches
        .insert(at, condition(Key::OutInterface, &["-o", wan]));
}

/// Whether a rule is for IPv4 alone.
fn is_ipv4(rule: &Rule) -> bool {
    rule.place.family == "ip"
        || rule.matches.iter().any(|found| match found.key {
            Key::Family => found.values == ["ipv4"],
            Key::Source | Key::Destination => found.words.first().is_some_and(|word| word == "ip"),
            _ => false,
        })
}

/// What stands in place of the changed verdict, in the words of the rule's program.
fn verdict_words(rule: &Rule) -> String {
    match rule.place.backend {
        Backend::Nft => nft_verdict(&rule.verdict, &rule.place.family),
        Backend::Iptables | Backend::IptablesLegacy => iptables::target(&rule.verdict)
            .into_iter()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn nft_verdict(verdict: &Verdict, family: &str) -> String {
    let (mut words, target) = match verdict {
        Verdict::Masquerade(target) => {
            let ports = target.ports.as_ref().map(|ports| format!(" to :{ports}"));
            (format!("masquerade{}", ports.unwrap_or_default()), target)
        }
        Verdict::Snat { address, target } => {
            let family = if family == "inet" { "ip " } else { "" };
            let ports = target.ports.as_ref().map(|ports| format!(":{ports}"));
            (
                format!("snat {family}to {address}{}", ports.unwrap_or_default()),
                target,
            )
        }
        _ => return String::new(),
    };
    if !target.flags.is_empty() {
        words.push(' ');
        words.push_str(&target.flags.join(","));
    }
    words
}

type Steps = (String, String, Option<Still>, Option<Still>);

fn by_nft(rule: &Rule, changed: &Rule, mark: &Mark, whole: bool) -> Steps {
    let place = &rule.place;
    let conditions = changed.matches.iter().flat_map(|found| &found.words);
    let mut new: Vec<String> = conditions.cloned().collect();
    new.push(nft_verdict(&changed.verdict, &place.family));
    new.push(format!("comment \"{}\"", mark.comment()));
    let new = words::shell(&new.join(" "));
    let verb = if whole { "replace" } else { "insert" };
    let command = match rule.handle {
        Some(handle) => format!("nft '{verb} rule {place} handle {handle}' {new}"),
        None => format!(
            "nft \"{verb} rule {place} handle {}\" {new}",
            lookup(place, &format!("^[[:space:]]*{}", escaped(&rule.text)))
        ),
    };
    let handle = handle_of(place, mark);
    let undo = if whole {
        format!(
            "nft \"replace rule {place} handle {handle}\" {}",
            words::shell(&rule.text)
        )
    } else {
        format!("nft \"delete rule {place} handle {handle}\"")
    };
    let still = rule.handle.map(|handle| Still::Listed {
        place: place.to_string(),
        handle,
        // nft's JSON has no words to compare with; the verdict is in them whatever they are.
        text: if rule.line.is_some() {
            rule.text.clone()
        } else {
            "masquerade".into()
        },
    });
    (command, undo, still, None)
}

/// A command that gives the handle of the rule that carries a mark, for double quotes.
pub(super) fn handle_of(place: &Place, mark: &Mark) -> String {
    lookup(
        place,
        &format!(".*comment \"{}.*\"", escaped(&mark.start())),
    )
}

/// A command that gives the handle of the rule that a pattern of sed fits.
fn lookup(place: &Place, pattern: &str) -> String {
    format!("$(nft -s -a list chain {place} | sed -n 's/{pattern} # handle //p' | head -n 1)")
}

/// Text as a pattern of sed between slashes, in single quotes, within double ones.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if matches!(letter, '.' | '*' | '[' | ']' | '^' | '$' | '/' | '\\') {
            pattern.push('\\');
        }
        match letter {
            '\'' => pattern.push('.'),
            _ => pattern.push(letter),
        }
    }
    pattern
}

fn by_iptables(rule: &Rule, changed: &Rule, mark: &Mark, whole: bool, above: usize) -> Steps {
    let program = rule.place.backend.program();
    let (table, chain, number) = (&rule.place.table, &rule.place.chain, rule.number);
    let mut changed = changed.clone();
    changed.matches.push(Match {
        key: Key::Other,
        negated: false,
        values: vec![],
        words: ["-m", "comment", "--comment", &mark.comment()]
            .map(str::to_owned)
            .to_vec(),
    });
    let specification = |rule: &Rule| {
        let conditions: Vec<&str> = rule
            .matches
            .iter()
            .flat_map(|found| &found.words)
            .map(String::as_str)
            .collect();
        let target = iptables::target(&rule.verdict);
        words::shell_line(
            conditions
                .into_iter()
                .chain(target.iter().map(String::as_str)),
        )
    };
    let new = specification(&changed);
    let (command, undo) = if whole {
        (
            format!("{program} -t {table} -R {chain} {number} {new}"),
            format!(
                "{program} -t {table} -R {chain} {} {}",
                number,
                specification(rule)
            ),
        )
    } else {
        (
            format!("{program} -t {table} -I {chain} {number} {new}"),
            format!("{program} -t {table} -D {chain} {new}"),
        )
    };
    let still = |number, text: String| Still::Numbered {
        program,
        table: table.clone(),
        chain: chain.clone(),
        number,
        text,
    };
    let done = iptables::show(&changed);
    (
        command,
        undo,
        Some(still(number, rule.text.clone())),
        Some(still(number + above, done)),
    )
}

/// A rule where none is known.
fn alone(router: &Router, wish: &Wish) -> Change {
    let wan = &router.wan.interface;
    let fixed = router.wan.static_address();
    let mark = Mark {
        interface: wan.clone(),
        number: 0,
        done: Done::Added,
    };
    let comment = mark.comment();
    let (command, undo) = match wish.backend {
        Backend::Nft => {
            let target = match fixed {
                Some(address) => format!("snat to {address}"),
                None => "masquerade".to_owned(),
            };
            (
                format!(
                    "nft -f - <<'RULES'\ntable ip {TABLE} {{\n\tchain postrouting {{\n\t\ttype nat hook postrouting \
                     priority 100; policy accept;\n\t\toifname \"{wan}\" {target} comment \"{comment}\"\n\t}}\n}}\nRULES"
                ),
                format!("nft delete table ip {TABLE}"),
            )
        }
        program => {
            let target = match fixed {
                Some(address) => format!("-j SNAT --to-source {address}"),
                None => "-j MASQUERADE".to_owned(),
            };
            let rule = format!(
                "POSTROUTING -o {} {target} -m comment --comment {}",
                words::shell(wan),
                words::shell(&comment)
            );
            (
                format!("{program} -t nat -A {rule}"),
                format!("{program} -t nat -D {rule}"),
            )
        }
    };
    let (title, prevents, why) = match fixed {
        Some(address) => (
            format!("SNAT to {address} for what leaves by {wan}, in place of a rule with MASQUERADE"),
            vec![Kind::WrongSourceMasquerade],
            why(router, true, wan),
        ),
        None => (
            format!("MASQUERADE for what leaves by {wan}, because its address may change"),
            vec![],
            "An address that may change cannot be named in a rule; give it with --static where it is \
             always the same."
                .to_owned(),
        ),
    };
    Change {
        title,
        command,
        undo,
        still: None,
        still_done: None,
        prevents,
        why,
    }
}

/// Rules that another program writes are gone with its next reload.
fn hint_at_manager(plan: &mut Plan, found: &[(&Rule, Share)]) {
    let mut hints: Vec<&str> = Vec::new();
    for (rule, _) in found {
        let place = &rule.place;
        hints.push(if place.table == "fw4" {
            "the table fw4 is written by OpenWrt's firewall, whose reload undoes changes in it: --for \
             openwrt changes its configuration"
        } else if place.table == "firewalld" || place.chain.starts_with("POST_") {
            "these rules are written by firewalld, whose reload undoes changes in them: --for \
             firewalld changes its configuration"
        } else if place.chain.starts_with("ufw") {
            "these rules are written by ufw, whose reload undoes changes in them: --for ufw changes \
             its configuration"
        } else if rule.text.contains("docker") || rule.text.contains("172.17.0.0") {
            "Docker keeps a rule of its own for its networks and puts it back where it is missing; \
             the rule before it stays"
        } else {
            continue;
        });
    }
    hints.dedup();
    plan.notes.extend(hints.into_iter().map(str::to_owned));
}
