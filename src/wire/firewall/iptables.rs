//! What `iptables-save` and `iptables -S` write, and scripts of plain `iptables` commands.

use std::collections::BTreeMap;

use super::{
    Backend, Chain, Hook, Key, Match, Place, Rule, RuleError, Ruleset, Target, Verdict, words,
};

/// The chains that every table has, with the kind and priority of their hooks
/// (`linux/netfilter_ipv4.h`).
const BUILT_IN: &[(&str, &str, &str, i32)] = &[
    ("nat", "PREROUTING", "nat", -100),
    ("nat", "INPUT", "nat", 100),
    ("nat", "OUTPUT", "nat", -100),
    ("nat", "POSTROUTING", "nat", 100),
    ("filter", "INPUT", "filter", 0),
    ("filter", "FORWARD", "filter", 0),
    ("filter", "OUTPUT", "filter", 0),
    ("mangle", "PREROUTING", "filter", -150),
    ("mangle", "INPUT", "filter", -150),
    ("mangle", "FORWARD", "filter", -150),
    ("mangle", "OUTPUT", "route", -150),
    ("mangle", "POSTROUTING", "filter", -150),
];

/// The programs whose commands a script may hold, without their folder.
const PROGRAMS: [&str; 3] = ["iptables", "iptables-legacy", "iptables-nft"];

/// Whether a text looks like rules of iptables.
#[must_use]
pub fn is_known(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        line.starts_with('*')
            || ["-A ", "-P ", "-N "]
                .iter()
                .any(|word| line.starts_with(word))
            || command(line).is_some()
    })
}

/// The arguments of a line that is an `iptables` command.
fn command(line: &str) -> Option<&str> {
    let (program, arguments) = line.split_once([' ', '\t'])?;
    let name = program.rsplit('/').next().unwrap_or(program);
    PROGRAMS.contains(&name).then_some(arguments)
}

/// Reads the rules.
///
/// # Errors
///
/// [`RuleError`] with the line, where a table is not closed, a quote does not end, a rule belongs to
/// no chain, or a command is more than a plain one.
pub fn read(text: &str, backend: Backend) -> Result<Ruleset, RuleError> {
    let mut reader = Reader {
        backend,
        ruleset: Ruleset::default(),
        table: None,
        saved: text.lines().any(|line| line.trim_start().starts_with('*')),
        variables: BTreeMap::new(),
    };
    let mut number = 0;
    for line in text.lines() {
        number += 1;
        reader
            .line(line.trim(), number)
            .map_err(|what| RuleError::new(number, what))?;
    }
    match reader.table {
        Some(table) if reader.saved => Err(RuleError::new(
            number,
            format!("the table {table} has no COMMIT: the text is cut short; save it again"),
        )),
        _ => Ok(reader.ruleset),
    }
}

struct Reader {
    backend: Backend,
    ruleset: Ruleset,
    table: Option<String>,
    /// The text is that of `iptables-save`, with tables.
    saved: bool,
    variables: BTreeMap<String, String>,
}

impl Reader {
    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if line.starts_with('#') {
            return Ok(());
        }
        if self.saved {
            self.saved_line(line, number)?;
        } else if let Some(arguments) = command(line) {
            let words = words::split(arguments, Some(&self.variables))?;
            self.command(words, None, number)?;
        } else if line.starts_with('-') {
            self.command(words::split(line, None)?, Some(line), number)?;
        } else if let Some((name, value)) = assignment(line) {
            let value = words::split(value, Some(&self.variables))?.join(" ");
            self.variables.insert(name.to_owned(), value);
        } else if line.contains("-t nat") {
            return Err(
                "only plain commands are read; give the output of iptables-save instead".into(),
            );
        }
        Ok(())
    }

    fn saved_line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(table) = line.strip_prefix('*') {
            if let Some(open) = &self.table {
                return Err(format!("the table {open} has no COMMIT before this one"));
            }
            self.table = Some(table.trim().to_owned());
            return Ok(());
        }
        let table = self.table.clone().ok_or_else(|| {
            format!("`{line}` belongs to no table; the text has to begin with *nat or another")
        })?;
        if line == "COMMIT" {
            self.table = None;
            return Ok(());
        }
        if let Some(chain) = line.strip_prefix(':') {
            let name = chain.split_whitespace().next();
            self.declare(&table, name.ok_or("a chain without a name")?);
            return Ok(());
        }
        // With -c, the counters stand first.
        let rule = match line.strip_prefix('[') {
            Some(counted) => counted.split_once("] ").map_or(line, |(_, rule)| rule),
            None => line,
        };
        let words = words::split(rule, None)?;
        match words.first().map(String::as_str) {
            Some("-A") => self.append(&table, words, Some(rule), number),
            _ => Err(format!("`{line}` is no rule; one line is one `-A CHAIN …`")),
        }
    }

    /// The words of one command, without the program.
    fn command(
        &mut self,
        mut words: Vec<String>,
        text: Option<&str>,
        number: usize,
    ) -> Result<(), String> {
        // `iptables -S` says no table; it is asked for nat, or there are none of its chains.
        let mut table = if text.is_some() { "nat" } else { "filter" }.to_owned();
        words.retain(|word| word != "-w" && word != "--wait");
        if let Some(at) = words
            .iter()
            .position(|word| word == "-t" || word == "--table")
        {
            table = words.get(at + 1).cloned().ok_or("-t without a table")?;
            words.drain(at..at + 2);
        }
        match words.first().map(String::as_str) {
            Some("-A" | "--append") => self.append(&table, words, text, number),
            Some("-I" | "--insert") => {
                Err("-I puts a rule before others; give the output of iptables-save instead".into())
            }
            Some("-N" | "-P" | "--new-chain" | "--policy") => {
                let name = words.get(1).ok_or("a chain without a name")?;
                self.declare(&table, name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn place(&self, table: &str, chain: &str) -> Place {
        Place {
            backend: self.backend,
            family: "ip".into(),
            table: table.to_owned(),
            chain: chain.to_owned(),
        }
    }

    fn declare(&mut self, table: &str, name: &str) {
        let place = self.place(table, name);
        if self.ruleset.chain(&place).is_some() {
            return;
        }
        let built_in = BUILT_IN
            .iter()
            .find(|(of, chain, ..)| *of == table && *chain == name);
        let hook = built_in.map(|(_, chain, kind, priority)| Hook {
            kind: (*kind).to_owned(),
            hook: chain.to_lowercase(),
            priority: *priority,
        });
        self.ruleset.chains.push(Chain { place, hook });
    }

    fn append(
        &mut self,
        table: &str,
        words: Vec<String>,
        text: Option<&str>,
        line: usize,
    ) -> Result<(), String> {
        let mut words = words.into_iter().skip(1);
        let chain = words.next().ok_or("-A without a chain")?;
        let place = self.place(table, &chain);
        let known = self.ruleset.chain(&place).is_some();
        if self.saved && !known {
            return Err(format!(
                "the table {table} has no chain {chain}: there is no line `:{chain}` above"
            ));
        }
        self.declare(table, &chain);
        let mut rule = rule(place, words.collect(), text.is_none())?;
        rule.number = self.ruleset.next_number(&rule.place);
        rule.line = Some(line);
        if let Some(text) = text {
            text.clone_into(&mut rule.text);
        }
        self.ruleset.rules.push(rule);
        Ok(())
    }
}

/// `NAME=value`, as a line of its own.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start_matches("export ").split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some((name, value))
}

/// A rule from the words behind its chain. In scripts (`typed`), what people write is brought into
/// the order and form that `iptables -S` shows.
fn rule(place: Place, words: Vec<String>, typed: bool) -> Result<Rule, String> {
    let mut matches: Vec<Match> = Vec::new();
    let mut verdict = Verdict::None;
    let mut comment = None;
    let mut words = words.into_iter().peekable();
    let mut negation: Option<String> = None;
    while let Some(word) = words.next() {
        if word == "!" {
            negation = Some(word);
            continue;
        }
        let mut arguments: Vec<String> = Vec::new();
        while let Some(argument) = words.next_if(|next| !next.starts_with('-') && next != "!") {
            arguments.push(argument);
        }
        let argument = arguments.first().cloned();
        let needed = || {
            argument
                .clone()
                .ok_or_else(|| format!("{word} without a value"))
        };
        match word.as_str() {
            "-j" | "--jump" | "-g" | "--goto" => {
                let name = needed()?;
                let mut target = Vec::new();
                while let Some(option) = words.next_if(|next| is_target_option(next)) {
                    target.push(option);
                    target.extend(words.next_if(|next| !next.starts_with('-')));
                }
                verdict = self::verdict(&name, &target, word.starts_with("-g") || word == "--goto");
                continue;
            }
            "-c" | "--set-counters" => continue,
            "--comment" => comment = Some(needed()?),
            _ => {}
        }
        let key = key(&word);
        if typed && key != Key::Other && argument.as_ref().is_some_and(|value| value.contains(','))
        {
            return Err(format!(
                "{word} with a list makes several rules; give the output of iptables-save instead"
            ));
        }
        let values = match key {
            Key::Other => vec![],
            Key::OutInterface | Key::InInterface => vec![pattern(&needed()?)],
            _ => needed()?.split(',').map(str::to_owned).collect(),
        };
        let option = if typed { long_form(&word) } else { &word };
        let mut kept: Vec<String> = negation.iter().cloned().collect();
        kept.push(option.to_owned());
        kept.extend(arguments);
        matches.push(Match {
            key,
            negated: negation.take().is_some(),
            values,
            words: kept,
        });
    }
    if typed {
        matches = as_shown(matches);
    }
    let mut rule = Rule {
        place,
        number: 0,
        handle: None,
        line: None,
        text: String::new(),
        matches,
        verdict,
        comment,
    };
    rule.text = show(&rule);
    Ok(rule)
}

/// A rule as `iptables -S` shows it.
#[must_use]
pub fn show(rule: &Rule) -> String {
    let words = rule.matches.iter().flat_map(|found| &found.words);
    let shown = words.map(|word| show_word(word));
    let mut text = format!("-A {}", rule.place.chain);
    for word in shown.chain(
        target(&rule.verdict)
            .into_iter()
            .map(|word| show_word(&word)),
    ) {
        text.push(' ');
        text.push_str(&word);
    }
    text
}

/// Only what a person wrote is quoted: options, addresses and numbers are not.
fn show_word(word: &str) -> String {
    if word.contains([' ', '"', '\'', '\\']) || word.is_empty() {
        words::saved(word)
    } else {
        word.to_owned()
    }
}

/// A verdict as words of iptables.
#[must_use]
pub fn target(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Masquerade(target) => {
            let ports = target.ports.iter().flat_map(|ports| ["--to-ports", ports]);
            ["-j", "MASQUERADE"]
                .into_iter()
                .chain(ports)
                .map(str::to_owned)
                .chain(flags(target))
                .collect()
        }
        Verdict::Snat { address, target } => {
            let to = match &target.ports {
                Some(ports) => format!("{address}:{ports}"),
                None => address.clone(),
            };
            let words = ["-j", "SNAT", "--to-source"].map(str::to_owned);
            words.into_iter().chain([to]).chain(flags(target)).collect()
        }
        Verdict::Jump(chain) => vec!["-j".to_owned(), chain.clone()],
        Verdict::Accept => ["-j", "ACCEPT"].map(str::to_owned).to_vec(),
        Verdict::Drop => ["-j", "DROP"].map(str::to_owned).to_vec(),
        Verdict::Return => ["-j", "RETURN"].map(str::to_owned).to_vec(),
        Verdict::Other(words) => words.split(' ').map(str::to_owned).collect(),
        Verdict::Map(..) | Verdict::None => vec![],
    }
}

fn flags(target: &Target) -> impl Iterator<Item = String> + '_ {
    target.flags.iter().map(|flag| match flag.as_str() {
        "fully-random" => "--random-fully".to_owned(),
        other => format!("--{other}"),
    })
}

fn verdict(name: &str, options: &[String], goto: bool) -> Verdict {
    let value = |names: &[&str]| {
        let at = options
            .iter()
            .position(|option| names.contains(&option.as_str()))?;
        options.get(at + 1).cloned()
    };
    let mut target = Target {
        ports: value(&["--to-ports", "--to-port"]),
        flags: vec![],
    };
    for option in options {
        match option.as_str() {
            "--random" => target.flags.push("random".into()),
            "--random-fully" => target.flags.push("fully-random".into()),
            "--persistent" => target.flags.push("persistent".into()),
            _ => {}
        }
    }
    match (name, value(&["--to-source", "--to"])) {
        ("MASQUERADE", _) => Verdict::Masquerade(target),
        ("SNAT", Some(to)) => {
            let (address, ports) = match to.split_once(':') {
                Some((address, ports)) => (address.to_owned(), Some(ports.to_owned())),
                None => (to, None),
            };
            target.ports = ports;
            Verdict::Snat { address, target }
        }
        ("ACCEPT", _) => Verdict::Accept,
        ("DROP", _) => Verdict::Drop,
        ("RETURN", _) => Verdict::Return,
        _ if is_target(name) || goto => {
            let jump = if goto { "-g" } else { "-j" };
            let words = [jump, name]
                .into_iter()
                .chain(options.iter().map(String::as_str));
            Verdict::Other(words.collect::<Vec<_>>().join(" "))
        }
        _ => Verdict::Jump(name.to_owned()),
    }
}

/// The targets of iptables that are no chains.
fn is_target(name: &str) -> bool {
    const TARGETS: [&str; 16] = [
        "SNAT", "DNAT", "REDIRECT", "NETMAP", "MARK", "CONNMARK", "LOG", "NFLOG", "REJECT",
        "QUEUE", "NFQUEUE", "TPROXY", "CT", "TCPMSS", "SET", "SAME",
    ];
    TARGETS.contains(&name)
}

fn is_target_option(word: &str) -> bool {
    const MATCHES: [&str; 12] = [
        "--comment",
        "--dport",
        "--sport",
        "--dports",
        "--sports",
        "--mark",
        "--match-set",
        "--source",
        "--destination",
        "--protocol",
        "--match",
        "--out-interface",
    ];
    word.starts_with("--") && !MATCHES.contains(&word)
}

fn key(word: &str) -> Key {
    match word {
        "-o" | "--out-interface" => Key::OutInterface,
        "-i" | "--in-interface" => Key::InInterface,
        "-s" | "--source" | "--src" => Key::Source,
        "-d" | "--destination" | "--dst" => Key::Destination,
        "-p" | "--protocol" | "--proto" => Key::Protocol,
        "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
            Key::DestinationPort
        }
        "--mark" => Key::Mark,
        _ => Key::Other,
    }
}

/// The form that `iptables -S` shows of an option that people write in several.
fn long_form(word: &str) -> &str {
    match key(word) {
        Key::OutInterface => "-o",
        Key::InInterface => "-i",
        Key::Source => "-s",
        Key::Destination => "-d",
        Key::Protocol => "-p",
        _ if word == "--destination-port" => "--dport",
        _ if word == "--match" => "-m",
        _ => word,
    }
}

/// `ppp+` means every name that begins so; elsewhere that is written `ppp*`.
fn pattern(interface: &str) -> String {
    match interface.strip_suffix('+') {
        Some(start) => format!("{start}*"),
        None => interface.to_owned(),
    }
}

/// The conditions in the order of `iptables -S`: addresses, interfaces, protocol, the rest.
fn as_shown(mut matches: Vec<Match>) -> Vec<Match> {
    let rank = |found: &Match| match found.key {
        Key::Source => 0,
        Key::Destination => 1,
        Key::InInterface => 2,
        Key::OutInterface => 3,
        Key::Protocol => 4,
        _ => 5,
    };
    matches.sort_by_key(rank);
    for found in &mut matches {
        if matches!(found.key, Key::Source | Key::Destination)
            && let (Some(last), Some(value)) = (found.words.last_mut(), found.values.first())
            && let Ok(prefix) = value.parse::<super::Prefix>()
        {
            *last = prefix.to_string();
            if !last.contains('/') {
                last.push_str("/32");
            }
        }
    }
    let protocol = matches
        .iter()
        .find(|found| found.key == Key::Protocol)
        .and_then(|found| found.values.first().cloned());
    let loads = |name: &str| matches.iter().any(|found| found.words == ["-m", name]);
    if let Some(protocol) = protocol
        && matches.iter().any(|found| {
            found
                .words
                .iter()
                .any(|word| word == "--dport" || word == "--sport")
        })
        && !loads(&protocol)
    {
        let at = matches
            .iter()
            .position(|found| rank(found) == 5)
            .unwrap_or(matches.len());
        let words = vec!["-m".to_owned(), protocol];
        matches.insert(
            at,
            Match {
                key: Key::Other,
                negated: false,
                values: vec![],
                words,
            },
        );
    }
    matches
}

#[cfg(test)]
mod tests;
