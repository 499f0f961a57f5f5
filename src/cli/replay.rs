//! `eventbridge replay`: delivers events again, by a filter, to the destinations that want them now.
//!
//! The statements are the API's, and stand in the audit. Broken off, it can be begun anew: an execution
//! that waits or runs is left as it is.

use super::operator::{self, Operator};
use super::progress::Count;
use super::{environment, signals};
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_time;
use crate::domain::subscription::TypeFilter;
use crate::domain::target::seconds_for;
use crate::store::{Counts, Cursor, EventFilter, EventRow, LIMIT_MAX, Window};
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The id of one event: ours or the sender's
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
    /// Events that were received at this time or later, such as 2026-11-23 or 2026-11-23T10:00:00Z
    #[arg(long, conflicts_with = "event", value_name = "TIME", value_parser = parse_time)]
    received_after: Option<DateTime<Utc>>,
    /// Events that were received before this time
    #[arg(long, conflicts_with = "event", value_name = "TIME", value_parser = parse_time)]
    received_before: Option<DateTime<Utc>>,
    /// To this destination alone
    #[arg(long)]
    destination: Option<String>,
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
    events: u64,
    created: u64,
    again: u64,
    by_destination: Counts,
}

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    args.destination.as_deref().map(|name| operator.configured(name)).transpose()?;
    let stop = signals::stop_requested()?;
    let tally = match &args.event {
        Some(event) => one(&operator, &args, event).await?,
        None => by_filter(&operator, &args, &stop).await?,
    };
    let seconds = seconds_for(&operator.targets, &tally.by_destination);
    if operator::prints_json(args.json) {
        let Tally { events, created, again, .. } = tally;
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "events": events, "created": created, "again": again, "seconds": seconds})
        );
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        println!(
            "{}: {} {would}made, {} {would}delivered again.{}",
            operator::counted(tally.events, "event"),
            operator::counted(tally.created, "execution"),
            tally.again,
            operator::that_takes(seconds)
        );
    }
    if stop.is_cancelled() {
        bail!("stopped before the end; the same command goes on with what is left");
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(operator: &Operator, args: &ReplayArgs, event: &str) -> anyhow::Result<Tally> {
    let key = match event.parse() {
        Ok(number) => Some(EventKey(number)),
        Err(_) => operator.store.events.event_key(event).await?,
    };
    let row = match key {
        Some(key) => operator.store.events.event(key).await?,
        None => None,
    };
    let Some(row) = row else { bail!("there is no event of this id") };
    let mut tally = Tally::default();
    replay(operator, args, &[row], &json!({"filter": {"event": event}}), &mut tally).await?;
    Ok(tally)
}

/// Replays all that the filter finds, page by page.
async fn by_filter(
    operator: &Operator,
    args: &ReplayArgs,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<Tally> {
    let asks = args.types.is_some() || args.object_id.is_some() || args.received_after.is_some();
    if !asks && args.account.is_none() && args.status.is_none() {
        bail!(
            "say what to replay: an event's id, --type, --object-id, --status, --account or --received-after"
        );
    }
    let filter = EventFilter {
        types: args.types.as_deref().map(TypeFilter::parse).transpose()?,
        object_id: args.object_id.clone(),
        account: args.account.clone(),
        status: args.status.map(Status::as_str),
        received: Window { after: args.received_after, before: args.received_before },
        ..EventFilter::default()
    };
    let detail = operator::filter_for_audit(json!({
        "type": args.types, "object_id": args.object_id, "account": args.account, "status": filter.status,
        "received_after": args.received_after, "received_before": args.received_before,
        "destination": args.destination,
    }));
    let progress = Count::of("events");
    let mut tally = Tally::default();
    let mut cursor: Option<Cursor> = None;
    while !stop.is_cancelled() {
        let page =
            operator.store.events.events(&filter, cursor, LIMIT_MAX).await.map_err(operator::in_flags)?;
        replay(operator, args, &page.rows, &detail, &mut tally).await?;
        progress.at(tally.events);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    drop(progress);
    Ok(tally)
}

async fn replay(
    operator: &Operator,
    args: &ReplayArgs,
    events: &[EventRow],
    detail: &Value,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let to = |name: &str| args.destination.as_deref().is_none_or(|only| only == name);
    let subscriptions: Vec<_> = operator.subscriptions.iter().filter(|of| to(&of.destination)).collect();
    let wanted: Vec<_> = events
        .iter()
        .flat_map(|row| {
            let facts = row.facts();
            let wanted = subscriptions.iter().filter_map(move |of| of.execution_for(&facts));
            wanted.map(|execution| (EventKey(row.id), execution))
        })
        .collect();
    let replayed = if args.dry_run {
        operator.store.interventions.would_replay(&wanted).await?
    } else {
        operator.store.interventions.replay(&wanted, detail, &environment::caller()).await?
    };
    tally.events += u64::try_from(events.len()).unwrap_or(u64::MAX);
    let (created, again) = (replayed.created.values().sum::<u64>(), replayed.again.values().sum::<u64>());
    if created + again > 0 && !args.dry_run {
        operator.store.queue.notify_workers().await;
    }
    for (destination, count) in replayed.all() {
        *tally.by_destination.entry(destination).or_default() += count;
    }
    tally.created += created;
    tally.again += again;
    Ok(())
}
