//! Lines of at most 80 columns.

/// The width of every line.
pub(super) const COLUMNS: usize = 80;

/// Breaks a text between words; the first line begins with `first`, the others with `rest`. A word
/// that is wider than a line stands alone.
pub(in crate::report) fn paragraph(text: &str, first: &str, rest: &str) -> Vec<String> {
    let mut lines = vec![];
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && width(&line) + 1 + width(word) > COLUMNS {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

/// Breaks an item of a list. What stands behind its last colon is something to paste: where the
/// item is too wide for one line, that part gets a line of its own if it fits there.
pub(super) fn item(text: &str, first: &str, rest: &str) -> Vec<String> {
    let whole = paragraph(text, first, rest);
    let Some((words, paste)) = text.rsplit_once(": ").filter(|_| whole.len() > 1) else {
        return whole;
    };
    let indent = format!("{rest}  ");
    if width(&indent) + width(paste) > COLUMNS {
        return whole;
    }
    let mut lines = paragraph(&format!("{words}:"), first, rest);
    lines.push(indent + paste);
    lines
}

/// How many columns a text takes; the texts here are Latin.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_pasted_stays_on_one_line() {
        let item = item(
            "raise the UDP timeout to 65 s or more: \
             sysctl -w net.netfilter.nf_conntrack_udp_timeout=65",
            "   - ",
            "     ",
        );
        assert_eq!(
            item,
            [
                "   - raise the UDP timeout to 65 s or more:",
                "       sysctl -w net.netfilter.nf_conntrack_udp_timeout=65"
            ]
        );
    }

    #[test]
    fn a_wide_word_is_not_broken() {
        let wide = "x".repeat(90);
        assert_eq!(
            paragraph(&format!("a {wide} b"), "", "  "),
            ["a".to_owned(), format!("  {wide}"), "  b".to_owned()]
        );
        assert_eq!(paragraph("", "- ", "  "), ["- "]);
    }
}
