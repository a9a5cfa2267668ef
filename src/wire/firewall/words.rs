//! The words of a command line, and how they are quoted again.

use std::collections::BTreeMap;

/// Splits a line as a shell does: quotes of both kinds, backslashes, and variables where their
/// values are given. Substitution and globbing are none of its business.
///
/// # Errors
///
/// What is wrong, for a person: a quote that does not end, a variable without a value.
pub fn split(
    line: &str,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(letter) = rest.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '#') if word.is_none() && variables.is_some() => break,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if letter == open => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = rest.next().ok_or("a backslash at the end of the line")?;
                word.get_or_insert_default().push(escaped);
            }
            (None | Some('"'), '$') if variables.is_some() => {
                let braced = rest.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(letter) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(letter);
                }
                if braced && rest.next_if_eq(&'}').is_none() {
                    return Err(format!("${{{name} is more than a plain variable"));
                }
                let value = variables.and_then(|values| values.get(&name));
                let value = value.ok_or_else(|| {
                    format!("${name} has no value in this file; put {name}=VALUE above it")
                })?;
                word.get_or_insert_default().push_str(value);
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} does not end"));
    }
    words.extend(word);
    Ok(words)
}

/// A word as a shell takes it: as it stands where it is plain, in single quotes else.
#[must_use]
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words as a shell takes them, in one line.
#[must_use]
pub fn shell_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(shell).collect::<Vec<_>>().join(" ")
}

/// A word as `iptables-save` writes it: as it stands where it is plain, in double quotes else, with a
/// backslash before quotes and backslashes (`xtables_save_string`).
#[must_use]
pub fn saved(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in word.chars() {
        if matches!(letter, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_come_back() {
        let rows = [
            "plain",
            "two words",
            r#"a "quoted" one"#,
            "it's",
            r"back\slash",
            "",
        ];
        for word in rows {
            assert_eq!(split(&shell(word), None).unwrap(), [word], "{word}");
            assert_eq!(split(&saved(word), None).unwrap(), [word], "{word}");
        }
        assert_eq!(saved("hello \"x\""), r#""hello \"x\"""#);
    }

    #[test]
    fn variables_are_those_of_the_file() {
        let values = BTreeMap::from([("WAN".to_owned(), "ppp0".to_owned())]);
        let split = |line| split(line, Some(&values));
        assert_eq!(split("-o $WAN # out").unwrap(), ["-o", "ppp0"]);
        assert_eq!(split("\"${WAN}:1\" '$WAN'").unwrap(), ["ppp0:1", "$WAN"]);
        assert!(split("-o $LAN").unwrap_err().contains("$LAN has no value"));
        assert!(split("${WAN%0}").is_err() && split("'open").is_err());
        assert_eq!(super::split("$WAN #1", None).unwrap(), ["$WAN", "#1"]);
    }
}
