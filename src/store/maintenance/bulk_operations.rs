//! The pages of bulk tasks: one statement does a page, writes its audit entry and moves the task's position.
//! So a process that dies neither repeats a page nor leaves one out.
//!
//! Executions of a bulk operation go behind all other work, so that new events need not wait. Running
//! executions are never touched, nor those whose payload was removed.

use super::Interventions;
use super::tasks::{StoredTask, TaskRow, select_tasks};
use crate::domain::audit::{Action, SubjectKind};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, NewExecution};
use crate::domain::task::TaskId;
use crate::store::db::{Cursor, StoreError, milliseconds};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Executions counted by their destination instance.
pub type Counts = BTreeMap<String, u64>;

/// What a replay would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// New executions.
    pub created: Counts,
    /// Executions to deliver again.
    pub again: Counts,
}

/// A page of a task.
#[derive(Debug, Clone, Copy)]
pub struct TaskPage {
    /// The task.
    pub task: TaskId,
    /// The process that holds it.
    pub holder: Uuid,
    /// Where the page begins.
    pub from: Option<Cursor>,
    /// Where the next page begins; `None` if this is the last one.
    pub next: Option<Cursor>,
    /// The rows that were read.
    pub examined: u64,
    /// How long the process goes on holding the task.
    pub hold: Duration,
}

impl TaskPage {
    fn examined(&self) -> i64 {
        i64::try_from(self.examined).unwrap_or(i64::MAX)
    }

    fn before(cursor: Option<Cursor>) -> Option<i64> {
        cursor.map(|cursor| Cursor::before(Some(cursor)))
    }
}

impl Interventions {
    /// Does a page of a task: queues those of these executions that are still in this state, if
    /// [`Change::Retry`] is legal from it. The audit entry, the new position and the counts are written with
    /// it. Returns the task after it; `None` if nothing was done, because the task was cancelled, or another
    /// process holds it or did the page.
    pub async fn retry_page(
        &self,
        page: TaskPage,
        ids: &[ExecutionId],
        status: &str,
    ) -> Result<Option<TaskRow>, StoreError> {
        let row = select_tasks!(
            r#"
            with task as (
                -- Locked first, so that of two processes one does the page.
                select id, who, filter, note
                  from eventbridge.tasks
                 where id = $1 and holder = $2 and status = 'running' and position is not distinct from $3
                   for update
            ), found as (
                -- In the order of all statements that lock many rows, and without locked ones, so that there is
                -- no deadlock.
                select executions.id
                  from eventbridge.executions
                  join eventbridge.events on events.id = event_key and payload_removed_at is null
                 where executions.id = any ($7) and status = $8 and status = any ($9)
                   and exists (select from task)
                 order by executions.id
                   for update of executions skip locked
            ), waiting as (
                select execution_id from eventbridge.queue
                 where execution_id = any (array (select id from found))
                 order by execution_id
                   for update skip locked
            ), retried as (
                update eventbridge.executions
                   set status = 'pending', attempts = 0, crashes = 0, crashes_alone = 0, retried_at = now(),
                       retries = eventbridge.with_retry(retries, status, finished_at),
                       reason = 'a retry was asked for, with others', error_class = null, finished_at = null
                 where id = any (array (select id from found))
                   -- A pending one without a row in the queue runs.
                   and (status <> 'pending' or id in (select execution_id from waiting))
                returning executions.*
            ), queued as (
                insert into eventbridge.queue as known (execution_id, destination, class, lane, mode)
                select id, destination, 'bulk', lane, mode from retried order by id
                on conflict (execution_id) do update
                   -- What came in and was not tried yet keeps its place. In bulk, everything else would go first.
                   set class = case known.class when 'fresh' then 'fresh' else 'bulk' end, run_at = now(), since = now()
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select who, $10, $11, 'task_' || id, jsonb_build_object('filter', filter, 'note', note, 'count', count)
                  from task
                 cross join (select count(*) from retried) as counted
                 where count > 0
            ), tasks as (
                update eventbridge.tasks
                   set position = $4, status = case when $4::bigint is null then 'succeeded' else status end,
                       examined = examined + $5, updated_at = now(),
                       again = eventbridge.sum_of_counts(again, (
                           select coalesce(jsonb_object_agg(destination, count), '{}')
                             from (select destination, count(*) from retried group by destination) as counts)),
                       finished_at = case when $4::bigint is null then now() end,
                       held_until = now() + $6::bigint * interval '1 millisecond'
                 where id = (select id from task)
                returning *
            )
            "#,
            page.task.0,
            page.holder,
            TaskPage::before(page.from),
            TaskPage::before(page.next),
            page.examined(),
            milliseconds(page.hold),
            &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
            status,
            &Change::Retry.allowed_from_words(),
            Action::ExecutionsRetried.as_str(),
            SubjectKind::Task.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(TaskRow::try_from).transpose()
    }

    /// How many executions [`retry_page`](Self::retry_page) would queue now; changes nothing.
    pub async fn would_retry_page(&self, ids: &[ExecutionId], status: &str) -> Result<Counts, StoreError> {
        let rows = sqlx::query!(
            r#"
            select destination, count(*) as "count!"
              from eventbridge.executions
              join eventbridge.events on events.id = event_key and payload_removed_at is null
             where executions.id = any ($1) and status = $2 and status = any ($3)
             group by destination
            "#,
            &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
            status,
            &Change::Retry.allowed_from_words()
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows.into_iter().map(|row| (row.destination, whole(row.count))).collect())
    }

    /// Does a page of a task: delivers events again. It creates the wanted executions that are missing, and
    /// queues existing ones from whose state [`Change::Replay`] is legal. The others are left as they are. The
    /// audit entry, the new position and the counts are written with it. Returns the task after it; `None` if
    /// nothing was done, because the task was cancelled, or another process holds it or did the page.
    pub async fn replay_page(
        &self,
        page: TaskPage,
        wanted: &[(EventKey, NewExecution)],
    ) -> Result<Option<TaskRow>, StoreError> {
        let row = select_tasks!(
            r#"
            with task as (
                -- Locked first, so that of two processes one does the page.
                select id, who, filter, note
                  from eventbridge.tasks
                 where id = $1 and holder = $2 and status = 'running' and position is not distinct from $3
                   for update
            ), wanted as (
                select event_key, destination, mode, lane
                  from unnest($7::bigint[], $8::text[], $9::text[], $10::text[])
                       as wanted (event_key, destination, mode, lane)
                  join eventbridge.events on events.id = event_key
                 where payload_removed_at is null and exists (select from task)
                 order by events.id
                   -- An event that is to be delivered must not be removed meanwhile.
                   for key share of events
            ), found as (
                select executions.id
                  from wanted
                  join eventbridge.executions using (event_key, destination)
                 where status = any ($11)
                 order by executions.id
                   for update of executions skip locked
            ), again as (
                update eventbridge.executions
                   set status = 'pending', attempts = 0, crashes = 0, crashes_alone = 0, retried_at = now(),
                       retries = eventbridge.with_retry(retries, status, finished_at),
                       reason = 'its event is replayed', error_class = null, finished_at = null
                 where id = any (array (select id from found))
                returning id, destination, lane, mode
            ), created as (
                insert into eventbridge.executions (event_key, destination, mode, lane, retried_at, retries, reason)
                select event_key, destination, mode, lane, now(), eventbridge.with_retry(null, null, null),
                       'its event is replayed'
                  from wanted
                 order by event_key, destination
                on conflict (event_key, destination) do nothing
                returning id, destination, lane, mode
            ), queued as (
                insert into eventbridge.queue (execution_id, destination, class, lane, mode)
                select id, destination, 'bulk', lane, mode
                  from (select * from again union all select * from created) as replayed
                 order by id
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select who, $12, $13, 'task_' || id,
                       jsonb_build_object('filter', filter, 'note', note, 'created', created, 'again', again)
                  from task
                 cross join (select (select count(*) from created) as created,
                                    (select count(*) from again) as again) as counted
                 where created + again > 0
            ), tasks as (
                update eventbridge.tasks
                   set position = $4, status = case when $4::bigint is null then 'succeeded' else status end,
                       examined = examined + $5, updated_at = now(),
                       created = eventbridge.sum_of_counts(created, (
                           select coalesce(jsonb_object_agg(destination, count), '{}')
                             from (select destination, count(*) from created group by destination) as counts)),
                       again = eventbridge.sum_of_counts(again, (
                           select coalesce(jsonb_object_agg(destination, count), '{}')
                             from (select destination, count(*) from again group by destination) as counts)),
                       finished_at = case when $4::bigint is null then now() end,
                       held_until = now() + $6::bigint * interval '1 millisecond'
                 where id = (select id from task)
                returning *
            )
            "#,
            page.task.0,
            page.holder,
            TaskPage::before(page.from),
            TaskPage::before(page.next),
            page.examined(),
            milliseconds(page.hold),
            &wanted.iter().map(|(key, _)| key.0).collect::<Vec<_>>(),
            &wanted.iter().map(|(_, execution)| execution.destination.as_str()).collect::<Vec<_>>() as _,
            &wanted.iter().map(|(_, execution)| execution.mode.as_str()).collect::<Vec<_>>() as _,
            &wanted.iter().map(|(_, execution)| execution.lane.as_deref()).collect::<Vec<_>>() as _,
            &Change::Replay.allowed_from_words(),
            Action::EventsReplayed.as_str(),
            SubjectKind::Task.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(TaskRow::try_from).transpose()
    }

    /// What [`replay_page`](Self::replay_page) would do now; changes nothing.
    pub async fn would_replay_page(
        &self,
        wanted: &[(EventKey, NewExecution)],
    ) -> Result<Replayed, StoreError> {
        let rows = sqlx::query!(
            r#"
            select wanted.destination as "destination!",
                   count(*) filter (where executions.id is null) as "created!",
                   count(*) filter (where status = any ($3)) as "again!"
              from unnest($1::bigint[], $2::text[]) as wanted (event_key, destination)
              join eventbridge.events on events.id = wanted.event_key and payload_removed_at is null
              left join eventbridge.executions using (event_key, destination)
             group by wanted.destination
            "#,
            &wanted.iter().map(|(key, _)| key.0).collect::<Vec<_>>(),
            &wanted.iter().map(|(_, execution)| execution.destination.as_str()).collect::<Vec<_>>() as _,
            &Change::Replay.allowed_from_words()
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(Replayed::of(rows.into_iter().map(|row| (row.destination, row.created, row.again))))
    }
}

impl Replayed {
    fn of(rows: impl Iterator<Item = (String, i64, i64)>) -> Self {
        let mut replayed = Self::default();
        for (destination, created, again) in rows {
            replayed.created.insert(destination.clone(), whole(created));
            replayed.again.insert(destination, whole(again));
        }
        replayed
    }

    /// Executions created and queued, by destination instance.
    pub fn all(&self) -> Counts {
        let mut all = self.created.clone();
        for (destination, count) in &self.again {
            *all.entry(destination.clone()).or_default() += count;
        }
        all
    }
}

fn whole(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
