//! Destination instances: what each remembers between runs, and which ones wait for the operator.

use super::{Store, StoreError, milliseconds, without_nul};
use crate::domain::execution::ExecutionId;
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

/// A probe that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    /// The instance to be probed.
    pub instance: String,
    /// The kind of failure for which it is held.
    pub class: String,
}

impl Store {
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
    /// held before; the reason is the newest one in any case.
    pub async fn hold(&self, instance: &str, hold: &Hold, probe_after: Duration) -> Result<bool, StoreError> {
        let newly = sqlx::query_scalar!(
            r#"
            insert into eventbridge.destinations as known
                   (name, held_since, held_class, held_reason, held_remedy, held_execution, probe_at)
            values ($1, now(), $2, $3, $4, $6, now() + $5::bigint * interval '1 millisecond')
            on conflict (name) do update
               set held_since = coalesce(known.held_since, excluded.held_since),
                   held_class = excluded.held_class,
                   held_reason = excluded.held_reason,
                   held_remedy = excluded.held_remedy,
                   held_execution = coalesce(excluded.held_execution, known.held_execution),
                   probe_at = case when known.held_since is null then excluded.probe_at else known.probe_at end
            returning held_since = now() as "newly!"
            "#,
            instance,
            without_nul(&hold.class),
            without_nul(&hold.reason),
            hold.remedy,
            milliseconds(probe_after),
            hold.execution.map(|id| id.0)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(newly)
    }

    /// Lets an instance go on; `false` when it was not held.
    pub async fn resume(&self, instance: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            update eventbridge.destinations
               set held_since = null, held_class = null, held_reason = null, held_remedy = null, held_execution = null,
                   probe_at = null
             where name = $1 and held_since is not null
            "#,
            instance
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
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
             where name = any($1) and held_since is not null and probe_at <= now()
            returning name, coalesce(held_class, '') as "class!"
            "#,
            instances,
            milliseconds(again_after)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| DueProbe { instance: row.name, class: row.class }).collect())
    }

    /// Puts the next probe of a held instance off, the longer it has been held: by a quarter of that
    /// time, and by `at_most`.
    pub async fn put_off_probe(&self, instance: &str, at_most: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.destinations
               set probe_at = greatest(probe_at, now() + least((now() - held_since) / 4,
                                                               $2::bigint * interval '1 millisecond'))
             where name = $1 and held_since is not null
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
            select name, held_since as "since!", coalesce(held_class, '') as "class!",
                   coalesce(held_reason, '') as "reason!", coalesce(held_remedy, '') as "remedy!",
                   held_execution as execution
              from eventbridge.destinations
             where held_since is not null and name = any ($1)
             order by name
            "#,
            instances
        )
        .fetch_all(&self.pool)
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
