//! `eventbridge resume`: resumes a destination, whatever paused it.
//!
//! It runs the same statement as the API and is recorded in the audit log. If the cause persists, the next
//! delivery pauses the destination again.

use super::command_context::CommandContext;
use super::{environment, output};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The destination's name, such as notion
    destination: String,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let name = context.destination(&args.destination)?;
    // Before workers claim them.
    let waiting = context.waiting_for(name).await?;
    let was_paused = context.store.destinations.resume_manually(name, &environment::caller()).await?;
    if was_paused {
        context.store.queue.notify_workers().await;
    }
    if output::prints_json(args.json) {
        println!(
            "{}",
            json!({"destination": name, "state": "working", "was_paused": was_paused, "waiting": waiting.count})
        );
    } else if was_paused {
        println!("{name} is resumed. {waiting}. If the cause persists, the next delivery pauses it again.");
    } else {
        println!("{name} was not paused. {waiting}.");
    }
    Ok(ExitCode::SUCCESS)
}
