//! `eventbridge retry`: has executions tried again, by their numbers or by a filter.
//!
//! The statements are the API's, and stand in the audit. It can be broken off anywhere and begun anew:
//! what was retried is no longer among what failed.

use super::operator::{self, Operator, Refusals};
use super::progress::Count;
use super::{environment, signals};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::domain::parse_time::parse_time;
use crate::domain::subscription::TypeFilter;
use crate::domain::target::seconds_for;
use crate::store::{Answered, Counts, Cursor, ExecutionFilter, LIMIT_MAX, Window};
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::json;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// The numbers of executions
    #[arg(value_name = "EXECUTION")]
    ids: Vec<i64>,
    /// All that failed
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// What failed in this group of failures
    #[arg(long, conflicts_with = "ids", value_name = "GROUP")]
    failure: Option<String>,
    /// Only what failed at this destination
    #[arg(long, conflicts_with = "ids")]
    destination: Option<String>,
    /// Only what failed of these types, such as invoice.*
    #[arg(long = "type", conflicts_with = "ids")]
    types: Option<String>,
    /// Only what failed with this class of error
    #[arg(long, conflicts_with = "ids")]
    error_class: Option<String>,
    /// Only what was created at this time or later, such as 2026-11-23 or 2026-11-23T10:00:00Z
    #[arg(long, conflicts_with = "ids", value_name = "TIME", value_parser = parse_time)]
    created_after: Option<DateTime<Utc>>,
    /// Only what was created before this time
    #[arg(long, conflicts_with = "ids", value_name = "TIME", value_parser = parse_time)]
    created_before: Option<DateTime<Utc>>,
    /// Changes nothing, and tells how many there are
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    retried: u64,
    by_destination: Counts,
    refused: Refusals,
}

pub(super) async fn run(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let stop = signals::stop_requested()?;
    let progress = Count::of("executions");
    let tally = if args.ids.is_empty() {
        by_filter(&operator, &args, &progress, &stop).await?
    } else {
        let mut tally = Tally::default();
        for id in &args.ids {
            retry(&operator, *id, args.dry_run, &mut tally).await?;
        }
        tally
    };
    drop(progress);
    let seconds = seconds_for(&operator.targets, &tally.by_destination);
    if operator::prints_json(args.json) {
        let refused = tally.refused.as_json();
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "retried": tally.retried, "seconds": seconds, "refused": refused})
        );
    } else {
        let takes = operator::that_takes(seconds);
        let executions = operator::counted(tally.retried, "execution");
        let verb = operator::would_be(args.dry_run, tally.retried);
        println!("{executions} {verb} tried again.{takes}");
        print!("{}", tally.refused);
    }
    if stop.is_cancelled() {
        bail!("stopped before the end; what is left can be retried by the same command");
    }
    Ok(tally.refused.exit_code())
}

/// Retries all that the filter finds, page by page.
async fn by_filter(
    operator: &Operator,
    args: &RetryArgs,
    progress: &Count,
    stop: &CancellationToken,
) -> anyhow::Result<Tally> {
    let asks = args.failed || args.failure.is_some() || args.destination.is_some() || args.types.is_some();
    if !asks && args.error_class.is_none() && args.created_after.is_none() {
        bail!("say what to retry: numbers of executions, --failure GROUP, or --failed");
    }
    let filter = ExecutionFilter {
        status: Some(Status::Failed.as_str()),
        failure_group: args.failure.clone(),
        destination: args.destination.clone(),
        types: args.types.as_deref().map(TypeFilter::parse).transpose()?,
        error_class: args.error_class.clone(),
        created: Window { after: args.created_after, before: args.created_before },
        ..ExecutionFilter::default()
    };
    let status = Status::Failed.as_str();
    let detail = operator::filter_for_audit(json!({
        "status": status, "failure": args.failure, "destination": args.destination, "type": args.types,
        "error_class": args.error_class, "created_after": args.created_after, "created_before": args.created_before,
    }));
    let caller = environment::caller();
    let mut tally = Tally::default();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = operator
            .store
            .reports
            .executions(&filter, cursor, LIMIT_MAX)
            .await
            .map_err(operator::in_flags)?;
        if stop.is_cancelled() {
            return Ok(tally);
        }
        let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
        let retried = if args.dry_run {
            operator.store.interventions.would_retry_many(&ids, status).await?
        } else {
            operator.store.interventions.retry_many(&ids, status, &detail, &caller).await?
        };
        let count: u64 = retried.counts.values().sum();
        if count > 0 && !args.dry_run {
            operator.store.queue.notify_workers().await;
        }
        tally.retried += count;
        for (destination, count) in retried.counts {
            *tally.by_destination.entry(destination).or_default() += count;
        }
        progress.at(tally.retried);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(tally);
        }
    }
}

async fn retry(operator: &Operator, id: i64, is_dry: bool, tally: &mut Tally) -> anyhow::Result<()> {
    let answer = if is_dry {
        would_retry(operator, id).await?
    } else {
        operator.store.interventions.retry(ExecutionId(id), &environment::caller()).await?
    };
    if answer == Answered::Done && !is_dry {
        operator.store.queue.notify_workers().await;
    }
    match answer {
        Answered::Done => tally.retried += 1,
        Answered::NotFound => tally.refused.add_missing(id),
        Answered::PayloadRemoved => {
            tally.refused.add(id, "the payload of its event was removed: there is nothing to deliver");
        }
        Answered::Refused(status) => {
            tally.refused.add(id, format!("it is {status}: {}", status.why_not_retryable()));
        }
    }
    Ok(())
}

/// What a retry would be answered now.
async fn would_retry(operator: &Operator, id: i64) -> anyhow::Result<Answered> {
    let Some(row) = operator.store.reports.execution(ExecutionId(id)).await? else {
        return Ok(Answered::NotFound);
    };
    let status: Status = row.status.parse()?;
    if status.after(Change::Retry).is_none() {
        return Ok(Answered::Refused(status));
    }
    let removed = operator.store.events.payload_removed(EventKey(row.event_key)).await?;
    Ok(removed.map_or(Answered::Done, |_| Answered::PayloadRemoved))
}
