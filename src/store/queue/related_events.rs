//! The events that the summary of another one needs.

use super::Queue;
use crate::domain::event::StoredEvent;
use crate::store::db::StoreError;
use crate::store::events::stored_event;

/// The most events that are read. An object that decides about another one, such as a charge, has fewer.
const RELATED_MAX: i64 = 30;

impl Queue {
    /// The other events of an object, the oldest first. Their bodies may have been removed.
    pub async fn related_events(
        &self,
        event: &StoredEvent,
        object_id: &str,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select id as "event_key!", source, event_id, type as event_type, object_id, object_type, account, livemode,
                   api_version, created, carries_state, received_at, payload
              from eventbridge.events
             where object_id = $1 and source = $2 and account is not distinct from $3 and id <> $4
             order by id
             limit $5
            "#,
            object_id,
            event.source,
            event.facts.account,
            event.key.0,
            RELATED_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| stored_event!(row)).collect())
    }
}
