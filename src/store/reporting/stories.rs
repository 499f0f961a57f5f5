//! Reads the parts of stories: events with their executions, attempts, manual changes and past pauses.
//!
//! It takes eight statements, however many events are asked for.

use super::{ExecutionRow, Reports};
use crate::domain::event::{EventKey, EventOrigin};
use crate::domain::execution::{ExecutionId, UnknownStatus};
use crate::domain::story::{self, Attempt, EventStory, ManualOperation, PastEnd, PastPause};
use crate::store::db::StoreError;
use crate::store::events::EventRow;
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// The most attempts of an execution that are read, newest first.
const ATTEMPTS_MAX: i64 = 50;

/// The most manual changes, and the most past pauses, that are read for one story.
const OPERATIONS_MAX: i64 = 500;
const PAUSES_MAX: i64 = 500;

/// Lists by execution, or by destination.
type By<K, T> = HashMap<K, Vec<T>>;

impl Reports {
    /// What happened to these events, in their order. `configured` are the configured destination instances.
    pub async fn chapters(
        &self,
        events: &[EventRow],
        configured: &[String],
    ) -> Result<Vec<EventStory>, StoreError> {
        let keys: Vec<i64> = events.iter().map(|event| event.id).collect();
        let executions = self.executions_of(&keys).await?;
        let ids: Vec<i64> = executions.iter().map(|execution| execution.id).collect();
        let (mut attempts, mut operations, mut ends, pauses, removed) = tokio::try_join!(
            self.newest_attempts(&ids),
            self.manual_operations(&executions),
            self.past_ends(&executions),
            self.past_pauses(&executions),
            self.payloads_removed(&keys),
        )?;
        let mut by_event: By<i64, story::Execution> = HashMap::new();
        for execution in executions {
            let (earlier_attempts, attempts) = attempts.remove(&execution.id).unwrap_or_default();
            let operations = operations.remove(&execution.id).unwrap_or_default();
            let ends = ends.remove(&execution.id).unwrap_or_default();
            let pauses = pauses.get(&execution.destination).cloned().unwrap_or_default();
            let event = execution.event_key;
            let one = story::Execution {
                earlier_attempts,
                attempts,
                operations,
                ends,
                pauses,
                ..execution_alone(execution, configured)?
            };
            by_event.entry(event).or_default().push(one);
        }
        let chapter = |event: &EventRow| EventStory {
            event: EventKey(event.id),
            source: event.source.clone(),
            created: event.created,
            received_at: event.received_at,
            origin: EventOrigin::of_word(&event.origin),
            secret: event.secret_name.clone(),
            payload_removed: removed.get(&event.id).copied(),
            executions: by_event.remove(&event.id).unwrap_or_default(),
        };
        Ok(events.iter().map(chapter).collect())
    }

    /// The newest attempts of each execution, oldest first, and the number of earlier ones.
    async fn newest_attempts(&self, ids: &[i64]) -> Result<HashMap<i64, (u32, Vec<Attempt>)>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select wanted.id as "execution!", earlier as "earlier!", newest.*
              from unnest($1::bigint[]) as wanted (id)
             cross join lateral (
                   select greatest(count(*) - $2, 0) as earlier
                     from eventbridge.attempts
                    where execution_id = wanted.id) as counted
             cross join lateral (
                   select fence, started_at, duration_ms, outcome, response_code, error_class, message, request_id
                     from eventbridge.attempts
                    where execution_id = wanted.id
                    order by fence desc
                    limit $2) as newest
             order by wanted.id, fence
            "#,
            ids,
            ATTEMPTS_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let mut attempts: HashMap<i64, (u32, Vec<Attempt>)> = HashMap::new();
        for row in rows {
            let of_execution = attempts.entry(row.execution).or_default();
            of_execution.0 = u32::try_from(row.earlier).unwrap_or(u32::MAX);
            of_execution.1.push(Attempt {
                at: row.started_at,
                duration_ms: row.duration_ms,
                outcome: row.outcome,
                code: row.response_code,
                class: row.error_class,
                message: row.message,
                request: row.request_id,
            });
        }
        Ok(attempts)
    }

    /// The manual changes of each of these executions, oldest first; of retries in bulk, the last 20.
    async fn manual_operations(
        &self,
        executions: &[ExecutionRow],
    ) -> Result<By<i64, ManualOperation>, StoreError> {
        let ids: Vec<i64> = executions.iter().map(|execution| execution.id).collect();
        let rows = sqlx::query!(
            r#"
            with alone as (
                select wanted.id as execution, audit.id, at, who, action, detail->>'note' as note, false as with_others,
                       detail->>'restored' as restored
                  from unnest($1::bigint[]) as wanted (id)
                  join eventbridge.audit on audit.subject_kind = 'execution' and audit.subject_id = wanted.id::text
            ), together as (
                -- A bulk operation and what it did to each execution have the same time.
                select executions.id as execution, audit.id, audit.at, who, action, detail->>'note' as note,
                       coalesce((detail->>'count')::bigint, (detail->>'created')::bigint + (detail->>'again')::bigint) > 1
                           as with_others,
                       null as restored
                  from eventbridge.executions
                 cross join lateral jsonb_to_recordset(retries) as retry (at timestamptz)
                  join eventbridge.audit on audit.subject_kind = 'task' and audit.at = retry.at
                 where executions.id = any ($2)
            )
            select execution as "execution!", at as "at!", who as "who!", action as "action!", note,
                   with_others as "with_others!", restored
              from (select * from alone union all select * from together) as operations
             order by id desc
             limit $3
            "#,
            &ids,
            &executions
                .iter()
                .filter(|execution| execution.retried_at.is_some())
                .map(|execution| execution.id)
                .collect::<Vec<_>>(),
            OPERATIONS_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let mut operations: By<i64, ManualOperation> = HashMap::new();
        for row in rows.into_iter().rev() {
            let action = row.action.split_once('.').map_or(&*row.action, |(_, what)| what).to_owned();
            let operation = ManualOperation {
                at: row.at,
                who: row.who,
                action,
                with_others: row.with_others,
                note: row.note,
                restored: row.restored.and_then(|status| status.parse().ok()),
            };
            operations.entry(row.execution).or_default().push(operation);
        }
        Ok(operations)
    }

    /// The states in which these executions ended before they were retried, oldest first.
    async fn past_ends(&self, executions: &[ExecutionRow]) -> Result<By<i64, PastEnd>, StoreError> {
        let retried: Vec<i64> = executions
            .iter()
            .filter(|execution| execution.retried_at.is_some())
            .map(|execution| execution.id)
            .collect();
        let rows = sqlx::query!(
            r#"
            -- Retries of what already waits repeat the same end.
            select distinct id, retry.was as "was!", retry.since as "since!"
              from eventbridge.executions
             cross join lateral jsonb_to_recordset(retries) as retry (at timestamptz, was text, since timestamptz)
             where id = any ($1) and retry.since is not null
             order by id, retry.since
            "#,
            &retried
        )
        .fetch_all(&self.reading)
        .await?;
        let mut ends: By<i64, PastEnd> = HashMap::new();
        for row in rows {
            let status =
                row.was.parse().map_err(|error: UnknownStatus| StoreError::Unexpected(error.to_string()))?;
            ends.entry(row.id).or_default().push(PastEnd { at: row.since, status });
        }
        Ok(ends)
    }

    /// The pauses of the instances of these executions, from the creation of the first one to the end of the
    /// last.
    async fn past_pauses(&self, executions: &[ExecutionRow]) -> Result<By<String, PastPause>, StoreError> {
        let destinations: Vec<&str> =
            executions.iter().map(|execution| execution.destination.as_str()).collect();
        let ends: Option<Vec<_>> = executions.iter().map(|execution| execution.finished_at).collect();
        let ended_at = ends.and_then(|ends| ends.into_iter().max());
        let rows = sqlx::query!(
            r#"
            select destination, since, until, reason
              from eventbridge.past_pauses
             where destination = any ($1) and until >= $2 and since <= coalesce($3, now())
             order by until desc
             limit $4
            "#,
            &destinations as _,
            executions.iter().map(|execution| execution.created_at).min(),
            ended_at,
            PAUSES_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let mut pauses: By<String, PastPause> = HashMap::new();
        for row in rows {
            let pause = PastPause { since: row.since, until: row.until, reason: row.reason };
            pauses.entry(row.destination).or_default().push(pause);
        }
        Ok(pauses)
    }

    /// Which of these events lost their body: when, and whether a person was erased.
    async fn payloads_removed(
        &self,
        keys: &[i64],
    ) -> Result<HashMap<i64, (DateTime<Utc>, bool)>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select id, payload_removed_at as "at!", payload_removed_by is not distinct from 'erasure' as "is_erased!"
              from eventbridge.events
             where id = any ($1) and payload_removed_at is not null
            "#,
            keys
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, (row.at, row.is_erased))).collect())
    }
}

/// The part of an execution that its own row contains.
fn execution_alone(execution: ExecutionRow, configured: &[String]) -> Result<story::Execution, StoreError> {
    let unknown = |error: UnknownStatus| StoreError::Unexpected(error.to_string());
    Ok(story::Execution {
        id: ExecutionId(execution.id),
        status: execution.status.parse().map_err(unknown)?,
        waiting: execution.waiting(configured),
        created_at: execution.created_at,
        finished_at: execution.finished_at,
        destination: execution.destination,
        reason: execution.reason,
        remedy: execution.remedy,
        remote_url: execution.remote_url,
        earlier_attempts: 0,
        attempts: Vec::new(),
        operations: Vec::new(),
        ends: Vec::new(),
        pauses: Vec::new(),
    })
}
