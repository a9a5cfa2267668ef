//! What a configuration may say, and what is said of mistakes.

use secrecy::ExposeSecret as _;

use super::*;
use crate::guard::action::ActionKind;

fn config(text: &str) -> Result<WatchConfig, String> {
    parse(text, Path::new("/etc/iax2/watch.toml")).map_err(|error| error.to_string())
}

const ONE: &str = "[[provider]]\nname = \"a\"\nhost = \"iax.example.net\"\n";

#[test]
fn the_sample_says_what_holds_without_it() {
    let sample = config(SAMPLE).unwrap();
    let bare =
        config("[[provider]]\nname = \"example\"\nhost = \"iax.example.net\"\nuser = \"alice\"\n")
            .unwrap();
    assert_eq!(format!("{sample:?}"), format!("{bare:?}"));
}

#[test]
fn every_key_of_the_sample_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for (file, secret) in [("ami.secret", "m\n"), ("bob.secret", "s\n")] {
        fs::write(directory.path().join(file), secret).unwrap();
    }
    // A comment that looks like `# key = value` or `# [table]` is a key to be tried.
    let is_key = |line: &str| {
        let word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        line.starts_with("[[") || line.split_once(" = ").is_some_and(|(key, _)| word(key))
    };
    let mut tried = 0;
    let text: String = SAMPLE
        .lines()
        .map(
            |line| match line.strip_prefix("# ").filter(|key| is_key(key)) {
                Some(key) => {
                    tried += 1;
                    format!("{key}\n")
                }
                None => format!("{line}\n"),
            },
        )
        .collect();
    let text = text
        .replace("\"notify\"]", "\"notify\", \"run\", \"delete-entry\"]")
        .replace("refresh = \"60s\"", "refresh = \"120s\"");
    assert!(tried > 15, "{tried}");
    let config = parse(&text, &directory.path().join("watch.toml")).unwrap();
    let ami = config.asterisk.ami.unwrap();
    assert_eq!(ami.secret.expose_secret(), "m");
    assert_eq!(config.registrations[0].user, "bob");
    assert_eq!(config.registrations[0].refresh, Duration::from_secs(120));
    assert_eq!(config.registrations[0].port, None);
    assert!(config.policy.exchange.given && config.policy.stream.given);
    assert_eq!(config.policy.most_memory, Some(256 << 20));
    assert_eq!(config.metrics.listen.unwrap().port(), 9469);
    assert_eq!(config.commands.delete_entry.unwrap()[0], "ssh");
    let provider = &config.policy.providers[0];
    assert_eq!(provider.keep_open_ttl, Some(8));
    assert!(provider.allows(ActionKind::Run) && provider.allows(ActionKind::DeleteEntry));
}

#[test]
fn rights_follow_from_what_is_configured() {
    let usual = config(ONE).unwrap();
    assert!(usual.needs_net_admin() && usual.needs_net_raw());
    let quiet = format!("{ONE}remedies = [\"notify\"]\n[observe]\ncapture = false\n");
    let quiet = config(&quiet).unwrap();
    assert!(!quiet.needs_net_admin() && !quiet.needs_net_raw());
    let router = config(&format!(
        "{ONE}remedies = [\"notify\"]\n[observe]\nrouter = true\n"
    ));
    assert!(router.unwrap().needs_net_admin());
}

#[test]
fn every_mistake_is_named_with_its_line_and_its_fix() {
    let rows = [
        ("", 1, "add a table [[provider]]"),
        ("[provider]\n", 1, "invalid type"),
        ("[[provider]]\nname = \"a\"\n", 1, "missing field `host`"),
        (
            "[[provider]]\nname = \"\"\nhost = \"h.example\"\n",
            2,
            "is empty",
        ),
        (
            "[[provider]]\nname = \"a\"\nhost = \"h..example\"\n",
            3,
            "names no host",
        ),
        ("+color = 1\n", 4, "unknown field `color`"),
        (
            "+remedies = [\"holt\"]\n",
            4,
            "use \"hold\", \"delete-entry\"",
        ),
        ("+remedies = [\"delete-entry\"]\n", 4, "set router = true"),
        ("+remedies = [\"run\"]\n", 4, "give run ="),
        ("+run = []\n", 4, "names no program"),
        (
            "+remedies = []\nrun = [\"x\"]\n",
            5,
            "add \"run\" to remedies",
        ),
        (
            "+remedies = []\nkeep_open_ttl = 3\n",
            5,
            "add \"keep-open\"",
        ),
        ("+keep_open_ttl = 0\n", 4, "write 1 to 255"),
        ("+keep_open_ttl = 256\n", 4, "invalid value"),
        ("+user = \"\"\n", 4, "1 to 255 octets"),
        (
            "+[[provider]]\nname = \"a\"\nhost = \"b.example\"\n",
            5,
            "give this [[provider]] another name",
        ),
        (
            "+[[provider]]\nname = \"b\"\nhost = \"iax.example.net\"\nuser = \"x\"\n",
            6,
            "tell the register lines apart",
        ),
        (
            "+[asterisk]\nami = \"127.0.0.1:5038\"\n",
            5,
            "give all three",
        ),
        ("+[asterisk]\nport = 0\n", 5, "usually 4569"),
        ("+[observe]\nwan = \"a/b\"\n", 5, "as ip link shows it"),
        (
            "+[nat]\nstream = \"soon\"\n",
            5,
            "no duration from 1s to 1day",
        ),
        ("+[policy]\nagreeing = 9\n", 5, "at most samples"),
        ("+[policy]\nsamples = 0\n", 5, "between 1 and 100"),
        ("+[policy]\nmin_gap = \"2h\"\n", 5, "longer than max_gap"),
        ("+[policy]\nper_hour = 0\n", 5, "set dry_run = true"),
        ("+[policy]\nmost_memory = \"lots\"\n", 5, "256MiB"),
        ("+[policy]\nlongest_hold = \"1s\"\n", 5, "from 1m"),
        (
            "+[metrics]\nlisten = \"0.0.0.0:9469\"\n",
            5,
            "127.0.0.1:9469",
        ),
        (
            "+[metrics]\nlisten = \"nowhere\"\n",
            5,
            "no address with a port",
        ),
        ("+[commands]\nincident = [\"\"]\n", 5, "names no program"),
        (
            "[[register]]\nname = \"r\"\nhost = \"h.example\"\nuser = \"u\"\nsecret_file = \"/none\"\n",
            5,
            "secret_file /none cannot be read",
        ),
        (
            "+user = \"u\"\n[[register]]\nname = \"r\"\nhost = \"iax.example.net\"\nuser = \"u\"\n\
             secret_file = \"/none\"\n",
            8,
            "Asterisk registers this account",
        ),
    ];
    for (text, line, words) in rows {
        let text = match text.strip_prefix('+') {
            Some(rest) => format!("{ONE}{rest}"),
            None => text.to_owned(),
        };
        let error = config(&text).unwrap_err();
        assert!(
            error.starts_with(&format!("/etc/iax2/watch.toml:{line}: ")),
            "{text}: {error}"
        );
        assert!(error.contains(words), "{text}: {error}");
        assert!(!error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn hosts_may_repeat_where_users_tell_them_apart() {
    let text = format!(
        "{ONE}user = \"x\"\n[[provider]]\nname = \"b\"\nhost = \"iax.example.net\"\nuser = \"y\"\n"
    );
    assert_eq!(config(&text).unwrap().providers.len(), 2);
}

#[test]
fn the_budget_grows_with_the_providers_unless_it_is_given() {
    let table = |n| format!("[[provider]]\nname = \"p{n}\"\nhost = \"p{n}.example\"\n");
    let many = (0..7).map(table).collect::<Vec<_>>().concat();
    assert_eq!(config(&many).unwrap().policy.per_hour, 70);
    let given = format!("{many}[policy]\nper_hour = 5\n");
    assert_eq!(config(&given).unwrap().policy.per_hour, 5);
}

#[test]
fn the_manual_page_has_every_key_and_no_other() {
    const PAGE: &str = include_str!("../../../man/iax2-natcheck.toml.5");
    // The parser tells what it would have taken.
    let known = |text: &str| -> Vec<String> {
        let error = config(text).unwrap_err();
        let (_, told) = error.split_once("expected").expect("names in the message");
        let names = told.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    };
    let tables = known("zz = 1\n");
    assert!(tables.len() > 8, "{tables:?}");
    let heads = PAGE.lines().filter(|line| line.starts_with(".SH ["));
    assert_eq!(heads.count(), tables.len());
    for table in tables {
        let many = PAGE.contains(&format!("\n.SH [[{table}]]\n"));
        let head = if many {
            format!("[[{table}]]")
        } else {
            format!("[{table}]")
        };
        let (_, section) = PAGE
            .split_once(&format!("\n.SH {head}\n"))
            .unwrap_or_else(|| panic!("no section of {table}"));
        let section = section.split("\n.SH ").next().unwrap_or_default();
        let mut told: Vec<_> = section
            .lines()
            .filter_map(|line| line.strip_prefix("\\fB")?.split("\\fR").next())
            .collect();
        let mut keys = known(&format!("{head}\nzz = 1\n"));
        told.sort_unstable();
        keys.sort_unstable();
        assert_eq!(told, keys, "{table}");
    }
    for kind in Policy::REMEDIES {
        let name = kind.as_str().replace('-', "\\-");
        assert!(PAGE.contains(&format!("\n.B {name}\n")), "{name}");
    }
}
