//! Bulk tasks of commands: created in the database, and done by the command itself, so that it needs no service.
//!
//! A task that the command leaves unfinished, because it was killed or lost the database, is continued by the
//! service.

use super::command_context::CommandContext;
use super::environment;
use super::progress::Count;
use crate::bulk::{Bulk, BulkError, BulkFilter, Counted, PAGE_ROWS};
use crate::domain::task::TaskStatus;
use crate::store::{CancelTaskResult, ListError, TaskRow, WINDOW_DAYS_MAX};
use anyhow::{anyhow, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The time between two looks at a task that another process holds.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

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
    let mut task = bulk.create(filter, None, &caller, Some(process)).await.map_err(with_flags)?;
    while !task.status.is_finished() {
        if stop.is_cancelled()
            && let CancelTaskResult::Done(cancelled) = bulk.tasks.cancel(task.id, &caller).await?
        {
            task = *cancelled;
            break;
        }
        let held = bulk.hold(Some(task.id), process).await?;
        task = if let Some(held) = held {
            let done = bulk.do_page(&held, process, PAGE_ROWS).await.map_err(with_flags)?;
            context.store.queue.notify_workers().await;
            done.unwrap_or(held)
        } else {
            // Another process continues it, or it has ended.
            let Some(seen) = bulk.tasks.task(task.id).await? else { bail!("{} was removed", task.id) };
            if !seen.status.is_finished() {
                let _stopped = stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN_AFTER)).await;
            }
            seen
        };
        progress.at(task.examined);
    }
    let counted = Counted {
        examined: task.examined,
        created: task.created.clone(),
        again: task.again.clone(),
        is_more: task.status != TaskStatus::Succeeded,
    };
    Ok(Outcome { counted, task: Some(task) })
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
            anyhow!(
                "this filter requires a time range of at most {WINDOW_DAYS_MAX} days: add {} and, if that is longer ago, {}",
                flag(after),
                flag(before)
            )
        }
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
