//! Bulk operations of operators on executions: one statement for each page of them.
//!
//! Executions of a bulk operation go behind all other work, so that new events need not wait. Running
//! executions are never touched, nor those whose payload was removed.

use super::Interventions;
use crate::domain::audit::{Action, Caller};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, NewExecution};
use crate::store::db::{StoreError, value_without_nul};
use serde_json::Value;
use std::collections::BTreeMap;

/// Executions counted by their destination instance.
pub type Counts = BTreeMap<String, u64>;

/// What a bulk retry does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// Executions to deliver again.
    pub counts: Counts,
    /// Its audit entry, if anything changed.
    pub line: Option<i64>,
}

/// What a replay does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// New executions.
    pub created: Counts,
    /// Executions to deliver again.
    pub again: Counts,
    /// Its audit entry, if anything changed.
    pub line: Option<i64>,
}

impl Interventions {
    /// Queues those of these executions that are still in this state, if [`Change::Retry`] is legal from it.
    /// The audit entry contains `detail` and the count.
    pub async fn bulk_retry(
        &self,
        ids: &[ExecutionId],
        status: &str,
        detail: &Value,
        caller: &Caller,
    ) -> Result<Retried, StoreError> {
        let rows = sqlx::query!(
            r#"
            with found as (
                -- In the order of all statements that lock many rows, and without locked ones, so that there is
                -- no deadlock.
                select executions.id
                  from eventbridge.executions
                  join eventbridge.events on events.id = event_key and payload_removed_at is null
                 where executions.id = any ($1) and status = $2 and status = any ($3)
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
                insert into eventbridge.audit (who, action, subject_kind, detail)
                select $4, $5, 'executions', $6::jsonb || jsonb_build_object('count', count(*))
                  from retried
                having count(*) > 0
                returning id
            )
            select destination, count(*) as "count!", (select id from audited) as line
              from retried
             group by destination
            "#,
            &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
            status,
            &Change::Retry.allowed_from_words(),
            caller.name(),
            Action::ExecutionsRetried.as_str(),
            value_without_nul(detail)
        )
        .fetch_all(&self.pool)
        .await?;
        let line = rows.first().and_then(|row| row.line);
        let counts = rows.into_iter().map(|row| (row.destination, whole(row.count))).collect();
        Ok(Retried { counts, line })
    }

    /// What [`bulk_retry`](Self::bulk_retry) would do now; changes nothing.
    pub async fn would_bulk_retry(&self, ids: &[ExecutionId], status: &str) -> Result<Retried, StoreError> {
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
        let counts = rows.into_iter().map(|row| (row.destination, whole(row.count))).collect();
        Ok(Retried { counts, line: None })
    }

    /// Delivers events again: creates the wanted executions that are missing, and queues existing ones from
    /// whose state [`Change::Replay`] is legal. The others are left as they are.
    pub async fn replay(
        &self,
        wanted: &[(EventKey, NewExecution)],
        detail: &Value,
        caller: &Caller,
    ) -> Result<Replayed, StoreError> {
        let rows = sqlx::query!(
            r#"
            with wanted as (
                select event_key, destination, mode, lane
                  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
                       as wanted (event_key, destination, mode, lane)
                  join eventbridge.events on events.id = event_key
                 where payload_removed_at is null
                 order by events.id
                   -- An event that is to be delivered must not be removed meanwhile.
                   for key share of events
            ), found as (
                select executions.id
                  from wanted
                  join eventbridge.executions using (event_key, destination)
                 where status = any ($5)
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
                insert into eventbridge.audit (who, action, subject_kind, detail)
                select $6, $7, 'events', $8::jsonb || jsonb_build_object('created', created, 'again', again)
                  from (select (select count(*) from created) as created, (select count(*) from again) as again) as counts
                 where created + again > 0
                returning id
            )
            select destination as "destination!", sum(created)::bigint as "created!",
                   sum(again)::bigint as "again!", (select id from audited) as line
              from (select destination, 1 as created, 0 as again from created
                    union all
                    select destination, 0, 1 from again) as changed
             group by destination
            "#,
            &wanted.iter().map(|(key, _)| key.0).collect::<Vec<_>>(),
            &wanted.iter().map(|(_, execution)| execution.destination.as_str()).collect::<Vec<_>>() as _,
            &wanted.iter().map(|(_, execution)| execution.mode.as_str()).collect::<Vec<_>>() as _,
            &wanted.iter().map(|(_, execution)| execution.lane.as_deref()).collect::<Vec<_>>() as _,
            &Change::Replay.allowed_from_words(),
            caller.name(),
            Action::EventsReplayed.as_str(),
            value_without_nul(detail)
        )
        .fetch_all(&self.pool)
        .await?;
        let line = rows.first().and_then(|row| row.line);
        let replayed = Replayed::of(rows.into_iter().map(|row| (row.destination, row.created, row.again)));
        Ok(Replayed { line, ..replayed })
    }

    /// What [`replay`](Self::replay) would do now; changes nothing.
    pub async fn would_replay(&self, wanted: &[(EventKey, NewExecution)]) -> Result<Replayed, StoreError> {
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
