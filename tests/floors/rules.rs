//! The rules of the house, each a function from one file to its violations.

use super::scan::{self, Mention, Piece, Token};

/// The top-level modules and the floors they are on. A file uses its own floor and those below.
const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("wire", 0),
    ("proto", 1),
    ("probe", 2),
    ("trace", 2),
    ("net", 3),
    ("os", 3),
    ("lab", 3),
    ("check", 4),
    ("guard", 4),
    ("report", 5),
    ("config", 5),
    ("watch", 5),
    ("cli", 6),
    ("main", 6),
];

/// The floors that take the time, the randomness and the addresses as arguments.
const PURE: [u8; 4] = [0, 1, 2, 4];

/// Paths that have no place on a pure floor, and what they bring in.
const IMPURE_PATHS: &[(&[&str], &str)] = &[
    (&["Instant", "now"], "a clock"),
    (&["SystemTime", "now"], "a clock"),
    (&["std", "fs"], "the file system"),
    (&["File", "open"], "the file system"),
    (&["File", "create"], "the file system"),
    (&["std", "env"], "the environment"),
    (&["std", "process"], "processes"),
    (&["std", "thread"], "threads"),
    (&["stdin"], "the terminal"),
    (&["stdout"], "the terminal"),
    (&["stderr"], "the terminal"),
    (&["UdpSocket"], "a socket"),
    (&["TcpStream"], "a socket"),
    (&["TcpListener"], "a socket"),
    (&["UnixStream"], "a socket"),
    (&["ToSocketAddrs"], "name resolution"),
    (&["socket2"], "sockets"),
    (&["hickory_resolver"], "name resolution"),
    (&["nix"], "system calls"),
    (&["sysinfo"], "the host's state"),
    (&["tokio"], "an event loop"),
    (&["rand", "rng"], "randomness"),
    (&["rand", "random"], "randomness"),
    (&["rand", "thread_rng"], "randomness"),
    (&["thread_rng"], "randomness"),
    (&["OsRng"], "randomness"),
    (&["SysRng"], "randomness"),
    (&["getrandom"], "randomness"),
];

/// Macros that have no place on a pure floor, and what they bring in.
const IMPURE_MACROS: &[(&str, &str)] = &[
    ("print", "the terminal"),
    ("println", "the terminal"),
    ("eprint", "the terminal"),
    ("eprintln", "the terminal"),
    ("dbg", "the terminal"),
    ("thread_local", "a global"),
];

/// Types that make a `static` a variable.
const CELLS: &[&str] = &[
    "Mutex",
    "RwLock",
    "Cell",
    "RefCell",
    "UnsafeCell",
    "OnceCell",
    "OnceLock",
];

/// The most lines a file may have.
const LONGEST: usize = 600;

/// Marks of unfinished work.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// One source file of the project.
pub struct Source {
    /// Its path from the project's root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The module path inside the crate for a file of `src/`: empty for `lib.rs`, `["main"]` for
    /// `main.rs`, `["wire", "iax2"]` for `wire/iax2.rs`.
    fn module(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(inside.split('/').filter(|part| *part != "lib").collect())
    }
}

/// Everything that is wrong in `files`, one line each: path, line, what, and what to do.
pub fn violations(files: &[Source]) -> Vec<String> {
    let test_files = test_files(files);
    let mut found = Vec::new();
    for file in files {
        let tokens = scan::tokens(&file.text);
        found.extend(length(file));
        found.extend(name(file));
        found.extend(module_doc(file));
        found.extend(unfinished(file));
        found.extend(ignored_without_reason(file, &tokens));
        let is_test = test_files
            .iter()
            .any(|stem| file.path.starts_with(stem.as_str()));
        if !is_test && let Some(module) = file.module() {
            let (tokens, _) = scan::without_tests(&tokens);
            let mentions = scan::mentions(&tokens);
            found.extend(floors(file, &module, &mentions));
            found.extend(purity(file, &module, &tokens, &mentions));
        }
    }
    found.dedup(); // two branches of one `use` tree may say the same
    found
}

fn violation(file: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", file.path)
}

/// The beginnings of the paths of modules that are declared under `cfg(test)` as files.
fn test_files(files: &[Source]) -> Vec<String> {
    let mut stems = Vec::new();
    for file in files {
        let Some(module) = file.module() else {
            continue;
        };
        let folder = match module.as_slice() {
            [] | ["main"] => "src".to_owned(),
            path => format!("src/{}", path.join("/")),
        };
        let (_, names) = scan::without_tests(&scan::tokens(&file.text));
        for name in names {
            stems.push(format!("{folder}/{name}.rs"));
            stems.push(format!("{folder}/{name}/"));
        }
    }
    stems
}

fn length(file: &Source) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > LONGEST).then(|| {
        let what = format!("{lines} lines: split it, {LONGEST} are the most");
        violation(file, LONGEST + 1, &what)
    })
}

fn name(file: &Source) -> Option<String> {
    file.path
        .ends_with("/mod.rs")
        .then(|| violation(file, 1, "name it after the module: foo.rs beside foo/"))
}

fn module_doc(file: &Source) -> Option<String> {
    (!file.text.starts_with("//!"))
        .then(|| violation(file, 1, "begin with //! and say what the file is"))
}

fn unfinished(file: &Source) -> Vec<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for mark in UNFINISHED {
            if line.split(|c| !word(c)).any(|w| w == mark) {
                found.push(violation(file, number + 1, &format!("finish it: {mark}")));
            }
        }
    }
    found
}

fn ignored_without_reason(file: &Source, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for window in tokens.windows(5) {
        let [hash, open, word, next, value] = window else {
            continue;
        };
        if !(hash.is_mark('#') && open.is_mark('[') && word.is_word("ignore")) {
            continue;
        }
        let reason = match &value.piece {
            Piece::Text(text) if next.is_mark('=') => text.trim(),
            _ => "",
        };
        if reason.is_empty() {
            let what = "say why: #[ignore = \"needs …\"]";
            found.push(violation(file, word.line, what));
        }
    }
    found
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

fn floors(file: &Source, module: &[&str], mentions: &[Mention]) -> Vec<String> {
    let Some(own) = module.first() else {
        return Vec::new(); // lib.rs names every module
    };
    let Some(own_floor) = floor(own) else {
        let what = format!("module {own} has no floor: give it one in tests/floors/rules.rs");
        return vec![violation(file, 1, &what)];
    };
    let mut found = Vec::new();
    for mention in mentions {
        let Some(target) = target(module, mention) else {
            continue;
        };
        let what = match floor(&target) {
            Some(floor) if floor <= own_floor => continue,
            Some(floor) => {
                format!("{own} is on floor {own_floor} and may not use {target} on floor {floor}")
            }
            None if target == "*" => "name the modules instead of crate::*".to_owned(),
            None => format!("{target} at the root of the crate has no floor: name its module"),
        };
        found.push(violation(file, mention.line, &what));
    }
    found
}

/// The top-level module of this crate that `mention` leads to, unless it stays below its own.
fn target(module: &[&str], mention: &Mention) -> Option<String> {
    let segments: Vec<&str> = mention.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["crate" | "iax2_natcheck", target, ..] => Some((*target).to_owned()),
        ["self", rest @ ..] | rest => {
            let supers = rest.iter().take_while(|s| **s == "super").count();
            // main.rs is the root of its own crate.
            let own = if module == ["main"] { 0 } else { module.len() };
            (supers > 0 && supers == own + mention.depth)
                .then(|| rest.get(supers).map(|target| (*target).to_owned()))
                .flatten()
        }
    }
}

fn purity(file: &Source, module: &[&str], tokens: &[Token], mentions: &[Mention]) -> Vec<String> {
    let pure = module
        .first()
        .and_then(|own| floor(own))
        .is_some_and(|floor| PURE.contains(&floor));
    if !pure {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut flag = |line: usize, name: &str, what: &str| {
        let text = format!("{name} brings {what} to a pure floor: take it as an argument");
        found.push(violation(file, line, &text));
    };
    for mention in mentions {
        for (path, what) in IMPURE_PATHS {
            if contains(&mention.segments, path) {
                flag(mention.line, &path.join("::"), what);
            }
        }
    }
    for (i, token) in tokens.iter().enumerate() {
        let Piece::Word(word) = &token.piece else {
            continue;
        };
        let after = &tokens[i + 1..];
        let marks = |marks: &[char]| {
            marks
                .iter()
                .enumerate()
                .all(|(j, mark)| after.get(j).is_some_and(|t| t.is_mark(*mark)))
        };
        match word.as_str() {
            "async" => flag(token.line, "async", "an event loop"),
            "static" if is_variable(after) => flag(token.line, "static", "a global"),
            "elapsed" if i > 0 && tokens[i - 1].is_mark('.') && marks(&['(', ')']) => {
                flag(token.line, ".elapsed()", "a clock");
            }
            name if marks(&['!']) => {
                if let Some((_, what)) = IMPURE_MACROS.iter().find(|(m, _)| *m == name) {
                    flag(token.line, &format!("{name}!"), what);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether the `static` that these tokens continue can change.
fn is_variable(tokens: &[Token]) -> bool {
    tokens
        .iter()
        .take_while(|t| !t.is_mark('=') && !t.is_mark(';'))
        .any(|t| match &t.piece {
            Piece::Word(word) => {
                word == "mut" || word.starts_with("Atomic") || CELLS.contains(&word.as_str())
            }
            _ => false,
        })
}

/// Whether `part` stands in `segments` in one piece.
fn contains(segments: &[String], part: &[&str]) -> bool {
    segments.windows(part.len()).any(|window| window == part)
}
