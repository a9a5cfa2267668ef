//! `man`: the manual page, from the command line's own definition and the sections below.

use anyhow::Result;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::roff::{Roff, bold, italic, roman};
use iax2_natcheck::{
    check::FindingId,
    config::users,
    proto::switchboard::{EXTENSIONS, fault::FAULTS},
};

use crate::cli::{
    args::{Cli, provider},
    output,
};

/// Prints the page.
///
/// # Errors
///
/// Where stdout cannot be written.
pub(crate) fn run() -> Result<u8> {
    output::print(&page())?;
    Ok(0)
}

/// The page as roff.
fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut roff = Roff::new();
    let version = format!("iax2-natcheck {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["IAX2-NATCHECK", "1", DATE, version.as_str()]);
    heading(&mut roff, "NAME");
    roff.text([roman(format!(
        "iax2-natcheck - {}",
        sentence_case(&text(command.get_about()))
    ))]);
    heading(&mut roff, "SYNOPSIS");
    roff.text([
        bold("iax2-natcheck"),
        roman(" "),
        italic("COMMAND"),
        roman(" ["),
        italic("OPTIONS"),
        roman("]"),
    ]);
    heading(&mut roff, "DESCRIPTION");
    paragraphs(&mut roff, DESCRIPTION);
    heading(&mut roff, "COMMANDS");
    commands(&mut roff, &command, "");
    heading(&mut roff, "PROVIDER OPTIONS");
    paragraphs(&mut roff, &["Of every command that talks to a provider."]);
    if let Some(check) = command.find_subcommand("check") {
        let provider = |arg: &&Arg| arg.get_help_heading() == Some(provider::HEADING);
        options(&mut roff, check.get_arguments().filter(provider));
    }
    heading(&mut roff, "COMMON OPTIONS");
    options(&mut roff, command.get_arguments());
    heading(&mut roff, "EXIT STATUS");
    for (status, meaning) in STATUS {
        item(&mut roff, status, meaning);
    }
    heading(&mut roff, "FINDINGS");
    paragraphs(&mut roff, &[FINDINGS]);
    for id in FindingId::ALL {
        item(&mut roff, id.as_str(), id.meaning());
        roff.control("IP", []);
        roff.text([italic("What to do:")]);
        roff.text([roman(filled(id.remedy()))]);
    }
    heading(&mut roff, "EXTENSIONS");
    paragraphs(&mut roff, CALLS);
    for (number, meaning) in EXTENSIONS {
        item(&mut roff, number, &as_sentence(meaning));
    }
    heading(&mut roff, "FAULTS");
    paragraphs(
        &mut roff,
        &["What serve does wrong in calls where --fault names it."],
    );
    for (name, meaning) in FAULTS {
        item(&mut roff, name, &as_sentence(meaning));
    }
    heading(&mut roff, "EXAMPLES");
    for (index, (example, words)) in EXAMPLES.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(filled(words))]);
        verbatim(&mut roff, example);
    }
    heading(&mut roff, "IF YOU USED THE UNLOAD/RELOAD SCRIPT");
    paragraphs(&mut roff, FROM_SCRIPT);
    verbatim(&mut roff, FROM_SCRIPT_STEPS);
    roff.control("PP", []);
    paragraphs(&mut roff, AFTER_SCRIPT);
    heading(&mut roff, "FILES");
    paragraphs(&mut roff, FILES);
    verbatim(&mut roff, users::EXAMPLE);
    for (name, paragraphs) in [
        ("ENVIRONMENT", ENVIRONMENT),
        ("PRIVILEGES", PRIVILEGES),
        ("SECURITY", SECURITY),
    ] {
        heading(&mut roff, name);
        self::paragraphs(&mut roff, paragraphs);
    }
    heading(&mut roff, "SEE ALSO");
    roff.text([
        bold("iax2-natcheck.toml"),
        roman("(5), "),
        bold("asterisk"),
        roman("(8), "),
        bold("conntrack"),
        roman("(8), RFC 5456 (IAX2), RFC 4787 (NAT behaviour), RFC 5780 (NAT discovery with STUN)"),
    ]);
    roff.to_roff()
}

/// When the words of the page changed last.
const DATE: &str = "2026-11-25";

const DESCRIPTION: &[&str] = &[
    "A PBX behind a NAT registers with its IAX2 provider and counts on the NAT to remember it until \
     the next registration. Many do not: Linux forgets a short exchange after 30 s, Asterisk \
     registers every 50 s, and for the 20 s between, calls are lost although the registry says \
     Registered. iax2-natcheck measures this with real packets and says what to change where.",
    "A verdict rests on facts that the report names. What could not be measured is not assumed: \
     the verdict is then unknown, and the report says what would settle it. A host outside that \
     runs iax2-natcheck serve lets everything be measured.",
    "Without an account nothing is registered, and the interval of registrations is not known. \
     Where the NAT then proves to forget an exchange before 50 s, which is what the 60 s of \
     Asterisk's default make, that is reported as a warning which names this assumption; \
     otherwise the verdict is unknown. --refresh settles it.",
    "Where nobody outside helps, --method times mappings with the registrar alone. It registers again \
     and again from ports of its own, which moves the account's binding, and at the end once more \
     from the first port. drift works with a NAT that draws ports, sibling (with --sibling) with one \
     that keeps them; qualify gives a lower bound where the registrar sends POKEs; token needs no \
     secret and finds timers up to 9 s. What is inferred from ports is told as such.",
    "Some things are done on request only, because they may disturb: --hairpin sends packets to the \
     own public address, and --port-mapping has the router map a free port by UPnP, NAT-PMP and PCP \
     and removes each mapping again.",
    "Advice names settings of Linux unless the box is known: --device names it, by words that the \
     command devices shows, or --port-mapping hears it from the box. What of a box is not verified is told as such.",
    "On a Linux router, taint looks into the kernel's table of connections for entries that send the \
     PBX's packets with a wrong source: with the private one, with an inner address of the router, \
     with a WAN address that is gone, or with that of another way out. NAT rules are read for the \
     first packet of a flow only, so a PBX that retries keeps such an entry for ever. --fix deletes \
     exactly those entries, never a table. From a host behind a router that cannot be logged in to, \
     --local-port asks the provider from the PBX's port and from a fresh one: where only the fresh \
     one is answered, the flow is tainted.",
    "Registering with the PBX's own account from here moves the account's binding to this host \
     until the PBX registers again. Use an account of its own where there is one.",
];

const STATUS: &[(&str, &str)] = &[
    (
        "0",
        "Ok: the main question is answered, and nothing is wrong.",
    ),
    (
        "1",
        "Warning. taint: entries were tainted, and all of them are deleted.",
    ),
    ("2", "Critical: calls are lost. taint: an entry is tainted."),
    (
        "3",
        "Unknown: the main question could not be answered, the command line is wrong, or something \
         could not be read or written.",
    ),
];

const FINDINGS: &str = "Each finding has a stable name, the facts it rests on, and what to do. The \
                        worst one gives the verdict: critical before warning before unknown.";

const CALLS: &[&str] = &[
    "What serve does when one of its accounts calls. Every account is let in as the users file says: \
     with a call token, a challenge, encryption. µ-law and A-law are played and echoed; another format \
     that the caller asks for is echoed as it comes. Trunk frames are taken where the account says \
     trunk = true, and sent once the caller sends them.",
    "A call ends after 4 h; an address may hold 1024 at once, all together 16384.",
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "iax2-natcheck check iax.example.net --user alice --secret-file secret \\\n    \
         --reflector probe.example.org",
        "Diagnose the way to a provider with the help of a reflector:",
    ),
    (
        "iax2-natcheck check iax.example.net --reflector probe.example.org --refresh 60s",
        "The same without an account, for a known refresh:",
    ),
    (
        "iax2-natcheck check iax.example.net --json --output report.json\n\
         iax2-natcheck report report.json --format nagios",
        "Keep the report, and show it to a monitoring system later:",
    ),
    (
        "iax2-natcheck report report.json --html report.html",
        "The same as a page with pictures, for a browser or for paper:",
    ),
    (
        "iax2-natcheck report diff before.json after.json",
        "What a change at the router brought:",
    ),
    (
        "iax2-natcheck serve --bind 198.51.100.7 --alternate 198.51.100.8:4570 \\\n    \
         --users users.toml",
        "Be the reflector, with a second address for mapping tests:",
    ),
    (
        "iax2-natcheck devices sonicwall tz",
        "What is known of a box, and where its timers are:",
    ),
    (
        "iax2-natcheck call iax.example.net 600 --user alice --secret-file secret --calls 40",
        "Find out whether calls fail by chance or by rule:",
    ),
    (
        "iax2-natcheck taint --fix",
        "On the router, delete the entries that send the PBX's packets with a wrong source:",
    ),
    (
        "iax2-natcheck snat --wan ppp0 --static 198.51.100.7 > snat.sh",
        "On a router: print the rules that keep its NAT from going on with a wrong source:",
    ),
    (
        "iax2-natcheck snat --wan ppp0 --static 198.51.100.7 --apply",
        "Try them out, and have them taken back unless they are confirmed within 30 s:",
    ),
    ("iax2-natcheck demo", "See it at work without a provider:"),
];

const FILES: &[&str] = &[
    "A file with a secret holds nothing else; one newline at its end is dropped. Where others may \
     read it, a warning says so.",
    "What snat prints is a script for sh: as it stands it changes the rules in force, with the word \
     install it also writes files below /etc, each named in it. A change that waits for its \
     confirmation keeps the way back below /run/iax2-natcheck.",
    "The configuration of watch is TOML; config prints it with every key and what holds unless it is \
     given. Paths are relative to the file.",
    "The users file of serve is TOML, one table an account. An account without a secret and \
     without a key says auth = [], and registers and calls unchallenged. Paths are relative to the file.",
];

const FROM_SCRIPT: &[&str] = &[
    "A script in cron asks for iax2 show registry, and where that does not say Registered it unloads \
     chan_iax2, sleeps for 66 s and loads it again. It acts while a request is merely sent, is refused \
     or ends calls where one is up, leaks memory in Asterisk each time, takes up to two minutes \
     to notice, and believes Registered while the mapping is long dead. Its 66 s outlast a NAT \
     entry that was never answered (30 s on Linux) and not one that was (120 s).",
    "watch takes its place. These steps read the script, which is never run, and write a configuration \
     that does what the script meant to; what was found in it is told on standard error:",
];

const FROM_SCRIPT_STEPS: &str = "\
iax2-natcheck watch --import-cron /usr/local/bin/iax-check >watch.toml
iax2-natcheck watch --check-config --config watch.toml
iax2-natcheck watch --dry-run --config watch.toml
rm /etc/cron.d/iax-check
install -D -m 640 watch.toml /etc/iax2-natcheck/watch.toml
systemctl enable --now iax2-natcheck-watch
";

const AFTER_SCRIPT: &[&str] = &[
    "Unless the configuration says otherwise, nothing is unloaded any more: Asterisk's packets to the one \
     provider are held back for as long as the NAT needs to forget, and iax2 reload then makes it \
     register. Calls with other providers go on, and one with audio is waited for. With \
     \"reload-module\" among the remedies the channel is unloaded as a last resort, only while \
     no call is up, and at most twice an hour.",
];

const ENVIRONMENT: &[&str] = &[
    "IAX2_SECRET holds the account's secret where no --secret-file is given. NO_COLOR, set to \
     anything, keeps colours away.",
];

const PRIVILEGES: &[&str] = &[
    "No command but taint and snat needs root. Commands that talk to a provider open ordinary UDP sockets, as many as \
     --sockets says; the limit of open files has to allow for them. demo makes user and network \
     namespaces of its own; where the kernel refuses them to this user, the in-process NAT takes \
     their place and the report says so. --asterisk needs the right to talk to the running \
     Asterisk. taint needs CAP_NET_ADMIN to read the table of connections and to delete entries; \
     with CAP_NET_RAW it also sees packets that leave with a private source. Without them it tells \
     timers and use of the table. Only root may read the rules of a packet filter and apply others \
     (snat); without it snat gives general advice, or reads saved rules. Nothing on the host is \
     changed but by taint --fix and by snat --apply, which takes its changes back unless they are \
     confirmed.",
];

const SECURITY: &[&str] = &[
    "A secret is read from a file, from stdin or from the environment, never from the command line, and is \
     kept out of logs and reports. A password in clear is sent only with --allow-plaintext. IAX2 proves \
     accounts by MD5 or by RSA with SHA-1 and encrypts with AES-128; these are the protocol's, and no \
     protection against somebody on the path who has time.",
    "A report holds addresses, the account's name and what the provider said; look at it before you \
     publish it. A page of HTML shows texts of strangers as text, runs no script and loads nothing.",
    "serve keeps nothing of an address, and sends it no more than single answers to single packets, until \
     that address gives back a token that was sent to it; POKEs are answered 50 times a second at most. All \
     its tables are bounded, and so is what one address may hold. Its token key is worth a password: who \
     has it can make tokens.",
    "What comes from the network or from a file is hostile until it is parsed: frames are read without \
     allocation by a length from the wire. Vulnerabilities are reported as SECURITY.md says.",
];

/// The subcommands, each with its own arguments; those of the sections to come are left out.
fn commands(roff: &mut Roff, parent: &Command, prefix: &str) {
    for command in parent.get_subcommands() {
        let name = format!("{prefix}{}", command.get_name());
        let is_alone = !command.has_subcommands();
        if is_alone || command.get_positionals().next().is_some() {
            section(roff, command, &name);
        }
        if !is_alone {
            commands(roff, command, &format!("{name} "));
        }
    }
}

/// One command with its own arguments.
fn section(roff: &mut Roff, command: &Command, name: &str) {
    let mut title = name.to_owned();
    for positional in command.get_positionals() {
        let value = value_name(positional);
        title.push(' ');
        if positional.is_required_set() {
            title.push_str(&value);
        } else {
            title.extend(["[", &value, "]"]);
        }
    }
    roff.control("SS", [title.as_str()]);
    let about = text(command.get_about());
    roff.text([roman(filled(&format!("{about}.")))]);
    options(
        roff,
        command
            .get_arguments()
            .filter(|arg| arg.get_help_heading().is_none() && !arg.is_global_set()),
    );
}

/// Arguments with what they mean.
fn options<'a>(roff: &mut Roff, args: impl Iterator<Item = &'a Arg>) {
    for arg in args.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
        let mut label = vec![];
        let (short, long) = (arg.get_short(), arg.get_long());
        if let Some(short) = short {
            label.push(bold(format!("-{short}")));
        }
        if let Some(long) = long {
            label.push(roman(if short.is_some() { ", " } else { "" }));
            label.push(bold(format!("--{long}")));
        }
        if arg.get_action().takes_values() {
            label.push(roman(if long.is_some() { " " } else { "" }));
            label.push(italic(value_name(arg)));
        }
        roff.control("TP", []);
        roff.text(label);
        let mut words = format!("{}.", text(arg.get_help()));
        let known: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name().to_owned())
            .collect();
        if !known.is_empty() && arg.get_action().takes_values() {
            words.push_str(" One of ");
            words.push_str(&known.join(", "));
            words.push('.');
        }
        let default: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        if !default.is_empty() && arg.get_action().takes_values() {
            words.push_str(" Default: ");
            words.push_str(&default.join(", "));
            words.push('.');
        }
        roff.text([roman(filled(&words))]);
    }
}

fn value_name(arg: &Arg) -> String {
    arg.get_value_names()
        .and_then(<[_]>::first)
        .map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// The first letter small, as behind the dash of NAME.
fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The first letter large, and a full stop.
fn as_sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).chain(['.']).collect())
        .unwrap_or_default()
}

/// Broken into lines as a writer of roff would, with room left for escapes.
fn filled(words: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 70 {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

fn heading(roff: &mut Roff, name: &str) {
    roff.control("SH", [name]);
}

/// Paragraphs below a heading; the first needs no space before it.
fn paragraphs(roff: &mut Roff, paragraphs: &[&str]) {
    for (index, words) in paragraphs.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(filled(words))]);
    }
}

/// Lines as they stand, between two empty ones.
fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("PP", [])
        .control("RS", ["4"])
        .control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("RE", []);
}

fn item(roff: &mut Roff, label: &str, words: &str) {
    roff.control("TP", []);
    roff.text([bold(label)]);
    roff.text([roman(filled(words))]);
}
