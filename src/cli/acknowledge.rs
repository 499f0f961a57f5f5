//! `eventbridge acknowledge`: says that somebody knows of what failed in a group, or takes that back.
//!
//! The statements are the API's, and stand in the audit.

use super::operator::{self, Operator};
use super::{environment, table};
use crate::api::FailureView;
use crate::domain::audit::{self, ACKNOWLEDGEMENT_NOTE_MAX};
use crate::store::FailureFilter;
use anyhow::Context;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct AcknowledgeArgs {
    /// The group of failures, as status, alerts and /api/v1/failures name it
    #[arg(value_name = "GROUP")]
    group: String,
    /// What is known or done about it
    #[arg(long, value_parser = note, required_unless_present = "revoke")]
    note: Option<String>,
    /// Takes the acknowledgement back: what failed is news again
    #[arg(long, conflicts_with = "note")]
    revoke: bool,
    /// Changes nothing, and shows the group
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: AcknowledgeArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let before = group(&operator, &args.group).await?;
    let caller = environment::caller();
    let store = &operator.store;
    let is_changed = match &args.note {
        _ if args.dry_run => false,
        Some(note) => store.failure_groups.acknowledge(&caller, &args.group, note).await?,
        None => store.failure_groups.unacknowledge(&caller, &args.group).await?,
    };
    let after = if is_changed { group(&operator, &args.group).await? } else { before };
    if operator::prints_json(args.json) {
        println!("{}", json!({"dry_run": args.dry_run, "changed": is_changed, "failure": after}));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", said(&args, is_changed));
    let more = if after.count_is_cut { "more than " } else { "" };
    let row = vec![
        after.group,
        after.destination,
        after.error_class,
        format!("{more}{}", after.count),
        format!("{}", after.last_seen.format("%Y-%m-%d %H:%M UTC")),
    ];
    print!("{}", table::render(&["group", "destination", "class", "failed", "last seen"], &[row]));
    Ok(ExitCode::SUCCESS)
}

fn said(args: &AcknowledgeArgs, is_changed: bool) -> &'static str {
    match (args.dry_run, args.revoke, is_changed) {
        (true, false, _) => "This would be acknowledged; nothing was changed.",
        (true, true, _) => "The acknowledgement of this would be taken back; nothing was changed.",
        (false, false, _) => "Acknowledged: alerts and status tell of it again once more fails.",
        (false, true, true) => "The acknowledgement is taken back: alerts and status tell of it again.",
        (false, true, false) => "Nobody had acknowledged this; nothing was changed.",
    }
}

/// The group, as the API shows it.
async fn group(operator: &Operator, key: &str) -> anyhow::Result<FailureView> {
    let filter = FailureFilter { key: Some(key.to_owned()), ..FailureFilter::default() };
    let found = operator.store.failure_groups.failures(&filter, None, 1).await?.rows.pop();
    found.map(FailureView::from).context("nothing is failed in such a group; eventbridge status names them")
}

fn note(text: &str) -> Result<String, String> {
    let note = audit::note(text, ACKNOWLEDGEMENT_NOTE_MAX).map(str::to_owned);
    note.ok_or_else(|| format!("must have 1 to {ACKNOWLEDGEMENT_NOTE_MAX} characters, not only blanks"))
}
