//! What `nft list ruleset` writes, with handles (`-a`) or without, and configuration files in its
//! form.

use std::collections::BTreeMap;

use super::{
    Backend, Chain, Hook, Owned, Owner, Place, RuleError, Ruleset, SOURCE_NAT_PRIORITY, nft_rule,
};

/// Reads the ruleset.
///
/// # Errors
///
/// [`RuleError`] with the line, where a block does not end or something else than tables, chains
/// and rules stands in the text.
pub fn read(text: &str) -> Result<Ruleset, RuleError> {
    let mut reader = Reader {
        text,
        at: 0,
        ruleset: Ruleset::default(),
        definitions: BTreeMap::new(),
        of_iptables: false,
    };
    reader.top()?;
    Ok(reader.ruleset)
}

struct Reader<'a> {
    text: &'a str,
    /// Where the next statement begins.
    at: usize,
    ruleset: Ruleset,
    definitions: BTreeMap<String, String>,
    /// The next table carries the warning that iptables manages it.
    of_iptables: bool,
}

/// One statement: its words, what ended it, and where it began.
struct Statement {
    text: String,
    end: End,
    line: usize,
    handle: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A new line, a semicolon.
    Line,
    /// `{`, where it opens a block and not a set.
    Open,
    /// `}`.
    Close,
    /// Of the text.
    Text,
}

impl Reader<'_> {
    fn top(&mut self) -> Result<(), RuleError> {
        loop {
            let statement = self.statement(true)?;
            let words: Vec<&str> = statement.text.split(' ').collect();
            match (words.as_slice(), statement.end) {
                ([""], End::Text) => return Ok(()),
                (["table", name], End::Open) => self.table("ip", name)?,
                (["table", family, name], End::Open) => self.table(family, name)?,
                (
                    [""] | ["flush" | "table", ..] | ["add" | "delete" | "destroy", "table", ..],
                    End::Line,
                )
                | (["flush", ..], End::Text) => {}
                (["define", name, "=", ..], End::Line | End::Text) => {
                    let value = words.get(3..).unwrap_or_default().join(" ");
                    self.definitions.insert((*name).to_owned(), value);
                }
                ([""], End::Close) => {
                    return Err(RuleError::new(statement.line, "a } that closes nothing"));
                }
                _ => {
                    return Err(RuleError::new(
                        statement.line,
                        format!(
                            "`{}` is no table; give the output of `nft list ruleset`",
                            statement.text
                        ),
                    ));
                }
            }
        }
    }

    fn table(&mut self, family: &str, table: &str) -> Result<(), RuleError> {
        let own = |owner| Owned {
            family: family.to_owned(),
            table: table.to_owned(),
            owner,
        };
        if std::mem::take(&mut self.of_iptables) {
            self.ruleset.owned.push(own(Owner::Iptables));
        }
        loop {
            let statement = self.statement(true)?;
            let words: Vec<&str> = statement.text.split(' ').collect();
            match (words.as_slice(), statement.end) {
                (_, End::Text) => return Err(cut_short(&statement, &format!("table {table}"))),
                ([""], End::Close) => return Ok(()),
                (["flags", flags @ ..], End::Line) => {
                    if flags
                        .iter()
                        .any(|flag| flag.trim_matches(',') == "owner" || flag.contains("owner,"))
                    {
                        self.ruleset.owned.push(own(Owner::Process));
                    }
                }
                (["chain", name], End::Open) => {
                    let place = Place {
                        backend: Backend::Nft,
                        family: family.to_owned(),
                        table: table.to_owned(),
                        chain: (*name).to_owned(),
                    };
                    self.chain(place)?;
                }
                (_, End::Open) => self.skip(&statement)?,
                (_, End::Line | End::Close) => {}
            }
        }
    }

    fn chain(&mut self, place: Place) -> Result<(), RuleError> {
        let mut hook = None;
        let mut number = 0;
        let at = self.ruleset.chains.len();
        loop {
            let statement = self.statement(false)?;
            let text = statement.text.as_str();
            if let Some(words) = text.strip_prefix("type ") {
                hook = Some(self::hook(words).ok_or_else(|| {
                    RuleError::new(statement.line, format!("`{text}` is no hook that is known"))
                })?);
            } else if !text.is_empty() && !is_property(text) {
                number += 1;
                let text = self.defined(text, statement.line)?;
                let mut rule = nft_rule::rule(place.clone(), &text)
                    .map_err(|what| RuleError::new(statement.line, what))?;
                rule.number = number;
                rule.handle = statement.handle;
                rule.line = Some(statement.line);
                self.ruleset.rules.push(rule);
            }
            match statement.end {
                End::Text => return Err(cut_short(&statement, &format!("chain {}", place.chain))),
                End::Close => break,
                End::Line | End::Open => {}
            }
        }
        self.ruleset.chains.insert(at, Chain { place, hook });
        Ok(())
    }

    /// Goes behind the block that a statement has opened: a set, a map, a flow table.
    fn skip(&mut self, opened: &Statement) -> Result<(), RuleError> {
        let mut depth = 1;
        while depth > 0 {
            let statement = self.statement(true)?;
            match statement.end {
                End::Open => depth += 1,
                End::Close => depth -= 1,
                End::Line => {}
                End::Text => return Err(cut_short(&statement, &opened.text)),
            }
        }
        Ok(())
    }

    /// The values of `define` in place of their names.
    fn defined(&self, text: &str, line: usize) -> Result<String, RuleError> {
        let word = |word: &str| {
            let Some(name) = word.strip_prefix('$') else {
                return Ok(word.to_owned());
            };
            let (name, comma) = name
                .strip_suffix(',')
                .map_or((name, ""), |name| (name, ","));
            let value = self.definitions.get(name).ok_or_else(|| {
                RuleError::new(line, format!("${name} is not defined in this file"))
            })?;
            Ok(format!("{value}{comma}"))
        };
        Ok(text
            .split(' ')
            .map(word)
            .collect::<Result<Vec<_>, _>>()?
            .join(" "))
    }

    /// Reads up to the end of a statement. Its white space is made single blanks, so that a set over
    /// several lines becomes one; with `blocks`, a brace opens a block instead of a set.
    fn statement(&mut self, blocks: bool) -> Result<Statement, RuleError> {
        let mut statement = Statement {
            text: String::new(),
            end: End::Text,
            line: self.line(),
            handle: None,
        };
        let (mut depth, mut quoted) = (0_usize, false);
        let text = self.text;
        let mut letters = text
            .get(self.at..)
            .unwrap_or_default()
            .char_indices()
            .peekable();
        let mut read = text.len() - self.at;
        while let Some((offset, letter)) = letters.next() {
            let end = match letter {
                '"' => {
                    quoted = !quoted;
                    None
                }
                _ if quoted => None,
                '#' => {
                    let mut comment = String::new();
                    while let Some((_, letter)) = letters.next_if(|(_, letter)| *letter != '\n') {
                        comment.push(letter);
                    }
                    statement.handle = statement
                        .handle
                        .or_else(|| comment.trim().strip_prefix("handle ")?.parse().ok());
                    self.of_iptables |= comment.contains("managed by iptables-nft");
                    continue;
                }
                '\\' if letters.next_if(|(_, next)| *next == '\n').is_some() => {
                    blank(&mut statement.text);
                    continue;
                }
                '\n' | ';' if depth == 0 => Some(End::Line),
                '{' if blocks && !is_value(&statement.text) => Some(End::Open),
                '{' => {
                    depth += 1;
                    None
                }
                '}' if depth == 0 => Some(End::Close),
                '}' => {
                    depth -= 1;
                    None
                }
                _ => None,
            };
            if let Some(end) = end {
                // A line that holds nothing yet is no statement.
                let empty = statement.text.trim().is_empty();
                if end == End::Line && empty {
                    statement.text.clear();
                    statement.handle = None;
                    statement.line = self.line_at(self.at + offset + 1);
                    continue;
                }
                statement.end = end;
                read = offset + letter.len_utf8();
                break;
            }
            if letter.is_whitespace() && !quoted {
                blank(&mut statement.text);
            } else {
                statement.text.push(letter);
            }
        }
        if quoted {
            return Err(RuleError::new(statement.line, "the quote \" does not end"));
        }
        self.at += read;
        statement.text = statement.text.trim().to_owned();
        Ok(statement)
    }

    fn line(&self) -> usize {
        self.line_at(self.at)
    }

    /// The line of the first word at or behind an offset.
    fn line_at(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start().len();
        let before = self.text.get(..at + blanks).unwrap_or(self.text);
        1 + before.matches('\n').count()
    }
}

/// What was read ends inside a block.
fn cut_short(statement: &Statement, block: &str) -> RuleError {
    RuleError::new(
        statement.line,
        format!("{block} does not end: the text is cut short; save it again"),
    )
}

fn blank(text: &mut String) {
    if !text.is_empty() && !text.ends_with(' ') {
        text.push(' ');
    }
}

/// `elements = {` opens a value.
fn is_value(text: &str) -> bool {
    text.trim_end().ends_with('=')
}

/// What stands in a chain and is no rule.
fn is_property(text: &str) -> bool {
    text.starts_with("policy ") || text.starts_with("comment ") || text.starts_with("devices ")
}

/// `nat hook postrouting priority srcnat + 10`.
fn hook(words: &str) -> Option<Hook> {
    let mut words = words.split(' ');
    let kind = words.next()?.to_owned();
    let mut words = words.skip_while(|word| *word != "hook").skip(1);
    let hook = words.next()?.to_owned();
    let mut words = words.skip_while(|word| *word != "priority").skip(1);
    let base = match words.next()? {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => SOURCE_NAT_PRIORITY,
        number => number.parse().ok()?,
    };
    let offset: i32 = match (words.next(), words.next()) {
        (Some("+"), Some(offset)) => offset.parse().ok()?,
        (Some("-"), Some(offset)) => -offset.parse::<i32>().ok()?,
        _ => 0,
    };
    Some(Hook {
        kind,
        hook,
        priority: base + offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::firewall::{Key, Verdict};

    const LISTED: &str = r#"# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip filter { # handle 1
	chain FORWARD { # handle 1
		type filter hook forward priority filter; policy accept;
	}
}
table ip nat { # handle 4
	set lans { # handle 3
		type ipv4_addr
		flags interval
		elements = { 192.168.0.0/16,
			     10.0.0.0/8 }
	}

	chain x { # handle 1
		masquerade # handle 4
		return # handle 5
	}

	chain postrouting { # handle 2
		type nat hook postrouting priority srcnat + 5; policy accept;
		oifname { "ppp0", "eth1" } ip daddr != { 10.0.0.0/8,
				172.16.0.0/12 } counter masquerade random,persistent comment "a ; } # b" # handle 9
		ip saddr @lans jump x # handle 11
	}
}
"#;

    #[test]
    fn chains_and_rules_are_read_with_their_handles() {
        let ruleset = read(LISTED).unwrap();
        let rules: Vec<_> = ruleset
            .rules
            .iter()
            .map(|rule| (rule.number, rule.handle, rule.line, rule.text.as_str()))
            .collect();
        assert_eq!(
            rules,
            [
                (1, Some(4), Some(16), "masquerade"),
                (2, Some(5), Some(17), "return"),
                (
                    1,
                    Some(9),
                    Some(22),
                    "oifname { \"ppp0\", \"eth1\" } ip daddr != { 10.0.0.0/8, 172.16.0.0/12 } counter \
                     masquerade random,persistent comment \"a ; } # b\""
                ),
                (2, Some(11), Some(24), "ip saddr @lans jump x"),
            ]
        );
        let hook = ruleset.chains[2].hook.as_ref().unwrap();
        assert_eq!((hook.hook.as_str(), hook.priority), ("postrouting", 105));
        assert_eq!(ruleset.owned.len(), 1);
        assert_eq!(ruleset.owned[0].table, "filter");
        assert_eq!(ruleset.rules[3].verdict, Verdict::Jump("x".into()));
    }

    #[test]
    fn a_configuration_file_may_define_names() {
        let text = "#!/usr/sbin/nft -f\nflush ruleset\ndefine WAN = \"ppp0\"\n\
            table inet nat {\n  flags owner, persist\n  chain post {\n\
            type nat hook postrouting priority 100; policy accept\n\
            oifname $WAN masquerade; oifname \"lo\" accept\n  }\n}\n";
        let ruleset = read(text).unwrap();
        assert_eq!(ruleset.rules[0].text, "oifname \"ppp0\" masquerade");
        assert_eq!(ruleset.rules[0].matches[0].key, Key::OutInterface);
        assert_eq!(ruleset.rules[1].verdict, Verdict::Accept);
        assert_eq!(ruleset.owned[0].owner, Owner::Process);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let rows = [
            (
                "table ip nat {\n  chain a {\n    masquerade\n",
                4,
                "chain a does not end",
            ),
            (
                "table ip nat {\n  chain a {\n  }\n",
                4,
                "table nat does not end",
            ),
            ("table ip nat {\n}\n}\n", 3, "closes nothing"),
            ("add rule ip nat a masquerade\n", 1, "is no table"),
            (
                "table ip nat {\n chain a {\n type nat hook x priority soon;\n}\n}\n",
                3,
                "no hook",
            ),
            (
                "table ip nat {\n chain a {\n oifname $WAN masquerade\n}\n}\n",
                3,
                "$WAN is not defined",
            ),
            (
                "table ip nat {\n chain a {\n oifname \"x masquerade\n}\n}\n",
                3,
                "does not end",
            ),
        ];
        for (text, line, words) in rows {
            let error = read(text).unwrap_err();
            assert!(error.what.contains(words), "{text}: {error}");
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }
}
