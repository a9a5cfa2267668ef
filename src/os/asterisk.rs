//! A running Asterisk on this host, asked by its command line: `asterisk -rx COMMAND`.
//!
//! The tables are those of Asterisk 16 and 22. Columns are cut at the header's own positions, and
//! whatever does not fit them is an error: a guessed registration state would be worse than none.

pub mod manager;
pub mod process;

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{os::OsError, types::MappedAddr};

const SHOW_REGISTRY: &str = "iax2 show registry";
const SHOW_PEERS: &str = "iax2 show peers";

/// How to reach the running Asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cli {
    /// The program; a bare name is looked for in `PATH`.
    pub program: PathBuf,
    /// Its `asterisk.conf`, if not the usual one.
    pub config: Option<PathBuf>,
    /// How long one command may take.
    pub limit: Duration,
}

impl Default for Cli {
    fn default() -> Self {
        Self {
            program: PathBuf::from("asterisk"),
            config: None,
            limit: Duration::from_secs(5),
        }
    }
}

impl Cli {
    /// The registrations of this PBX with its providers.
    ///
    /// # Errors
    ///
    /// As [`Cli::run`], and [`OsError::Unreadable`].
    pub async fn registry(&self) -> Result<Vec<RegistryEntry>, OsError> {
        parse_registry(&self.run(SHOW_REGISTRY).await?)
    }

    /// The peers of this PBX.
    ///
    /// # Errors
    ///
    /// As [`Cli::run`], and [`OsError::Unreadable`].
    pub async fn peers(&self) -> Result<Vec<Peer>, OsError> {
        parse_peers(&self.run(SHOW_PEERS).await?)
    }

    /// The calls of IAX2 that are up or being set up.
    ///
    /// # Errors
    ///
    /// As [`Cli::run`].
    pub async fn channels(&self) -> Result<Vec<manager::Channel>, OsError> {
        let text = self.run("core show channels concise").await?;
        Ok(parse_channels(&text))
    }

    /// What Asterisk answers to one command. Must run inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`OsError::NoProgram`], [`OsError::NotStarted`], [`OsError::NotRunning`],
    /// [`OsError::NotAllowed`], [`OsError::NoIax2`], [`OsError::Timeout`] or [`OsError::Refused`].
    pub async fn run(&self, command: &str) -> Result<String, OsError> {
        let mut program = Command::new(&self.program);
        if let Some(config) = &self.config {
            program.arg("-C").arg(config);
        }
        program
            .arg("-rx")
            .arg(command)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(self.limit, program.output())
            .await
            .map_err(|_| OsError::Timeout {
                command: command.to_owned(),
                limit: self.limit,
            })?
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => OsError::NoProgram {
                    program: self.program.clone(),
                },
                _ => OsError::NotStarted {
                    program: self.program.clone(),
                    source,
                },
            })?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = answer.clone() + &String::from_utf8_lossy(&output.stderr);
        if let Some(error) = failure(&said, command) {
            return Err(error);
        }
        if !output.status.success() {
            return Err(OsError::Refused {
                command: command.to_owned(),
                answer: said.split_whitespace().collect::<Vec<_>>().join(" "),
            });
        }
        Ok(answer)
    }
}

/// What the words of a failed call mean.
fn failure(said: &str, command: &str) -> Option<OsError> {
    if let Some((_, rest)) = said.split_once("Unable to connect to remote asterisk") {
        // The words are the same for a socket that is not there and for one that is closed to us.
        let socket = rest
            .split_once("(does ")
            .and_then(|(_, rest)| rest.split_once(" exist?)"))
            .map(|(path, _)| Path::new(path));
        return Some(match socket.map(std::os::unix::net::UnixStream::connect) {
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                OsError::NotAllowed
            }
            _ => OsError::NotRunning,
        });
    }
    said.contains("No such command").then(|| OsError::NoIax2 {
        command: command.to_owned(),
    })
}

/// One line of `iax2 show registry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    /// The provider and its port; `None` where the name has not been resolved.
    pub host: Option<String>,
    /// The account, as far as the column shows it: see [`RegistryEntry::is_user`].
    pub user: String,
    /// The address the provider saw last, unless unregistered.
    pub perceived: Option<MappedAddr>,
    /// The refresh in force.
    pub refresh: Duration,
    /// The state in Asterisk's words: `Registered`, `Request Sent`, `Auth. Sent`, `Timeout`,
    /// `Rejected`, `No Authentication`, `Unregistered`.
    pub state: String,
    /// The account fills its column and may be longer.
    pub user_cut: bool,
}

impl RegistryEntry {
    /// Whether this can be the line of the account `name`: Asterisk cuts names to ten characters.
    #[must_use]
    pub fn is_user(&self, name: &str) -> bool {
        self.user == name || self.user_cut && name.starts_with(&self.user)
    }
}

/// One line of `iax2 show peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The section of the configuration; Asterisk cuts name and user together to 15 characters.
    pub name: String,
    /// The user it registers as or calls with, where that is another.
    pub user: Option<String>,
    /// Its address; `None` while it is not registered.
    pub host: Option<String>,
    /// Its port; `None` while it is not registered.
    pub port: Option<u16>,
    /// It registers here, and has no address of its own in the configuration.
    pub dynamic: bool,
    /// Calls with it share trunk frames.
    pub trunk: bool,
    /// Calls with it may be encrypted.
    pub encrypted: bool,
    /// What qualify knows of it.
    pub status: PeerStatus,
}

/// What qualify knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerStatus {
    /// Not asked.
    Unmonitored,
    /// Never heard of.
    Unknown,
    /// No answer.
    Unreachable,
    /// It answers within this time.
    Reachable(Duration),
    /// It answers, but only after this time, which is longer than the configuration allows.
    Lagged(Duration),
}

/// Reads the table of `iax2 show registry`.
///
/// # Errors
///
/// [`OsError::Unreadable`] with the line that is not as expected.
pub fn parse_registry(text: &str) -> Result<Vec<RegistryEntry>, OsError> {
    // The refresh is aligned to the right and may begin before its heading: it shares a cell.
    let columns = ["Host", "dnsmgr", "Username", "Perceived", "State"];
    let table = Table::find(text, SHOW_REGISTRY, columns)?;
    let [_, _, user, perceived, _] = table.starts;
    let mut entries = Vec::new();
    for (number, line) in table.lines() {
        let wrong = |what| table.wrong(number, what);
        if let Some(count) = line.strip_suffix(" IAX2 registrations.") {
            return table.counted(number, count, entries);
        }
        let cells = table.cells(number, line)?;
        let [host, dnsmgr, account, seen_and_refresh, words] = cells;
        if !matches!(dnsmgr, "Y" | "N") {
            return Err(wrong("the column dnsmgr is neither Y nor N"));
        }
        let mut numbers = seen_and_refresh.split_ascii_whitespace();
        let (Some(seen), Some(refresh), None) = (numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(wrong("there is not one perceived address and one refresh"));
        };
        let seen = match seen {
            "<Unregistered>" => None,
            address => Some(
                address
                    .parse()
                    .map_err(|_| wrong("the perceived address is none"))?,
            ),
        };
        let refresh: u32 = refresh
            .parse()
            .map_err(|_| wrong("the refresh is no number"))?;
        if words.is_empty() {
            return Err(wrong("the state is missing"));
        }
        entries.push(RegistryEntry {
            host: present(host),
            user: account.to_owned(),
            perceived: seen.map(MappedAddr::new),
            refresh: Duration::from_secs(refresh.into()),
            state: words.to_owned(),
            user_cut: account.len() + 2 >= perceived - user,
        });
    }
    Err(table.cut_short())
}

/// Reads the table of `iax2 show peers`.
///
/// # Errors
///
/// [`OsError::Unreadable`] with the line that is not as expected.
pub fn parse_peers(text: &str) -> Result<Vec<Peer>, OsError> {
    // All columns after the host begin before their headings: from the host on, words are cut.
    let columns = ["Name/Username", "Host"];
    let table = Table::find(text, SHOW_PEERS, columns)?;
    let mut peers = Vec::new();
    for (number, line) in table.lines() {
        if let Some((count, rest)) = line.split_once(" iax2 peers ")
            && rest.starts_with('[')
        {
            return table.counted(number, count, peers);
        }
        let wrong = |what| table.wrong(number, what);
        let [names, rest] = table.cells(number, line)?;
        let (host, rest) = first_word(rest);
        let (kind, rest) = first_word(rest);
        let dynamic = match kind {
            "(D)" => true,
            "(S)" => false,
            _ => return Err(wrong("the host has neither (D) nor (S)")),
        };
        let (_mask, rest) = first_word(rest);
        let (port, rest) = first_word(rest);
        // `(T)` stands right behind a port of up to six characters, with or without a blank.
        let (port, rest, trunk) = match (port.strip_suffix("(T)"), rest.strip_prefix("(T)")) {
            (Some(port), _) => (port, rest, true),
            (None, Some(rest)) => (port, rest.trim_start(), true),
            (None, None) => (port, rest, false),
        };
        let (rest, encrypted) = match rest.strip_prefix("(E)") {
            Some(rest) => (rest.trim_start(), true),
            None => (rest, false),
        };
        let status = status_of(rest).ok_or_else(|| wrong("the status is not known"))?;
        let port = present(port)
            .map(|port| port.parse())
            .transpose()
            .map_err(|_| wrong("the port is no number"))?;
        let (name, user) = match names.split_once('/') {
            Some((name, user)) => (name, Some(user.to_owned())),
            None => (names, None),
        };
        peers.push(Peer {
            name: name.to_owned(),
            user,
            host: present(host),
            port,
            dynamic,
            trunk,
            encrypted,
            status,
        });
    }
    Err(table.cut_short())
}

/// Reads `core show channels concise`: a line for each channel, its fields separated by `!`. Other lines
/// are none of IAX2.
#[must_use]
pub fn parse_channels(text: &str) -> Vec<manager::Channel> {
    text.lines()
        .filter(|line| line.starts_with("IAX2/"))
        .filter_map(|line| {
            let mut fields = line.split('!');
            let name = fields.next()?.to_owned();
            let state = fields.nth(3)?.to_owned();
            Some(manager::Channel { name, state })
        })
        .collect()
}

/// The first word, and what follows the blanks after it.
fn first_word(text: &str) -> (&str, &str) {
    text.split_once(' ')
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// Reads the status that stands before a description.
fn status_of(text: &str) -> Option<PeerStatus> {
    let timed = |prefix| {
        let (millis, _) = text.strip_prefix(prefix)?.split_once(" ms)")?;
        Some(Duration::from_millis(millis.parse().ok()?))
    };
    match first_word(text).0 {
        "Unmonitored" => Some(PeerStatus::Unmonitored),
        "UNKNOWN" => Some(PeerStatus::Unknown),
        "UNREACHABLE" => Some(PeerStatus::Unreachable),
        "OK" => timed("OK (").map(PeerStatus::Reachable),
        "LAGGED" => timed("LAGGED (").map(PeerStatus::Lagged),
        _ => None,
    }
}

fn present(cell: &str) -> Option<String> {
    (cell != "(null)").then(|| cell.to_owned())
}

/// A table as Asterisk prints it: a header, rows aligned to it, and a line that counts them.
struct Table<'a, const N: usize> {
    command: &'static str,
    text: &'a str,
    /// The line of the header, counted from 1.
    header: usize,
    /// Where each column begins, in octets.
    starts: [usize; N],
}

impl<'a, const N: usize> Table<'a, N> {
    fn find(text: &'a str, command: &'static str, columns: [&str; N]) -> Result<Self, OsError> {
        let positions = |line: &str| {
            let mut starts = [0; N];
            let mut from = 0;
            for (start, column) in starts.iter_mut().zip(columns) {
                *start = from + line.get(from..)?.find(column)?;
                from = *start + column.len();
            }
            Some(starts)
        };
        let found = text
            .lines()
            .zip(1..)
            .find_map(|(line, number)| Some((number, positions(line)?)));
        let (header, starts) = found.ok_or(OsError::Unreadable {
            command,
            line: 1,
            what: "the table has no header",
        })?;
        Ok(Self {
            command,
            text,
            header,
            starts,
        })
    }

    /// The lines below the header and their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        (1..).zip(self.text.lines()).skip(self.header)
    }

    /// The cells of a row, without the blanks around them.
    fn cells(&self, number: usize, line: &'a str) -> Result<[&'a str; N], OsError> {
        let mut cells = [""; N];
        let ends = self.starts.into_iter().skip(1).chain([line.len()]);
        for ((cell, start), end) in cells.iter_mut().zip(self.starts).zip(ends) {
            let end = end.min(line.len());
            let aligned = start == 0 || line.get(..start).is_some_and(|left| left.ends_with(' '));
            *cell = line
                .get(start..end)
                .filter(|_| aligned)
                .ok_or_else(|| self.wrong(number, "the line is not aligned with the header"))?
                .trim();
        }
        Ok(cells)
    }

    /// The rows, if the counting line agrees with them.
    fn counted<T>(&self, number: usize, count: &str, rows: Vec<T>) -> Result<Vec<T>, OsError> {
        if count.trim().parse() == Ok(rows.len()) {
            Ok(rows)
        } else {
            Err(self.wrong(number, "it counts another number of lines"))
        }
    }

    fn cut_short(&self) -> OsError {
        self.wrong(self.text.lines().count(), "the table does not end")
    }

    fn wrong(&self, line: usize, what: &'static str) -> OsError {
        OsError::Unreadable {
            command: self.command,
            line,
            what,
        }
    }
}

#[cfg(test)]
mod tests;
