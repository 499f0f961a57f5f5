//! Does bulk tasks in the background, one page at a time.
//!
//! Every process that delivers runs this. After each page it turns to the task that waited longest, so a small
//! task need not wait for the end of a large one.

use super::setbacks::{Setbacks, reason};
use super::{Bulk, BulkError, PAGE_ROWS};
use crate::domain::task::TaskId;
use crate::store::{ListError, Notifier, StoreError, TaskRow, UNFINISHED_TASKS_MAX};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// How the work is spread over time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The rows of a page.
    pub rows: u32,
    /// The time between two looks for tasks, if no notification arrives.
    pub poll_interval: Duration,
    /// The longest rest after a page. It rests as long as the page took.
    pub rest_max: Duration,
    /// The wait after an error of the database.
    pub retry_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rows: PAGE_ROWS,
            poll_interval: Duration::from_secs(5),
            rest_max: Duration::from_secs(1),
            retry_after: Duration::from_secs(2),
        }
    }
}

/// Does tasks until stopped. A page that is under way is finished first.
pub async fn run(bulk: Bulk, notifier: Notifier, pace: Pace, stop: CancellationToken) {
    let process = Uuid::new_v4();
    let mut runner = Runner { bulk, notifier, pace, process, setbacks: HashMap::new() };
    while !stop.is_cancelled() {
        let began = Instant::now();
        let rest = match runner.next_page().await {
            Ok(true) => began.elapsed().min(pace.rest_max),
            Ok(false) => {
                let waiting = tokio::time::timeout(pace.poll_interval, runner.notifier.task_created());
                let _woken = stop.run_until_cancelled(waiting).await;
                continue;
            }
            Err(error) => {
                warn!(%error, "bulk task interrupted; it will be continued");
                pace.retry_after
            }
        };
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(rest)).await;
    }
    if let Err(error) = runner.bulk.tasks.release(runner.process).await {
        warn!(%error, "bulk task not released; another process continues it later");
    }
}

struct Runner {
    bulk: Bulk,
    notifier: Notifier,
    pace: Pace,
    process: Uuid,
    /// Those of the tasks that had some. Each task has its own, because turns alternate.
    setbacks: HashMap<TaskId, Setbacks>,
}

impl Runner {
    /// Does a page of the next task. Returns `false` if there is none.
    async fn next_page(&mut self) -> Result<bool, StoreError> {
        let Some(task) = self.bulk.hold(None, self.process).await? else { return Ok(false) };
        let rows = self.setbacks.get(&task.id).map_or(self.pace.rows, Setbacks::rows);
        match self.bulk.do_page(&task, self.process, rows).await {
            Ok(Some(after)) => {
                let is_over = self.setbacks.get_mut(&task.id).is_none_or(Setbacks::succeeded);
                if is_over || after.status.is_finished() {
                    self.setbacks.remove(&task.id);
                }
                self.done(&task, &after);
            }
            // It was cancelled, or another process holds it.
            Ok(None) => drop(self.setbacks.remove(&task.id)),
            Err(error) => self.failed(&task, error).await?,
        }
        Ok(true)
    }

    fn done(&self, before: &TaskRow, after: &TaskRow) {
        let queued = |task: &TaskRow| task.queued().values().sum::<u64>();
        if queued(after) > queued(before) {
            self.notifier.notify();
        }
        if after.status.is_finished() {
            info!(task = %after.id, kind = after.kind.as_str(), executions = queued(after), "bulk task finished");
        }
    }

    /// Decides what follows an error: the task fails, or its page is tried again.
    async fn failed(&mut self, task: &TaskRow, error: BulkError) -> Result<(), StoreError> {
        let error = match error {
            BulkError::List(ListError::Store(error @ StoreError::Unavailable(_))) => return Err(error),
            BulkError::List(ListError::Store(error)) => error,
            // The settings have changed since it was created.
            permanent => return self.give_up(task, &permanent.to_string()).await,
        };
        self.forget_ended_tasks(task.id);
        let setbacks = self.setbacks.entry(task.id).or_insert_with(|| Setbacks::none(self.pace.rows));
        setbacks.failed();
        if !setbacks.are_too_many() {
            return Err(error);
        }
        warn!(%error, task = %task.id, "bulk task failed");
        self.give_up(task, reason(&error)).await
    }

    /// Makes room for the setbacks of a task. If there are those of more tasks than can be unfinished, the oldest
    /// of these have ended elsewhere.
    fn forget_ended_tasks(&mut self, next: TaskId) {
        let max = usize::try_from(UNFINISHED_TASKS_MAX).unwrap_or(usize::MAX);
        if self.setbacks.len() >= max
            && !self.setbacks.contains_key(&next)
            && let Some(oldest) = self.setbacks.keys().min_by_key(|id| id.0).copied()
        {
            self.setbacks.remove(&oldest);
        }
    }

    async fn give_up(&mut self, task: &TaskRow, reason: &str) -> Result<(), StoreError> {
        self.setbacks.remove(&task.id);
        self.bulk.tasks.fail(task.id, self.process, reason).await
    }
}
