//! Bulk tasks: creating, holding, cancelling and listing them. Their pages are in `bulk_operations`.
//!
//! The process that does a task's pages holds it for a while. If that process dies, another one takes the
//! task over at the position of the last page that was committed.

use super::{Counts, Tasks};
use crate::domain::audit::{Action, Caller, SubjectKind};
use crate::domain::task::{TaskId, TaskKind, TaskStatus};
use crate::store::db::{Cursor, Page, StoreError, milliseconds, value_without_nul, without_nul};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// The most tasks that are not finished.
pub const UNFINISHED_TASKS_MAX: u32 = 100;

/// The most executions of a task whose states are counted.
pub const TASK_EXECUTIONS_COUNTED_MAX: u32 = 20_000;

/// The channel on which new tasks are announced.
pub(in crate::store) const TASKS_CHANNEL: &str = "eventbridge_tasks";

/// A task to create.
#[derive(Debug, Clone, Copy)]
pub struct NewTask<'a> {
    /// What it does.
    pub kind: TaskKind,
    /// The given parameters of its filter.
    pub filter: &'a Value,
    /// The destination instances that a process must have to do it.
    pub destinations: &'a [String],
    /// A note for the audit log.
    pub note: Option<&'a str>,
    /// The first attempt at the request that creates it, if it has an `Idempotency-Key`.
    pub first_attempt: Option<Uuid>,
}

/// A task.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
pub struct TaskRow {
    pub id: TaskId,
    pub kind: TaskKind,
    pub filter: Value,
    pub who: String,
    pub note: Option<String>,
    pub status: TaskStatus,
    pub examined: u64,
    /// Executions that were created, by destination instance.
    pub created: Counts,
    /// Executions that were queued again, by destination instance.
    pub again: Counts,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
    /// Where its next page begins; `None` before the first page.
    pub position: Option<Cursor>,
}

impl TaskRow {
    /// The executions that were queued, by destination instance.
    pub fn queued(&self) -> Counts {
        let mut all = self.created.clone();
        for (destination, count) in &self.again {
            *all.entry(destination.clone()).or_default() += count;
        }
        all
    }
}

/// The result of a request to cancel a task.
#[derive(Debug, Clone)]
pub enum CancelTaskResult {
    /// It is cancelled now, or was cancelled before.
    Done(Box<TaskRow>),
    /// It has ended in another way.
    Refused(TaskStatus),
    /// There is no such task.
    NotFound,
}

/// The number of a task's executions at one destination in one state.
#[derive(Debug, Clone)]
pub struct TaskExecutions {
    /// The destination instance.
    pub destination: String,
    /// The status.
    pub status: String,
    /// The number of executions.
    pub count: u64,
}

pub(super) struct StoredTask {
    pub id: i64,
    pub kind: String,
    pub filter: Value,
    pub who: String,
    pub note: Option<String>,
    pub status: String,
    pub examined: i64,
    pub created: Value,
    pub again: Value,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
    pub position: Option<i64>,
}

/// A statement whose last common table expression, `tasks`, has the tasks to return.
macro_rules! select_tasks {
    ($with:tt, $($value:expr),*) => {
        sqlx::query_as!(
            StoredTask,
            $with + r#"
            select id as "id!", kind as "kind!", filter as "filter!", who as "who!", note, status as "status!",
                   examined as "examined!", created as "created!", again as "again!", created_at as "created_at!",
                   started_at, updated_at as "updated_at!", finished_at, error, position
              from tasks
             order by id desc
            "#,
            $($value),*
        )
    };
}
pub(super) use select_tasks;

impl TryFrom<StoredTask> for TaskRow {
    type Error = StoreError;

    fn try_from(row: StoredTask) -> Result<Self, StoreError> {
        let unexpected = |error: &dyn std::error::Error| StoreError::Unexpected(error.to_string());
        let counts = |counts| serde_json::from_value(counts).map_err(|error| unexpected(&error));
        Ok(Self {
            id: TaskId(row.id),
            kind: row.kind.parse().map_err(|error| unexpected(&error))?,
            filter: row.filter,
            who: row.who,
            note: row.note,
            status: row.status.parse().map_err(|error| unexpected(&error))?,
            examined: u64::try_from(row.examined).unwrap_or_default(),
            created: counts(row.created)?,
            again: counts(row.again)?,
            created_at: row.created_at,
            started_at: row.started_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
            error: row.error,
            position: row.position.map(Cursor::of_id),
        })
    }
}

impl Tasks {
    /// Creates a task and notifies the processes that do tasks. With `hold`, this process holds it from the
    /// beginning. If an earlier attempt at the same request has created it, that task is returned. `None` if
    /// [`UNFINISHED_TASKS_MAX`] tasks are not finished.
    pub async fn create(
        &self,
        task: NewTask<'_>,
        caller: &Caller,
        hold: Option<(Uuid, Duration)>,
    ) -> Result<Option<TaskRow>, StoreError> {
        let row = select_tasks!(
            r#"
            with created as (
                insert into eventbridge.tasks (kind, filter, who, note, holder, held_until, first_attempt, destinations)
                select $1, $2, $3, $4, $5, now() + $6::bigint * interval '1 millisecond', $9, $10
                 where (select count(*) from eventbridge.tasks where status in ('queued', 'running')) < $7
                    or exists (select from eventbridge.tasks where first_attempt = $9)
                -- Waits for an attempt that is not committed yet. The update changes nothing and returns the row.
                on conflict (first_attempt) where first_attempt is not null
                   do update set first_attempt = excluded.first_attempt
                returning *
            ), tasks as (
                -- Always true: it announces the task when it is committed.
                select * from created where pg_notify($8, '')::text is not null
            )
            "#,
            task.kind.as_str(),
            value_without_nul(task.filter),
            caller.name(),
            task.note.map(without_nul),
            hold.map(|(holder, _)| holder),
            hold.map(|(_, duration)| milliseconds(duration)),
            i64::from(UNFINISHED_TASKS_MAX),
            TASKS_CHANNEL,
            task.first_attempt,
            task.destinations
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(TaskRow::try_from).transpose()
    }

    /// Takes the task that waited longest, or the given one, and holds it for `duration`. `None` if there is
    /// none that is unfinished, that no other process holds, and whose instances are all among `destinations`.
    pub async fn hold(
        &self,
        only: Option<TaskId>,
        destinations: &[String],
        holder: Uuid,
        duration: Duration,
    ) -> Result<Option<TaskRow>, StoreError> {
        let row = select_tasks!(
            r#"
            with next as (
                select id
                  from eventbridge.tasks
                 where status in ('queued', 'running')
                   and ($1::bigint is null or id = $1)
                   and (held_until is null or held_until < now() or holder = $2)
                   and destinations <@ $4
                 order by updated_at, id
                 limit 1
                   for update skip locked
            ), tasks as (
                update eventbridge.tasks
                   set status = 'running', started_at = coalesce(started_at, now()), updated_at = now(), holder = $2,
                       held_until = now() + $3::bigint * interval '1 millisecond'
                 where id = (select id from next)
                returning *
            )
            "#,
            only.map(|id| id.0),
            holder,
            milliseconds(duration),
            destinations
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(TaskRow::try_from).transpose()
    }

    /// Ends the hold on all tasks of a process, so that another one need not wait.
    pub async fn release(&self, holder: Uuid) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.tasks set holder = null, held_until = null
             where holder = $1 and status in ('queued', 'running')
            "#,
            holder
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends a task that cannot go on. Nothing changes if the process does not hold it any more.
    pub async fn fail(&self, id: TaskId, holder: Uuid, error: &str) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.tasks
               set status = 'failed', error = $3, updated_at = now(), finished_at = now(), holder = null,
                   held_until = null
             where id = $1 and holder = $2 and status in ('queued', 'running')
            "#,
            id.0,
            holder,
            without_nul(error)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Cancels a task that is not finished. A page that is under way is done first.
    pub async fn cancel(&self, id: TaskId, caller: &Caller) -> Result<CancelTaskResult, StoreError> {
        let row = select_tasks!(
            r#"
            with changed as (
                update eventbridge.tasks
                   set status = 'cancelled', updated_at = now(), finished_at = now(), holder = null, held_until = null
                 where id = $1 and status in ('queued', 'running')
                returning *
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $2, $3, $4, 'task_' || id, jsonb_build_object('kind', kind, 'filter', filter) from changed
            ), tasks as (
                select * from changed
                union all
                select * from eventbridge.tasks where id = $1 and not exists (select from changed)
            )
            "#,
            id.0,
            caller.name(),
            Action::TaskCancelled.as_str(),
            SubjectKind::Task.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(match row.map(TaskRow::try_from).transpose()? {
            None => CancelTaskResult::NotFound,
            Some(task) if task.status == TaskStatus::Cancelled => CancelTaskResult::Done(Box::new(task)),
            Some(task) if task.status.is_finished() => CancelTaskResult::Refused(task.status),
            // It ended between the snapshot and the update: the next look shows how.
            Some(_) => match self.task(id).await? {
                Some(task) if task.status == TaskStatus::Cancelled => CancelTaskResult::Done(Box::new(task)),
                Some(task) => CancelTaskResult::Refused(task.status),
                None => CancelTaskResult::NotFound,
            },
        })
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let row = select_tasks!("with tasks as (select * from eventbridge.tasks where id = $1)", id.0)
            .fetch_optional(&self.reading)
            .await?;
        row.map(TaskRow::try_from).transpose()
    }

    /// A page of tasks, newest first.
    pub async fn tasks(&self, cursor: Option<Cursor>, limit: u32) -> Result<Page<TaskRow>, StoreError> {
        let rows = select_tasks!(
            "with tasks as (select * from eventbridge.tasks where id < $1 order by id desc limit $2)",
            Cursor::before(cursor),
            i64::from(limit) + 1
        )
        .fetch_all(&self.reading)
        .await?;
        let rows = rows.into_iter().map(TaskRow::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(rows, limit, |row: &TaskRow| row.id.0))
    }

    /// The present states of a task's executions, of the first [`TASK_EXECUTIONS_COUNTED_MAX`]. A retried or
    /// replayed execution carries the time of the page's statement, which is also the time of its audit entry.
    /// An execution that was retried again since is not among them.
    pub async fn executions(&self, id: TaskId) -> Result<Vec<TaskExecutions>, StoreError> {
        let rows = sqlx::query!(
            r#"
            with pages as (
                select at
                  from eventbridge.audit
                 where subject_kind = $1 and subject_id = $2
                 limit $3
            ), concerned as (
                -- Of an execution that ended before, this retry or replay was cancelled.
                select destination, case when finished_at < retried_at then 'cancelled' else status end as status
                  from pages
                  join eventbridge.executions on retried_at = pages.at
                 limit $3
            )
            select destination, status as "status!", count(*) as "count!"
              from concerned
             group by destination, status
             order by destination, status
            "#,
            SubjectKind::Task.as_str(),
            id.to_string(),
            i64::from(TASK_EXECUTIONS_COUNTED_MAX)
        )
        .fetch_all(&self.reading)
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| TaskExecutions {
                destination: row.destination,
                status: row.status,
                count: count(row.count),
            })
            .collect())
    }
}
