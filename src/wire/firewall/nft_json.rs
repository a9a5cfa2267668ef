//! What `nft -j list ruleset` writes (libnftables-json(5)).
//!
//! Each rule is brought into nft's words and read like a listed one. An expression that has no words
//! here is named in their place: the rule is kept, but nothing of it can be changed.

use serde_json::Value;

use super::{Backend, Chain, Hook, Owned, Owner, Place, RuleError, Ruleset, Verdict, nft_rule};

/// Reads the ruleset.
///
/// # Errors
///
/// [`RuleError`] with the line, where it is no JSON of nft.
pub fn read(text: &str) -> Result<Ruleset, RuleError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| RuleError::new(error.line().max(1), format!("no JSON: {error}")))?;
    let objects = value
        .get("nftables")
        .and_then(Value::as_array)
        .ok_or_else(|| {
            RuleError::new(
                1,
                "there is no list `nftables`; give the output of `nft -j list ruleset`",
            )
        })?;
    let mut ruleset = Ruleset::default();
    for object in objects {
        if let Some(chain) = object.get("chain") {
            ruleset.chains.extend(self::chain(chain));
        } else if let Some(rule) = object.get("rule") {
            add(&mut ruleset, rule)?;
        } else if let Some(table) = object.get("table")
            && list(table.get("flags")).any(|flag| flag == "owner")
        {
            own(
                &mut ruleset,
                string(table, "family"),
                string(table, "name"),
                Owner::Process,
            );
        }
    }
    Ok(ruleset)
}

fn string(object: &Value, key: &str) -> String {
    object
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A list, which may be written as its only item.
fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let (one, many) = match value {
        Some(Value::Array(items)) => (None, items.as_slice()),
        other => (other, [].as_slice()),
    };
    one.into_iter().chain(many)
}

fn own(ruleset: &mut Ruleset, family: String, table: String, owner: Owner) {
    let found = Owned {
        family,
        table,
        owner,
    };
    if !ruleset.owned.contains(&found) {
        ruleset.owned.push(found);
    }
}

fn place(object: &Value, chain: &str) -> Place {
    Place {
        backend: Backend::Nft,
        family: string(object, "family"),
        table: string(object, "table"),
        chain: string(object, chain),
    }
}

fn chain(object: &Value) -> Option<Chain> {
    let hook = object.get("hook").and_then(Value::as_str).map(|hook| Hook {
        kind: string(object, "type"),
        hook: hook.to_owned(),
        priority: object
            .get("prio")
            .and_then(Value::as_i64)
            .and_then(|priority| priority.try_into().ok())
            .unwrap_or(0),
    });
    let place = place(object, "name");
    (!place.chain.is_empty()).then_some(Chain { place, hook })
}

fn add(ruleset: &mut Ruleset, object: &Value) -> Result<(), RuleError> {
    let place = place(object, "chain");
    let expressions = object.get("expr").and_then(Value::as_array);
    let expressions = expressions.ok_or_else(|| {
        RuleError::new(
            1,
            format!("a rule in the chain {} has no list `expr`", place.chain),
        )
    })?;
    if expressions
        .iter()
        .any(|expression| expression.get("xt").is_some())
    {
        own(
            ruleset,
            place.family.clone(),
            place.table.clone(),
            Owner::Iptables,
        );
    }
    let mut unknown = None;
    let mut words: Vec<String> = Vec::new();
    for expression in expressions {
        match statement(expression) {
            Some(statement) => words.push(statement),
            None => unknown = unknown.or(name(expression)),
        }
    }
    let comment = object.get("comment").and_then(Value::as_str);
    words.extend(comment.map(|comment| format!("comment \"{comment}\"")));
    let mut rule = nft_rule::rule(place, &words.join(" "))
        .map_err(|what| RuleError::new(1, format!("{what}, in nft's JSON")))?;
    if let Some(unknown) = unknown {
        rule.verdict = Verdict::Other(format!("({unknown})"));
    }
    rule.number = ruleset.next_number(&rule.place);
    rule.handle = object.get("handle").and_then(Value::as_u64);
    ruleset.rules.push(rule);
    Ok(())
}

/// What an expression is called.
fn name(expression: &Value) -> Option<String> {
    let (key, value) = expression.as_object()?.iter().next()?;
    let inner = value
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(format!("{key} {inner}").trim_end().to_owned())
}

/// A statement in words.
fn statement(object: &Value) -> Option<String> {
    let (key, value) = object.as_object()?.iter().next()?;
    Some(match key.as_str() {
        "match" => {
            let operator = match value.get("op").and_then(Value::as_str)? {
                "!=" => "!= ",
                "==" | "in" => "",
                "<" => "< ",
                ">" => "> ",
                "<=" => "<= ",
                ">=" => ">= ",
                _ => return None,
            };
            let (left, right) = (value.get("left")?, value.get("right")?);
            // A mask reads otherwise without its operator.
            let operator = if operator.is_empty() && left.get("&").is_some() {
                "== "
            } else {
                operator
            };
            format!("{} {operator}{}", self::value(left)?, literal(right, left)?)
        }
        "vmap" => format!(
            "{} vmap {}",
            self::value(value.get("key")?)?,
            self::value(value.get("data")?)?
        ),
        "mangle" => format!(
            "{} set {}",
            self::value(value.get("key")?)?,
            self::value(value.get("value")?)?
        ),
        "counter" | "accept" | "drop" | "return" | "continue" | "notrack" => key.clone(),
        "jump" | "goto" => format!("{key} {}", value.get("target")?.as_str()?),
        "log" => match value.get("prefix").and_then(Value::as_str) {
            Some(prefix) => format!("log prefix \"{prefix}\""),
            None => "log".to_owned(),
        },
        "reject" => "reject".to_owned(),
        "limit" => format!(
            "limit rate {}/{}",
            value.get("rate")?,
            value.get("per")?.as_str()?
        ),
        "masquerade" | "snat" | "dnat" | "redirect" => translation(key, value)?,
        _ => return None,
    })
}

/// `snat ip to 198.51.100.7:1024-2000 persistent`.
fn translation(key: &str, value: &Value) -> Option<String> {
    let mut words = vec![key.to_owned()];
    if let Some(family) = value.get("family").and_then(Value::as_str) {
        words.push(family.to_owned());
    }
    let address = value.get("addr").map(self::value);
    let port = value.get("port").map(self::value);
    match (address, port) {
        (Some(address), Some(port)) => words.push(format!("to {}:{}", address?, port?)),
        (Some(address), None) => words.push(format!("to {}", address?)),
        (None, Some(port)) => words.push(format!("to :{}", port?)),
        (None, None) => {}
    }
    let flags: Vec<&str> = list(value.get("flags")).filter_map(Value::as_str).collect();
    if !flags.is_empty() {
        words.push(flags.join(","));
    }
    Some(words.join(" "))
}

/// A value beside what it is compared with: names of interfaces are quoted.
fn literal(value: &Value, beside: &Value) -> Option<String> {
    let meta = beside
        .get("meta")
        .and_then(|meta| meta.get("key"))
        .and_then(Value::as_str);
    let names = meta.is_some_and(|key| key.contains("if"));
    let quoted = |name: &str| format!("\"{name}\"");
    match value {
        Value::String(name) if names && !name.starts_with('@') => Some(quoted(name)),
        Value::Object(object) if names && object.contains_key("set") => {
            let items: Option<Vec<String>> = list(object.get("set"))
                .map(|item| item.as_str().map(quoted))
                .collect();
            Some(format!("{{ {} }}", items?.join(", ")))
        }
        Value::Array(flags) => {
            let flags: Option<Vec<String>> = flags.iter().map(self::value).collect();
            Some(flags?.join(","))
        }
        other => self::value(other),
    }
}

/// An expression in words.
fn value(expression: &Value) -> Option<String> {
    let (key, inner) = match expression {
        Value::String(text) => return Some(text.clone()),
        Value::Number(number) => return Some(number.to_string()),
        Value::Object(object) => object.iter().next()?,
        Value::Array(_) | Value::Bool(_) | Value::Null => return None,
    };
    let text = |key: &str| inner.get(key).and_then(Value::as_str);
    Some(match key.as_str() {
        "meta" => match text("key")? {
            bare @ ("oifname" | "iifname" | "oif" | "iif") => bare.to_owned(),
            other => format!("meta {other}"),
        },
        "payload" => format!("{} {}", text("protocol")?, text("field")?),
        "ct" => match text("dir") {
            Some(direction) => format!("ct {direction} {}", text("key")?),
            None => format!("ct {}", text("key")?),
        },
        "fib" => {
            let flags: Vec<&str> = list(inner.get("flags")).filter_map(Value::as_str).collect();
            format!("fib {} {}", flags.join(" . "), text("result")?)
        }
        "prefix" => format!("{}/{}", text("addr")?, inner.get("len")?),
        "range" => {
            let ends: Option<Vec<String>> = list(Some(inner)).map(value).collect();
            ends?.join("-")
        }
        "&" => {
            let sides: Option<Vec<String>> = list(Some(inner)).map(value).collect();
            sides?.join(" & ")
        }
        "concat" => {
            let parts: Option<Vec<String>> = list(Some(inner)).map(value).collect();
            parts?.join(" . ")
        }
        "map" => format!(
            "{} map {}",
            value(inner.get("key")?)?,
            value(inner.get("data")?)?
        ),
        "set" => {
            let items: Option<Vec<String>> = list(Some(inner)).map(element).collect();
            format!("{{ {} }}", items?.join(", "))
        }
        "elem" => value(inner.get("val")?)?,
        _ => return statement(expression),
    })
}

/// One element of a set, or one pair of a map.
fn element(item: &Value) -> Option<String> {
    match item {
        Value::Array(pair) => match pair.as_slice() {
            [key, data] => Some(format!("{} : {}", value(key)?, value(data)?)),
            _ => None,
        },
        other => value(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules as nft 1.0.6 lists them and as it writes them in JSON.
    const ROWS: &[(&str, &str)] = &[
        (
            "oifname { \"ppp0\", \"eth1\" } ip saddr 192.168.1.0/24 ip daddr != { 10.0.0.0/8, 172.16.0.0/12 } \
             counter masquerade random,persistent comment \"hi\"",
            r#"{"comment": "hi", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": {"set": ["ppp0", "eth1"]}}}, {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "192.168.1.0", "len": 24}}}}, {"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"prefix": {"addr": "172.16.0.0", "len": 12}}]}}}, {"counter": {"packets": 0, "bytes": 0}}, {"masquerade": {"flags": ["random", "persistent"]}}]}"#,
        ),
        (
            "oif \"lo\" meta mark & 255 != 1 masquerade",
            r#"{"expr": [{"match": {"op": "==", "left": {"meta": {"key": "oif"}}, "right": "lo"}}, {"match": {"op": "!=", "left": {"&": [{"meta": {"key": "mark"}}, 255]}, "right": 1}}, {"masquerade": null}]}"#,
        ),
        (
            "ip saddr @lans oifname \"ppp*\" snat to 198.51.100.7",
            r#"{"expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@lans"}}, {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "ppp*"}}, {"snat": {"addr": "198.51.100.7"}}]}"#,
        ),
        (
            "udp dport 4569 snat to 198.51.100.7:1024-65535 persistent",
            r#"{"expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 4569}}, {"snat": {"addr": "198.51.100.7", "port": {"range": [1024, 65535]}, "flags": "persistent"}}]}"#,
        ),
        (
            "oifname vmap { ppp0 : jump x, eth1 : goto x }",
            r#"{"expr": [{"vmap": {"key": {"meta": {"key": "oifname"}}, "data": {"set": [["ppp0", {"jump": {"target": "x"}}], ["eth1", {"goto": {"target": "x"}}]]}}}]}"#,
        ),
        (
            "ct status dnat ct state established,related fib daddr type != local return",
            r#"{"expr": [{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}, {"return": null}]}"#,
        ),
        (
            "snat to ip saddr map { 192.168.1.10 : 198.51.100.7 }",
            r#"{"expr": [{"snat": {"addr": {"map": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "data": {"set": [["192.168.1.10", "198.51.100.7"]]}}}}}]}"#,
        ),
    ];

    fn wrapped(rule: &str) -> String {
        let rule = rule.replacen(
            '{',
            r#"{"family": "ip", "table": "nat", "chain": "post", "handle": 7,"#,
            1,
        );
        format!(r#"{{"nftables": [{{"rule": {rule}}}]}}"#)
    }

    #[test]
    fn rules_are_brought_into_words() {
        for (words, json) in ROWS {
            let ruleset = read(&wrapped(json)).unwrap();
            assert_eq!(ruleset.rules[0].text, *words);
            assert_eq!(ruleset.rules[0].handle, Some(7));
        }
    }

    #[test]
    fn what_has_no_words_is_named_and_kept() {
        let json = r#"{"expr": [{"xt": {"type": "target", "name": "MASQUERADE"}}]}"#;
        let ruleset = read(&wrapped(json)).unwrap();
        assert_eq!(
            ruleset.rules[0].verdict,
            Verdict::Other("(xt MASQUERADE)".into())
        );
        assert_eq!(ruleset.owned[0].owner, Owner::Iptables);
    }

    #[test]
    fn what_is_no_ruleset_is_an_error() {
        for (text, words) in [
            ("{\n\"nftables\": [", "no JSON"),
            ("{}", "no list `nftables`"),
            (
                r#"{"nftables": [{"rule": {"chain": "x"}}]}"#,
                "no list `expr`",
            ),
        ] {
            assert!(read(text).unwrap_err().what.contains(words), "{text}");
        }
    }
}
