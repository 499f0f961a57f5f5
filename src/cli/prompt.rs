//! Questions to the person at the terminal, and lines that no title can break.

use anyhow::{Context, bail};
use std::io::{self, IsTerminal, Write};

/// Whether somebody is there to answer.
pub(super) fn is_answered() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes; `--yes` has said it already. Where nobody can answer, that is an error which
/// names the flag.
pub(super) async fn agrees(question: &str, is_agreed: bool) -> anyhow::Result<bool> {
    if is_agreed {
        return Ok(true);
    }
    if !is_answered() {
        bail!("{question} Nobody is there to answer: give --yes");
    }
    let answer = ask(format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for one of so many, counted from one.
pub(super) async fn choice(question: &str, count: usize) -> anyhow::Result<usize> {
    loop {
        let answer = ask(format!("{question} [1-{count}] ")).await?;
        match answer.parse::<usize>() {
            Ok(number) if (1..=count).contains(&number) => return Ok(number - 1),
            _ => eprintln!("That is none of them."),
        }
    }
}

/// A text of somebody else's, fit for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Reads one line, on a thread of its own: reading a terminal blocks.
async fn ask(question: String) -> anyhow::Result<String> {
    tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        io::stderr().flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line).context("the answer cannot be read")? == 0 {
            bail!("the answer is missing");
        }
        Ok(line.trim().to_owned())
    })
    .await?
}
