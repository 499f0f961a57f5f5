//! Asks at the terminal, and removes control characters from foreign text.

use crate::domain::visible::visible;
use anyhow::{Context, bail};
use console::Term;
use secrecy::SecretString;
use std::io::{self, IsTerminal, Write};

/// Whether stdin and stderr are a terminal, so that a person can answer.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes, unless `--yes` was given. Without a terminal, the error names the flag.
pub(super) async fn agrees(question: &str, is_agreed: bool) -> anyhow::Result<bool> {
    if is_agreed {
        return Ok(true);
    }
    if !is_interactive() {
        bail!("{question} The input is not a terminal: use --yes");
    }
    let answer = ask(format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a number from 1 to `count`, and returns it as an index.
pub(super) async fn choice(question: &str, count: usize) -> anyhow::Result<usize> {
    loop {
        let answer = ask(format!("{question} [1-{count}] ")).await?;
        match answer.parse::<usize>() {
            Ok(number) if (1..=count).contains(&number) => return Ok(number - 1),
            _ => eprintln!("Enter a number from 1 to {count}."),
        }
    }
}

/// Asks for a text; empty if there is no answer.
pub(super) async fn text(question: &str) -> anyhow::Result<String> {
    ask(format!("{question} ")).await
}

/// Asks for a secret, which the terminal does not show.
pub(super) async fn secret(question: &str) -> anyhow::Result<SecretString> {
    let question = format!("{question} ");
    let read = tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        io::stderr().flush()?;
        Term::stderr().read_secure_line()
    });
    let line = read.await?.context("the answer cannot be read")?;
    match line.trim() {
        "" => bail!("the answer is missing"),
        text => Ok(SecretString::from(text)),
    }
}

/// A text from elsewhere on one line: without control characters, which could control the terminal, and with
/// hidden characters as escapes.
pub(super) fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible(&line).into_owned()
}

/// Reads one line on a thread of its own, because reading a terminal blocks.
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
