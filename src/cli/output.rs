//! What commands print: JSON or text, counts, and how long deliveries will take.

use crate::domain::humanize::humanize;
use crate::domain::task::TaskId;
use serde_json::{Value, json};
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Whether to print JSON: if it is asked for, or if the output is not a terminal.
pub(super) fn prints_json(is_asked: bool) -> bool {
    is_asked || !std::io::stdout().is_terminal()
}

/// A number of things: `1 event`, `2 events`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The auxiliary verb for `count` things: what happened, or what a dry run would do.
pub(super) const fn would_be(is_dry: bool, count: u64) -> &'static str {
    match (is_dry, count) {
        (true, _) => "would be",
        (false, 1) => "is",
        (false, _) => "are",
    }
}

/// A sentence, after a space, on how long deliveries take at the rate of their connections; empty if
/// that is unknown.
pub(super) fn delivery_time(seconds: Option<u64>) -> String {
    let sentence = |seconds| {
        let time = humanize(Duration::from_secs(seconds));
        format!(" Within the rate limits this takes {time}.")
    };
    seconds.filter(|seconds| *seconds > 0).map(sentence).unwrap_or_default()
}

/// Executions and tasks that stay unchanged, each with the reason.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(Refused, String)>);

#[derive(Debug)]
enum Refused {
    Execution(i64),
    Task(TaskId),
}

impl Refusals {
    pub(super) fn add(&mut self, id: i64, reason: impl Into<String>) {
        self.0.push((Refused::Execution(id), reason.into()));
    }

    pub(super) fn add_missing(&mut self, id: i64) {
        self.add(id, "there is no execution with this id");
    }

    pub(super) fn add_task(&mut self, id: TaskId, reason: impl Into<String>) {
        self.0.push((Refused::Task(id), reason.into()));
    }

    pub(super) fn as_json(&self) -> Value {
        let refusals = self.0.iter().map(|(refused, reason)| match refused {
            Refused::Execution(id) => json!({"execution_id": id, "reason": reason}),
            Refused::Task(id) => json!({"task_id": id.to_string(), "reason": reason}),
        });
        refusals.collect()
    }

    /// Failure if there is a refusal.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(refused, reason)| match refused {
            Refused::Execution(id) => writeln!(f, "  execution {id} is unchanged: {reason}"),
            Refused::Task(id) => writeln!(f, "  {id} is unchanged: {reason}"),
        })
    }
}
