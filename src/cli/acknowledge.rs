//! `eventbridge acknowledge`: acknowledges a failure group, or revokes that.
//!
//! It runs the same statements as the API and is recorded in the audit log.

use super::command_context::CommandContext;
use super::{environment, output, table};
use crate::api::FailureGroup;
use crate::domain::audit::{self, ACKNOWLEDGEMENT_NOTE_MAX};
use crate::store::FailureFilter;
use anyhow::Context;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct AcknowledgeArgs {
    /// The failure group's key, as in status, alerts and /api/v1/failures
    #[arg(value_name = "GROUP")]
    group: String,
    /// What is known about the cause, or done about it
    #[arg(long, value_parser = note, required_unless_present = "revoke")]
    note: Option<String>,
    /// Revokes the acknowledgement: alerts and status report the group again
    #[arg(long, conflicts_with = "note")]
    revoke: bool,
    /// Shows the group and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: AcknowledgeArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let before = group(&context, &args.group).await?;
    let caller = environment::caller();
    let store = &context.store;
    let is_changed = match &args.note {
        _ if args.dry_run => false,
        Some(note) => store.failure_groups.acknowledge(&caller, &args.group, note).await?,
        None => store.failure_groups.unacknowledge(&caller, &args.group).await?,
    };
    let after = if is_changed { group(&context, &args.group).await? } else { before };
    if output::prints_json(args.json) {
        println!("{}", json!({"dry_run": args.dry_run, "changed": is_changed, "failure": after}));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", summary(&args, is_changed));
    let more = if after.count_is_cut { "more than " } else { "" };
    let row = vec![
        after.id,
        after.destination,
        after.error_class,
        format!("{more}{}", after.count),
        format!("{}", after.last_seen_at.format("%Y-%m-%d %H:%M UTC")),
    ];
    print!("{}", table::render(&["group", "destination", "class", "failed", "last seen"], &[row]));
    Ok(ExitCode::SUCCESS)
}

fn summary(args: &AcknowledgeArgs, is_changed: bool) -> &'static str {
    match (args.dry_run, args.revoke, is_changed) {
        (true, false, _) => "The group would be acknowledged. Nothing was changed.",
        (true, true, _) => "The acknowledgement would be revoked. Nothing was changed.",
        (false, false, _) => {
            "Acknowledged. Alerts and status report the group again if more executions fail."
        }
        (false, true, true) => "Acknowledgement revoked. Alerts and status report the group again.",
        (false, true, false) => "The group was not acknowledged. Nothing was changed.",
    }
}

/// The group, as the API shows it.
async fn group(context: &CommandContext, key: &str) -> anyhow::Result<FailureGroup> {
    let filter = FailureFilter { key: Some(key.to_owned()), ..FailureFilter::default() };
    let found = context.store.failure_groups.failures(&filter, None, 1).await?.rows.pop();
    let found = found.context("no failed execution has this group; eventbridge status lists the groups")?;
    Ok(found.into())
}

fn note(text: &str) -> Result<String, String> {
    let note = audit::note(text, ACKNOWLEDGEMENT_NOTE_MAX).map(str::to_owned);
    note.ok_or_else(|| format!("must have 1 to {ACKNOWLEDGEMENT_NOTE_MAX} characters that are not all blank"))
}
