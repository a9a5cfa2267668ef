//! From the script that unloads the channel to a configuration that does without it.
//!
//! The script is read, never run: which Asterisk it asks, for which state or provider it looks, how long
//! it waits and what it restarts. What a guardian does instead is written beside each of these.

use std::{collections::BTreeSet, path::Path, time::Duration};

use crate::{config::ConfigError, net::resolve::Target, os::asterisk::RegistryEntry};

/// A configuration and what to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The configuration: TOML with comments.
    pub toml: String,
    /// What was found in the script, and what became of it: sentences for a person.
    pub notes: Vec<String>,
}

/// What the script does.
#[derive(Debug, Default)]
struct Script<'a> {
    program: Option<&'a str>,
    does: BTreeSet<Does>,
    called: Option<&'a str>,
    pause: Option<Duration>,
    patterns: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

/// What such scripts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    AskRegistry,
    Unload,
    UnloadByForce,
    Load,
    Restart,
    Flush,
}

/// Words of `iax2 show registry` and of shells that name no provider.
const STATES: [&str; 12] = [
    "Registered",
    "Unregistered",
    "Request",
    "Sent",
    "Auth.",
    "Rejected",
    "Timeout",
    "No",
    "Authentication",
    "State",
    "Host",
    "registrations",
];

/// Makes a configuration of the text of a script or a crontab; `path` names it in errors. `registry` is
/// what Asterisk registers now, where it can be asked.
///
/// # Errors
///
/// [`ConfigError::Invalid`] where it neither unloads nor reloads anything of Asterisk's.
pub fn import(
    text: &str,
    path: &Path,
    registry: &[RegistryEntry],
) -> Result<Imported, ConfigError> {
    let script = Script::read(text);
    let cures = [Does::AskRegistry, Does::Unload, Does::Load, Does::Restart];
    if !cures.iter().any(|cure| script.does.contains(cure)) {
        let what = match script.called {
            Some(called) => format!(
                "this is a crontab that runs {called}; give that script itself to --import-cron"
            ),
            None => "nothing here asks for `iax2 show registry`, unloads chan_iax2 or restarts \
                     Asterisk; give the script that does"
                .to_owned(),
        };
        return Err(ConfigError::Invalid {
            path: path.to_owned(),
            line: 1,
            what,
        });
    }
    let mut notes = script.notes();
    let providers = script.providers(registry, &mut notes);
    Ok(Imported {
        toml: script.toml(path, &providers),
        notes,
    })
}

impl<'a> Script<'a> {
    fn read(text: &'a str) -> Self {
        let mut script = Self::default();
        for line in text.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if !line.starts_with('#') {
                script.read_line(line);
            }
        }
        script
    }

    fn read_line(&mut self, line: &'a str) {
        let lower = line.to_ascii_lowercase();
        let mentions = |words: &str| lower.contains(words);
        let names_module = mentions("chan_iax2");
        let unloads = mentions("unload") && names_module;
        let loads = ["module load", "module reload", "module refresh", "-rx load"]
            .iter()
            .any(|words| mentions(words));
        let restarts = ["restart", "core stop", "kill"]
            .iter()
            .any(|verb| mentions(verb) && mentions("asterisk"));
        for (what, is_done) in [
            (Does::AskRegistry, mentions("iax2 show registry")),
            (Does::Unload, unloads),
            (Does::UnloadByForce, unloads && mentions("unload -f")),
            (Does::Load, loads && names_module),
            (Does::Restart, restarts),
            (
                Does::Flush,
                mentions("conntrack -f") || mentions("conntrack --flush"),
            ),
        ] {
            if is_done {
                self.does.insert(what);
            }
        }
        let words = || {
            line.split(|c: char| c.is_whitespace() || ";|&()`\"'".contains(c))
                .filter(|word| !word.is_empty())
        };
        for word in words() {
            let name = word.rsplit('/').next().unwrap_or(word);
            if name == "asterisk" && word.contains('/') && !word.contains("init.d") {
                let value = word.rsplit('=').next().unwrap_or(word);
                self.program.get_or_insert(value);
            }
            let is_script = word.starts_with('/')
                && !["asterisk", "sh", "bash", "null", "env"].contains(&name)
                && !word.starts_with("/dev/");
            if is_script && words().next() != Some(word) {
                self.called.get_or_insert(word);
            }
        }
        if let Some(pause) = after(line, "sleep").and_then(seconds) {
            self.pause = self.pause.max(Some(pause));
        }
        for part in line.split(['|', ';', '&']) {
            let program = part.split_whitespace().next().unwrap_or_default();
            if ["grep", "egrep", "fgrep", "awk"].contains(&program) {
                for pattern in quoted(part).chain(after(part, program)) {
                    self.read_pattern(pattern);
                }
            }
        }
    }

    /// A pattern names a state, an account or a host.
    fn read_pattern(&mut self, pattern: &str) {
        for word in pattern.split(|c: char| c.is_whitespace() || "\\|()^$*/{}".contains(c)) {
            let word = word.trim_end_matches([':', ',']);
            if word.is_empty() || STATES.contains(&word) || word == "print" {
                continue;
            }
            if word.contains('.') && word.parse::<Target>().is_ok() {
                self.hosts.insert(word.to_owned());
            } else if word
                .chars()
                .all(|c| c.is_alphanumeric() || "-_".contains(c))
            {
                self.patterns.insert(word.to_owned());
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![];
        if let Some(pause) = self.pause {
            let pause = pause.as_secs();
            let short = if pause < 120 {
                format!(", which {pause} s do not outlast")
            } else {
                String::new()
            };
            notes.push(format!(
                "It waits {pause} s between unloading and loading. A guardian waits as long as the \
                 NAT's timer is: on Linux 30 s for an entry that was never answered and 120 s for one \
                 that was{short}; and it silences the one provider, not the channel."
            ));
        }
        if self.does.contains(&Does::Unload) {
            notes.push(
                "It unloads the channel, which is refused while a call is up and leaks memory. The \
                 remedies below do without; add \"reload-module\" to remedies if nothing else \
                 may be done on this host."
                    .to_owned(),
            );
        }
        if self.does.contains(&Does::UnloadByForce) {
            notes.push("It unloads by force and so ends calls. No remedy does that.".to_owned());
        }
        if self.does.contains(&Does::Restart) {
            notes.push(
                "It restarts Asterisk, which ends calls. No remedy does that; the remedy \"run\" \
                 may run a command of yours."
                    .to_owned(),
            );
        }
        if self.does.contains(&Does::Flush) {
            notes.push(
                "It empties the table of connections. The remedy \"delete-entry\" deletes the one \
                 entry; it is on where this host is the router."
                    .to_owned(),
            );
        }
        if self.does.contains(&Does::AskRegistry) {
            notes.push(
                "It trusts what iax2 show registry says. A guardian asks from another port and \
                 watches Asterisk's own, and waits while a request is merely sent."
                    .to_owned(),
            );
        }
        notes.push("Take the script out of cron before the guardian starts.".to_owned());
        notes
    }

    /// The providers: what Asterisk registers now and the script looks for, else what the script names.
    fn providers(
        &self,
        registry: &[RegistryEntry],
        notes: &mut Vec<String>,
    ) -> Vec<(String, Option<String>)> {
        let host_of = |entry: &RegistryEntry| entry.host.clone().unwrap_or_default();
        let is_meant = |entry: &&RegistryEntry| {
            self.hosts
                .iter()
                .any(|host| host_of(entry).starts_with(host.as_str()))
                || self.patterns.iter().any(|name| entry.is_user(name))
        };
        let usable = |entry: &&RegistryEntry| entry.host.is_some() && !entry.user_cut;
        let mut chosen: Vec<_> = registry.iter().filter(usable).filter(is_meant).collect();
        if chosen.is_empty() {
            chosen = registry.iter().filter(usable).collect();
        }
        if !chosen.is_empty() {
            let mut lines: Vec<_> = chosen
                .into_iter()
                .map(|entry| (host_of(entry), Some(entry.user.clone())))
                .collect();
            lines.sort();
            lines.dedup();
            return lines;
        }
        let user = match self.patterns.iter().collect::<Vec<_>>().as_slice() {
            [only] if self.hosts.len() <= 1 => Some((*only).clone()),
            _ => None,
        };
        if !self.hosts.is_empty() {
            let hosts = self.hosts.iter();
            return hosts.map(|host| (host.clone(), user.clone())).collect();
        }
        notes.push(
            "The script names no provider, and Asterisk could not be asked. Write the host of your \
             register line in place of iax.example.net."
                .to_owned(),
        );
        vec![("iax.example.net".to_owned(), user)]
    }

    fn toml(&self, path: &Path, providers: &[(String, Option<String>)]) -> String {
        let mut lines = vec![
            format!("# In place of {}: iax2-natcheck watch.", path.display()),
            "# Every other key and its default: iax2-natcheck config.".to_owned(),
        ];
        let mut names = BTreeSet::new();
        for (host, user) in providers {
            let mut name = user
                .as_ref()
                .map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
            while names.contains(&name) {
                name.push('\'');
            }
            lines.push(String::new());
            lines.push("[[provider]]".to_owned());
            lines.push(format!("name = {}", basic_string(&name)));
            lines.push(format!("host = {}", basic_string(host)));
            if let Some(user) = user {
                lines.push(format!("user = {}", basic_string(user)));
            }
            lines.push(
                "remedies = [\"hold\", \"quiet\", \"reregister\", \"keep-open\", \"notify\"]"
                    .to_owned(),
            );
            names.insert(name);
        }
        if let Some(program) = self.program {
            lines.push(String::new());
            lines.push("[asterisk]".to_owned());
            lines.push(format!("program = {}", basic_string(program)));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// A string as TOML writes it: what JSON escapes, and DEL.
fn basic_string(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// The word after `command`.
fn after<'a>(line: &'a str, command: &str) -> Option<&'a str> {
    let mut words = line.split(|c: char| c.is_whitespace() || ";|&\"'".contains(c));
    words.find(|word| *word == command)?;
    words.find(|word| !word.is_empty() && !word.starts_with('-'))
}

/// The texts between quotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split(['"', '\'']).skip(1).step_by(2)
}

/// A time as `sleep` reads it.
fn seconds(word: &str) -> Option<Duration> {
    let (number, factor) = match word.strip_suffix(['s', 'm', 'h']) {
        Some(number) if word.ends_with('m') => (number, 60),
        Some(number) if word.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (word, 1),
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(factor).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::watch::parse, guard::action::ActionKind};

    /// The script as it is handed round.
    const SCRIPT: &str = r#"#!/bin/sh
# keep the trunk alive
AST=/usr/sbin/asterisk
if ! $AST -rx "iax2 show registry" | grep "iax.example.org" | grep -q "Registered"; then
    /usr/sbin/asterisk -rx "module unload chan_iax2.so"
    sleep 66
    /usr/sbin/asterisk -rx "module load chan_iax2.so"
fi
"#;

    fn entry(host: &str, user: &str) -> RegistryEntry {
        RegistryEntry {
            host: Some(host.to_owned()),
            user: user.to_owned(),
            perceived: None,
            refresh: Duration::from_secs(60),
            state: "Registered".to_owned(),
            user_cut: false,
        }
    }

    fn imported(text: &str, registry: &[RegistryEntry]) -> Imported {
        import(text, Path::new("/root/iax.sh"), registry).unwrap()
    }

    #[test]
    fn the_script_becomes_a_configuration_that_is_read() {
        let imported = imported(SCRIPT, &[]);
        let config = parse(&imported.toml, Path::new("/etc/watch.toml")).unwrap();
        let [provider] = config.providers.as_slice() else {
            panic!("{config:?}");
        };
        assert_eq!(provider.host.to_string(), "iax.example.org");
        assert_eq!(provider.user, None);
        assert_eq!(config.asterisk.program, Path::new("/usr/sbin/asterisk"));
        let policy = &config.policy.providers[0];
        assert!(policy.allows(ActionKind::Quiet));
        assert!(!policy.allows(ActionKind::ReloadModule));
        let notes = imported.notes.join("\n");
        assert!(notes.contains("It waits 66 s"), "{notes}");
        assert!(notes.contains("leaks memory"), "{notes}");
        assert!(!notes.contains("by force"), "{notes}");
    }

    #[test]
    fn what_asterisk_registers_gives_the_account() {
        let registry = [
            entry("iax.example.org:4569", "alice"),
            entry("iax.example.com:4569", "bob"),
        ];
        let found = imported(SCRIPT, &registry);
        let config = parse(&found.toml, Path::new("/etc/watch.toml")).unwrap();
        assert_eq!(config.providers.len(), 1);
        assert_eq!(config.providers[0].user.as_deref(), Some("alice"));

        // A script that looks for no provider is about all of them.
        let any = SCRIPT.replace("| grep \"iax.example.org\" ", "");
        let found = imported(&any, &registry);
        let config = parse(&found.toml, Path::new("/etc/watch.toml")).unwrap();
        assert_eq!(config.providers.len(), 2);
    }

    #[test]
    fn what_else_scripts_do_is_told() {
        let text = "asterisk -rx 'iax2 show registry' | grep -c alice | grep Registered || \
                    { conntrack -F; asterisk -rx 'module unload -f chan_iax2.so'; sleep 2m; \
                    service asterisk restart; }";
        let found = imported(text, &[]);
        let notes = found.notes.join("\n");
        for words in [
            "It waits 120 s",
            "by force",
            "restarts Asterisk",
            "empties the table",
            "names no provider",
        ] {
            assert!(notes.contains(words), "{words}: {notes}");
        }
        let config = parse(&found.toml, Path::new("/etc/watch.toml")).unwrap();
        assert_eq!(config.providers[0].user.as_deref(), Some("alice"));
    }

    #[test]
    fn what_is_no_such_script_is_refused() {
        let refused = |text: &str| {
            import(text, Path::new("/etc/cron.d/iax"), &[])
                .unwrap_err()
                .to_string()
        };
        let error = refused("*/5 * * * * root /usr/local/bin/iaxcheck.sh\n");
        assert!(error.contains("runs /usr/local/bin/iaxcheck.sh"), "{error}");
        let error = refused("echo hello\n");
        assert!(error.contains("give the script that does"), "{error}");
        assert!(refused("").starts_with("/etc/cron.d/iax:1: "));
        // Hostile text neither panics nor leaves what is no TOML.
        let text = "asterisk -rx 'iax2 show registry' | grep '\u{1}\"x.y' | grep 'a\\b.c'";
        let found = imported(text, &[]);
        parse(&found.toml, Path::new("/x")).unwrap();
    }
}
