//! What operators do to an execution: retry it or cancel it.
//!
//! Each change is one statement, which checks against the table of transitions whether it is legal, and
//! writes its audit entry.

use super::Interventions;
use crate::domain::audit::{Action, Caller, Subject};
use crate::domain::execution::{Change, ExecutionId, Status, UnknownStatus};
use crate::store::db::{StoreError, value_without_nul, without_nul};
use serde_json::Value;

/// The result of a retry request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryResult {
    /// Done.
    Done,
    /// No such execution.
    NotFound,
    /// The payload of its event was removed; there is nothing to deliver.
    PayloadRemoved,
    /// Not legal in this state.
    Refused(Status),
}

/// The result of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelResult {
    /// Done: it has this status now. It is `cancelled`, unless only a repetition was cancelled.
    Done(Status),
    /// No such execution.
    NotFound,
    /// Not legal in this state.
    Refused(Status),
}

impl Interventions {
    /// Queues an execution for another attempt now, whatever its attempts; legal from the states that
    /// [`Change::Retry`] names. The next attempt updates what an earlier one delivered. It also knows that
    /// an operator requested it: the state of an object is then written whole.
    ///
    /// This restores what a person changed in the service's columns, and detects a removed page. A failed
    /// attempt loses neither this request nor the mark of a write in doubt, so the next one searches first.
    pub async fn retry(&self, id: ExecutionId, caller: &Caller) -> Result<RetryResult, StoreError> {
        let row = sqlx::query!(
            r#"
            with found as (
                -- Locked, so that the returned state is the one that decided.
                select id, status,
                       (select payload_removed_by from eventbridge.events where events.id = event_key) as removed
                  from eventbridge.executions
                 where id = $1
                   for update
            ), waiting as (
                -- No row if it runs.
                select execution_id from eventbridge.queue
                 where execution_id = (select id from found where removed is null)
                   for update
            ), known as (
                select id, removed,
                       case when status = 'pending' and not exists (select from waiting)
                            then 'running' else status end as status
                  from found
            ), retried as (
                update eventbridge.executions
                   set status = 'pending', attempts = 0, crashes = 0, crashes_alone = 0, retried_at = now(),
                       retries = eventbridge.with_retry(executions.retries, executions.status, executions.finished_at),
                       reason = 'a retry was asked for', error_class = null, finished_at = null
                  from known
                 where executions.id = known.id and known.status = any ($2) and removed is null
                returning executions.*
            ), queued as (
                insert into eventbridge.queue (execution_id, destination, lane, mode)
                select id, destination, lane, mode from retried
                on conflict (execution_id) do update set class = 'fresh', run_at = now(), since = now()
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $3, $4, 'execution', id::text, jsonb_build_object('was', status)
                  from known
                 where exists (select from retried)
            )
            select status as "status!", removed, exists (select from retried) as "done!" from known
            "#,
            id.0,
            &Change::Retry.allowed_from_words(),
            caller.name(),
            Action::ExecutionRetried.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if !row.done && row.removed.is_some() => Ok(RetryResult::PayloadRemoved),
            Some(row) if row.done => Ok(RetryResult::Done),
            Some(row) => Ok(RetryResult::Refused(state(&row.status)?)),
            None => Ok(RetryResult::NotFound),
        }
    }

    /// Cancels a pending execution; legal from the states that [`Change::Cancel`] names.
    ///
    /// If it was delivered or declined before, only its retry or replay is cancelled: it returns to what it was
    /// (see [`Status::RESTORED_BY_CANCEL`]), with the result of the attempt that ended it. A write in doubt stays
    /// in doubt, and the reason names it.
    pub async fn cancel(&self, id: ExecutionId, caller: &Caller) -> Result<CancelResult, StoreError> {
        let row = sqlx::query!(
            r#"
            with found as (
                -- Locked, so that the returned state is the one that decided.
                select id, status, finished_at, in_doubt_since, (retries -> -1 ->> 'since')::timestamptz as since,
                       -- What its last retry repeats. A row is delivered in its newest version, so not the same again.
                       case when event_key is not null and retries -> -1 ->> 'was' = any ($5)
                            then retries -> -1 ->> 'was' end as before,
                       coalesce(finished_at < retried_at, false) as is_restored
                  from eventbridge.executions where id = $1 for update
            ), dequeued as (
                -- No row if it runs.
                delete from eventbridge.queue where execution_id = (select id from found) returning execution_id
            ), known as (
                select id, before, since, is_restored,
                       case when status = 'pending' and not exists (select from dequeued)
                            then 'running' else status end as status
                  from found
            ), ending as (
                -- The attempt after which it had the state to which it returns.
                select started_at, duration_ms, response_code, error_class, message
                  from eventbridge.attempts
                 where execution_id = $1 and started_at <= (select since from found where before is not null)
                 order by fence desc
                 limit 1
            ), kept as (
                update eventbridge.executions
                   set status = before, finished_at = since, attempts = 0, crashes = 0, crashes_alone = 0,
                       started_at = coalesce(ending.started_at, executions.started_at),
                       duration_ms = coalesce(ending.duration_ms, executions.duration_ms),
                       response_code = ending.response_code, error_class = ending.error_class,
                       reason = nullif(concat_ws('; ', ending.message,
                           case when in_doubt_since is not null
                                then 'a repetition was cancelled after a write whose outcome is unknown' end), '')
                  from known left join ending on true
                 where executions.id = known.id and before is not null
                   and (known.status = any ($2) and known.status <> 'cancelled'
                        -- It can be repeated.
                        or is_restored and known.status = before)
                returning executions.id, executions.status
            ), cancelled as (
                update eventbridge.executions
                   set status = 'cancelled', finished_at = now(),
                       reason = concat_ws('; ', 'cancelled by ' || $3::text,
                           case when in_doubt_since is not null
                                then 'a write of unknown outcome may have arrived all the same' end)
                  from known
                 where executions.id = known.id and known.status = any ($2)
                   and (before is null or known.status = 'cancelled')
                returning executions.id, executions.status
            ), done as (
                select id, status from kept union all select id, status from cancelled
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $3, $4, 'execution', id::text,
                       jsonb_strip_nulls(jsonb_build_object(
                           'was', known.status, 'restored', (select status from kept)))
                  from known
                 where exists (select from done)
            )
            select coalesce((select status from done), status) as "status!", exists (select from done) as "done!"
              from known
            "#,
            id.0,
            &Change::Cancel.allowed_from_words(),
            caller.name(),
            Action::ExecutionCancelled.as_str(),
            &Status::RESTORED_BY_CANCEL.map(|status| status.as_str().to_owned())
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if row.done => Ok(CancelResult::Done(state(&row.status)?)),
            Some(row) => Ok(CancelResult::Refused(state(&row.status)?)),
            None => Ok(CancelResult::NotFound),
        }
    }

    /// What [`cancel`](Self::cancel) would do now; changes nothing.
    pub async fn would_cancel(&self, id: ExecutionId) -> Result<CancelResult, StoreError> {
        let row = sqlx::query!(
            r#"
            select case when status = 'pending'
                         and not exists (select from eventbridge.queue where execution_id = executions.id)
                        then 'running' else status end as "status!",
                   case when event_key is not null and retries -> -1 ->> 'was' = any ($2)
                        then retries -> -1 ->> 'was' end as before,
                   coalesce(finished_at < retried_at, false) as "is_restored!"
              from eventbridge.executions
             where id = $1
            "#,
            id.0,
            &Status::RESTORED_BY_CANCEL.map(|status| status.as_str().to_owned())
        )
        .fetch_optional(&self.reading)
        .await?;
        let Some(row) = row else { return Ok(CancelResult::NotFound) };
        let (status, before) = (state(&row.status)?, row.before.as_deref().map(state).transpose()?);
        Ok(match status.after(Change::Cancel) {
            Some(cancelled) if status == Status::Pending => CancelResult::Done(before.unwrap_or(cancelled)),
            Some(cancelled) => CancelResult::Done(cancelled),
            None if row.is_restored && before == Some(status) => CancelResult::Done(status),
            None => CancelResult::Refused(status),
        })
    }

    /// Writes an audit entry: the caller did this to the subject.
    pub async fn audit(
        &self,
        caller: &Caller,
        action: Action,
        subject: Subject<'_>,
        detail: &Value,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            values ($1, $2, $3, $4, $5)
            "#,
            caller.name(),
            action.as_str(),
            subject.kind.as_str(),
            subject.id.map(without_nul),
            value_without_nul(detail)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn state(word: &str) -> Result<Status, StoreError> {
    word.parse().map_err(|error: UnknownStatus| StoreError::Unexpected(error.to_string()))
}
