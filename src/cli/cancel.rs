//! `eventbridge cancel`: has executions that wait not delivered.
//!
//! The statements are the API's, and stand in the audit.

use super::environment;
use super::operator::{self, Operator, Refusals};
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::store::Cancelled;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The numbers of executions
    #[arg(value_name = "EXECUTION", required = true)]
    ids: Vec<i64>,
    /// Changes nothing, and tells what would be done
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: CancelArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let caller = environment::caller();
    let (mut cancelled, mut refused) = (0, Refusals::default());
    for id in &args.ids {
        let answer = if args.dry_run {
            would_cancel(&operator, ExecutionId(*id)).await?
        } else {
            operator.store.interventions.cancel(ExecutionId(*id), &caller).await?
        };
        match answer {
            Cancelled::Done => cancelled += 1,
            Cancelled::NotFound => refused.add_missing(*id),
            Cancelled::Refused(status) => {
                refused.add(*id, format!("it is {status}: {}", status.why_not_cancellable()));
            }
        }
    }
    if cancelled > 0 && !args.dry_run {
        // What waited behind one in its lane may be due now.
        operator.store.queue.notify_workers().await;
    }
    if operator::prints_json(args.json) {
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "cancelled": cancelled, "refused": refused.as_json()})
        );
    } else {
        let verb = operator::would_be(args.dry_run, cancelled);
        println!("{} {verb} cancelled.", operator::counted(cancelled, "execution"));
        print!("{refused}");
    }
    Ok(refused.exit_code())
}

/// What a cancelling would be answered now.
async fn would_cancel(operator: &Operator, id: ExecutionId) -> anyhow::Result<Cancelled> {
    let Some(row) = operator.store.reports.execution(id).await? else { return Ok(Cancelled::NotFound) };
    let status: Status = row.status.parse()?;
    Ok(status.after(Change::Cancel).map_or(Cancelled::Refused(status), |_| Cancelled::Done))
}
