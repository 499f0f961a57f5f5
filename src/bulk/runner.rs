//! Does bulk tasks in the background, one page at a time.
//!
//! Every process that delivers runs this. After each page it turns to the task that waited longest, so a small
//! task need not wait for the end of a large one.

use super::{Bulk, BulkError, PAGE_ROWS};
use crate::domain::task::TaskId;
use crate::store::{ListError, Notifier, StoreError, TaskRow};
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

/// A task fails after this number of errors in a row that are no outage.
const FAILURES_MAX: u32 = 8;

/// Does tasks until stopped. A page that is under way is finished first.
pub async fn run(bulk: Bulk, notifier: Notifier, pace: Pace, stop: CancellationToken) {
    let mut runner = Runner { bulk, notifier, pace, process: Uuid::new_v4(), rows: pace.rows, failing: None };
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
    /// The rows of the next page: fewer after one that took too long.
    rows: u32,
    /// The task whose last pages failed, and how many.
    failing: Option<(TaskId, u32)>,
}

impl Runner {
    /// Does a page of the next task. Returns `false` if there is none.
    async fn next_page(&mut self) -> Result<bool, StoreError> {
        let Some(task) = self.bulk.hold(None, self.process).await? else { return Ok(false) };
        match self.bulk.do_page(&task, self.process, self.rows).await {
            Ok(after) => {
                self.failing = None;
                self.rows = self.rows.saturating_mul(2).min(self.pace.rows);
                if let Some(after) = after {
                    self.done(&task, &after);
                }
            }
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
        let failures = self.failing.filter(|(id, _)| *id == task.id).map_or(0, |(_, failures)| failures) + 1;
        self.failing = Some((task.id, failures));
        // The same page would time out again and again; a smaller one makes progress.
        self.rows = (self.rows / 4).max(1);
        if failures < FAILURES_MAX {
            return Err(error);
        }
        warn!(%error, task = %task.id, "bulk task failed");
        let reason = match error {
            StoreError::TimedOut => {
                "the database took too long; narrow the filter, for example to a shorter time range"
            }
            _ => "the database refused a page; the log has the cause",
        };
        self.give_up(task, reason).await
    }

    async fn give_up(&mut self, task: &TaskRow, reason: &str) -> Result<(), StoreError> {
        self.failing = None;
        self.bulk.tasks.fail(task.id, self.process, reason).await
    }
}
