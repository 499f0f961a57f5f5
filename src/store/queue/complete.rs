//! Completing: one statement records the result of an attempt and releases its lease.

use super::{Fence, Queue};
use crate::domain::delivery::Remote;
use crate::domain::execution::{ExecutionId, Status};
use crate::domain::failure::pattern;
use crate::store::db::{StoreError, milliseconds, whole_milliseconds, without_nul};
use std::collections::HashMap;
use std::time::Duration;

/// The result of an attempt for its execution.
#[derive(Debug, Clone)]
pub struct CompletedExecution {
    /// How the attempt ended.
    pub attempt: EndedAttempt,
    /// What becomes of the execution.
    pub conclusion: Conclusion,
    /// What is now known about its writes.
    pub settlement: Settlement,
    /// Whether the attempt ran to its end, which takes an execution out of quarantine. An attempt that had
    /// to wait, only read, or was interrupted proves nothing.
    pub came_through: bool,
}

/// How an attempt ended, as the list of attempts records it.
#[derive(Debug, Clone)]
pub struct EndedAttempt {
    /// The execution.
    pub execution: ExecutionId,
    /// The fence of the lease under which it ran.
    pub fence: Fence,
    /// The duration of the attempt.
    pub duration: Duration,
    /// The outcome in one word.
    pub outcome: &'static str,
    /// The HTTP status of the answer.
    pub response_code: Option<u16>,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// What happened, for operators.
    pub message: Option<String>,
    /// What to do, if the destination or the worker knows.
    pub remedy: Option<String>,
    /// The destination's id of the request.
    pub request_id: Option<String>,
}

impl CompletedExecution {
    /// The same result without the destination's texts, which are the only part that a database can refuse.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        Self { attempt: self.attempt.without_texts(), ..self.clone() }
    }
}

impl EndedAttempt {
    /// The same without the destination's texts.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let message = self.message.as_ref().map(|_| "the destination's answer cannot be stored".to_owned());
        Self {
            error_class: self.error_class.as_ref().map(|_| "unstorable".to_owned()),
            message,
            remedy: None,
            request_id: None,
            ..self.clone()
        }
    }
}

/// The next state of an execution after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Delivered.
    Success(Option<Remote>),
    /// Failed for good.
    Failed,
    /// Declined by the destination.
    Skipped,
    /// Pending, for another attempt.
    Postponed {
        /// The wait, from now.
        wait: Duration,
        /// Whether the attempt counts towards the limit.
        counts: bool,
    },
}

impl Conclusion {
    fn status(&self) -> Status {
        match self {
            Self::Success(_) => Status::Success,
            Self::Failed => Status::Failed,
            Self::Skipped => Status::Skipped,
            Self::Postponed { .. } => Status::Pending,
        }
    }
}

/// Whether a write of this execution is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// What was known before the attempt still holds.
    AsBefore,
    /// A write is in doubt: it may have happened or may still happen.
    InDoubt {
        /// How long ago it was sent.
        since: Duration,
    },
    /// No write is in doubt.
    Settled,
}

impl Settlement {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AsBefore => "as_before",
            Self::InDoubt { .. } => "in_doubt",
            Self::Settled => "settled",
        }
    }
}

/// The executions whose attempts were recorded, each with whether it had ended like that before, and was retried
/// or replayed since.
pub type Recorded = HashMap<ExecutionId, bool>;

impl Queue {
    /// Records the results of attempts and releases their leases, in one statement.
    ///
    /// If a newer version of an execution's row was requested meanwhile, the execution is pending again.
    ///
    /// Returns the executions that changed. An execution whose lease was lost is not among them, and nothing
    /// about it is recorded.
    pub async fn complete(&self, batch: &[CompletedExecution]) -> Result<Recorded, StoreError> {
        let text = |value: fn(&CompletedExecution) -> Option<&str>| -> Vec<Option<String>> {
            batch.iter().map(|completed| value(completed).map(without_nul)).collect()
        };
        let remote = |completed: &CompletedExecution| match &completed.conclusion {
            Conclusion::Success(Some(Remote { id, url, place })) => Some(Remote {
                id: without_nul(id),
                url: url.as_deref().map(without_nul),
                place: place.as_deref().map(without_nul),
            }),
            _ => None,
        };
        let in_doubt = |completed: &CompletedExecution| match completed.settlement {
            Settlement::InDoubt { since } => milliseconds(since),
            _ => 0,
        };
        let wait = |completed: &CompletedExecution| match completed.conclusion {
            Conclusion::Postponed { wait, .. } => milliseconds(wait),
            _ => 0,
        };
        let counts = |completed: &CompletedExecution| match completed.conclusion {
            Conclusion::Postponed { counts, .. } => counts,
            Conclusion::Failed => true,
            _ => false,
        };
        let alike = |completed: &CompletedExecution| {
            let message = completed.attempt.message.as_deref().unwrap_or_default();
            (completed.conclusion == Conclusion::Failed).then(|| pattern(message))
        };
        let rows = sqlx::query!(
            r#"
            with ended as (
                select * from unnest(
                    $1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bool[], $6::text[],
                    $7::text[], $8::text[], $9::integer[], $10::text[], $11::integer[], $12::text[],
                    $13::text[], $14::text[], $15::bigint[], $16::text[], $17::text[], $18::bool[],
                    $19::text[]
                ) as ended (id, fence, status, wait_ms, counts, settlement,
                            remote_id, remote_url, duration_ms, outcome, response_code, error_class,
                            message, request_id, in_doubt_ms, remote_place, pattern, came_through,
                            remedy)
            ), released as (
                -- One by one, and deleted by their places: a join would read the whole index if the statistics
                -- say that the table is empty, with all dead rows.
                select ended.*, found_at, leased_at, lease.row_version as attempted_version
                  from ended
                 cross join lateral (
                       select ctid as found_at, leased_at, row_version
                         from eventbridge.leases
                        where leases.execution_id = ended.id and leases.fence = ended.fence
                        limit 1
                          for update) as lease
            ), deleted as (
                delete from eventbridge.leases where ctid = any (array (select found_at from released))
            ), finished as (
                update eventbridge.executions
                   -- A newer version of its row follows, whatever became of this one.
                   set status = case when row_version > attempted_version then 'pending' else released.status end,
                       attempts = case when row_version > attempted_version then 0
                                       else attempts + released.counts::int end,
                       crashes = case when came_through then 0 else crashes end,
                       crashes_alone = case when came_through then 0 else crashes_alone end,
                       started_at = leased_at,
                       finished_at = case when released.status = 'pending' or row_version > attempted_version
                                          then null else now() end,
                       reason = released.message,
                       error_class = released.error_class,
                       failure_group = case when released.status = 'failed'
                                             and coalesce(row_version <= attempted_version, true) then
                           eventbridge.failure_group_key(destination, released.error_class, released.pattern) end,
                       response_code = released.response_code,
                       duration_ms = released.duration_ms,
                       remote_id = coalesce(released.remote_id, executions.remote_id),
                       remote_url = coalesce(released.remote_url, executions.remote_url),
                       remote_place = coalesce(released.remote_place, executions.remote_place),
                       in_doubt_since = case released.settlement
                                              when 'settled' then null
                                              when 'in_doubt'
                                              then now() - released.in_doubt_ms * interval '1 millisecond'
                                              else in_doubt_since end
                  from released
                 where executions.id = released.id
                returning executions.*, released.fence, outcome, message, request_id, pattern, remedy, wait_ms,
                          row_version > attempted_version as is_newer
            ), queued as (
                insert into eventbridge.queue (execution_id, destination, class, run_at, lane, mode, since)
                select id, destination, case when crashes > 0 then 'quarantined' when is_newer then 'fresh' else 'retry' end,
                       -- A newer version does not wait for the next attempt at an older one.
                       case when is_newer then now() else now() + wait_ms * interval '1 millisecond' end, lane, mode,
                       case when is_newer then now() else greatest(created_at, retried_at) end
                  from finished
                 where status = 'pending'
            ), grouped as (
                insert into eventbridge.failure_groups as known (key, destination, error_class, pattern, remedy)
                -- In one order, so that two who bring the same groups cannot wait for each other in a circle.
                select distinct on (failure_group) failure_group, destination, error_class, pattern, remedy
                  from finished
                 where failure_group is not null
                   and not exists (select from eventbridge.failure_groups as same
                                    where same.key = failure_group
                                      and (finished.remedy is null or finished.remedy = same.remedy))
                 order by failure_group, remedy
                on conflict (key) do update
                   set remedy = excluded.remedy
                 where known.remedy is distinct from excluded.remedy and excluded.remedy is not null
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome,
                        response_code, error_class, message, request_id)
                select id, fence, started_at, duration_ms, outcome,
                       response_code, error_class, message, request_id
                  from finished
            )
            select id as "id!", coalesce(retries -> -1 -> 'ended' ? status, false) as "is_repeated!" from finished
            "#,
            &batch.iter().map(|completed| completed.attempt.execution.0).collect::<Vec<_>>(),
            &batch.iter().map(|completed| completed.attempt.fence.0).collect::<Vec<_>>(),
            &batch.iter().map(|completed| completed.conclusion.status().as_str()).collect::<Vec<_>>() as _,
            &batch.iter().map(wait).collect::<Vec<_>>(),
            &batch.iter().map(counts).collect::<Vec<_>>(),
            &batch.iter().map(|completed| completed.settlement.as_str()).collect::<Vec<_>>() as _,
            &batch.iter().map(|completed| remote(completed).map(|remote| remote.id)).collect::<Vec<_>>() as _,
            &batch.iter().map(|completed| remote(completed)?.url).collect::<Vec<_>>() as _,
            &batch.iter().map(|completed| whole_milliseconds(completed.attempt.duration)).collect::<Vec<_>>(),
            &batch.iter().map(|completed| completed.attempt.outcome).collect::<Vec<_>>() as _,
            &batch.iter().map(|completed| completed.attempt.response_code.map(i32::from)).collect::<Vec<_>>() as _,
            &text(|completed| completed.attempt.error_class.as_deref()) as _,
            &text(|completed| completed.attempt.message.as_deref()) as _,
            &text(|completed| completed.attempt.request_id.as_deref()) as _,
            &batch.iter().map(in_doubt).collect::<Vec<_>>(),
            &batch.iter().map(|completed| remote(completed)?.place).collect::<Vec<_>>() as _,
            &batch.iter().map(alike).collect::<Vec<_>>() as _,
            &batch.iter().map(|completed| completed.came_through).collect::<Vec<_>>(),
            &text(|completed| completed.attempt.remedy.as_deref()) as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (ExecutionId(row.id), row.is_repeated)).collect())
    }
}
