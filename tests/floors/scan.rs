//! Rust source as a list of tokens: comments dropped, literals kept as literals, code that only
//! exists under `cfg(test)` cut out, and the paths it mentions spelt out in full.

/// A piece of Rust source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An identifier or keyword, or a number.
    Word(String),
    /// The text of a string literal.
    Text(String),
    /// `::`
    Path,
    /// Any other character of punctuation.
    Mark(char),
}

/// A [`Piece`] and the line it begins on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub piece: Piece,
    /// Where it is.
    pub line: usize,
}

impl Token {
    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.piece, Piece::Word(w) if w == word)
    }

    /// Whether it is this mark.
    pub fn is_mark(&self, mark: char) -> bool {
        self.piece == Piece::Mark(mark)
    }
}

/// A path that the source mentions: `a::b::c`, or one branch of a `use` tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its segments, `*` for a glob.
    pub segments: Vec<String>,
    /// How many inline `mod` blocks it stands in.
    pub depth: usize,
    /// The line it begins on.
    pub line: usize,
}

/// The tokens of `source`.
pub fn tokens(source: &str) -> Vec<Token> {
    Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
        tokens: Vec::new(),
    }
    .run()
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn run(mut self) -> Vec<Token> {
        while let Some(c) = self.peek(0) {
            let line = self.line;
            let piece = match c {
                '/' if self.peek(1) == Some('/') => {
                    self.skip_while(|c| c != '\n');
                    None
                }
                '/' if self.peek(1) == Some('*') => {
                    self.skip_block_comment();
                    None
                }
                '"' => Some(Piece::Text(self.quoted())),
                '\'' => self.quote_mark(),
                _ if c.is_alphanumeric() || c == '_' => Some(self.word_or_prefixed_literal()),
                ':' if self.peek(1) == Some(':') => {
                    self.bump();
                    self.bump();
                    Some(Piece::Path)
                }
                _ => {
                    self.bump();
                    (!c.is_whitespace()).then_some(Piece::Mark(c))
                }
            };
            if let Some(piece) = piece {
                self.tokens.push(Token { piece, line });
            }
        }
        self.tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.bump();
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self) -> String {
        let mut text = String::new();
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '"' => break,
                '\\' => {
                    text.push(c);
                    text.extend(self.bump());
                }
                _ => text.push(c),
            }
        }
        text
    }

    /// After the `r` of a raw string: `#`s, a quote, text, a quote and as many `#`s.
    fn raw_quoted(&mut self) -> String {
        let mut fence = 0;
        while self.peek(0) == Some('#') {
            fence += 1;
            self.bump();
        }
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '"' && (0..fence).all(|i| self.peek(i) == Some('#')) {
                self.at += fence;
                break;
            }
            text.push(c);
        }
        text
    }

    /// A character literal, which is dropped like any value, or a lifetime.
    fn quote_mark(&mut self) -> Option<Piece> {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.skip_while(|c| c != '\'');
            self.bump();
            None
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
            None
        } else {
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
            None
        }
    }

    fn word_or_prefixed_literal(&mut self) -> Piece {
        let begin = self.at;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let word: String = self.chars[begin..self.at].iter().collect();
        let raw = self.peek(0) == Some('"')
            || (self.peek(0) == Some('#') && matches!(self.peek(1), Some('"' | '#')));
        match (word.as_str(), self.peek(0)) {
            ("r" | "br" | "cr", _) if raw => Piece::Text(self.raw_quoted()),
            ("b" | "c", Some('"')) => Piece::Text(self.quoted()),
            ("r", Some('#')) => {
                self.bump(); // r#type: a raw identifier
                self.word_or_prefixed_literal()
            }
            _ => Piece::Word(word),
        }
    }
}

/// The tokens that are compiled without `cfg(test)`, and the names of the modules that are declared
/// under it and live in files of their own.
pub fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut files) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = test_attribute(&tokens[at..]) {
            let end = at + item_length(&tokens[at..], after);
            let item = &tokens[at..end];
            if let Some(i) = item.iter().position(|t| t.is_word("mod"))
                && let Some(Piece::Word(name)) = item.get(i + 1).map(|t| &t.piece)
                && item.last().is_some_and(|t| t.is_mark(';'))
            {
                files.push(name.clone());
            }
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    (kept, files)
}

/// The length of a `#[cfg(test)]` or `#[test]` that `tokens` begins with.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let length = attribute_length(tokens)?;
    let words: Vec<_> = tokens[2..length - 1]
        .iter()
        .map(|t| t.piece.clone())
        .collect();
    let word = |w: &str| Piece::Word(w.to_owned());
    let cfg = [
        word("cfg"),
        Piece::Mark('('),
        word("test"),
        Piece::Mark(')'),
    ];
    (words == cfg || words == [word("test")]).then_some(length)
}

/// The length of an outer attribute that `tokens` begins with.
fn attribute_length(tokens: &[Token]) -> Option<usize> {
    if !(tokens.first()?.is_mark('#') && tokens.get(1)?.is_mark('[')) {
        return None;
    }
    Some(1 + group_length(&tokens[1..]))
}

/// The length of the item whose attribute takes the first `after` tokens: up to its semicolon, or
/// to the end of its braces.
fn item_length(tokens: &[Token], after: usize) -> usize {
    let mut at = after;
    let mut angles = 0_i32; // a comma between generics ends nothing
    while let Some(token) = tokens.get(at) {
        match token.piece {
            Piece::Mark(';') => return at + 1,
            Piece::Mark(',') if angles <= 0 => return at + 1,
            Piece::Mark('<') => {
                angles += 1;
                at += 1;
            }
            Piece::Mark('>') => {
                angles -= i32::from(!tokens[at - 1].is_mark('-'));
                at += 1;
            }
            Piece::Mark('{') => {
                at += group_length(&tokens[at..]);
                // `use a::{b, c};` and `const X: T = T { … };` go on after their braces.
                return at + usize::from(tokens.get(at).is_some_and(|t| t.is_mark(';')));
            }
            Piece::Mark('(' | '[') => at += group_length(&tokens[at..]),
            _ => at += 1,
        }
    }
    at
}

/// The length of the bracketed group that `tokens` begins with, brackets included.
fn group_length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.piece {
            Piece::Mark('(' | '[' | '{') => depth += 1,
            Piece::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Every path in `tokens`: expressions, types and each branch of every `use` tree.
pub fn mentions(tokens: &[Token]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut braces = Vec::new(); // for each open brace, whether a `mod` opened it
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let depth = braces.iter().filter(|inline| **inline).count();
        match &token.piece {
            Piece::Mark('{') => {
                let is_mod = at >= 2 && tokens[at - 2].is_word("mod");
                braces.push(is_mod);
                at += 1;
            }
            Piece::Mark('}') => {
                braces.pop();
                at += 1;
            }
            Piece::Word(_) => {
                let in_use = at > 0 && tokens[at - 1].is_word("use")
                    || at > 1
                        && tokens[at - 1].piece == Piece::Path
                        && tokens[at - 2].is_word("use");
                at += tree(&tokens[at..], in_use, &[], depth, &mut found);
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads one path, or in a `use` one tree, below `prefix`; returns how many tokens it took.
fn tree(
    tokens: &[Token],
    in_use: bool,
    prefix: &[String],
    depth: usize,
    found: &mut Vec<Mention>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = 0;
    let line = tokens.first().map_or(0, |t| t.line);
    loop {
        match tokens.get(at).map(|t| &t.piece) {
            Some(Piece::Word(word)) => segments.push(word.clone()),
            Some(Piece::Mark('*')) if in_use => segments.push("*".to_owned()),
            Some(Piece::Mark('{')) if in_use => {
                let end = at + group_length(&tokens[at..]);
                at += 1;
                while at + 1 < end {
                    if tokens[at].is_mark(',') {
                        at += 1;
                    } else {
                        at += tree(&tokens[at..end - 1], true, &segments, depth, found).max(1);
                    }
                }
                return end;
            }
            _ => break,
        }
        at += 1;
        if tokens.get(at).map(|t| &t.piece) != Some(&Piece::Path) {
            break;
        }
        at += 1;
    }
    // `as name`: the name is not a path of its own.
    if in_use && tokens.get(at).is_some_and(|t| t.is_word("as")) {
        at += 2;
    }
    found.push(Mention {
        segments,
        depth,
        line,
    });
    at
}
