//! `eventbridge replay`: delivers events again, by id or by a filter, to the destinations that match now.
//!
//! It creates the same task as the API, does it itself, and is recorded in the audit log. It can be interrupted and
//! run again: executions that are pending or running stay unchanged.

use super::command_context::CommandContext;
use super::progress::Count;
use super::{bulk_filter, output, signals, wrong_arguments};
use crate::bulk::{BulkFilter, ReplayFilter};
use crate::domain::destination_summary::seconds_for;
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_time;
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The id of an event: the service's own or the sender's
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    /// Events of these types, such as invoice.*
    #[arg(long = "type", conflicts_with = "event")]
    types: Option<String>,
    /// Events about the object of this id
    #[arg(long, conflicts_with = "event")]
    object_id: Option<String>,
    /// Events of this connected account
    #[arg(long, conflicts_with = "event")]
    account: Option<String>,
    /// Events with an execution in this state
    #[arg(long, conflicts_with = "event")]
    status: Option<Status>,
    /// Events received at this time or later, such as 2026-11-23 or 2026-11-23T10:00:00Z
    #[arg(long, conflicts_with = "event", value_name = "TIME", value_parser = parse_time)]
    received_after: Option<DateTime<Utc>>,
    /// Events received before this time
    #[arg(long, conflicts_with = "event", value_name = "TIME", value_parser = parse_time)]
    received_before: Option<DateTime<Utc>>,
    /// Only to this destination
    #[arg(long)]
    destination: Option<String>,
    /// Counts the events and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let filter = filter_of(&args)?;
    let context = CommandContext::open_migrated().await?;
    args.destination.as_deref().map(|name| context.destination(name)).transpose()?;
    if let Some(event) = &args.event {
        require_event(&context, event).await?;
    }
    let stop = signals::stop_requested()?;
    let progress = Count::of("events");
    let outcome = bulk_filter::run(&context, &filter, args.dry_run, &progress, &stop).await?;
    drop(progress);
    let counted = &outcome.counted;
    let (created, again) = (counted.created.values().sum::<u64>(), counted.again.values().sum::<u64>());
    let seconds = seconds_for(&context.destinations, &counted.queued());
    let task = outcome.task.as_ref().map(|task| task.id.to_string());
    if output::prints_json(args.json) {
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "events": counted.examined, "created": created, "again": again,
                   "delivery_seconds": seconds, "task_id": task})
        );
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        println!(
            "{}: {} {would}created, {again} {would}retried.{}",
            output::counted(counted.examined, "event"),
            output::counted(created, "execution"),
            output::delivery_time(seconds)
        );
    }
    outcome.check()?;
    Ok(ExitCode::SUCCESS)
}

async fn require_event(context: &CommandContext, event: &str) -> anyhow::Result<()> {
    let key = match event.parse() {
        Ok(number) => Some(EventKey(number)),
        Err(_) => context.store.events.event_key(event).await?,
    };
    let row = match key {
        Some(key) => context.store.events.event(key).await?,
        None => None,
    };
    if row.is_none() {
        bail!("there is no event with this id");
    }
    Ok(())
}

/// What the arguments select.
fn filter_of(args: &ReplayArgs) -> anyhow::Result<BulkFilter> {
    let is_filtered = args.event.is_some()
        || args.types.is_some()
        || args.object_id.is_some()
        || args.received_after.is_some();
    if !is_filtered && args.account.is_none() && args.status.is_none() {
        return Err(wrong_arguments(
            "specify what to replay: the id of an event, --type, --object-id, --status, --account or --received-after",
        ));
    }
    Ok(BulkFilter::Replay(ReplayFilter {
        event_id: args.event.clone(),
        event_type: args.types.clone(),
        object_id: args.object_id.clone(),
        account: args.account.clone(),
        status: args.status.map(|status| status.as_str().to_owned()),
        received_after: args.received_after,
        received_before: args.received_before,
        destination: args.destination.clone(),
        ..ReplayFilter::default()
    }))
}
