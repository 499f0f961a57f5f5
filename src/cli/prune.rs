//! `eventbridge prune`: removes now what retention would remove in the background.

use super::progress::Progress;
use super::{command_context, environment, output, prompt, wrong_arguments};
use crate::config::{self, RETENTION_DAYS_MIN, Reader};
use crate::domain::audit::{Action, Subject, SubjectKind};
use crate::domain::parse_time::parse_time;
use crate::store::{Cutoff, Removal, SWEPT_AT_ONCE, Store};
use crate::telemetry::LogFormat;
use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct PruneArgs {
    /// Removes events received before this date (2026-01-31) or time (RFC 3339); by default those that the
    /// settings `RETENTION_DAYS` and `RETENTION_PAYLOAD_DAYS` name
    #[arg(long, value_name = "DATE", value_parser = parse_time)]
    before: Option<DateTime<Utc>>,
    /// With --before: removes only the payloads and keeps the events
    #[arg(long, requires = "before")]
    payloads: bool,
    /// Counts what would be removed and removes nothing
    #[arg(long)]
    dry_run: bool,
    /// Answers the question with yes
    #[arg(long)]
    yes: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize)]
struct Pruned {
    what: &'static str,
    removed: u64,
    /// Old ones that stay: unfinished, or shown by an object's page.
    kept: u64,
    dry_run: bool,
}

pub(super) async fn run(args: PruneArgs) -> anyhow::Result<ExitCode> {
    let vars = command_context::settings()?;
    environment::start_log(&vars, LogFormat::Text);
    let mut reader = Reader::new(&vars);
    let retention = config::retention(&mut reader);
    let retention = reader.finish(retention)?;
    let work = work(&args, retention)?;
    let store = command_context::connect(&command_context::database(&vars)?, 2)?;
    command_context::require_schema(&store).await?;
    if !args.dry_run && !prompt::agrees("Remove them permanently?", args.yes).await? {
        bail!("nothing was removed");
    }
    let caller = environment::caller();
    let subject = Subject { kind: SubjectKind::Events, id: None };
    if !args.dry_run {
        // An interrupted run may have removed data, so its beginning is recorded too.
        let detail = json!({ "is": "begun", "before": args.before });
        store.interventions.audit(&caller, Action::EventsPruned, subject, &detail).await?;
    }
    let mut all = Vec::new();
    for (removal, cutoff) in work {
        all.push(prune(&store, removal, cutoff, args.dry_run).await?);
    }
    if !args.dry_run {
        let removed: u64 = all.iter().map(|pruned| pruned.removed).sum();
        let detail = json!({ "is": "done", "removed": removed, "before": args.before });
        store.interventions.audit(&caller, Action::EventsPruned, subject, &detail).await?;
    }
    store.db.close().await;
    if output::prints_json(args.json) {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        for Pruned { what, removed, kept, dry_run } in &all {
            let verb = if *dry_run { "would be removed" } else { "removed" };
            println!("{what}: {removed} {verb}, {kept} old ones kept (unfinished or still needed)");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What to remove, and how old it must be.
fn work(args: &PruneArgs, retention: config::Retention) -> anyhow::Result<Vec<(Removal, Cutoff)>> {
    let Some(before) = args.before else {
        let by_settings = [(Removal::Payloads, retention.payloads), (Removal::Rows, retention.rows)];
        let work: Vec<_> =
            by_settings.into_iter().filter_map(|(removal, age)| Some((removal, Cutoff::Age(age?)))).collect();
        if work.is_empty() {
            return Err(wrong_arguments(
                "no age is set: set RETENTION_DAYS or RETENTION_PAYLOAD_DAYS, or give --before <date>",
            ));
        }
        return Ok(work);
    };
    if args.payloads {
        return Ok(vec![(Removal::Payloads, Cutoff::Before(before))]);
    }
    let now: DateTime<Utc> = SystemTime::now().into();
    let newest = now - TimeDelta::from_std(Duration::from_hours(24 * RETENTION_DAYS_MIN))?;
    if before > newest {
        return Err(wrong_arguments(format!(
            "--before must be at least {RETENTION_DAYS_MIN} days ago: an event that arrives again after its row \
             was removed would count as new, and a sender can repeat an event for a month. --payloads removes \
             only the payloads, of any age"
        )));
    }
    Ok(vec![(Removal::Rows, Cutoff::Before(before))])
}

async fn prune(store: &Store, removal: Removal, cutoff: Cutoff, dry_run: bool) -> anyhow::Result<Pruned> {
    /// Time for ingest between two batches.
    const REST: Duration = Duration::from_millis(20);
    let what = match removal {
        Removal::Payloads => "payloads",
        Removal::Rows => "events",
    };
    let mut pruned = Pruned { what, removed: 0, kept: 0, dry_run };
    let progress = Progress::over(what, store.retention.event_range().await?);
    let mut position = 0;
    loop {
        let swept = store.retention.sweep(removal, cutoff, position, SWEPT_AT_ONCE, dry_run).await?;
        pruned.removed += swept.removed;
        pruned.kept += swept.kept;
        position = swept.position;
        progress.at(position);
        if swept.is_last {
            if removal == Removal::Rows && !dry_run {
                store.retention.regroup_lost_failures().await?;
                store.retention.remove_idle_groups(cutoff, false).await?;
            }
            return Ok(pruned);
        }
        tokio::time::sleep(REST).await;
    }
}
