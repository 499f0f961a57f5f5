//! Bulk tasks of commands: created in the database, and done by the command itself, so that it needs no service.
//!
//! A page that fails for a reason that passes is tried again a few times. A task that the command leaves unfinished,
//! because it was killed or lost the database, is continued by the service.

use super::command_context::CommandContext;
use super::progress::Count;
use super::{environment, wrong_arguments};
use crate::bulk::{Bulk, BulkError, BulkFilter, Counted, Setbacks};
use crate::domain::audit::Caller;
use crate::domain::task::TaskStatus;
use crate::store::{CancelTaskResult, ListError, StoreError, TaskRow, WINDOW_DAYS_MAX};
use anyhow::{Context, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The time between two looks at a task that another process holds.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The wait after the first failure of a page; it doubles with each further one.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The longest wait after a failure.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(4);

/// What was done, or would be.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) counted: Counted,
    /// The task; `None` for a dry run.
    pub(super) task: Option<TaskRow>,
}

/// Counts what the filter selects, or creates a task and does it, until it is finished or `stop` is cancelled.
pub(super) async fn run(
    context: &CommandContext,
    filter: &BulkFilter,
    dry_run: bool,
    progress: &Count,
    stop: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let bulk =
        Bulk::new(&context.store, Arc::new(context.sources.clone()), context.destinations.clone().into());
    if dry_run {
        let goes_on = |examined, _| {
            progress.at(examined);
            !stop.is_cancelled()
        };
        let counted = bulk.count_while(filter, goes_on).await.map_err(with_flags)?;
        return Ok(Outcome { counted, task: None });
    }
    let process = Uuid::new_v4();
    let caller = environment::caller();
    let created = bulk.create(filter, None, &caller, Some(process)).await.map_err(with_flags)?;
    let id = created.id;
    let doing = Doing { context, bulk, process, caller };
    let task = match doing.until_ended(created, progress, stop).await {
        Ok(task) => task,
        Err(error) => {
            // If this fails too, the hold ends by itself.
            let _released = doing.bulk.tasks.release(process).await;
            return Err(error).with_context(|| {
                format!(
                    "{id} is not finished, and the service continues it; to cancel it, run eventbridge cancel {id}"
                )
            });
        }
    };
    let counted = Counted {
        examined: task.examined,
        created: task.created.clone(),
        again: task.again.clone(),
        is_more: task.status != TaskStatus::Succeeded,
    };
    Ok(Outcome { counted, task: Some(task) })
}

/// A command that does a task.
struct Doing<'a> {
    context: &'a CommandContext,
    bulk: Bulk,
    process: Uuid,
    caller: Caller,
}

impl Doing<'_> {
    /// Does the task until it has ended, or cancels it when `stop` is cancelled.
    async fn until_ended(
        &self,
        mut task: TaskRow,
        progress: &Count,
        stop: &CancellationToken,
    ) -> anyhow::Result<TaskRow> {
        let mut setbacks = Setbacks::default();
        while !task.status.is_finished() {
            if stop.is_cancelled()
                && let CancelTaskResult::Done(cancelled) =
                    self.bulk.tasks.cancel(task.id, &self.caller).await?
            {
                return Ok(*cancelled);
            }
            match self.next_page(&task, setbacks.rows()).await {
                Ok(Some(after)) => {
                    setbacks.succeeded();
                    task = after;
                }
                // Another process continues it, or it has ended.
                Ok(None) => {
                    let Some(seen) = self.bulk.tasks.task(task.id).await? else {
                        bail!("{} was removed", task.id)
                    };
                    task = seen;
                    if !task.status.is_finished() {
                        let _stopped = stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN_AFTER)).await;
                    }
                }
                Err(error) => {
                    let failures = setbacks.failed();
                    if !may_pass(&error) || setbacks.are_too_many() {
                        return Err(with_flags(error));
                    }
                    let wait = RETRY_AFTER.saturating_mul(1 << (failures - 1).min(4)).min(RETRY_AFTER_MAX);
                    let _stopped = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
            progress.at(task.examined);
        }
        Ok(task)
    }

    /// Does a page; `None` if another process holds the task, or it has ended.
    async fn next_page(&self, task: &TaskRow, rows: u32) -> Result<Option<TaskRow>, BulkError> {
        let Some(held) = self.bulk.hold(Some(task.id), self.process).await? else { return Ok(None) };
        let done = self.bulk.do_page(&held, self.process, rows).await?;
        self.context.store.queue.notify_workers().await;
        Ok(Some(done.unwrap_or(held)))
    }
}

/// Whether the same page may work later.
const fn may_pass(error: &BulkError) -> bool {
    matches!(
        error,
        BulkError::List(ListError::Store(
            StoreError::Unavailable(_) | StoreError::TimedOut | StoreError::TookTooLong
        ))
    )
}

impl Outcome {
    /// Fails if not everything was covered.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &self.task {
            Some(task) if task.status == TaskStatus::Failed => {
                bail!("{} failed: {}", task.id, task.error.as_deref().unwrap_or_default())
            }
            Some(task) if task.status == TaskStatus::Cancelled => {
                bail!("{} was cancelled before the end; run the same command again for the rest", task.id)
            }
            None if self.counted.is_more => bail!("stopped before the end"),
            _ => Ok(()),
        }
    }
}

/// Why a task was refused, with the command's flags in place of the API's parameters.
fn with_flags(error: BulkError) -> anyhow::Error {
    match error {
        BulkError::List(ListError::TimeRangeRequired { after, before }) => {
            let flag = |parameter: &str| format!("--{}", parameter.replace('_', "-"));
            wrong_arguments(format!(
                "this filter requires a time range of at most {WINDOW_DAYS_MAX} days: add {} and, if that is longer ago, {}",
                flag(after),
                flag(before)
            ))
        }
        invalid @ BulkError::Invalid(_) => wrong_arguments(invalid.to_string()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_time_range_is_named_by_its_flags() {
        let required = ListError::TimeRangeRequired { after: "created_after", before: "created_before" };
        let message = with_flags(required.into()).to_string();
        assert!(message.contains("--created-after") && message.contains("--created-before"), "{message}");
    }
}
