//! The findings, as a checklist or as JSON.

use crate::cli::output::counted;
use crate::cli::paragraph::wrapped;
use crate::cli::prompt::plain;
use crate::destinations::check::{Finding, Level};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

/// The findings about one part.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) findings: Vec<Finding>,
}

/// All findings.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The worst level.
    result: &'static str,
    sections: Vec<Section>,
}

impl Report {
    pub(super) fn of(sections: Vec<Section>) -> Self {
        let result = match worst(&sections) {
            Level::Good | Level::Note => "good",
            Level::Warning => "warnings",
            Level::Problem => "problems",
        };
        Self { result, sections }
    }

    /// 0 if everything works, 1 with warnings, 2 if something does not work.
    pub(super) fn exit_code(&self) -> u8 {
        match worst(&self.sections) {
            Level::Good | Level::Note => 0,
            Level::Warning => 1,
            Level::Problem => 2,
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The checklist, wrapped at `columns`.
    pub(super) fn to_text(&self, in_colour: bool, columns: Option<usize>) -> String {
        let mut text = String::new();
        for section in &self.sections {
            // Writing to a String cannot fail.
            let _ok = writeln!(text, "{}", painted(&section.name, "1", in_colour));
            for finding in &section.findings {
                let (mark, colour) = match finding.level {
                    Level::Good => ("✓", "32"),
                    Level::Note => ("·", "2"),
                    Level::Warning => ("!", "33"),
                    Level::Problem => ("✗", "31"),
                };
                let _ok = writeln!(
                    text,
                    "  {} {}",
                    painted(mark, colour, in_colour),
                    wrapped(&plain(&finding.what), 4, columns)
                );
                if let Some(remedy) = &finding.remedy {
                    let _ok = writeln!(text, "      → {}", wrapped(&plain(remedy), 8, columns));
                }
            }
            text.push('\n');
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    fn summary(&self) -> String {
        let count = |level: Level| {
            let findings = self.sections.iter().flat_map(|section| &section.findings);
            findings.map(|finding| u64::from(finding.level == level)).sum::<u64>()
        };
        match (count(Level::Problem), count(Level::Warning)) {
            (0, 0) => "All checks passed.".to_owned(),
            (0, warnings) => format!("Everything works, with {}.", counted(warnings, "warning")),
            (problems, 0) => format!("{} to fix.", counted(problems, "problem")),
            (problems, warnings) => {
                format!("{} to fix, and {}.", counted(problems, "problem"), counted(warnings, "warning"))
            }
        }
    }
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub(super) fn wants_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn worst(sections: &[Section]) -> Level {
    let levels = sections.iter().flat_map(|section| &section.findings).map(|finding| finding.level);
    levels.max().unwrap_or(Level::Good)
}

fn painted(text: &str, colour: &str, in_colour: bool) -> String {
    if in_colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report::of(vec![Section { name: "Part".to_owned(), findings }])
    }

    #[test]
    fn the_worst_level_decides_and_nothing_can_control_the_terminal() {
        let good = report(vec![Finding::good("a"), Finding::note("b")]);
        assert_eq!((good.exit_code(), good.result), (0, "good"));
        let mixed = report(vec![
            Finding::warning("a\u{1b}[2J", "do this"),
            Finding::problem("b", "do that"),
            Finding::good("c"),
        ]);
        assert_eq!((mixed.exit_code(), mixed.result), (2, "problems"));
        let text = mixed.to_text(false, Some(80));
        assert!(text.contains("1 problem to fix, and 1 warning.") && text.contains("→ do that"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(report(vec![Finding::warning("a", "b")]).exit_code(), 1);
    }
}
