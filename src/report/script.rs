//! A plan for a router as a script of its shell.
//!
//! Run as it stands, a script changes what is in force now; with the word `install` it also writes
//! the files that keep it so. It looks at every rule before it changes the first, and where a step
//! fails it takes back those before.

use crate::check::snat::{Change, File, Plan, Still};

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// There.
    Forth,
    /// And back.
    Back,
}

/// The functions that look at rules.
const LOOK: &str = r#"# still WHAT RULE COMMAND...: ends the script unless the command shows the rule.
still() {
    what=$1 rule=$2
    shift 2
    if [ "$("$@" 2>/dev/null)" != "$rule" ]; then
        echo "nothing was changed: $what is not what was read: $rule; run iax2-natcheck snat again" >&2
        trap - EXIT
        exit 1
    fi
}
"#;

/// Shows one rule of nft by its handle, or a word of it.
const LISTED: &str = r#"# listed FAMILY TABLE CHAIN HANDLE [WORD]: the rule with this handle, or the word where it has it.
listed() {
    nft -s -a list chain "$1" "$2" "$3" | awk -v handle="$4" -v word="${5:-}" '
        /^\t\t/ {
            sub(/^[ \t]+/, "")
            if (/^(type|policy|comment) /) next
            rule = rule (rule == "" ? "" : " ") $0
            if (!match(rule, / # handle [0-9]+$/)) next
            if (substr(rule, RSTART + 10) == handle) {
                rule = substr(rule, 1, RSTART - 1)
                gsub(/  +/, " ", rule)
                print (word != "" && index(rule, word)) ? word : rule
            }
            rule = ""
        }'
}
"#;

/// The plan as a script.
#[must_use]
pub fn render(plan: &Plan, direction: Direction, source: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut script = Script::default();
    if !plan.foreign {
        script.line("#!/bin/sh");
    }
    script.comment(&match direction {
        Direction::Forth => format!(
            "iax2-natcheck {version}: rules under which no entry of the NAT table goes wrong. {source}"
        ),
        Direction::Back => {
            format!("iax2-natcheck {version}: the way back to the rules before. {source}")
        }
    });
    for note in plan.notes.iter().filter(|_| direction == Direction::Forth) {
        script.bullet(&format!("{note}."));
    }
    for refusal in plan
        .refusals
        .iter()
        .filter(|_| direction == Direction::Forth)
    {
        script.bullet(&format!("NOT DONE: {}: {}.", refusal.what, refusal.why));
    }
    if plan.foreign {
        for change in &plan.changes {
            script.blank();
            script.describe(change);
            script.line(&change.command);
        }
        return script.text;
    }
    if plan.changes.is_empty() {
        script.comment("Nothing of what is in force has to be changed.");
    }
    if !plan.files.is_empty() {
        script.comment(match direction {
            Direction::Forth => {
                "This changes what is in force now. `sh THIS-SCRIPT install` also writes the files at \
                 its end, so that it stays so; the rule itself belongs where your rules are kept."
            }
            Direction::Back => "`sh THIS-SCRIPT install` also removes the files that were written.",
        });
    }
    script.body(plan, direction);
    script.text
}

/// The way back for a change that may have been broken off anywhere: each step that was done is
/// taken back, whatever became of the others.
#[must_use]
pub fn rollback(plan: &Plan) -> String {
    let mut script = Script::default();
    script.line("#!/bin/sh");
    script.comment("Takes back what was applied and not confirmed.");
    script.line("export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"");
    for change in plan.changes.iter().rev() {
        script.blank();
        match (&change.still, &change.still_done) {
            (
                Some(Still::Numbered {
                    program,
                    table,
                    chain,
                    number,
                    ..
                }),
                Some(Still::Numbered { text, .. }),
            ) => {
                script.line(&format!(
                    "if [ \"$({program} -t {table} -S {chain} {number})\" = {} ]; then",
                    quoted(text)
                ));
                script.line(&change.undo);
                script.line("fi");
            }
            _ => script.line(&change.undo),
        }
    }
    script.text
}

#[derive(Default)]
struct Script {
    text: String,
    /// The reason given last: several rules may have the same.
    reason: String,
}

impl Script {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A sentence as comments of at most 100 columns.
    fn comment(&mut self, words: &str) {
        self.wrapped(words, "# ", "# ");
    }

    fn bullet(&mut self, words: &str) {
        self.wrapped(words, "# - ", "#   ");
    }

    fn wrapped(&mut self, words: &str, first: &str, rest: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        for word in words.split_whitespace() {
            if !empty && line.chars().count() + 1 + word.chars().count() > 100 {
                self.line(&line);
                rest.clone_into(&mut line);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&line);
    }

    fn describe(&mut self, change: &Change) {
        self.comment(&format!("{}.", capital(&change.title)));
        self.reasons(
            &change
                .prevents
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            &change.why,
        );
    }

    fn reasons(&mut self, prevents: &[String], why: &str) {
        if !prevents.is_empty() {
            self.comment(&format!("Prevents: {}.", prevents.join(", ")));
        }
        if !why.is_empty() && why != self.reason {
            self.comment(why);
            why.clone_into(&mut self.reason);
        }
    }

    fn body(&mut self, plan: &Plan, direction: Direction) {
        if plan.changes.is_empty() && plan.files.is_empty() {
            return;
        }
        self.line("set -eu");
        self.line("export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"");
        let install = !plan.files.is_empty();
        if install {
            self.blank();
            self.line("case ${1:-now} in");
            self.line("now | install) ;;");
            self.line("*) echo \"usage: sh $0 [install]\" >&2; exit 3 ;;");
            self.line("esac");
        }
        self.looks(plan);
        self.steps(plan, direction);
        if install {
            self.blank();
            self.line("[ \"${1:-now}\" = install ] || exit 0");
            self.comment(
                "Below another root, such as an image to be written, with DESTDIR=/its/path.",
            );
            self.line("root=${DESTDIR:-}");
            for file in &plan.files {
                self.blank();
                match direction {
                    Direction::Forth => self.written(file),
                    Direction::Back => self.removed(file),
                }
            }
        }
    }

    /// Looks at every rule that is to be changed.
    fn looks(&mut self, plan: &Plan) {
        let stills: Vec<&Still> = plan
            .changes
            .iter()
            .filter_map(|change| change.still.as_ref())
            .collect();
        if stills.is_empty() {
            return;
        }
        self.blank();
        self.text.push_str(LOOK);
        if stills
            .iter()
            .any(|still| matches!(still, Still::Listed { .. }))
        {
            self.blank();
            self.text.push_str(LISTED);
        }
        self.blank();
        self.comment("Nothing is changed unless every rule is still the one that was read.");
        for still in stills {
            self.line(&match still {
                Still::Numbered { program, table, chain, number, text } => format!(
                    "still 'rule {number} of {table} {chain}' {} {program} -t {table} -S {chain} {number}",
                    quoted(text)
                ),
                Still::Listed { place, handle, text } => {
                    let word = if text.contains(' ') { "" } else { text };
                    format!(
                        "still 'rule {handle} of {place}' {} listed {place} {handle} {word}",
                        quoted(text)
                    )
                    .trim_end()
                    .to_owned()
                }
            });
        }
    }

    fn steps(&mut self, plan: &Plan, direction: Direction) {
        let can_go_back = plan.changes.iter().any(|change| !change.undo.is_empty());
        if plan.changes.len() > 1 && can_go_back {
            self.blank();
            self.comment("Where a step fails, those before it are taken back.");
            self.line("steps=0");
            self.line("take_back() {");
            for (index, change) in plan.changes.iter().enumerate().rev() {
                self.line(&format!("if [ \"$steps\" -gt {index} ]; then"));
                self.line(&change.undo);
                self.line("fi");
            }
            self.line("echo \"nothing was changed: a step failed, and those before it were taken back\" >&2");
            self.line("}");
            self.line("trap 'take_back || true' EXIT");
        }
        for (index, change) in plan.changes.iter().enumerate() {
            self.blank();
            if direction == Direction::Forth {
                self.describe(change);
            } else {
                self.comment(&format!("{}.", capital(&change.title)));
            }
            self.line(&change.command);
            if plan.changes.len() > 1 && can_go_back {
                self.line(&format!("steps={}", index + 1));
            }
        }
        if plan.changes.len() > 1 && can_go_back {
            self.blank();
            self.line("trap - EXIT");
        }
    }

    fn written(&mut self, file: &File) {
        self.comment(&format!("{}: {}.", file.path, file.title));
        let prevents: Vec<String> = file.prevents.iter().map(ToString::to_string).collect();
        self.reasons(&prevents, &file.why);
        self.line(&format!("if [ -d \"$root{}\" ]; then", file.only_in));
        self.line(&write(file, "$root"));
        if let Some(then) = file.then {
            self.line(&format!("[ -n \"$root\" ] || {then}"));
        }
        self.line("fi");
    }

    fn removed(&mut self, file: &File) {
        self.comment(&format!("{}: {}.", file.path, file.title));
        if let Some(before) = file.before_removal {
            self.line(&format!("[ -n \"$root\" ] || {before} || true"));
        }
        self.line(&format!("rm -f \"$root{}\"", file.path));
    }
}

/// A command that writes a file.
#[must_use]
pub fn write(file: &File, root: &str) -> String {
    let path = format!("\"{root}{}\"", file.path);
    let folder = file.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    format!(
        "mkdir -p \"{root}{folder}\"\ncat >{path} <<'FILE'\n{}FILE\nchmod {} {path}",
        file.text, file.mode
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
