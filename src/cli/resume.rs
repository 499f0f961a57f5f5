//! `eventbridge resume`: lets a destination go on, whatever it is held for.
//!
//! The statement is the API's, and stands in the audit. Where it was trouble that held the destination
//! and the trouble is still there, the next delivery holds it again.

use super::environment;
use super::operator::{self, Operator};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The destination, such as notion
    destination: String,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let name = operator.configured(&args.destination)?;
    let was_held = operator.store.destinations.resume_by_hand(name, &environment::caller()).await?;
    if was_held {
        operator.store.queue.notify_workers().await;
    }
    let waiting = operator.waiting_for(name).await?;
    if operator::prints_json(args.json) {
        println!(
            "{}",
            json!({"destination": name, "state": "working", "was_held": was_held, "waiting": waiting.count})
        );
    } else if was_held {
        println!("{name} goes on. {waiting}.");
    } else {
        println!("{name} was not held. {waiting}.");
    }
    Ok(ExitCode::SUCCESS)
}
