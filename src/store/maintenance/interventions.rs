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
    /// Done.
    Done,
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
    pub async fn cancel(&self, id: ExecutionId, caller: &Caller) -> Result<CancelResult, StoreError> {
        let row = sqlx::query!(
            r#"
            with found as (
                -- Locked, so that the returned state is the one that decided.
                select id, status from eventbridge.executions where id = $1 for update
            ), dequeued as (
                -- No row if it runs.
                delete from eventbridge.queue where execution_id = (select id from found) returning execution_id
            ), known as (
                select id, case when status = 'pending' and not exists (select from dequeued)
                                then 'running' else status end as status
                  from found
            ), cancelled as (
                update eventbridge.executions
                   set status = 'cancelled', reason = 'cancelled by ' || $3::text, finished_at = now()
                  from known
                 where executions.id = known.id and known.status = any ($2)
                returning executions.id
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $3, $4, 'execution', id::text, jsonb_build_object('was', status)
                  from known
                 where exists (select from cancelled)
            )
            select status as "status!", exists (select from cancelled) as "done!" from known
            "#,
            id.0,
            &Change::Cancel.allowed_from_words(),
            caller.name(),
            Action::ExecutionCancelled.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if row.done => Ok(CancelResult::Done),
            Some(row) => Ok(CancelResult::Refused(state(&row.status)?)),
            None => Ok(CancelResult::NotFound),
        }
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
