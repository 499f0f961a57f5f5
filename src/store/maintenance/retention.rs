//! Retention: removes old bodies, or old events with everything that belongs to them, in small batches.
//!
//! Nothing unfinished is ever removed. In object mode the state that is shown of an object stays, and so do
//! the states of its last second: they decide whether a late event is newer.

use super::Retention;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most events of a batch: a fraction of a second's work.
pub const SWEPT_AT_ONCE: u32 = 500;

/// The most tasks, or idempotency keys, that one statement removes.
const ROWS_AT_ONCE: i64 = 500;

/// The most failure groups that one statement examines.
const GROUPS_AT_ONCE: i64 = 500;

/// The most events with removed bodies that one statement skips.
const SKIPPED_MAX: i64 = 10_000;

/// The newest state of a lane is searched among this number of its newest executions. If it is an older one,
/// more is kept than necessary.
const NEWEST_OF_LANE: i64 = 100;

/// What is removed from an old event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its body, the search terms from it, and the messages that may quote it. The event and its executions
    /// stay, and cannot be delivered again. The event is still found by its own id and by that of its
    /// object.
    Payloads,
    /// All of it: the event, its executions, their attempts, their manual changes, and the search terms.
    Rows,
}

/// Which events are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// Events received longer ago than this.
    Age(Duration),
    /// Events received before this time.
    Before(DateTime<Utc>),
}

impl Cutoff {
    /// The time, or the age in milliseconds.
    fn parts(self) -> (Option<DateTime<Utc>>, Option<i64>) {
        match self {
            Self::Before(at) => (Some(at), None),
            Self::Age(age) => (None, Some(milliseconds(age))),
        }
    }
}

/// The result of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// The last event that was examined; the next batch begins after it.
    pub position: i64,
    /// The number of events, or bodies, that were removed.
    pub removed: u64,
    /// The number of old events that had to stay.
    pub kept: u64,
    /// Whether no old event follows the position.
    pub is_last: bool,
}

impl Retention {
    /// Examines the next `events` after `position`, at most [`SWEPT_AT_ONCE`], and removes what is old. With
    /// `dry_run` it only counts.
    pub async fn sweep(
        &self,
        removal: Removal,
        cutoff: Cutoff,
        position: i64,
        events: u32,
        dry_run: bool,
    ) -> Result<Swept, StoreError> {
        let (before, age) = cutoff.parts();
        let events = i64::from(events.min(SWEPT_AT_ONCE));
        let row = sqlx::query!(
            r#"
            with next as (
                select id, received_at, payload_removed_at is null as has_payload
                  from eventbridge.events
                 where id > $1
                 order by id
                 limit $7
            ), looked_at as (
                select id, received_at < coalesce($3, now() - $4::bigint * interval '1 millisecond') as is_old
                  from next
                 where $5 or has_payload
                 order by id
                 limit $2
            ), old as (
                -- Whoever brings an event back to life locks it too, and is left alone.
                select id
                  from eventbridge.events
                 where id = any (array (select id from looked_at where is_old))
                   and ($5 or payload_removed_at is null)
                   for update skip locked
            ), own as (
                select id, event_key, status, lane
                  from eventbridge.executions
                 where event_key = any (array (select id from old))
                   for update skip locked
            ), lanes as (
                -- Once for each lane, however many of its states are looked at and however long it is.
                select lane, max(created) as newest_at
                  from (select distinct lane from own
                         where lane is not null and status in ('success', 'superseded')) as of_own
                 cross join lateral (
                       select events.created
                         from eventbridge.executions
                         join eventbridge.events on events.id = event_key
                        where executions.lane = of_own.lane
                          and executions.status in ('pending', 'success', 'superseded')
                          and events.carries_state
                        order by executions.id desc
                        limit $8) as newest
                 group by lane
            ), needed as (
                select executions.event_key
                  from eventbridge.executions
                  join eventbridge.events on events.id = executions.event_key
                  left join own on own.id = executions.id
                  left join lanes on lanes.lane = own.lane
                 where executions.event_key = any (array (select id from old))
                   and (own.id is null
                        or own.status = 'pending'
                        or own.lane is not null
                           and (exists (select from eventbridge.remote_objects
                                         where remote_objects.lane = own.lane and execution_id = own.id)
                                or own.status in ('success', 'superseded')
                                   and (newest_at >= date_trunc('second', events.created) + interval '1 second')
                                       is not true))
            ), doomed as (
                select id from old where id not in (select event_key from needed)
            ), doomed_executions as (
                select id from own where event_key in (select id from doomed)
            ), emptied as (
                update eventbridge.events
                   set payload = '', payload_removed_at = now(), payload_removed_by = 'retention'
                 where not $5 and not $6 and id = any (array (select id from doomed))
            ), silenced as (
                -- The messages could quote it. What messages have in common stays with their group.
                update eventbridge.executions
                   set reason = 'its reason was removed with its payload'
                 where not $5 and not $6 and id = any (array (select id from doomed_executions))
                   and status in ('failed', 'skipped') and reason is not null
            ), unquoted as (
                update eventbridge.attempts
                   set message = null
                 where not $5 and not $6 and message is not null
                   and execution_id = any (array (select id from doomed_executions))
            ), without_attempts as (
                delete from eventbridge.attempts
                 where $5 and not $6 and execution_id = any (array (select id from doomed_executions))
            ), without_audit as (
                delete from eventbridge.audit
                 where $5 and not $6
                   and subject_kind = 'execution'
                   and subject_id = any (array (select id::text from doomed_executions))
            ), words as (
                -- The object's id stands in the event itself, so it stays as long as that.
                select event_key, term, not $5 and term = lower(object_id) is true as stays
                  from eventbridge.event_facts
                  join eventbridge.events on events.id = event_key
                 cross join unnest(terms) as term
                 where event_key = any (array (select id from doomed))
            ), without_terms as (
                delete from eventbridge.search_terms
                 using words
                 where not $6 and not stays
                   and search_terms.term = words.term and search_terms.event_key = words.event_key
            ), without_facts as (
                delete from eventbridge.event_facts
                 where $5 and not $6 and event_key = any (array (select id from doomed))
            ), nameless as (
                -- A row says that the event is indexed: where there is none yet, none is made of its words.
                insert into eventbridge.event_facts as known (event_key, terms)
                select id, array (select term from words where event_key = id and stays)
                  from doomed
                 where not $5 and not $6
                on conflict (event_key) do update
                   set customer = null, customer_email = null, invoice_number = null, terms = excluded.terms
            ), without_executions as (
                delete from eventbridge.executions
                 where $5 and not $6 and id = any (array (select id from doomed_executions))
            ), without_events as (
                delete from eventbridge.events
                 where $5 and not $6 and id = any (array (select id from doomed))
            )
            select coalesce(case when (select count(*) from looked_at) < $2 then (select max(id) from next)
                                 else (select max(id) from looked_at) end, $1) as "position!",
                   (select count(*) from doomed) as "removed!",
                   (select count(*) from looked_at where is_old) - (select count(*) from doomed) as "kept!",
                   (select count(*) from looked_at) < $2 and (select count(*) from next) < $7
                       or exists (select from looked_at) and not exists (select from looked_at where is_old) as "is_last!"
            "#,
            position,
            events,
            before,
            age,
            removal == Removal::Rows,
            dry_run,
            if removal == Removal::Rows { events } else { events.max(SKIPPED_MAX) },
            NEWEST_OF_LANE
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Swept {
            position: row.position,
            removed: count(row.removed),
            kept: count(row.kept),
            is_last: row.is_last,
        })
    }

    /// Removes old failure groups without a failed execution, some hundred at once. Returns how many. With
    /// `dry_run` it only counts.
    ///
    /// A failure that arrives at the same time can lose its group.
    /// [`regroup_lost_failures`](Self::regroup_lost_failures) then gives it a new one.
    pub async fn remove_idle_groups(&self, cutoff: Cutoff, dry_run: bool) -> Result<u64, StoreError> {
        let (before, age) = cutoff.parts();
        let removed = sqlx::query_scalar!(
            r#"
            with idle as (
                select key
                  from eventbridge.failure_groups
                 where greatest(created_at, acknowledged_at) < coalesce($1, now() - $2::bigint * interval '1 millisecond')
                   and not exists (select from eventbridge.executions
                                    where failure_group = failure_groups.key and status = 'failed')
                 limit $3
            ), removed as (
                delete from eventbridge.failure_groups where not $4 and key = any (array (select key from idle))
            )
            select count(*) as "count!" from idle
            "#,
            before,
            age,
            GROUPS_AT_ONCE,
            dry_run
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(u64::try_from(removed).unwrap_or_default())
    }

    /// Removes tasks that ended longer ago than this, some hundred at once. Returns how many.
    pub async fn remove_finished_tasks(&self, age: Duration) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            r#"
            delete from eventbridge.tasks
             where id = any (array (select id
                                      from eventbridge.tasks
                                     where finished_at is not null
                                       and updated_at < now() - $1::bigint * interval '1 millisecond'
                                     order by updated_at
                                     limit $2))
            "#,
            milliseconds(age),
            ROWS_AT_ONCE
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Removes idempotency keys that are older than this, some hundred at once. Returns how many.
    pub async fn remove_idempotency_keys(&self, age: Duration) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            r#"
            delete from eventbridge.idempotency_keys
             where (caller, key) in (select caller, key
                                       from eventbridge.idempotency_keys
                                      where created_at < now() - $1::bigint * interval '1 millisecond'
                                      order by created_at
                                      limit $2)
            "#,
            milliseconds(age),
            ROWS_AT_ONCE
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Takes failures out of groups that no longer exist, some hundred at once, so that they get a new one.
    pub async fn regroup_lost_failures(&self) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with recursive named (key) as (
                -- From one group's first failure to the next one's, however many each has.
                (select failure_group from eventbridge.executions
                  where status = 'failed' and failure_group is not null
                  order by failure_group
                  limit 1)
                union all
                select (select failure_group from eventbridge.executions
                         where status = 'failed' and failure_group > named.key
                         order by failure_group
                         limit 1)
                  from named
                 where named.key is not null
            ), lost as (
                select executions.id
                  from named
                  join eventbridge.executions on failure_group = named.key and status = 'failed'
                 where not exists (select from eventbridge.failure_groups where failure_groups.key = named.key)
                 limit $1
            )
            update eventbridge.executions
               set failure_group = null
             where id = any (array (select id from lost)) and status = 'failed'
            "#,
            GROUPS_AT_ONCE
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The lowest and the highest id of an event, for progress reports.
    pub async fn event_range(&self) -> Result<(i64, i64), StoreError> {
        let row = sqlx::query!(
            r#"
            select coalesce(min(id), 0) as "first!", coalesce(max(id), 0) as "last!" from eventbridge.events
            "#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.first, row.last))
    }
}
