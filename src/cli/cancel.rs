//! `eventbridge cancel`: cancels pending executions.
//!
//! It runs the same statements as the API and is recorded in the audit log.

use super::command_context::CommandContext;
use super::output::Refusals;
use super::{environment, output};
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::store::CancelResult;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The ids of the executions
    #[arg(value_name = "EXECUTION", required = true)]
    ids: Vec<i64>,
    /// Shows what would be done and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: CancelArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let caller = environment::caller();
    let (mut cancelled, mut refused) = (0, Refusals::default());
    for id in &args.ids {
        let answer = if args.dry_run {
            would_cancel(&context, ExecutionId(*id)).await?
        } else {
            context.store.interventions.cancel(ExecutionId(*id), &caller).await?
        };
        match answer {
            CancelResult::Done => cancelled += 1,
            CancelResult::NotFound => refused.add_missing(*id),
            CancelResult::Refused(status) => {
                refused.add(*id, format!("it is {status}: {}", status.why_not_cancellable()));
            }
        }
    }
    if cancelled > 0 && !args.dry_run {
        // An execution that waited behind one of them in its lane may be due now.
        context.store.queue.notify_workers().await;
    }
    if output::prints_json(args.json) {
        println!(
            "{}",
            json!({"dry_run": args.dry_run, "cancelled": cancelled, "refused": refused.as_json()})
        );
    } else {
        let verb = output::would_be(args.dry_run, cancelled);
        println!("{} {verb} cancelled.", output::counted(cancelled, "execution"));
        print!("{refused}");
    }
    Ok(refused.exit_code())
}

/// What cancelling the execution would result in now.
async fn would_cancel(context: &CommandContext, id: ExecutionId) -> anyhow::Result<CancelResult> {
    let Some(row) = context.store.reports.execution(id).await? else { return Ok(CancelResult::NotFound) };
    let status: Status = row.status.parse()?;
    Ok(status.after(Change::Cancel).map_or(CancelResult::Refused(status), |_| CancelResult::Done))
}
