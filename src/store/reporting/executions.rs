//! Executions for API and dashboard: one by one or in pages, with their attempts.

use super::Reports;
use crate::domain::audit::SubjectKind;
use crate::domain::event::EventKey;
use crate::domain::execution::{ExecutionId, Status};
use crate::domain::subscription::TypeFilter;
use crate::domain::task::TaskId;
use crate::domain::waiting::Waiting;
use crate::store::TASK_EXECUTIONS_COUNTED_MAX;
use crate::store::db::{Cursor, ListError, Page, Span, StoreError, Window};
use crate::store::events::wanted_types;
use chrono::{DateTime, Utc};

/// Which executions a list contains; a field that is absent does not restrict it.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Executions of events of this source.
    pub source: Option<String>,
    /// Executions of events of these types.
    pub types: Option<TypeFilter>,
    /// Executions in this state.
    pub status: Option<&'static str>,
    /// Executions of this event.
    pub event: Option<EventKey>,
    /// Executions of this destination instance.
    pub destination: Option<String>,
    /// Executions whose last failure was of this class.
    pub error_class: Option<String>,
    /// Failed executions of this failure group.
    pub failure_group: Option<String>,
    /// Executions created in this time range.
    pub created: Window,
}

impl ExecutionFilter {
    /// Whether the filter needs a time range, since no index answers it: it asks for more than the newest
    /// executions, those of an event, those of a failure group or all failed ones.
    pub fn needs_time_range(&self) -> bool {
        let asks_for_more = self.source.is_some()
            || self.types.is_some()
            || self.status.is_some_and(|status| status != Status::Failed.as_str())
            || self.destination.is_some()
            || self.error_class.is_some();
        asks_for_more && self.event.is_none() && self.failure_group.is_none()
    }
}

/// An execution, with the main facts of its event.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
pub struct ExecutionRow {
    pub id: i64,
    pub event_key: i64,
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub destination: String,
    pub status: String,
    pub reason: Option<String>,
    pub attempts: i32,
    pub crashes: i32,
    pub error_class: Option<String>,
    pub response_code: Option<i32>,
    pub duration_ms: Option<i32>,
    pub remote_id: Option<String>,
    pub remote_url: Option<String>,
    /// While it is pending: it is tried no earlier.
    pub run_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// When an operator last retried it, alone or in a bulk operation.
    pub retried_at: Option<DateTime<Utc>>,
    /// If it failed: what to do, if that is known.
    pub remedy: Option<String>,
    /// While it is pending: why its destination is paused, if it is.
    pub paused_reason: Option<String>,
    /// While it is pending: what to do about the pause.
    pub paused_remedy: Option<String>,
    /// While it is pending: who paused its destination, if an operator did.
    pub paused_by: Option<String>,
    /// While it is pending: the execution that precedes it in its lane, if any.
    pub behind: Option<i64>,
    /// Whether it is pending and not due yet.
    pub is_put_off: bool,
    /// While it is pending: until when all workers leave its destination alone, if they do.
    pub rest_until: Option<DateTime<Utc>>,
    /// Why they do.
    pub rest_cause: Option<String>,
}

impl ExecutionRow {
    /// The reason of its state; while it is pending, what it waits for. `configured` are the configured
    /// destination instances.
    pub fn why(&self, configured: &[String]) -> Option<String> {
        match self.waiting(configured) {
            Some(waiting) => Some(waiting.to_string()),
            None => self.reason.clone(),
        }
    }

    /// The number of attempts that count: those that failed, and the one that ended it well.
    pub fn attempt_count(&self) -> i32 {
        let ended = [Status::Success, Status::Skipped];
        self.attempts.saturating_add(ended.iter().any(|status| status.as_str() == self.status).into())
    }

    /// What it waits for, while it is pending.
    pub fn waiting(&self, configured: &[String]) -> Option<Waiting> {
        if self.status != Status::Pending.as_str() {
            return None;
        }
        let reason = self.reason.clone();
        Some(match (&self.paused_reason, self.behind) {
            _ if !configured.contains(&self.destination) => Waiting::NoDestination,
            (Some(reason), _) => Waiting::Paused {
                reason: reason.clone(),
                by: self.paused_by.clone(),
                remedy: self.paused_remedy.clone(),
            },
            (None, Some(first)) => Waiting::Behind(ExecutionId(first)),
            (None, None) => match self.run_at.filter(|_| self.is_put_off) {
                Some(next_try) => Waiting::Until { next_try, reason },
                None => match (self.rest_until, &self.rest_cause) {
                    (Some(until), Some(cause)) => Waiting::BackingOff { until, cause: cause.clone(), reason },
                    _ => Waiting::Worker { reason },
                },
            },
        })
    }
}

/// One attempt.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
pub struct AttemptRow {
    pub started_at: DateTime<Utc>,
    pub duration_ms: i32,
    pub outcome: String,
    pub response_code: Option<i32>,
    pub error_class: Option<String>,
    pub message: Option<String>,
    pub request_id: Option<String>,
}

/// Selects executions as [`ExecutionRow`]; the argument is the condition.
macro_rules! select_executions {
    ($which:tt, $($value:expr),*) => {
        sqlx::query_as!(
            ExecutionRow,
            r#"
            select executions.id, event_key as "event_key!", source, event_id, type as event_type, executions.destination,
                   case when leases.fence is not null then 'running' else status end as "status!",
                   reason, attempts, crashes, error_class, response_code, duration_ms,
                   remote_id, remote_url, waiting.run_at as "run_at?", created_at,
                   coalesce(leased_at, started_at) as started_at, finished_at, retried_at,
                   case when status = 'failed'
                        then (select remedy from eventbridge.failure_groups where key = failure_group)
                    end as remedy,
                   case when waiting.run_at is not null and paused_since is not null then paused_reason end as paused_reason,
                   case when waiting.run_at is not null and paused_since is not null then paused_remedy end as paused_remedy,
                   case when waiting.run_at is not null and paused_since is not null then paused_by end as paused_by,
                   -- The same rules as in the claim.
                   coalesce((select running.execution_id
                               from (select execution_id, fence from eventbridge.lane_runs
                                      where lane_runs.lane = waiting.lane order by run desc limit 1) as newest
                               join eventbridge.leases as running using (execution_id, fence)),
                            (select held.execution_id from eventbridge.queue as held
                              where held.lane = waiting.lane and held.class in ('retry', 'quarantined')
                                and held.execution_id <> executions.id
                                and (waiting.class in ('fresh', 'bulk') or held.execution_id < executions.id)
                              order by held.execution_id limit 1),
                            (select earlier.execution_id from eventbridge.queue as earlier
                              where earlier.lane = waiting.lane and earlier.mode = 'event' and waiting.mode = 'event'
                                and earlier.execution_id < executions.id
                                and earlier.execution_id > coalesce(
                                    (select lane_runs.execution_id from eventbridge.lane_runs
                                      where lane_runs.lane = waiting.lane order by run desc limit 1), 0)
                              order by earlier.execution_id limit 1)) as behind,
                   coalesce(waiting.run_at > now(), false) as "is_put_off!",
                   -- Known from the heartbeats of the workers.
                   null::timestamptz as rest_until, null::text as rest_cause
              from eventbridge.executions
              join eventbridge.events on events.id = executions.event_key
              left join eventbridge.destinations on destinations.name = executions.destination
              left join eventbridge.leases on leases.execution_id = executions.id
              left join eventbridge.queue as waiting on waiting.execution_id = executions.id
            "# + $which,
            $($value),*
        )
    };
}

impl Reports {
    /// One execution.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        let row = select_executions!("where executions.id = $1", id.0).fetch_optional(&self.reading).await?;
        Ok(self.with_rests(row.into_iter().collect()).await?.pop())
    }

    /// A page of executions, newest first.
    ///
    /// The newest executions, those of an event, those of a failure group and all failed ones are read from
    /// an index. All other filters need a time range, see [`ListError::TimeRangeRequired`].
    pub async fn executions(
        &self,
        filter: &ExecutionFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<ExecutionRow>, ListError> {
        let span = Span::of_executions(&self.reading, filter.created).await?;
        if filter.needs_time_range() && !span.is_short {
            return Err(ListError::TimeRangeRequired { after: "created_after", before: "created_before" });
        }
        let span = span.before(cursor);
        let types = wanted_types(&self.reading, filter.types.as_ref()).await?;
        let rows = select_executions!(
            r#"
             where executions.id > $1 and executions.id < $2
               and ($3::timestamptz is null or created_at >= $3)
               and ($4::timestamptz is null or created_at < $4)
               and ($5::bigint is null or event_key = $5)
               and ($6::text is null or $6 = case when leases.fence is not null then 'running' else status end)
               and ($7::text is null or executions.destination = $7)
               and ($8::text is null or error_class = $8)
               and ($9::text is null or failure_group = $9 and status = 'failed')
               and ($10::text is null or source = $10)
               and ($11::text[] is null or type = any ($11))
             order by executions.id desc
             limit $12
            "#,
            span.above,
            span.below,
            filter.created.after,
            filter.created.before,
            filter.event.map(|key| key.0),
            filter.status,
            filter.destination,
            filter.error_class,
            filter.failure_group,
            filter.source,
            types.as_deref(),
            i64::from(limit) + 1
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(Page::cut(self.with_rests(rows).await?, limit, |row| row.id))
    }

    /// A page of the executions that a bulk task queued, newest first, without those that were retried again since.
    pub async fn executions_of_task(
        &self,
        task: TaskId,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        let rows = select_executions!(
            r#"
             where retried_at = any (array (
                       select at from eventbridge.audit
                        where subject_kind = $1 and subject_id = $2
                        limit $3))
               and executions.id < $4
             order by executions.id desc
             limit $5
            "#,
            SubjectKind::Task.as_str(),
            task.to_string(),
            i64::from(TASK_EXECUTIONS_COUNTED_MAX),
            Cursor::before(cursor),
            i64::from(limit) + 1
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(Page::cut(self.with_rests(rows).await?, limit, |row| row.id))
    }

    /// The executions of these events, in the order of their creation.
    pub(super) async fn executions_of(&self, events: &[i64]) -> Result<Vec<ExecutionRow>, StoreError> {
        /// More than there are: an event has one for each destination instance.
        const READ_MAX: i64 = 1000;
        let rows = select_executions!(
            "where event_key = any ($1) order by executions.id limit $2",
            events,
            READ_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        self.with_rests(rows).await
    }

    /// The newest attempts of an execution, newest first.
    pub async fn attempts(&self, id: ExecutionId) -> Result<Vec<AttemptRow>, StoreError> {
        const SHOWN_MAX: i64 = 100;
        let rows = sqlx::query_as!(
            AttemptRow,
            r#"
            select started_at, duration_ms, outcome, response_code, error_class, message, request_id
              from eventbridge.attempts
             where execution_id = $1
             order by fence desc
             limit $2
            "#,
            id.0,
            SHOWN_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows)
    }
}
