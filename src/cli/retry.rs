//! `eventbridge retry`: retries failed executions, by id or by a filter.
//!
//! With a filter it creates the same task as the API, does it itself, and is recorded in the audit log. It can be
//! interrupted and run again: executions that were retried are no longer failed.

use super::command_context::CommandContext;
use super::output::Refusals;
use super::progress::Count;
use super::{bulk_filter, environment, output, signals, wrong_arguments};
use crate::bulk::{BulkFilter, RetryFilter};
use crate::domain::destination_summary::seconds_for;
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::domain::parse_time::parse_time;
use crate::store::{Counts, RetryResult};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE)]
pub(super) struct RetryArgs {
    /// The ids of the executions
    #[arg(value_name = "EXECUTION")]
    ids: Vec<i64>,
    /// All failed executions
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// The failed executions of this failure group
    #[arg(long, conflicts_with = "ids", value_name = "GROUP")]
    failure: Option<String>,
    /// Only those of this destination
    #[arg(long, conflicts_with = "ids")]
    destination: Option<String>,
    /// Only those of events of these types, such as invoice.*
    #[arg(long = "type", conflicts_with = "ids")]
    types: Option<String>,
    /// Only those with this error class
    #[arg(long, conflicts_with = "ids")]
    error_class: Option<String>,
    /// Only those created at this time or later, such as 2026-11-23 or 2026-11-23T10:00:00Z
    #[arg(long, conflicts_with = "ids", value_name = "TIME", value_parser = parse_time)]
    created_after: Option<DateTime<Utc>>,
    /// Only those created before this time
    #[arg(long, conflicts_with = "ids", value_name = "TIME", value_parser = parse_time)]
    created_before: Option<DateTime<Utc>>,
    /// Counts the executions and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

/// The ways to say what to retry.
const USAGE: &str = "eventbridge retry <EXECUTION>…
       eventbridge retry --failed | --failure <GROUP> | --destination <DESTINATION> | --type <TYPES>
                         | --error-class <ERROR_CLASS> | --created-after <TIME> [--created-before <TIME>]";

/// The result.
#[derive(Debug, Default)]
struct Totals {
    retried: u64,
    by_destination: Counts,
    refused: Refusals,
}

pub(super) async fn run(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let filter = if args.ids.is_empty() { Some(filter_of(&args)?) } else { None };
    let context = CommandContext::open_migrated().await?;
    let (totals, outcome) = if let Some(filter) = filter {
        let stop = signals::stop_requested()?;
        let progress = Count::of("executions");
        let outcome = bulk_filter::run(&context, &filter, args.dry_run, &progress, &stop).await?;
        let by_destination = outcome.counted.queued();
        let retried = by_destination.values().sum();
        (Totals { retried, by_destination, refused: Refusals::default() }, Some(outcome))
    } else {
        let mut totals = Totals::default();
        for id in &args.ids {
            retry(&context, *id, args.dry_run, &mut totals).await?;
        }
        (totals, None)
    };
    let seconds = seconds_for(&context.destinations, &totals.by_destination);
    let task = outcome.as_ref().and_then(|outcome| outcome.task.as_ref()).map(|task| task.id.to_string());
    if output::prints_json(args.json) {
        let refused = totals.refused.as_json();
        let count = if args.dry_run { "count" } else { "retried" };
        println!(
            "{}",
            json!({"dry_run": args.dry_run, count: totals.retried, "delivery_seconds": seconds, "task_id": task,
                   "refused": refused})
        );
    } else {
        let takes = output::delivery_time(seconds);
        let executions = output::counted(totals.retried, "execution");
        let verb = output::would_be(args.dry_run, totals.retried);
        println!("{executions} {verb} retried.{takes}");
        print!("{}", totals.refused);
    }
    outcome.map_or(Ok(()), |outcome| outcome.check())?;
    Ok(totals.refused.exit_code())
}

/// What the flags select.
fn filter_of(args: &RetryArgs) -> anyhow::Result<BulkFilter> {
    let is_filtered =
        args.failed || args.failure.is_some() || args.destination.is_some() || args.types.is_some();
    if !is_filtered && args.error_class.is_none() && args.created_after.is_none() {
        return Err(wrong_arguments(
            "specify what to retry: ids of executions, --failed for all, or a filter: --failure GROUP, --destination, \
             --type, --error-class, --created-after",
        ));
    }
    Ok(BulkFilter::Retry(RetryFilter {
        status: Some(Status::Failed.as_str().to_owned()),
        failure_group_id: args.failure.clone(),
        destination: args.destination.clone(),
        event_type: args.types.clone(),
        error_class: args.error_class.clone(),
        created_after: args.created_after,
        created_before: args.created_before,
        ..RetryFilter::default()
    }))
}

async fn retry(context: &CommandContext, id: i64, is_dry: bool, totals: &mut Totals) -> anyhow::Result<()> {
    let answer = if is_dry {
        would_retry(context, id).await?
    } else {
        context.store.interventions.retry(ExecutionId(id), &environment::caller()).await?
    };
    if answer == RetryResult::Done && !is_dry {
        context.store.queue.notify_workers().await;
    }
    match answer {
        RetryResult::Done => totals.retried += 1,
        RetryResult::NotFound => totals.refused.add_missing(id),
        RetryResult::PayloadRemoved => {
            totals.refused.add(id, "the payload of its event was removed");
        }
        RetryResult::Refused(status) => {
            totals.refused.add(id, format!("it cannot be retried: {}", status.why_not_retryable()));
        }
    }
    Ok(())
}

/// What retrying the execution would result in now.
async fn would_retry(context: &CommandContext, id: i64) -> anyhow::Result<RetryResult> {
    let Some(row) = context.store.reports.execution(ExecutionId(id)).await? else {
        return Ok(RetryResult::NotFound);
    };
    let status: Status = row.status.parse()?;
    if status.after(Change::Retry).is_none() {
        return Ok(RetryResult::Refused(status));
    }
    let removed = context.store.events.payload_removed(EventKey(row.event_key)).await?;
    Ok(removed.map_or(RetryResult::Done, |_| RetryResult::PayloadRemoved))
}
