//! Texts for people at a terminal, broken between words where the terminal ends.

use console::{Term, measure_text_width};

/// Nobody reads in fewer columns.
const COLUMNS_MIN: usize = 20;

/// How wide the terminal is that stdout leads to; nothing where it leads elsewhere.
pub(super) fn columns() -> Option<usize> {
    Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// The text in lines of at most so many columns. The first line begins behind `indent` columns that are
/// there already; the others are moved in by as many. A word that is longer stays whole, so that a link
/// can be copied.
pub(super) fn wrapped(text: &str, indent: usize, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let room = columns.saturating_sub(indent).max(COLUMNS_MIN);
    let mut lines = String::with_capacity(text.len() + text.len() / 8);
    let mut used = 0;
    for word in text.split(' ') {
        let width = measure_text_width(word);
        if used > 0 && used + 1 + width > room {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            used = 0;
        } else if !lines.is_empty() {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += width;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_long_words_stay_whole() {
        let told = |text: &str| wrapped(text, 2, Some(24));
        assert_eq!(told("one two three four five six"), "one two three four\n  five six");
        assert_eq!(
            told("see https://example.com/a/long/link there"),
            "see\n  https://example.com/a/long/link\n  there"
        );
        assert_eq!(wrapped("one two three four five six", 2, None), "one two three four five six");
        assert_eq!(told(""), "");
    }
}
