//! Wraps texts between words at the width of the terminal.

use console::{Term, measure_text_width};

/// The least width that texts are wrapped at.
const COLUMNS_MIN: usize = 20;

/// The width of the terminal on stdout, in columns; `None` if stdout is no terminal.
pub(super) fn columns() -> Option<usize> {
    Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// The text in lines of at most `columns`. The first line begins after `indent` columns that are already
/// filled; the others are indented by as many. A longer word stays whole, so that a link can be copied.
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
        let wrap = |text: &str| wrapped(text, 2, Some(24));
        assert_eq!(wrap("one two three four five six"), "one two three four\n  five six");
        assert_eq!(
            wrap("see https://example.com/a/long/link there"),
            "see\n  https://example.com/a/long/link\n  there"
        );
        assert_eq!(wrapped("one two three four five six", 2, None), "one two three four five six");
        assert_eq!(wrap(""), "");
    }
}
