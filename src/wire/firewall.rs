//! The rules of a router's packet filter: text ⇄ values.
//!
//! Three forms are read: what `iptables-save` writes (or a script of plain `iptables` commands), what
//! `nft list ruleset` writes, and what `nft -j list ruleset` writes. A rule keeps every word of it in
//! order, also those that are not understood, so that one part can be exchanged and the rest stays.

pub mod iptables;
pub mod nft;
pub mod nft_json;
mod nft_rule;
mod prefix;
pub mod words;

use std::fmt;

pub use prefix::Prefix;

/// Who keeps a rule, and so the program that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// `iptables`, whatever it stands for on that router.
    Iptables,
    /// `iptables-legacy`, beside an `iptables` that means `nf_tables`.
    IptablesLegacy,
    /// `nft`.
    Nft,
}

impl Backend {
    /// The name of its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::IptablesLegacy => "iptables-legacy",
            Self::Nft => "nft",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

/// All that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The chains, in the order of the text.
    pub chains: Vec<Chain>,
    /// The rules, in the order of the text; within a chain, of their effect.
    pub rules: Vec<Rule>,
    /// The tables that another program owns, so that their rules cannot be changed from here.
    pub owned: Vec<Owned>,
}

impl Ruleset {
    /// The chain at a place.
    #[must_use]
    pub fn chain(&self, place: &Place) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.place == *place)
    }

    /// The number of the next rule at a place.
    fn next_number(&self, place: &Place) -> usize {
        // From the end: the rules of a chain mostly stand together, and there may be thousands.
        let last = self.rules.iter().rev().find(|rule| rule.place == *place);
        1 + last.map_or(0, |rule| rule.number)
    }

    /// Drops the tables that translate anything.
    pub fn keep_filters(&mut self) {
        let translating: Vec<Place> = self
            .chains
            .iter()
            .filter(|chain| chain.hook.as_ref().is_some_and(|hook| hook.kind == "nat"))
            .map(|chain| chain.place.sibling(""))
            .collect();
        let filters = |place: &Place| !translating.contains(&place.sibling(""));
        self.rules.retain(|rule| filters(&rule.place));
        self.chains.retain(|chain| filters(&chain.place));
    }

    /// Adds the rules of another source.
    pub fn extend(&mut self, other: Self) {
        self.chains.extend(other.chains);
        self.rules.extend(other.rules);
        self.owned.extend(other.owned);
    }
}

/// A table that is not to be changed with the program that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its family: `ip`, `inet`.
    pub family: String,
    /// Its name.
    pub table: String,
    /// Who owns it.
    pub owner: Owner,
}

/// Who owns a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `iptables` over `nf_tables`: `nft` shows its rules, but not all of their meaning.
    Iptables,
    /// A running program (`flags owner`): the kernel lets nobody else change it.
    Process,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who keeps it.
    pub backend: Backend,
    /// The family: `ip`, `ip6`, `inet`; always `ip` for iptables.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

impl Place {
    /// The same table, another chain.
    #[must_use]
    pub fn sibling(&self, chain: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Place {
    /// As its program names it: `nat POSTROUTING`, `ip nat postrouting`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            Backend::Nft => write!(f, "{} {} {}", self.family, self.table, self.chain),
            Backend::Iptables | Backend::IptablesLegacy => {
                write!(f, "{} {}", self.table, self.chain)
            }
        }
    }
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where.
    pub place: Place,
    /// Where packets enter it; none where rules have to jump to it.
    pub hook: Option<Hook>,
}

/// Where packets enter a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `nat`, `filter`, `route`.
    pub kind: String,
    /// `postrouting`, `forward`…, small letters.
    pub hook: String,
    /// Its order; the source is translated at 100.
    pub priority: i32,
}

/// The priority at which the source address is translated (`NF_IP_PRI_NAT_SRC`,
/// `linux/netfilter_ipv4.h`).
pub const SOURCE_NAT_PRIORITY: i32 = 100;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where.
    pub place: Place,
    /// Its number in the chain, from 1.
    pub number: usize,
    /// Its handle, where nft told it.
    pub handle: Option<u64>,
    /// The line of the text that it begins on, from 1.
    pub line: Option<usize>,
    /// The rule as its program shows it, without counters and handle.
    pub text: String,
    /// What a packet must be like, in order; also statements that decide nothing, such as counters.
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
    /// Its comment.
    pub comment: Option<String>,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What it looks at.
    pub key: Key,
    /// It must not be one of the values.
    pub negated: bool,
    /// The values; one of them suffices. Empty where they are not spelled out, as with named sets.
    pub values: Vec<String>,
    /// The words as they stand, unquoted for iptables, quoted for nft.
    pub words: Vec<String>,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The interface that the packet leaves by; a pattern ends in `*`.
    OutInterface,
    /// The interface that it came in by.
    InInterface,
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The protocol.
    Protocol,
    /// The destination port.
    DestinationPort,
    /// The mark of the packet or its connection.
    Mark,
    /// IPv4 or IPv6.
    Family,
    /// The rest.
    Other,
}

/// What a rule does with a packet that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The source becomes an address of the interface that the packet leaves by.
    Masquerade(Target),
    /// The source becomes this address.
    Snat {
        /// The address, or a range of them.
        address: String,
        /// The rest.
        target: Target,
    },
    /// The packet goes through another chain.
    Jump(String),
    /// What happens depends on a map: the chains it may lead to, and its words.
    Map(Vec<String>, String),
    /// The packet leaves the chain, with or without having passed.
    Accept,
    /// Back to the chain that led here.
    Return,
    /// The packet is gone.
    Drop,
    /// Something else, in its words.
    Other(String),
    /// The rule decides nothing.
    None,
}

/// How ports are chosen when a source is translated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The ports: `1024-65535`.
    pub ports: Option<String>,
    /// `random`, `fully-random`, `persistent`, in nft's words.
    pub flags: Vec<String>,
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RuleError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl RuleError {
    /// What is wrong, in one line: a statement that it quotes may have several.
    pub(crate) fn new(line: usize, what: impl AsRef<str>) -> Self {
        let words: Vec<&str> = what.as_ref().split_whitespace().collect();
        Self {
            line,
            what: words.join(" "),
        }
    }
}

/// Reads rules in whichever of the forms they are. What `iptables-save` writes does not say whose it
/// is: `backend` is [`Backend::Iptables`] or [`Backend::IptablesLegacy`].
///
/// # Errors
///
/// [`RuleError`] with the first line that cannot be read.
pub fn read(text: &str, backend: Backend) -> Result<Ruleset, RuleError> {
    let iptables = match backend {
        Backend::Nft => Backend::Iptables,
        other => other,
    };
    let mut significant = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let Some((line, first)) = significant.next() else {
        return Err(RuleError::new(
            1,
            "there are no rules here; give the output of iptables-save, `nft list ruleset` or \
             `nft -j list ruleset`",
        ));
    };
    if first.starts_with('{') {
        return nft_json::read(text);
    }
    let mut words = first.split_whitespace();
    if matches!(
        words.next(),
        Some("table" | "flush" | "define" | "include" | "add" | "destroy")
    ) {
        return nft::read(text);
    }
    if iptables::is_known(text) {
        return iptables::read(text, iptables);
    }
    Err(RuleError::new(
        line,
        format!(
            "`{first}` begins no rules; give the output of iptables-save, `nft list ruleset` or \
             `nft -j list ruleset`"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_from_the_text() {
        let rows = [
            "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o ppp0 -j MASQUERADE\nCOMMIT\n",
            "#!/bin/sh\nWAN=ppp0\niptables -t nat -A POSTROUTING -o $WAN -j MASQUERADE\n",
            "table ip nat {\n\tchain post {\n\t\ttype nat hook postrouting priority 100;\n\
             \t\toifname \"ppp0\" masquerade\n\t}\n}\n",
            r#"{"nftables": [{"chain": {"family": "ip", "table": "nat", "name": "post",
                "type": "nat", "hook": "postrouting", "prio": 100}},
                {"rule": {"family": "ip", "table": "nat", "chain": "post", "handle": 2, "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "ppp0"}},
                {"masquerade": null}]}}]}"#,
        ];
        for text in rows {
            let ruleset = read(text, Backend::IptablesLegacy).unwrap();
            assert_eq!(ruleset.rules.len(), 1, "{text}");
            let rule = &ruleset.rules[0];
            assert_eq!(rule.verdict, Verdict::Masquerade(Target::default()));
            assert_eq!(rule.matches[0].key, Key::OutInterface);
            assert_eq!(rule.matches[0].values, ["ppp0"]);
            let hook = ruleset.chain(&rule.place).unwrap().hook.clone().unwrap();
            assert_eq!((hook.kind.as_str(), hook.priority), ("nat", 100));
        }
    }

    #[test]
    fn what_is_no_rules_is_named_with_its_line() {
        for (text, line) in [("", 1), ("# nothing\n", 1), ("\n\nhello world\n", 3)] {
            let error = read(text, Backend::Iptables).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.what.contains("iptables-save"), "{error}");
        }
    }
}
