//! Tables for the terminal, with columns as wide as their content.

use super::prompt::plain;
use console::measure_text_width;
use std::fmt::Write as _;

/// The widest a cell may be, in characters.
const CELL_MAX: usize = 44;

/// A table with a line under its header.
pub(super) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &[String]| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
            cells.map(|cell| measure_text_width(cell)).max().unwrap_or_default()
        })
        .collect();
    let line = widths.iter().map(|width| "─".repeat(*width)).collect();
    let mut text = String::new();
    for row in [head, line].iter().chain(&rows) {
        let padded: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - measure_text_width(cell))))
            .collect();
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "  {}", padded.join("  ").trim_end());
    }
    text
}

/// Without characters that could control the terminal, and cut to the widest cell.
fn clean(cell: &str) -> String {
    let plain = plain(cell);
    match plain.char_indices().nth(CELL_MAX) {
        None => plain,
        Some(_) => plain.chars().take(CELL_MAX - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_what_they_hold_and_no_cell_can_drive_the_terminal() {
        let rows = vec![
            vec!["a".to_owned(), "\u{1b}[31mred".to_owned()],
            vec!["long one".to_owned(), "x".repeat(60)],
        ];
        let text = render(&["first", "second"], &rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "  first     second");
        assert_eq!(lines[2], "  a          [31mred");
        assert!(lines[3].ends_with('…') && !text.contains('\u{1b}'));
    }
}
