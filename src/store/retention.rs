//! Retention: old bodies, or old events with all that belongs to them, are removed in small batches.
//!
//! Nothing unfinished is ever removed. In object mode the state that is shown of an object stays, and
//! so do the states of its last second: they decide whether a late event is newer.

use super::{Store, StoreError};
use crate::domain::event::EventKey;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How many events are looked at together: a fraction of a second's work.
const LOOKED_AT_MAX: i64 = 500;

/// What is removed of an old event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its body alone: the event and its executions stay, and cannot be delivered again.
    Payloads,
    /// All of it: the event, its executions, their attempts, what was done to them by hand, and what
    /// the event is found by.
    Rows,
}

/// Which events are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// Those that came longer ago than this.
    Age(Duration),
    /// Those that came before.
    Before(DateTime<Utc>),
}

/// What one batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// The last event that was looked at; the next batch begins behind it.
    pub position: i64,
    /// How many events were removed, or their bodies.
    pub removed: u64,
    /// How many are old and had to stay.
    pub kept: u64,
    /// Whether no old event lies behind the position.
    pub is_last: bool,
}

/// That a body was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedPayload {
    /// When.
    pub at: DateTime<Utc>,
    /// `retention` or `forgotten`.
    pub why: String,
}

impl Store {
    /// Looks at the next events behind `position` and removes what is old. With `dry_run` it only
    /// counts.
    pub async fn sweep(
        &self,
        removal: Removal,
        cutoff: Cutoff,
        position: i64,
        dry_run: bool,
    ) -> Result<Swept, StoreError> {
        let (before, age) = match cutoff {
            Cutoff::Before(at) => (Some(at), None),
            Cutoff::Age(age) => (None, Some(super::milliseconds(age))),
        };
        let row = sqlx::query!(
            r#"
            with looked_at as (
                select id, received_at < coalesce($3, now() - $4::bigint * interval '1 millisecond') as is_old
                  from (select id, received_at from eventbridge.events where id > $1 order by id limit $2) as next
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
            ), needed as (
                select executions.event_key
                  from eventbridge.executions
                  join eventbridge.events on events.id = executions.event_key
                  left join own on own.id = executions.id
                 where executions.event_key = any (array (select id from old))
                   and (own.id is null
                        or own.status in ('pending', 'running')
                        or own.lane is not null
                           and (exists (select from eventbridge.remote_objects
                                         where remote_objects.lane = own.lane and execution_id = own.id)
                                or own.status in ('success', 'superseded')
                                   and not exists (
                                       select from eventbridge.executions as later
                                         join eventbridge.events as of_later on of_later.id = later.event_key
                                        where later.lane = own.lane
                                          and later.status in ('pending', 'running', 'success', 'superseded')
                                          and of_later.created >= date_trunc('second', events.created) + interval '1 second'
                                          and of_later.type not like 'v1.%' and of_later.type not like 'v2.%')))
            ), doomed as (
                select id from old where id not in (select event_key from needed)
            ), doomed_executions as (
                select id from own where event_key in (select id from doomed)
            ), emptied as (
                update eventbridge.events
                   set payload = '', payload_removed_at = now(), payload_removed_why = 'retention'
                 where not $5 and not $6 and id = any (array (select id from doomed))
            ), without_attempts as (
                delete from eventbridge.attempts
                 where $5 and not $6 and execution_id = any (array (select id from doomed_executions))
            ), without_audit as (
                delete from eventbridge.audit
                 where $5 and not $6
                   and subject = any (array (select 'execution ' || id from doomed_executions))
            ), found_by as (
                delete from eventbridge.event_facts
                 where $5 and not $6 and event_key = any (array (select id from doomed))
                returning event_key, terms
            ), without_terms as (
                delete from eventbridge.search_terms
                 using (select event_key, unnest(terms) as term from found_by) as words
                 where search_terms.term = words.term and search_terms.event_key = words.event_key
            ), without_executions as (
                delete from eventbridge.executions
                 where $5 and not $6 and id = any (array (select id from doomed_executions))
            ), without_events as (
                delete from eventbridge.events
                 where $5 and not $6 and id = any (array (select id from doomed))
            )
            select coalesce((select max(id) from looked_at), $1) as "position!",
                   (select count(*) from doomed) as "removed!",
                   (select count(*) from looked_at where is_old) - (select count(*) from doomed) as "kept!",
                   (select count(*) from looked_at) < $2
                       or not exists (select from looked_at where is_old) as "is_last!"
            "#,
            position,
            LOOKED_AT_MAX,
            before,
            age,
            removal == Removal::Rows,
            dry_run
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

    /// When and why the body of an event was removed; nothing where it is there.
    pub async fn payload_removed(&self, key: EventKey) -> Result<Option<RemovedPayload>, StoreError> {
        let row = sqlx::query_as!(
            RemovedPayload,
            r#"
            select payload_removed_at as "at!", coalesce(payload_removed_why, '') as "why!"
              from eventbridge.events
             where id = $1 and payload_removed_at is not null
            "#,
            key.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row)
    }

    /// The lowest and the highest number of an event, by which progress can be told.
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
