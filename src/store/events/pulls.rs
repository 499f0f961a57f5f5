//! How far the lists of events at senders were read.

use super::Pulls;
use crate::store::db::StoreError;
use chrono::{DateTime, Utc};
use std::collections::HashSet;

/// A list of events that is read.
#[derive(Debug, Clone, Copy)]
pub struct PullKey<'a> {
    /// The source instance.
    pub source: &'a str,
    /// The name of the list within it.
    pub name: &'a str,
    /// Changes with the key that reads it.
    pub identity: &'a str,
}

/// The state of reading a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullState {
    /// The source instance.
    pub source: String,
    /// The name of the list within it.
    pub name: String,
    /// Every event that was created before this, by the sender's clock, is stored.
    pub position: Option<DateTime<Utc>>,
    /// When the newest events were last read without a failure.
    pub read_at: Option<DateTime<Utc>>,
    /// Why reading fails, if it does.
    pub failing: Option<PullFailing>,
}

/// Why a list is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFailing {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The kind of failure.
    pub class: String,
    /// What happens.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Pulls {
    /// How far a list was read with the same key; `None` before its first read.
    pub async fn position(&self, key: PullKey<'_>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let position = sqlx::query_scalar!(
            "select position from eventbridge.pulls where source = $1 and name = $2 and identity = $3",
            key.source,
            key.name,
            key.identity
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(position.flatten())
    }

    /// Records how far a list was read. The position never goes back, unless another key reads the list.
    pub async fn advance(&self, key: PullKey<'_>, position: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.pulls as known (source, name, identity, position)
            values ($1, $2, $3, $4)
            on conflict (source, name) do update
               set identity = excluded.identity,
                   position = case when known.identity = excluded.identity
                                   then greatest(known.position, excluded.position)
                                   else excluded.position end
            "#,
            key.source,
            key.name,
            key.identity,
            position
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records that the newest events were read.
    pub async fn succeeded(&self, key: PullKey<'_>) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.pulls
               set read_at = now(), failing_since = null, failure_class = null, failure = null, remedy = null
             where source = $1 and name = $2
            "#,
            key.source,
            key.name
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records that a list cannot be read.
    pub async fn failed(
        &self,
        key: PullKey<'_>,
        class: &str,
        message: &str,
        remedy: &str,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.pulls as known
                   (source, name, identity, failing_since, failure_class, failure, remedy)
            values ($1, $2, $3, now(), $4, $5, $6)
            on conflict (source, name) do update
               set failing_since = coalesce(known.failing_since, excluded.failing_since),
                   failure_class = excluded.failure_class, failure = excluded.failure, remedy = excluded.remedy
            "#,
            key.source,
            key.name,
            key.identity,
            class,
            message,
            remedy
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Which of these events of a source are stored.
    pub async fn stored(&self, source: &str, event_ids: &[&str]) -> Result<HashSet<String>, StoreError> {
        let known = sqlx::query_scalar!(
            "select event_id from eventbridge.events where event_id = any ($2) and source = $1",
            source,
            event_ids as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(known.into_iter().collect())
    }

    /// The state of each list that is or was read.
    pub async fn states(&self) -> Result<Vec<PullState>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select source, name, position, read_at, failing_since, failure_class, failure, remedy
              from eventbridge.pulls
             order by source, name
            "#
        )
        .fetch_all(&self.reading)
        .await?;
        let states = rows.into_iter().map(|row| PullState {
            source: row.source,
            name: row.name,
            position: row.position,
            read_at: row.read_at,
            failing: row.failing_since.map(|since| PullFailing {
                since,
                class: row.failure_class.unwrap_or_default(),
                message: row.failure.unwrap_or_default(),
                remedy: row.remedy.unwrap_or_default(),
            }),
        });
        Ok(states.collect())
    }
}
