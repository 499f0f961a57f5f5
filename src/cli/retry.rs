//! `eventbridge retry`: retries failed executions, by id or by a filter.
//!
//! It runs the same statements as the API and is recorded in the audit log. It can be interrupted and run
//! again: executions that were retried are no longer failed.

use super::command_context::CommandContext;
use super::output::Refusals;
use super::progress::Count;
use super::{bulk_filter, environment, output, signals};
use crate::domain::destination_summary::seconds_for;
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::domain::parse_time::parse_time;
use crate::store::{Counts, Cursor, ExecutionFilter, LIMIT_MAX, RetryResult, Window};
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::json;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

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
    let context = CommandContext::open_migrated().await?;
    let stop = signals::stop_requested()?;
    let progress = Count::of("executions");
    let totals = if args.ids.is_empty() {
        by_filter(&context, &args, &progress, &stop).await?
    } else {
        let mut totals = Totals::default();
        for id in &args.ids {
            retry(&context, *id, args.dry_run, &mut totals).await?;
        }
        totals
    };
    drop(progress);
    let seconds = seconds_for(&context.destinations, &totals.by_destination);
    if output::prints_json(args.json) {
        let refused = totals.refused.as_json();
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "retried": totals.retried, "seconds": seconds, "refused": refused})
        );
    } else {
        let takes = output::delivery_time(seconds);
        let executions = output::counted(totals.retried, "execution");
        let verb = output::would_be(args.dry_run, totals.retried);
        println!("{executions} {verb} retried.{takes}");
        print!("{}", totals.refused);
    }
    if stop.is_cancelled() {
        bail!("stopped before the end; run the same command again for the remaining executions");
    }
    Ok(totals.refused.exit_code())
}

/// Retries everything the filter finds, page by page.
async fn by_filter(
    context: &CommandContext,
    args: &RetryArgs,
    progress: &Count,
    stop: &CancellationToken,
) -> anyhow::Result<Totals> {
    let is_filtered =
        args.failed || args.failure.is_some() || args.destination.is_some() || args.types.is_some();
    if !is_filtered && args.error_class.is_none() && args.created_after.is_none() {
        bail!(
            "specify what to retry: ids of executions, --failed for all, or a filter: --failure GROUP, --destination, \
             --type, --error-class, --created-after"
        );
    }
    let filter = ExecutionFilter {
        status: Some(Status::Failed.as_str()),
        failure_group: args.failure.clone(),
        destination: args.destination.clone(),
        types: context.types(args.types.as_deref())?,
        error_class: args.error_class.clone(),
        created: Window { after: args.created_after, before: args.created_before },
        ..ExecutionFilter::default()
    };
    let status = Status::Failed.as_str();
    let detail = bulk_filter::for_audit(json!({
        "status": status, "failure": args.failure, "destination": args.destination, "type": args.types,
        "error_class": args.error_class, "created_after": args.created_after, "created_before": args.created_before,
    }));
    let caller = environment::caller();
    let mut totals = Totals::default();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = context
            .store
            .reports
            .executions(&filter, cursor, LIMIT_MAX)
            .await
            .map_err(bulk_filter::with_flags)?;
        if stop.is_cancelled() {
            return Ok(totals);
        }
        let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
        let retried = if args.dry_run {
            context.store.interventions.would_bulk_retry(&ids, status).await?
        } else {
            context.store.interventions.bulk_retry(&ids, status, &detail, &caller).await?
        };
        let count: u64 = retried.counts.values().sum();
        if count > 0 && !args.dry_run {
            context.store.queue.notify_workers().await;
        }
        totals.retried += count;
        for (destination, count) in retried.counts {
            *totals.by_destination.entry(destination).or_default() += count;
        }
        progress.at(totals.retried);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(totals);
        }
    }
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
            totals.refused.add(id, format!("it is {status}: {}", status.why_not_retryable()));
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
