//! `eventbridge hold`: nothing is delivered to a destination until a person resumes it.
//!
//! The statement is the API's, and stands in the audit.

use super::operator::{self, Operator};
use super::{environment, paragraph};
use crate::domain::audit::{self, HOLD_NOTE_MAX};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct HoldArgs {
    /// The destination, such as notion
    destination: String,
    /// Why, for those who wonder that nothing is delivered
    #[arg(long, value_parser = note)]
    note: String,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: HoldArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let name = operator.configured(&args.destination)?;
    operator.store.destinations.hold_by_hand(name, &args.note, &environment::caller()).await?;
    let waiting = operator.waiting_for(name).await?;
    if operator::prints_json(args.json) {
        println!("{}", json!({"destination": name, "state": "held", "waiting": waiting.count}));
    } else {
        let said = format!(
            "{name} is held: nothing is delivered to it until \"eventbridge resume {name}\". {waiting} by now; \
             what comes in waits too and burns no attempts."
        );
        println!("{}", paragraph::wrapped(&said, 0, paragraph::columns()));
    }
    Ok(ExitCode::SUCCESS)
}

fn note(text: &str) -> Result<String, String> {
    let note = audit::note(text, HOLD_NOTE_MAX).map(str::to_owned);
    note.ok_or_else(|| format!("must have 1 to {HOLD_NOTE_MAX} characters, not only blanks"))
}
