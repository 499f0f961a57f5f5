//! Whether senders send to this service: what the last checks found, for all processes, and what the checks ask of
//! the stored events.

use super::EndpointChecks;
use crate::domain::endpoint::{EndpointCheck, EndpointState, UndeliveredEvent};
use crate::store::db::StoreError;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use tracing::warn;

/// The most rows that are read. There is one for each key in the settings.
const ROWS_MAX: i64 = 100;

impl EndpointChecks {
    /// What the last checks found, by source and key.
    pub async fn all(&self) -> Result<Vec<EndpointCheck>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select source, key, livemode, checked_at, state
              from eventbridge.endpoint_checks
             order by source, key
             limit $1
            "#,
            ROWS_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let checks = rows.into_iter().filter_map(|row| {
            Some(EndpointCheck {
                state: readable(row.state)?,
                source: row.source,
                key: row.key,
                livemode: row.livemode,
                checked_at: row.checked_at,
            })
        });
        Ok(checks.collect())
    }

    /// What the last check with this key found, and the time of the database.
    pub async fn last(&self, source: &str, key: &str) -> Result<(EndpointState, DateTime<Utc>), StoreError> {
        let row = sqlx::query!(
            r#"
            select now() as "now!",
                   (select state from eventbridge.endpoint_checks where source = $1 and key = $2) as state
            "#,
            source,
            key
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.state.and_then(readable).unwrap_or_default(), row.now))
    }

    /// Records what a check found.
    pub async fn record(&self, check: &EndpointCheck) -> Result<(), StoreError> {
        let state =
            serde_json::to_value(&check.state).map_err(|error| StoreError::Unexpected(error.to_string()))?;
        sqlx::query!(
            r#"
            insert into eventbridge.endpoint_checks as known (source, key, livemode, checked_at, state)
            values ($1, $2, $3, $4, $5)
            on conflict (source, key) do update
               set livemode = excluded.livemode, state = excluded.state,
                   checked_at = coalesce(excluded.checked_at, known.checked_at)
            "#,
            check.source,
            check.key,
            check.livemode,
            check.checked_at,
            state
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Removes what was found with other keys than these, each with its source: they were removed from the
    /// settings.
    pub async fn keep_only(&self, keys: &[(&str, &str)]) -> Result<(), StoreError> {
        let (sources, keys): (Vec<_>, Vec<_>) = keys.iter().copied().unzip();
        sqlx::query!(
            r#"
            delete from eventbridge.endpoint_checks
             where (source, key) not in (select * from unnest($1::text[], $2::text[]))
            "#,
            &sources as _,
            &keys as _
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Those of these events of a source that are not stored.
    pub async fn not_stored(
        &self,
        source: &str,
        events: Vec<UndeliveredEvent>,
    ) -> Result<Vec<UndeliveredEvent>, StoreError> {
        let ids: Vec<_> = events.iter().map(|event| event.event_id.as_str()).collect();
        let stored = sqlx::query_scalar!(
            "select event_id from eventbridge.events where source = $1 and event_id = any ($2)",
            source,
            &ids as _
        )
        .fetch_all(&self.pool)
        .await?;
        let stored: BTreeSet<_> = stored.into_iter().collect();
        Ok(events.into_iter().filter(|event| !stored.contains(&event.event_id)).collect())
    }

    /// The name of the secret that verified this event; `None` if the event is not stored.
    pub async fn secret_of(&self, source: &str, event_id: &str) -> Result<Option<String>, StoreError> {
        let name = sqlx::query_scalar!(
            "select secret_name from eventbridge.events where source = $1 and event_id = $2",
            source,
            event_id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(name)
    }

    /// The names of the secrets that verified the latest events of this mode since this time, the newest first.
    pub async fn secrets_since(
        &self,
        source: &str,
        livemode: bool,
        since: DateTime<Utc>,
    ) -> Result<Vec<String>, StoreError> {
        const READ_MAX: i64 = 5_000;
        let names = sqlx::query_scalar!(
            r#"
            select secret_name as "secret_name!"
              from (select id, source, livemode, received_at, secret_name
                      from eventbridge.events order by id desc limit $4) as of_late
             where source = $1 and livemode = $2 and received_at >= $3
             group by secret_name
             order by max(id) desc
            "#,
            source,
            livemode,
            since,
            READ_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(names)
    }
}

/// The stored state; `None` if only another version of the program can read it. The next check replaces it.
fn readable(state: serde_json::Value) -> Option<EndpointState> {
    serde_json::from_value(state).map_err(|error| warn!(%error, "stored endpoint check cannot be read")).ok()
}
