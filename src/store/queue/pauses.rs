//! Destination instances: what each remembers between runs, and which ones wait for the operator.

use super::Destinations;
use crate::domain::audit::{Action, Caller};
use crate::domain::execution::ExecutionId;
use crate::store::db::{StoreError, milliseconds, without_nul};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;

/// Why an instance is held: only the operator can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The kind of failure, in a word.
    pub class: String,
    /// What happened, for those who hold a key.
    pub reason: String,
    /// What to do, in words of our own that anybody may read.
    pub remedy: String,
    /// The execution on which it showed, where it was one.
    pub execution: Option<ExecutionId>,
}

/// An instance that is held.
#[derive(Debug, Clone)]
pub struct HeldInstance {
    /// The instance.
    pub name: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why.
    pub hold: Hold,
}

/// A destination instance, known or not.
#[derive(Debug, Clone)]
pub struct DestinationRow {
    /// The instance.
    pub name: String,
    /// Since when and why it is held, where it is.
    pub hold: Option<HeldInstance>,
    /// When it is probed next; nothing where it is not held, or held by hand.
    pub probe_at: Option<DateTime<Utc>>,
}

/// A probe that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    /// The instance to be probed.
    pub instance: String,
    /// The kind of failure for which it is held.
    pub class: String,
}

impl Hold {
    /// Whether a person asked for it; then no probe ends it.
    pub fn is_by_hand(&self) -> bool {
        self.class == BY_HAND
    }
}

/// The class of a hold that a person asked for.
const BY_HAND: &str = "manual";

/// For so many days it is known when an instance was held.
const PAST_HOLDS_DAYS: i32 = 400;

impl Destinations {
    /// What the instance remembers.
    pub async fn recall(&self, instance: &str) -> Result<Option<Value>, StoreError> {
        let memory =
            sqlx::query_scalar!("select memory from eventbridge.destinations where name = $1", instance)
                .fetch_optional(&self.pool)
                .await?;
        Ok(memory.flatten())
    }

    /// Has the instance remember this, and nothing else.
    pub async fn remember(&self, instance: &str, memory: &Value) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.destinations (name, memory) values ($1, $2)
            on conflict (name) do update set memory = excluded.memory
            "#,
            instance,
            memory
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Holds an instance: nothing is claimed for it until it is resumed. `true` when it was not
    /// held before; the reason is the newest one, but none takes the place of a person's.
    pub async fn hold(&self, instance: &str, hold: &Hold, probe_after: Duration) -> Result<bool, StoreError> {
        let newly = sqlx::query_scalar!(
            r#"
            insert into eventbridge.destinations as known
                   (name, paused_since, paused_class, paused_reason, paused_remedy, paused_execution, probe_at)
            values ($1, now(), $2, $3, $4, $6, now() + $5::bigint * interval '1 millisecond')
            on conflict (name) do update
               set paused_since = coalesce(known.paused_since, excluded.paused_since),
                   paused_class = excluded.paused_class,
                   paused_reason = excluded.paused_reason,
                   paused_remedy = excluded.paused_remedy,
                   paused_execution = coalesce(excluded.paused_execution, known.paused_execution),
                   probe_at = case when known.paused_since is null then excluded.probe_at else known.probe_at end
             where known.paused_class is distinct from $7
            returning paused_since = now() as "newly!"
            "#,
            instance,
            without_nul(&hold.class),
            without_nul(&hold.reason),
            hold.remedy,
            milliseconds(probe_after),
            hold.execution.map(|id| id.0),
            BY_HAND
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(newly.unwrap_or_default())
    }

    /// Lets an instance go on that works again; `false` when it was not held, or is held by a person.
    pub async fn resume(&self, instance: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            with held as (
                select name, paused_since, paused_class, paused_reason
                  from eventbridge.destinations
                 where name = $1 and paused_since is not null and paused_class is distinct from $2
                   for update
            ), resumed as (
                update eventbridge.destinations
                   set paused_since = null, paused_class = null, paused_reason = null, paused_remedy = null,
                       paused_execution = null, probe_at = null
                  from held
                 where destinations.name = held.name
            ), forgotten as (
                delete from eventbridge.past_pauses where until < now() - $3::int * interval '1 day'
            )
            insert into eventbridge.past_pauses (destination, since, class, reason)
            select name, paused_since, paused_class, paused_reason from held
            "#,
            instance,
            BY_HAND,
            PAST_HOLDS_DAYS
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Holds an instance because a person wants it, with their note: no probe resumes it.
    pub async fn hold_by_hand(&self, instance: &str, note: &str, caller: &Caller) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with held as (
                insert into eventbridge.destinations as known
                       (name, paused_since, paused_class, paused_reason, paused_remedy)
                values ($1, now(), $2, $3, $4)
                on conflict (name) do update
                   set paused_since = coalesce(known.paused_since, excluded.paused_since),
                       paused_class = excluded.paused_class, paused_reason = excluded.paused_reason,
                       paused_remedy = excluded.paused_remedy, paused_execution = null, probe_at = null
                returning name
            )
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            select $5, $6, 'destination', name, jsonb_build_object('note', $7::text)
              from held
            "#,
            instance,
            BY_HAND,
            format!("{} ({})", without_nul(note), caller.name().trim_matches(['(', ')'])),
            format!("a person holds it: POST /api/v1/destinations/{instance}/resume lets it go on"),
            caller.name(),
            Action::DestinationHeld.as_str(),
            without_nul(note)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Lets an instance go on because a person wants it, whatever it is held for; `false` when it was
    /// not held.
    pub async fn resume_by_hand(&self, instance: &str, caller: &Caller) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            with held as (
                select name, paused_since, paused_class, paused_reason
                  from eventbridge.destinations
                 where name = $1 and paused_since is not null
                   for update
            ), resumed as (
                update eventbridge.destinations
                   set paused_since = null, paused_class = null, paused_reason = null, paused_remedy = null,
                       paused_execution = null, probe_at = null
                  from held
                 where destinations.name = held.name
            ), remembered as (
                insert into eventbridge.past_pauses (destination, since, class, reason)
                select name, paused_since, paused_class, paused_reason from held
            )
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            select $2, $3, 'destination', name,
                   jsonb_build_object('was_held_for', paused_class, 'reason', paused_reason)
              from held
            "#,
            instance,
            caller.name(),
            Action::DestinationResumed.as_str()
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// How these instances stand, in their order by name.
    pub async fn destinations(&self, instances: &[String]) -> Result<Vec<DestinationRow>, StoreError> {
        let mut held = self.held(instances).await?;
        let rows = sqlx::query!(
            r#"
            select wanted.name as "name!", probe_at as "probe_at?"
              from unnest($1::text[]) as wanted (name)
              left join eventbridge.destinations on destinations.name = wanted.name and paused_since is not null
             order by wanted.name
            "#,
            instances
        )
        .fetch_all(&self.reading)
        .await?;
        let known = rows.into_iter().map(|row| {
            let place = held.iter().position(|held| held.name == row.name);
            DestinationRow {
                hold: place.map(|place| held.swap_remove(place)),
                probe_at: row.probe_at,
                name: row.name,
            }
        });
        Ok(known.collect())
    }

    /// Takes on the probes that are due: each instance is probed by one process at a time.
    pub async fn take_probes(
        &self,
        instances: &[String],
        again_after: Duration,
    ) -> Result<Vec<DueProbe>, StoreError> {
        let rows = sqlx::query!(
            r#"
            update eventbridge.destinations
               set probe_at = now() + $2::bigint * interval '1 millisecond'
             where name = any($1) and paused_since is not null and probe_at <= now()
            returning name, coalesce(paused_class, '') as "class!"
            "#,
            instances,
            milliseconds(again_after)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| DueProbe { instance: row.name, class: row.class }).collect())
    }

    /// Has those of these instances that are held probed at once: whoever starts may bring the settings
    /// with which they work.
    pub async fn probe_now(&self, instances: &[String]) -> Result<(), StoreError> {
        sqlx::query!(
            "update eventbridge.destinations set probe_at = now() where name = any ($1) and probe_at > now()",
            instances
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Puts the next probe of a held instance off, the longer it has been held: by a quarter of that
    /// time, and by `at_most`.
    pub async fn put_off_probe(&self, instance: &str, at_most: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.destinations
               set probe_at = greatest(probe_at, now() + least((now() - paused_since) / 4,
                                                               $2::bigint * interval '1 millisecond'))
             where name = $1 and paused_since is not null
            "#,
            instance,
            milliseconds(at_most)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Those of these instances that are held.
    pub async fn held(&self, instances: &[String]) -> Result<Vec<HeldInstance>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select name, paused_since as "since!", coalesce(paused_class, '') as "class!",
                   coalesce(paused_reason, '') as "reason!", coalesce(paused_remedy, '') as "remedy!",
                   paused_execution as execution
              from eventbridge.destinations
             where paused_since is not null and name = any ($1)
             order by name
            "#,
            instances
        )
        .fetch_all(&self.reading)
        .await?;
        let held = rows.into_iter().map(|row| HeldInstance {
            name: row.name,
            since: row.since,
            hold: Hold {
                class: row.class,
                reason: row.reason,
                remedy: row.remedy,
                execution: row.execution.map(ExecutionId),
            },
        });
        Ok(held.collect())
    }
}
