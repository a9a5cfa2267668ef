//! The comment that a changed rule carries, so that the way back can be read from the rules alone.

/// What begins every comment of ours.
const NAME: &str = "iax2-natcheck";

/// The mark of one rule. Interface and number tell it from others in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The way out that it was done for.
    pub(super) interface: String,
    /// The handle or the number that the rule had.
    pub(super) number: u64,
    /// What was done to it.
    pub(super) done: Done,
}

/// What was done to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It stood here before, with this in place of its target, and this comment (nft has one only).
    Was(String, Option<String>),
    /// It was not there.
    Added,
}

/// The longest comment that nft takes, in octets (`NFTNL_UDATA_COMMENT_MAXLEN`), without its end.
const LONGEST: usize = 127;

impl Mark {
    /// How the comment begins.
    pub(super) fn start(&self) -> String {
        format!("{NAME} {} {}: ", self.interface, self.number)
    }

    /// The comment.
    pub(super) fn comment(&self) -> String {
        let text = self.start()
            + &match &self.done {
                Done::Was(words, None) => format!("was {words}"),
                Done::Was(words, Some(comment)) => format!("was {words}; {comment}"),
                Done::Added => "added".to_owned(),
            };
        let ends = text
            .char_indices()
            .map(|(at, letter)| at + letter.len_utf8());
        let fits = ends.take_while(|end| *end <= LONGEST).last().unwrap_or(0);
        text.get(..fits).unwrap_or_default().to_owned()
    }

    /// Reads it.
    pub(super) fn read(comment: &str) -> Option<Self> {
        let (of, done) = comment.strip_prefix(NAME)?.trim_start().split_once(": ")?;
        let done = match done.strip_prefix("was ") {
            Some(words) => match words.split_once("; ") {
                Some((words, comment)) => Done::Was(words.to_owned(), Some(comment.to_owned())),
                None => Done::Was(words.to_owned(), None),
            },
            None if done == "added" => Done::Added,
            None => return None,
        };
        let (interface, number) = of.split_once(' ')?;
        Some(Self {
            interface: interface.to_owned(),
            number: number.parse().ok()?,
            done,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(done: Done) -> Mark {
        Mark {
            interface: "ppp0".into(),
            number: 6,
            done,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for done in [
            Done::Added,
            Done::Was("MASQUERADE --random".into(), None),
            Done::Was("masquerade".into(), Some("!fw4: wan".into())),
        ] {
            let mark = mark(done);
            assert_eq!(Mark::read(&mark.comment()), Some(mark));
        }
        assert_eq!(Mark::read("somebody else's"), None);
        let done = Done::Was("masquerade".into(), Some("ä".repeat(100)));
        let long = mark(done).comment();
        assert!(long.len() <= LONGEST);
        let read = Mark::read(&long).unwrap();
        assert!(matches!(read.done, Done::Was(words, _) if words == "masquerade"));
    }
}
