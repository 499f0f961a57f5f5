//! `eventbridge replay`: delivers events again, by id or by a filter, to the destinations that match now.
//!
//! It runs the same statements as the API and is recorded in the audit log. It can be interrupted and run
//! again: executions that are pending or running stay unchanged.

use super::command_context::CommandContext;
use super::progress::Count;
use super::{bulk_filter, environment, output, signals};
use crate::domain::destination_summary::seconds_for;
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_time;
use crate::store::{Counts, Cursor, EventFilter, EventRow, LIMIT_MAX, Window};
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
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

/// The result.
#[derive(Debug, Default)]
struct Totals {
    events: u64,
    created: u64,
    again: u64,
    by_destination: Counts,
}

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    args.destination.as_deref().map(|name| context.destination(name)).transpose()?;
    let stop = signals::stop_requested()?;
    let totals = match &args.event {
        Some(event) => one(&context, &args, event).await?,
        None => by_filter(&context, &args, &stop).await?,
    };
    let seconds = seconds_for(&context.destinations, &totals.by_destination);
    if output::prints_json(args.json) {
        let Totals { events, created, again, .. } = totals;
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "events": events, "created": created, "again": again, "seconds": seconds})
        );
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        println!(
            "{}: {} {would}created, {} {would}retried.{}",
            output::counted(totals.events, "event"),
            output::counted(totals.created, "execution"),
            totals.again,
            output::delivery_time(seconds)
        );
    }
    if stop.is_cancelled() {
        bail!("stopped before the end; run the same command again for the remaining events");
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(context: &CommandContext, args: &ReplayArgs, event: &str) -> anyhow::Result<Totals> {
    let key = match event.parse() {
        Ok(number) => Some(EventKey(number)),
        Err(_) => context.store.events.event_key(event).await?,
    };
    let row = match key {
        Some(key) => context.store.events.event(key).await?,
        None => None,
    };
    let Some(row) = row else { bail!("there is no event with this id") };
    let mut totals = Totals::default();
    replay(context, args, &[row], &json!({"filter": {"event": event}}), &mut totals).await?;
    Ok(totals)
}

/// Replays everything the filter finds, page by page.
async fn by_filter(
    context: &CommandContext,
    args: &ReplayArgs,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<Totals> {
    let is_filtered = args.types.is_some() || args.object_id.is_some() || args.received_after.is_some();
    if !is_filtered && args.account.is_none() && args.status.is_none() {
        bail!(
            "specify what to replay: the id of an event, --type, --object-id, --status, --account or --received-after"
        );
    }
    let filter = EventFilter {
        types: context.types(args.types.as_deref())?,
        object_id: args.object_id.clone(),
        account: args.account.clone(),
        status: args.status.map(Status::as_str),
        received: Window { after: args.received_after, before: args.received_before },
        ..EventFilter::default()
    };
    let detail = bulk_filter::for_audit(json!({
        "type": args.types, "object_id": args.object_id, "account": args.account, "status": filter.status,
        "received_after": args.received_after, "received_before": args.received_before,
        "destination": args.destination,
    }));
    let progress = Count::of("events");
    let mut totals = Totals::default();
    let mut cursor: Option<Cursor> = None;
    while !stop.is_cancelled() {
        let page =
            context.store.events.events(&filter, cursor, LIMIT_MAX).await.map_err(bulk_filter::with_flags)?;
        replay(context, args, &page.rows, &detail, &mut totals).await?;
        progress.at(totals.events);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    drop(progress);
    Ok(totals)
}

async fn replay(
    context: &CommandContext,
    args: &ReplayArgs,
    events: &[EventRow],
    detail: &Value,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let to = |name: &str| args.destination.as_deref().is_none_or(|only| only == name);
    let subscriptions: Vec<_> = context.subscriptions.iter().filter(|of| to(&of.destination)).collect();
    let wanted: Vec<_> = events
        .iter()
        .flat_map(|row| {
            let facts = row.facts();
            let wanted = subscriptions.iter().filter_map(move |of| of.execution_for(&row.source, &facts));
            wanted.map(|execution| (EventKey(row.id), execution))
        })
        .collect();
    let replayed = if args.dry_run {
        context.store.interventions.would_replay(&wanted).await?
    } else {
        context.store.interventions.replay(&wanted, detail, &environment::caller()).await?
    };
    totals.events += u64::try_from(events.len()).unwrap_or(u64::MAX);
    let (created, again) = (replayed.created.values().sum::<u64>(), replayed.again.values().sum::<u64>());
    if created + again > 0 && !args.dry_run {
        context.store.queue.notify_workers().await;
    }
    for (destination, count) in replayed.all() {
        *totals.by_destination.entry(destination).or_default() += count;
    }
    totals.created += created;
    totals.again += again;
    Ok(())
}
