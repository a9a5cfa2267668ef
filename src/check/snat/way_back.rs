//! The way back from what was done, read from the marks in the rules.

use super::{
    Change, Plan, Still, Wish, guard,
    mark::{Done, Mark},
    source_nat, timers,
};
use crate::wire::firewall::{Backend, Key, Rule, Ruleset, Verdict, words};

/// The way back from the rules in force to those before; empty where no rule carries a mark. Timers
/// carry none: with a refresh in the wish, they go back to what the kernel begins with.
#[must_use]
pub fn way_back(ruleset: &Ruleset, wish: &Wish) -> Plan {
    let mut plan = Plan::default();
    let mut marked: Vec<(&Rule, Mark)> = ruleset
        .rules
        .iter()
        .filter(|rule| rule.place.table != source_nat::TABLE)
        .filter_map(|rule| Some((rule, Mark::read(our_comment(rule)?)?)))
        .collect();
    // From the last to the first, so that a rule that goes does not move one that is to come.
    marked.reverse();
    plan.changes
        .extend(marked.iter().map(|(rule, mark)| taken_back(rule, mark)));
    for table in [source_nat::TABLE, guard::TABLE] {
        let there = ruleset
            .chains
            .iter()
            .any(|chain| chain.place.backend == Backend::Nft && chain.place.table == table);
        if there {
            plan.changes.push(step(
                format!("the table {table} goes"),
                format!("nft delete table ip {table}"),
                None,
            ));
        }
    }
    for backend in [Backend::Iptables, Backend::IptablesLegacy] {
        let jumps: Vec<String> = ruleset
            .rules
            .iter()
            .filter(|rule| rule.place.backend == backend)
            .filter(|rule| rule.verdict == Verdict::Jump(guard::CHAIN.to_owned()))
            .filter_map(|rule| rule.text.strip_prefix("-A FORWARD ").map(str::to_owned))
            .collect();
        if !jumps.is_empty() {
            let lines = guard::forward_removal(&jumps);
            plan.changes.push(step(
                "the weaker leak guard goes".into(),
                guard::restore(backend, &lines),
                None,
            ));
        }
    }
    if let Some(command) = timers::back_to_default(wish).filter(|_| !plan.changes.is_empty()) {
        plan.changes.push(step(
            "the timers are again those that the kernel begins with".into(),
            command,
            None,
        ));
    }
    plan
}

/// The last comment of a rule: iptables takes several, and ours comes last.
fn our_comment(rule: &Rule) -> Option<&str> {
    rule.comment.as_deref()
}

fn step(title: String, command: String, still: Option<Still>) -> Change {
    Change {
        title,
        command,
        undo: String::new(),
        still,
        still_done: None,
        prevents: vec![],
        why: String::new(),
    }
}

fn taken_back(rule: &Rule, mark: &Mark) -> Change {
    let title = format!("rule {} of {}, as it was before", rule.number, rule.place);
    match rule.place.backend {
        Backend::Nft => by_nft(rule, mark, title),
        Backend::Iptables | Backend::IptablesLegacy => by_iptables(rule, mark, title),
    }
}

fn by_nft(rule: &Rule, mark: &Mark, title: String) -> Change {
    let place = &rule.place;
    let handle = source_nat::handle_of(place, mark);
    let command = match &mark.done {
        Done::Added => format!("nft \"delete rule {place} handle {handle}\""),
        Done::Was(verdict, comment) => {
            let conditions = rule.matches.iter().flat_map(|found| &found.words);
            let mut words: Vec<String> = conditions.cloned().collect();
            words.push(verdict.clone());
            words.extend(
                comment
                    .as_ref()
                    .map(|comment| format!("comment \"{comment}\"")),
            );
            format!(
                "nft \"replace rule {place} handle {handle}\" {}",
                words::shell(&words.join(" "))
            )
        }
    };
    step(title, command, None)
}

fn by_iptables(rule: &Rule, mark: &Mark, title: String) -> Change {
    let program = rule.place.backend.program();
    let (table, chain, number) = (&rule.place.table, &rule.place.chain, rule.number);
    let still = Still::Numbered {
        program,
        table: table.clone(),
        chain: chain.clone(),
        number,
        text: rule.text.clone(),
    };
    let command = match &mark.done {
        Done::Added => format!("{program} -t {table} -D {chain} {number}"),
        Done::Was(target, _) => {
            let mut conditions: Vec<&str> = rule
                .matches
                .iter()
                .filter(|found| {
                    found.key != Key::Other || found.words.get(1) != rule.comment.as_ref()
                })
                .flat_map(|found| &found.words)
                .map(String::as_str)
                .collect();
            // Ours came last, behind `-m comment`.
            if conditions.ends_with(&["-m", "comment"]) {
                conditions.truncate(conditions.len() - 2);
            }
            let target = target.split(' ');
            let words = conditions.into_iter().chain(["-j"]).chain(target);
            format!(
                "{program} -t {table} -R {chain} {number} {}",
                words::shell_line(words)
            )
        }
    };
    step(title, command, Some(still))
}
