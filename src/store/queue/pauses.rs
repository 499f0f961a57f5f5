//! Pauses, probes and the memory of destination instances.

use super::Destinations;
use crate::domain::audit::{Action, Caller};
use crate::domain::execution::ExecutionId;
use crate::store::db::{StoreError, milliseconds, without_nul};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;

/// Why an instance is paused: only the operator can fix the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The failure class.
    pub class: String,
    /// What happened, or the note of the operator who paused it; for authenticated readers.
    pub reason: String,
    /// What to do, for readers without authentication too, so without a destination's texts.
    pub remedy: String,
    /// The execution that failed, if it was one.
    pub execution: Option<ExecutionId>,
    /// Who paused it, if an operator did.
    pub by: Option<String>,
}

/// A paused instance.
#[derive(Debug, Clone)]
pub struct PausedInstance {
    /// The instance.
    pub name: String,
    /// Since when it is paused.
    pub since: DateTime<Utc>,
    /// Why.
    pub pause: Pause,
}

/// A destination instance, recorded or not.
#[derive(Debug, Clone)]
pub struct DestinationRow {
    /// The instance.
    pub name: String,
    /// Since when and why it is paused, if it is.
    pub pause: Option<PausedInstance>,
    /// When it is probed next; `None` if it is not paused, or paused manually.
    pub probe_at: Option<DateTime<Utc>>,
}

/// A probe that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    /// The instance to probe.
    pub instance: String,
    /// The failure class for which it is paused.
    pub class: String,
}

impl Pause {
    /// Whether an operator paused it; then no probe resumes it.
    pub fn is_manual(&self) -> bool {
        self.class == MANUAL
    }

    /// The class of the failure that paused it; `None` if an operator did.
    pub fn error_class(&self) -> Option<String> {
        (!self.is_manual()).then(|| self.class.clone())
    }
}

/// The class of a manual pause.
const MANUAL: &str = "manual";

/// If an instance pauses for the same cause within this time after it was resumed, and nothing was delivered to it
/// meanwhile, the cause was never gone: the pause goes on, since when it first began. Usually the first attempt shows
/// that within seconds; without work it may take a while.
const SAME_PAUSE_WITHIN: Duration = Duration::from_mins(10);

/// Past pauses are kept for this number of days.
const PAST_PAUSES_DAYS: i32 = 400;

impl Destinations {
    /// What the instance remembers, if anything.
    pub async fn recall(&self, instance: &str) -> Result<Option<Value>, StoreError> {
        let memory =
            sqlx::query_scalar!("select memory from eventbridge.destinations where name = $1", instance)
                .fetch_optional(&self.pool)
                .await?;
        Ok(memory.flatten())
    }

    /// Replaces what the instance remembers.
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

    /// Pauses an instance: nothing is claimed for it until it is resumed. Returns whether it was running
    /// before. The newest reason replaces an earlier one, except that of a manual pause.
    ///
    /// The last pause goes on if it had the same class and reason, ended a few minutes ago, and the statistics show no
    /// delivery in a minute since.
    pub async fn pause(
        &self,
        instance: &str,
        pause: &Pause,
        probe_after: Duration,
    ) -> Result<bool, StoreError> {
        let newly = sqlx::query_scalar!(
            r#"
            with last as (
                select since, until, class, reason
                  from eventbridge.past_pauses
                 where destination = $1 and until > now() - $8::bigint * interval '1 millisecond'
                 order by until desc
                 limit 1
            ), unbroken as (
                select since
                  from last
                 where class = $2 and reason = $3
                   and not exists (select from eventbridge.statistics
                                    where per = 'minute' and statistics.at > last.until and name = $1
                                      and kind in ('delivered', 'repeated'))
            )
            insert into eventbridge.destinations as known
                   (name, paused_since, paused_class, paused_reason, paused_remedy, paused_execution, probe_at)
            values ($1, coalesce((select since from unbroken), now()), $2, $3, $4, $6,
                    now() + $5::bigint * interval '1 millisecond')
            on conflict (name) do update
               set paused_since = coalesce(known.paused_since, excluded.paused_since),
                   paused_class = excluded.paused_class,
                   paused_reason = excluded.paused_reason,
                   paused_remedy = excluded.paused_remedy,
                   paused_by = null,
                   paused_execution = coalesce(excluded.paused_execution, known.paused_execution),
                   probe_at = case when known.paused_since is null then excluded.probe_at else known.probe_at end
             where known.paused_class is distinct from $7
            returning probe_at = now() + $5::bigint * interval '1 millisecond' as "newly!"
            "#,
            instance,
            without_nul(&pause.class),
            without_nul(&pause.reason),
            pause.remedy,
            milliseconds(probe_after),
            pause.execution.map(|id| id.0),
            MANUAL,
            milliseconds(SAME_PAUSE_WITHIN)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(newly.unwrap_or_default())
    }

    /// Resumes an instance that works again. Returns `false` if it was not paused, or is paused manually.
    pub async fn resume(&self, instance: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            with paused as (
                select name, paused_since, paused_class, paused_reason
                  from eventbridge.destinations
                 where name = $1 and paused_since is not null and paused_class is distinct from $2
                   for update
            ), resumed as (
                update eventbridge.destinations
                   set paused_since = null, paused_class = null, paused_reason = null, paused_remedy = null,
                       paused_by = null, paused_execution = null, probe_at = null
                  from paused
                 where destinations.name = paused.name
            ), expired as (
                delete from eventbridge.past_pauses where until < now() - $3::int * interval '1 day'
            )
            insert into eventbridge.past_pauses (destination, since, class, reason)
            select name, paused_since, paused_class, paused_reason from paused
            "#,
            instance,
            MANUAL,
            PAST_PAUSES_DAYS
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Pauses an instance for an operator, with their note; no probe resumes it.
    pub async fn pause_manually(
        &self,
        instance: &str,
        note: &str,
        caller: &Caller,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with paused as (
                insert into eventbridge.destinations as known
                       (name, paused_since, paused_class, paused_reason, paused_remedy, paused_by)
                values ($1, now(), $2, $3, $4, $5)
                on conflict (name) do update
                   set paused_since = case when known.paused_class = excluded.paused_class
                                           then known.paused_since else excluded.paused_since end,
                       paused_class = excluded.paused_class, paused_reason = excluded.paused_reason,
                       paused_remedy = excluded.paused_remedy, paused_by = excluded.paused_by,
                       paused_execution = null, probe_at = null
                returning name
            )
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            select $5, $6, 'destination', name, jsonb_build_object('note', $3::text)
              from paused
            "#,
            instance,
            MANUAL,
            without_nul(note),
            format!(
                "run eventbridge resume {instance}, or resume it on the page Destinations of the dashboard"
            ),
            caller.name(),
            Action::DestinationPaused.as_str()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Resumes an instance for an operator, whatever the reason of the pause. Returns `false` if it was not
    /// paused.
    pub async fn resume_manually(&self, instance: &str, caller: &Caller) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            with paused as (
                select name, paused_since, paused_class, paused_reason, paused_by
                  from eventbridge.destinations
                 where name = $1 and paused_since is not null
                   for update
            ), resumed as (
                update eventbridge.destinations
                   set paused_since = null, paused_class = null, paused_reason = null, paused_remedy = null,
                       paused_by = null, paused_execution = null, probe_at = null
                  from paused
                 where destinations.name = paused.name
            ), remembered as (
                insert into eventbridge.past_pauses (destination, since, class, reason)
                select name, paused_since, paused_class, concat_ws(': ', 'by ' || paused_by, paused_reason)
                  from paused
            )
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            select $2, $3, 'destination', name,
                   jsonb_strip_nulls(jsonb_build_object(
                       'paused_at', paused_since, 'paused_by', paused_by,
                       'error_class', nullif(paused_class, $4),
                       'note', case when paused_class = $4 then paused_reason end,
                       'reason', case when paused_class <> $4 then paused_reason end))
              from paused
            "#,
            instance,
            caller.name(),
            Action::DestinationResumed.as_str(),
            MANUAL
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The state of these instances, by name.
    pub async fn destinations(&self, instances: &[String]) -> Result<Vec<DestinationRow>, StoreError> {
        let mut paused = self.paused(instances).await?;
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
            let place = paused.iter().position(|known| known.name == row.name);
            DestinationRow {
                pause: place.map(|place| paused.swap_remove(place)),
                probe_at: row.probe_at,
                name: row.name,
            }
        });
        Ok(known.collect())
    }

    /// Claims the due probes, so that one process at a time probes each instance.
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
            returning name, paused_class as "class!"
            "#,
            instances,
            milliseconds(again_after)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| DueProbe { instance: row.name, class: row.class }).collect())
    }

    /// Makes the probes of these instances due at once: a process that starts may have settings that fix the
    /// cause.
    pub async fn probe_now(&self, instances: &[String]) -> Result<(), StoreError> {
        sqlx::query!(
            "update eventbridge.destinations set probe_at = now() where name = any ($1) and probe_at > now()",
            instances
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Delays the next probe of a paused instance by a quarter of the time that it has been paused, and by
    /// at most `at_most`.
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

    /// Those of these instances that are paused.
    pub async fn paused(&self, instances: &[String]) -> Result<Vec<PausedInstance>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select name, paused_since as "since!", paused_class as "class!", paused_reason as "reason!",
                   paused_remedy as "remedy!", paused_execution as execution, paused_by as by
              from eventbridge.destinations
             where paused_since is not null and name = any ($1)
             order by name
            "#,
            instances
        )
        .fetch_all(&self.reading)
        .await?;
        let paused = rows.into_iter().map(|row| PausedInstance {
            name: row.name,
            since: row.since,
            pause: Pause {
                class: row.class,
                reason: row.reason,
                remedy: row.remedy,
                execution: row.execution.map(ExecutionId),
                by: row.by,
            },
        });
        Ok(paused.collect())
    }
}
