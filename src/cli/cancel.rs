//! `eventbridge cancel`: cancels pending executions, and bulk tasks that are not finished.
//!
//! It runs the same statements as the API and is recorded in the audit log.

use super::command_context::CommandContext;
use super::output::Refusals;
use super::{environment, output};
use crate::domain::execution::{ExecutionId, Status};
use crate::domain::task::{TaskId, TaskStatus};
use crate::store::{CancelResult, CancelTaskResult};
use serde_json::json;
use std::process::ExitCode;
use std::str::FromStr;

#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The ids of executions, such as 42, or of bulk tasks, such as `task_42`
    #[arg(value_name = "EXECUTION|TASK", required = true)]
    ids: Vec<Id>,
    /// Shows what would be done and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

/// What to cancel.
#[derive(Debug, Clone, Copy)]
enum Id {
    Execution(ExecutionId),
    Task(TaskId),
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let execution = text.parse().map(ExecutionId).map(Self::Execution);
        execution
            .or_else(|_| text.parse().map(Self::Task))
            .map_err(|_| "must be the id of an execution, such as 42, or of a task, such as task_42")
    }
}

/// What was cancelled, or would be.
#[derive(Debug, Default)]
struct Totals {
    /// Executions that are not delivered.
    cancelled: u64,
    /// Executions that were delivered or skipped before, and stay so.
    restored: u64,
    tasks: Vec<TaskId>,
    refused: Refusals,
}

pub(super) async fn run(args: CancelArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let mut totals = Totals::default();
    for id in &args.ids {
        match id {
            Id::Execution(id) => cancel(&context, *id, args.dry_run, &mut totals).await?,
            Id::Task(id) => cancel_task(&context, *id, args.dry_run, &mut totals).await?,
        }
    }
    if totals.cancelled + totals.restored > 0 && !args.dry_run {
        // An execution that waited behind one of them in its lane may be due now.
        context.store.queue.notify_workers().await;
    }
    let Totals { cancelled, restored, tasks, refused } = totals;
    if output::prints_json(args.json) {
        let tasks: Vec<_> = tasks.iter().map(ToString::to_string).collect();
        let done = if args.dry_run {
            json!({"dry_run": true, "count": cancelled + restored, "tasks": tasks, "refused": refused.as_json()})
        } else {
            json!({"dry_run": false, "cancelled": cancelled, "restored": restored, "tasks": tasks,
                   "refused": refused.as_json()})
        };
        println!("{done}");
        return Ok(refused.exit_code());
    }
    if cancelled > 0 {
        let verb = output::would_be(args.dry_run, cancelled);
        println!("{} {verb} cancelled.", output::counted(cancelled, "execution"));
    }
    if restored > 0 {
        let verb = output::would_be(args.dry_run, 1);
        let executions = output::counted(restored, "execution");
        println!("The repetition of {executions} {verb} cancelled: what was delivered or skipped stays so.");
    }
    for task in tasks {
        let verb = output::would_be(args.dry_run, 1);
        println!("{task} {verb} cancelled. What it queued stays queued.");
    }
    print!("{refused}");
    Ok(refused.exit_code())
}

async fn cancel(
    context: &CommandContext,
    id: ExecutionId,
    dry_run: bool,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let result = if dry_run {
        context.store.interventions.would_cancel(id).await?
    } else {
        context.store.interventions.cancel(id, &environment::caller()).await?
    };
    match result {
        CancelResult::Done(Status::Cancelled) => totals.cancelled += 1,
        CancelResult::Done(_) => totals.restored += 1,
        CancelResult::NotFound => totals.refused.add_missing(id.0),
        CancelResult::Refused(status) => {
            totals.refused.add(id.0, format!("it cannot be cancelled: {}", status.why_not_cancellable()));
        }
    }
    Ok(())
}

async fn cancel_task(
    context: &CommandContext,
    id: TaskId,
    dry_run: bool,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let result = if dry_run {
        match context.store.tasks.task(id).await? {
            None => CancelTaskResult::NotFound,
            Some(task) if task.status.is_finished() && task.status != TaskStatus::Cancelled => {
                CancelTaskResult::Refused(task.status)
            }
            Some(task) => CancelTaskResult::Done(Box::new(task)),
        }
    } else {
        context.store.tasks.cancel(id, &environment::caller()).await?
    };
    match result {
        CancelTaskResult::Done(_) => totals.tasks.push(id),
        CancelTaskResult::Refused(status) => {
            let status = status.as_str();
            totals.refused.add_task(
                id,
                format!(
                    "it has {status}; to cancel an execution that it queued, give the id of the execution"
                ),
            );
        }
        CancelTaskResult::NotFound => {
            totals
                .refused
                .add_task(id, "there is no task with this id; tasks that ended are kept for 30 days");
        }
    }
    Ok(())
}
