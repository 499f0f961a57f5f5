//! Runs Postgres' own programs as the server's user, in a clean environment.

use super::account::Account;
use super::binaries::Binaries;
use super::error::PostgresError;
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How much of a program's output an error quotes.
const QUOTED_LINES_MAX: usize = 15;
const QUOTED_LINE_CHARS_MAX: usize = 400;

/// The programs, and the user who runs them.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The directory of the programs.
    pub binaries: Binaries,
    /// The user to run them as; `None` for the current one.
    pub account: Option<Account>,
}

impl Tools {
    /// A command without arguments. Dropping its process handle kills the process.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.dir.join(program));
        // The user's locale, time zone and PG* variables must not reach the server, and its user may
        // have no access to the current directory.
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/").kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs a program until it exits, with a time limit.
    pub async fn run<I>(
        &self,
        program: &str,
        arguments: I,
        input: &str,
        wait_max: Duration,
    ) -> Result<(), PostgresError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let failed = |source| PostgresError::Run { program: self.binaries.dir.join(program), source };
        let mut child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // If a program does not read all of it, its exit status shows why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = tokio::time::timeout(wait_max, child.wait_with_output())
            .await
            .map_err(|_| PostgresError::ToolTimedOut { program: program.to_owned(), waited: wait_max })?
            .map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        Err(PostgresError::Tool {
            program: program.to_owned(),
            status: output.status.to_string(),
            output: last_lines(&String::from_utf8_lossy(&printed)),
        })
    }
}

/// The last lines of a text, shortened for an error message.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .rev()
        .take(QUOTED_LINES_MAX)
        .map(|line| line.chars().take(QUOTED_LINE_CHARS_MAX).collect())
        .collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_the_end_of_the_text_and_limited() {
        let text = format!("{}last {}\n", "line\n".repeat(100), "x".repeat(10_000));
        let quoted = last_lines(&text);
        assert_eq!(quoted.lines().count(), QUOTED_LINES_MAX);
        assert!(quoted.lines().last().is_some_and(|line| line.starts_with("last x")));
        assert!(quoted.len() < QUOTED_LINES_MAX * (QUOTED_LINE_CHARS_MAX + 1));
    }
}
