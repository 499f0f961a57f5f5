//! docs/performance.md's tables and its picture, from the latest figures.

mod picture;
mod table;

use crate::figures::Results;
use anyhow::Context;
use std::fs;
use std::path::PathBuf;

/// The generated text stands between these lines of the document.
const BEGIN: &str = "<!-- written by cargo bench --bench load -- --write -->";
const END: &str = "<!-- until here -->";

/// Writes both.
pub fn write(results: &Results) -> anyhow::Result<()> {
    let docs = PathBuf::from(env!("EVENTBRIDGE_CHECKOUT")).join("docs");
    let document = docs.join("performance.md");
    let text = fs::read_to_string(&document).context("reading docs/performance.md")?;
    let (before, rest) =
        text.split_once(BEGIN).context("docs/performance.md lacks the line before the tables")?;
    let (_, after) = rest.split_once(END).context("docs/performance.md lacks the line after the tables")?;
    let tables = table::tables(results);
    fs::write(&document, format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))?;
    fs::write(docs.join("pictures/performance.svg"), picture::picture(results))?;
    Ok(())
}
