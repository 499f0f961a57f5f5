//! What people do to executions: another try, or none.
//!
//! Each is one statement, which asks the table of transitions whether it is legal and writes its line
//! of the audit.

use super::Interventions;
use crate::domain::audit::{Action, Caller, Subject};
use crate::domain::execution::{Change, ExecutionId, Status, UnknownStatus};
use crate::store::db::{StoreError, value_without_nul, without_nul};
use serde_json::Value;

/// What became of a retry that a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is done.
    Done,
    /// There is no such execution.
    NotFound,
    /// The payload of its event was removed, so there is nothing to deliver.
    PayloadRemoved,
    /// It is not legal in this state.
    Refused(Status),
}

/// What became of a cancelling that a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is done.
    Done,
    /// There is no such execution.
    NotFound,
    /// It is not legal in this state.
    Refused(Status),
}

impl Interventions {
    /// Queues an execution for another try now, whatever its attempts; legal from the states that
    /// [`Change::Retry`] names. What it delivered earlier stays known, so that it is updated.
    /// That a person asked stays known as well: the state of an object is then written whole.
    pub async fn retry(&self, id: ExecutionId, caller: &Caller) -> Result<Answered, StoreError> {
        let row = sqlx::query!(
            r#"
            with found as (
                -- Locked, so that the state told is the one that decided.
                select id, status,
                       (select payload_removed_by from eventbridge.events where events.id = event_key) as removed
                  from eventbridge.executions
                 where id = $1
                   for update
            ), retried as (
                update eventbridge.executions
                   set status = 'pending', attempts = 0, crashes = 0, crashes_alone = 0, run_at = now(),
                       retried_at = now(), in_bulk = false,
                       reason = 'a retry was asked for', error_class = null, finished_at = null
                  from found
                 where executions.id = found.id and found.status = any($2) and found.removed is null
                returning executions.id
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $3, $4, 'execution', id::text, jsonb_build_object('was', status)
                  from found
                 where exists (select from retried)
            )
            select status, removed, exists (select from retried) as "done!" from found
            "#,
            id.0,
            &Change::Retry.allowed_from_words(),
            caller.name(),
            Action::ExecutionRetried.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if !row.done && row.removed.is_some() => Ok(Answered::PayloadRemoved),
            Some(row) if row.done => Ok(Answered::Done),
            Some(row) => Ok(Answered::Refused(state(&row.status)?)),
            None => Ok(Answered::NotFound),
        }
    }

    /// Cancels an execution that waits; legal from the states that [`Change::Cancel`] names.
    pub async fn cancel(&self, id: ExecutionId, caller: &Caller) -> Result<Cancelled, StoreError> {
        let row = sqlx::query!(
            r#"
            with found as (
                -- Locked, so that the state told is the one that decided.
                select id, status from eventbridge.executions where id = $1 for update
            ), cancelled as (
                update eventbridge.executions
                   set status = 'cancelled', reason = 'cancelled by ' || $3::text, finished_at = now()
                  from found
                 where executions.id = found.id and found.status = any($2)
                returning executions.id
            ), audited as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $3, $4, 'execution', id::text, jsonb_build_object('was', status)
                  from found
                 where exists (select from cancelled)
            )
            select status, exists (select from cancelled) as "done!" from found
            "#,
            id.0,
            &Change::Cancel.allowed_from_words(),
            caller.name(),
            Action::ExecutionCancelled.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if row.done => Ok(Cancelled::Done),
            Some(row) => Ok(Cancelled::Refused(state(&row.status)?)),
            None => Ok(Cancelled::NotFound),
        }
    }

    /// Writes down that the caller did this to the subject.
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
            without_nul(subject.kind),
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
