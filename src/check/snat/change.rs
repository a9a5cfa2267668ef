//! What a plan is made of.

use crate::check::taint::Kind;

/// What to change, in the order in which it is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes of what is in force now.
    pub changes: Vec<Change>,
    /// Files that keep it so over a reboot and a reconnect.
    pub files: Vec<File>,
    /// What cannot be changed from here, and why.
    pub refusals: Vec<Refusal>,
    /// Facts and hints, a sentence each without its full stop.
    pub notes: Vec<String>,
    /// It is no script for a shell.
    pub foreign: bool,
}

impl Plan {
    /// The way back from this plan, once it is done: the last change first.
    #[must_use]
    pub fn inverted(&self) -> Self {
        let back = |change: &Change| Change {
            title: format!("back from: {}", change.title),
            command: change.undo.clone(),
            undo: String::new(),
            still: change.still_done.clone(),
            still_done: None,
            prevents: vec![],
            why: String::new(),
        };
        Self {
            changes: self.changes.iter().rev().map(back).collect(),
            ..self.clone()
        }
    }
}

/// One change, with its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is, in one line.
    pub title: String,
    /// The command, for a shell.
    pub command: String,
    /// The command that takes it back.
    pub undo: String,
    /// What must still be so before the command.
    pub still: Option<Still>,
    /// What must still be so before it is taken back.
    pub still_done: Option<Still>,
    /// What it prevents.
    pub prevents: Vec<Kind>,
    /// Why, in whole sentences.
    pub why: String,
}

/// A rule that must be in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Still {
    /// A rule of iptables, as `-S CHAIN NUMBER` shows it.
    Numbered {
        /// The program.
        program: &'static str,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// The number in it.
        number: usize,
        /// The rule.
        text: String,
    },
    /// A rule of nft, as `nft -s -a list chain` shows it.
    Listed {
        /// Family, table and chain.
        place: String,
        /// Its handle.
        handle: u64,
        /// The rule, or a word in it.
        text: String,
    },
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is, in one line.
    pub title: String,
    /// Its path.
    pub path: &'static str,
    /// Its mode.
    pub mode: &'static str,
    /// Written only where this folder is.
    pub only_in: &'static str,
    /// Its text.
    pub text: String,
    /// A command for when it is there; for the machine itself only, not for another root.
    pub then: Option<&'static str>,
    /// A command before it is removed.
    pub before_removal: Option<&'static str>,
    /// What it prevents.
    pub prevents: Vec<Kind>,
    /// Why, in whole sentences.
    pub why: String,
}

/// What could not be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What: a rule with its place.
    pub what: String,
    /// The reason, and what to do.
    pub why: String,
}
