//! One rule of nft, from its words.

use super::{Key, Match, Place, Rule, Target, Verdict};

/// Reads a rule; what is not understood is kept as a condition of its own.
///
/// # Errors
///
/// What is wrong, for a person.
pub(super) fn rule(place: Place, text: &str) -> Result<Rule, String> {
    let text = without_counts(text);
    let words = words(&text);
    let mut reader = Reader {
        words: &words,
        at: 0,
    };
    let mut matches = Vec::new();
    let mut verdict = Verdict::None;
    let mut comment = None;
    while let Some(word) = reader.peek() {
        if word == "comment" {
            reader.next();
            comment = Some(unquoted(reader.next().unwrap_or_default()).to_owned());
            continue;
        }
        if let Some(found) = reader.verdict()? {
            verdict = found;
            continue;
        }
        match reader.map() {
            Some(map) => verdict = map,
            None => matches.push(reader.condition()?),
        }
    }
    Ok(Rule {
        place,
        number: 0,
        handle: None,
        line: None,
        text,
        matches,
        verdict,
        comment,
    })
}

/// `counter packets 3 bytes 180` is a `counter`.
fn without_counts(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut rest = words.as_slice();
    while let [word, following @ ..] = rest {
        kept.push(word);
        rest = match (*word, following) {
            ("counter", ["packets", _, "bytes", _, behind @ ..]) => behind,
            _ => following,
        };
    }
    // iptables-nft leaves two blanks where it hides a match.
    kept.retain(|word| !word.is_empty());
    kept.join(" ")
}

/// The words, with braces apart and quoted ones whole, in their quotes.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.push(letter);
            }
            _ if quoted => word.push(letter),
            ' ' => words.extend(take(&mut word)),
            '{' | '}' => {
                words.extend(take(&mut word));
                words.push(letter.to_string());
            }
            ',' => {
                word.push(letter);
                // Values of a set stand apart; `established,related` is one.
                if words.iter().filter(|word| *word == "{").count()
                    > words.iter().filter(|word| *word == "}").count()
                {
                    words.extend(take(&mut word));
                }
            }
            _ => word.push(letter),
        }
    }
    words.extend(take(&mut word));
    words
}

fn take(word: &mut String) -> Option<String> {
    Some(std::mem::take(word)).filter(|word| !word.is_empty())
}

fn unquoted(word: &str) -> &str {
    word.trim_matches('"')
}

struct Reader<'a> {
    words: &'a [String],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn after(&self, count: usize) -> Option<&'a str> {
        self.words.get(self.at + count).map(String::as_str)
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.at += 1;
        word
    }

    /// The words up to the brace that closes the one that comes next.
    fn braced(&mut self) -> Result<Vec<&'a str>, String> {
        let mut inside = Vec::new();
        let mut depth = 0_usize;
        while let Some(word) = self.next() {
            match word {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            inside.push(word);
            if depth == 0 {
                return Ok(inside);
            }
        }
        Err("a { is not closed".into())
    }

    fn verdict(&mut self) -> Result<Option<Verdict>, String> {
        let verdict = match self.peek() {
            Some("masquerade") => {
                self.next();
                let ports = match self.peek() {
                    Some("to") => {
                        self.next();
                        self.next()
                            .map(|ports| ports.trim_start_matches(':').to_owned())
                    }
                    _ => None,
                };
                let flags = self.flags();
                Verdict::Masquerade(Target { ports, flags })
            }
            Some("snat") => {
                let begin = self.at;
                self.next();
                if matches!(self.peek(), Some("ip" | "ip6")) {
                    self.next();
                }
                if self.peek() != Some("to") || !self.after(1).is_some_and(is_address) {
                    self.at = begin;
                    return Ok(Some(Verdict::Other(self.rest()?)));
                }
                self.next();
                let to = self.next().unwrap_or_default();
                let (address, ports) = match to.split_once(':') {
                    Some((address, ports)) if !ports.contains(':') => (address, Some(ports)),
                    _ => (to, None),
                };
                Verdict::Snat {
                    address: address.to_owned(),
                    target: Target {
                        ports: ports.map(str::to_owned),
                        flags: self.flags(),
                    },
                }
            }
            Some("jump" | "goto") => {
                let goto = self.next() == Some("goto");
                let chain = self.next().ok_or("a jump without a chain")?.to_owned();
                if goto {
                    Verdict::Other(format!("goto {chain}"))
                } else {
                    Verdict::Jump(chain)
                }
            }
            Some("accept") => self.plain(Verdict::Accept),
            Some("drop") => self.plain(Verdict::Drop),
            Some("return") => self.plain(Verdict::Return),
            Some("dnat" | "redirect" | "reject" | "queue" | "continue" | "tproxy") => {
                Verdict::Other(self.rest()?)
            }
            _ => return Ok(None),
        };
        Ok(Some(verdict))
    }

    fn plain(&mut self, verdict: Verdict) -> Verdict {
        self.next();
        verdict
    }

    fn flags(&mut self) -> Vec<String> {
        let mut flags = Vec::new();
        while let Some(word) = self.peek() {
            let known = |flag: &str| matches!(flag, "random" | "fully-random" | "persistent");
            if !word.split(',').filter(|flag| !flag.is_empty()).all(known) {
                break;
            }
            flags.extend(
                word.split(',')
                    .filter(|flag| !flag.is_empty())
                    .map(str::to_owned),
            );
            self.next();
        }
        flags
    }

    /// All words up to a comment.
    fn rest(&mut self) -> Result<String, String> {
        let mut rest = Vec::new();
        while let Some(word) = self.peek() {
            match word {
                "comment" => break,
                "{" => rest.extend(self.braced()?),
                _ => {
                    rest.push(word);
                    self.next();
                }
            }
        }
        Ok(rest.join(" "))
    }

    /// `oifname vmap { "ppp0" : jump x }`, and the chains that it leads to.
    fn map(&mut self) -> Option<Verdict> {
        let ahead = self.words.get(self.at..)?;
        let at = ahead.iter().position(|word| word == "vmap")?;
        // Only what the map looks at stands between: no other condition, which has a value.
        let key = ahead.get(..at)?;
        let plain = key.len() <= 2 || key.iter().any(|word| word == ".");
        if !plain || key.iter().any(|word| word == "{") {
            return None;
        }
        let words: Vec<&str> = ahead.iter().map(String::as_str).collect();
        let chains = words
            .windows(2)
            .filter(|pair| matches!(pair, ["jump" | "goto", _]))
            .filter_map(|pair| pair.get(1))
            .map(|chain| chain.trim_end_matches(',').to_owned())
            .collect();
        self.at = self.words.len();
        Some(Verdict::Map(chains, words.join(" ")))
    }

    /// One condition, or one statement that decides nothing.
    fn condition(&mut self) -> Result<Match, String> {
        let begin = self.at;
        let key = self.subject();
        let mut negated = false;
        let mut values = Vec::new();
        if key == Key::Other && !self.has_value(begin) {
            self.next();
            if self.peek() == Some("{") {
                self.braced()?;
            }
        } else {
            if let Some(operator @ ("!=" | "==" | "<" | ">" | "<=" | ">=" | "set")) = self.peek() {
                negated = operator == "!=";
                self.next();
            }
            match self.peek() {
                Some("{") => {
                    let inside = self.braced()?;
                    values = inside
                        .into_iter()
                        .filter(|word| !matches!(*word, "{" | "}"))
                        .map(|word| unquoted(word.trim_end_matches(',')).to_owned())
                        .collect();
                }
                Some(set) if set.starts_with('@') => {
                    self.next();
                }
                Some(_) => values.extend(self.next().map(|word| unquoted(word).to_owned())),
                None => {
                    let words = self.words.get(begin..).unwrap_or_default();
                    return Err(format!("`{}` has no value", words.join(" ")));
                }
            }
        }
        let words = self.words.get(begin..self.at).unwrap_or_default();
        Ok(Match {
            key,
            negated,
            values,
            words: words.to_vec(),
        })
    }

    /// Reads what a condition looks at.
    fn subject(&mut self) -> Key {
        let two = (
            self.peek().unwrap_or_default(),
            self.after(1).unwrap_or_default(),
        );
        let (count, key) = match two {
            ("oifname" | "oif", _) => (1, Key::OutInterface),
            ("iifname" | "iif", _) => (1, Key::InInterface),
            ("meta", "oifname" | "oif") => (2, Key::OutInterface),
            ("meta", "iifname" | "iif") => (2, Key::InInterface),
            ("ip" | "ip6", "saddr") => (2, Key::Source),
            ("ip" | "ip6", "daddr") => (2, Key::Destination),
            ("ip", "protocol") | ("meta", "l4proto") => (2, Key::Protocol),
            ("udp" | "tcp" | "th", "dport") => (2, Key::DestinationPort),
            ("meta", "nfproto") => (2, Key::Family),
            ("meta" | "ct", "mark") => (2, Key::Mark),
            _ => (0, Key::Other),
        };
        // `ip saddr . udp dport @set`, `meta mark & 0xff == 1`, `meta mark set 1`: more than it seems.
        if count > 0 {
            let next = self.after(count).unwrap_or_default();
            if matches!(next, "." | "&" | "|" | "^" | "map" | "set") {
                return Key::Other;
            }
            self.at += count;
        }
        key
    }

    /// Whether the words of [`Key::Other`] end in a value, as far as its form is known; goes to it.
    fn has_value(&mut self, begin: usize) -> bool {
        let words = self.words.get(begin..).unwrap_or_default();
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let count = match (word(0), word(1), word(2)) {
            ("fib", _, _) => words
                .iter()
                .position(|word| matches!(word.as_str(), "type" | "oif" | "oifname" | "check"))
                .map_or(0, |at| at + 1),
            ("ct" | "meta" | "ip" | "ip6" | "udp" | "tcp" | "th", _, "&") => 4,
            (
                "ct" | "meta" | "ip" | "ip6" | "udp" | "tcp" | "th" | "icmp" | "socket" | "rt",
                _,
                "." | "map",
            ) => 0,
            (
                "ct" | "meta" | "ip" | "ip6" | "udp" | "tcp" | "th" | "icmp" | "socket" | "rt",
                _,
                _,
            ) => 2,
            _ => 0,
        };
        self.at = begin + count;
        count > 0
    }
}

fn is_address(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit() || c == '[')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::firewall::Backend;

    fn read(text: &str) -> Rule {
        let place = Place {
            backend: Backend::Nft,
            family: "ip".into(),
            table: "nat".into(),
            chain: "post".into(),
        };
        rule(place, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn values(rule: &Rule, key: Key) -> (bool, Vec<&str>) {
        let found = rule.matches.iter().find(|found| found.key == key);
        let found = found.unwrap_or_else(|| panic!("no {key:?} in {rule:#?}"));
        (
            found.negated,
            found.values.iter().map(String::as_str).collect(),
        )
    }

    #[test]
    fn conditions_and_verdicts_are_told_apart() {
        let rule = read(
            "oifname { \"ppp0\", \"eth1\" } ip saddr 192.168.1.0/24 ip daddr != {10.0.0.0/8,172.16.0.0/12} \
             udp dport 4569 counter packets 3 bytes 180 masquerade random,persistent comment \"hi there\"",
        );
        assert_eq!(
            values(&rule, Key::OutInterface),
            (false, vec!["ppp0", "eth1"])
        );
        assert_eq!(values(&rule, Key::Source), (false, vec!["192.168.1.0/24"]));
        assert_eq!(
            values(&rule, Key::Destination),
            (true, vec!["10.0.0.0/8", "172.16.0.0/12"])
        );
        assert_eq!(values(&rule, Key::DestinationPort), (false, vec!["4569"]));
        assert_eq!(rule.comment.as_deref(), Some("hi there"));
        let flags = ["random", "persistent"].map(str::to_owned).to_vec();
        assert_eq!(
            rule.verdict,
            Verdict::Masquerade(Target { ports: None, flags })
        );
        assert!(rule.text.contains("counter masquerade"), "{}", rule.text);
    }

    #[test]
    fn every_verdict_is_known() {
        let snat = |address: &str, ports: Option<&str>| Verdict::Snat {
            address: address.into(),
            target: Target {
                ports: ports.map(str::to_owned),
                flags: vec![],
            },
        };
        let rows = [
            (
                "oif \"lo\" masquerade to :1024-2000",
                Verdict::Masquerade(Target {
                    ports: Some("1024-2000".into()),
                    flags: vec![],
                }),
            ),
            ("snat to 198.51.100.7", snat("198.51.100.7", None)),
            (
                "snat ip to 198.51.100.7:1024-2000",
                snat("198.51.100.7", Some("1024-2000")),
            ),
            (
                "meta mark & 0x000000ff != 0x00000001 return",
                Verdict::Return,
            ),
            ("ct status dnat accept", Verdict::Accept),
            (
                "ct status dnat masquerade",
                Verdict::Masquerade(Target::default()),
            ),
            ("fib daddr type local drop", Verdict::Drop),
            (
                "oifname \"pppoe-wan\" jump srcnat_wan comment \"!fw4: Handle wan\"",
                Verdict::Jump("srcnat_wan".into()),
            ),
            (
                "ip saddr . udp dport { 1.2.3.4 . 5 } meta mark set 0x00000005",
                Verdict::None,
            ),
            (
                "limit rate 1/second burst 5 packets log prefix \"drop me\" accept",
                Verdict::Accept,
            ),
            (
                "ct state vmap { invalid : drop, established : accept }",
                Verdict::Map(
                    vec![],
                    "ct state vmap { invalid : drop, established : accept }".into(),
                ),
            ),
            (
                "oifname vmap { \"ppp0\" : jump x, \"eth1\" : goto y }",
                Verdict::Map(
                    vec!["x".into(), "y".into()],
                    "oifname vmap { \"ppp0\" : jump x, \"eth1\" : goto y }".into(),
                ),
            ),
            (
                "snat to ip saddr map { 1.2.3.4 : 5.6.7.8 }",
                Verdict::Other("snat to ip saddr map { 1.2.3.4 : 5.6.7.8 }".into()),
            ),
            (
                "tcp dport 80 dnat to 192.168.1.2:80",
                Verdict::Other("dnat to 192.168.1.2:80".into()),
            ),
        ];
        for (text, verdict) in rows {
            assert_eq!(read(text).verdict, verdict, "{text}");
        }
    }

    #[test]
    fn named_sets_have_no_values() {
        let rule = read("oifname @wans masquerade");
        assert_eq!(values(&rule, Key::OutInterface), (false, vec![]));
        assert_eq!(rule.matches[0].words, ["oifname", "@wans"]);
    }
}
