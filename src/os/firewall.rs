//! The rules in force, asked from the programs that keep them.

pub mod uplink;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{OsError, program::output};
use crate::wire::firewall::{Backend, Owner, Place, RuleError, Ruleset, iptables, nft, nft_json};

/// Where administrators' programs live that an ordinary user's PATH does not name.
const EXTRA_PATHS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Finds a program in PATH and where administrators' programs live.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(EXTRA_PATHS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| Path::is_file(file))
}

/// The rules in force, of all backends that are there. With `only` one, the rules that translate are
/// read of that one alone; what nft filters is read beside them, because it looks at all packets.
///
/// # Errors
///
/// [`OsError::NoFirewall`] where none of the programs is there, [`OsError::FirewallRefused`] where
/// one does not answer (mostly to a user who is not root), [`OsError::FirewallUnreadable`] where the
/// answer has another form than those that are known.
pub fn in_force(only: Option<Backend>) -> Result<Ruleset, OsError> {
    let wanted = |backend| only.is_none_or(|only| only == backend);
    let mut ruleset = Ruleset::default();
    let mut asked = false;
    let iptables = program("iptables-save");
    // Where `iptables` is the old one, `iptables-legacy` would show the same rules again.
    let is_legacy = match &iptables {
        Some(path) => !answer(path, &["-V"])?.contains("nf_tables"),
        None => false,
    };
    let mut save = |path: &Path, backend| {
        asked = true;
        let text = answer(path, &[])?;
        let read = iptables::read(&text, backend).map_err(|error| unreadable(path, &error))?;
        ruleset.extend(read);
        Ok::<(), OsError>(())
    };
    if let Some(path) = iptables.filter(|_| wanted(Backend::Iptables)) {
        save(&path, Backend::Iptables)?;
    }
    if let Some(path) = program("iptables-legacy-save")
        .filter(|_| wanted(Backend::IptablesLegacy) && !(is_legacy && wanted(Backend::Iptables)))
    {
        save(&path, Backend::IptablesLegacy)?;
    }
    if let Some(path) = program("nft") {
        let mut found = native(&path)?;
        if wanted(Backend::Nft) {
            asked = true;
        } else {
            found.keep_filters();
        }
        ruleset.extend(found);
    }
    if asked {
        Ok(ruleset)
    } else {
        Err(OsError::NoFirewall)
    }
}

/// The rules of both families by which sources are translated, as far as this user may read them;
/// `None` where no program tells, or tells in a form that is not known: half of them would be worse
/// than none.
#[must_use]
pub fn translating() -> Option<Ruleset> {
    let mut ruleset = Ruleset::default();
    let mut told = false;
    if let Some(text) = output("nft", &["-j", "list", "ruleset"]) {
        told = true;
        ruleset.extend(without_iptables(read_or_say(nft_json::read(&text))?));
    }
    for saved in SAVED {
        if let Some(text) = saved.ask() {
            told = true;
            let mut read = read_or_say(iptables::read(&text, saved.backend))?;
            for place in places(&mut read) {
                saved.family.clone_into(&mut place.family);
            }
            ruleset.extend(read);
        }
    }
    told.then_some(ruleset)
}

/// A program that saves the rules of iptables.
struct Saved {
    program: &'static str,
    /// Its name on systems that know one kind only.
    plain: Option<&'static str>,
    /// Where the kernel names the tables in use.
    tables: Option<&'static str>,
    backend: Backend,
    family: &'static str,
}

const SAVED: [Saved; 4] = [
    Saved {
        program: "iptables-nft-save",
        plain: Some("iptables-save"),
        tables: None,
        backend: Backend::Iptables,
        family: "ip",
    },
    Saved {
        program: "ip6tables-nft-save",
        plain: Some("ip6tables-save"),
        tables: None,
        backend: Backend::Iptables,
        family: "ip6",
    },
    Saved {
        program: "iptables-legacy-save",
        plain: None,
        tables: Some("/proc/net/ip_tables_names"),
        backend: Backend::IptablesLegacy,
        family: "ip",
    },
    Saved {
        program: "ip6tables-legacy-save",
        plain: None,
        tables: Some("/proc/net/ip6_tables_names"),
        backend: Backend::IptablesLegacy,
        family: "ip6",
    },
];

impl Saved {
    /// What it prints; `None` where it is not there, not allowed to, or has nothing to tell.
    fn ask(&self) -> Option<String> {
        if let Some(plain) = self.plain.filter(|_| program(self.program).is_none()) {
            // It may be of the old kind, which loads a table that is asked for by name.
            return output(plain, &[]);
        }
        // The old program would load its modules by being asked.
        let in_use = self.tables.is_none_or(|file| {
            fs::read_to_string(file).is_ok_and(|names| names.lines().any(|name| name == "nat"))
        });
        in_use
            .then(|| output(self.program, &["-t", "nat"]))
            .flatten()
    }
}

fn read_or_say(read: Result<Ruleset, RuleError>) -> Option<Ruleset> {
    read.inspect_err(|error| tracing::debug!("the rules in force cannot be read: {error}"))
        .ok()
}

fn places(ruleset: &mut Ruleset) -> impl Iterator<Item = &mut Place> {
    let chains = ruleset.chains.iter_mut().map(|chain| &mut chain.place);
    chains.chain(ruleset.rules.iter_mut().map(|rule| &mut rule.place))
}

/// The rules of nft, without those that iptables keeps there.
fn native(path: &Path) -> Result<Ruleset, OsError> {
    let structure = answer(path, &["-j", "list", "ruleset"])?;
    let listing = answer(path, &["-s", "-a", "list", "ruleset"])?;
    let mut ruleset = nft_json::read(&structure).map_err(|error| unreadable(path, &error))?;
    let listed = nft::read(&listing).map_err(|error| unreadable(path, &error))?;
    // JSON tells the structure beyond doubt, the listing the words in which nft takes a rule again.
    for rule in &mut ruleset.rules {
        let same = |other: &&crate::wire::firewall::Rule| {
            other.place == rule.place && other.handle == rule.handle && other.handle.is_some()
        };
        if let Some(other) = listed.rules.iter().find(same) {
            let (number, line) = (rule.number, other.line);
            *rule = other.clone();
            (rule.number, rule.line) = (number, line);
        }
    }
    ruleset.owned.extend(listed.owned);
    Ok(without_iptables(ruleset))
}

/// Rules that iptables keeps are told in full by iptables alone.
fn without_iptables(mut ruleset: Ruleset) -> Ruleset {
    let of_iptables: Vec<(String, String)> = ruleset
        .owned
        .iter()
        .filter(|owned| owned.owner == Owner::Iptables)
        .map(|owned| (owned.family.clone(), owned.table.clone()))
        .collect();
    let is_ours = |family: &str, table: &str| {
        !of_iptables
            .iter()
            .any(|(of, name)| of == family && name == table)
    };
    ruleset
        .rules
        .retain(|rule| is_ours(&rule.place.family, &rule.place.table));
    ruleset
        .chains
        .retain(|chain| is_ours(&chain.place.family, &chain.place.table));
    ruleset.owned.retain(|owned| owned.owner != Owner::Iptables);
    ruleset
}

fn unreadable(path: &Path, error: &crate::wire::firewall::RuleError) -> OsError {
    OsError::FirewallUnreadable {
        program: path.to_owned(),
        what: error.to_string(),
    }
}

/// What a program says on its standard output.
fn answer(path: &Path, arguments: &[&str]) -> Result<String, OsError> {
    let output = Command::new(path)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| OsError::NotStarted {
            program: path.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty());
    Err(OsError::FirewallRefused {
        program: path.to_owned(),
        said: said.unwrap_or("nothing").trim().to_owned(),
    })
}
