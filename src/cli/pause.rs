//! `eventbridge pause`: stops deliveries to a destination until it is resumed.
//!
//! It runs the same statement as the API and is recorded in the audit log.

use super::command_context::CommandContext;
use super::{environment, output, paragraph};
use crate::domain::audit::{self, PAUSE_NOTE_MAX};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The destination's name, such as notion
    destination: String,
    /// The reason, shown wherever the destination is shown
    #[arg(long, value_parser = note)]
    note: String,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let name = context.destination(&args.destination)?;
    context.store.destinations.pause_manually(name, &args.note, &environment::caller()).await?;
    let waiting = context.waiting_for(name).await?;
    if output::prints_json(args.json) {
        println!("{}", json!({"destination": name, "state": "paused", "waiting": waiting.count}));
    } else {
        let text = format!(
            "{name} is paused until \"eventbridge resume {name}\". {waiting}. New executions wait too and use no \
             attempts."
        );
        println!("{}", paragraph::wrapped(&text, 0, paragraph::columns()));
    }
    Ok(ExitCode::SUCCESS)
}

fn note(text: &str) -> Result<String, String> {
    let note = audit::note(text, PAUSE_NOTE_MAX).map(str::to_owned);
    note.ok_or_else(|| format!("must have 1 to {PAUSE_NOTE_MAX} characters that are not all blank"))
}
