//! Where in a TOML file something is wrong, and the values that several files share.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use toml::Spanned;

use crate::config::ConfigError;

/// A file under examination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its text.
    pub(crate) text: &'a str,
    /// Its name, for errors; paths in it are relative to it.
    pub(crate) path: &'a Path,
}

impl Place<'_> {
    /// An error where `span` begins, or at the first line.
    pub(crate) fn error(self, span: Option<Range<usize>>, what: &str) -> ConfigError {
        let before = span
            .and_then(|span| self.text.get(..span.start))
            .unwrap_or_default();
        ConfigError::Invalid {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            what: what.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }

    /// An error at a value.
    pub(crate) fn at<T>(self, value: &Spanned<T>, what: &str) -> ConfigError {
        self.error(Some(value.span()), what)
    }

    /// A path of the file, seen from where the program runs.
    pub(crate) fn beside(self, given: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(given)
    }

    /// One of the words that a key knows.
    pub(crate) fn word<T: Copy>(
        self,
        key: &str,
        value: &Spanned<String>,
        known: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        known
            .iter()
            .find(|(word, _)| *word == value.get_ref())
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let words: Vec<String> = known
                    .iter()
                    .map(|(word, _)| format!("\"{word}\""))
                    .collect();
                self.at(
                    value,
                    &format!(
                        "{key} knows no \"{}\"; use {}",
                        value.get_ref(),
                        words.join(", ")
                    ),
                )
            })
    }
}
