//! The events that the summary of another one needs.

use super::Queue;
use crate::domain::event::StoredEvent;
use crate::store::db::StoreError;
use crate::store::events::stored_event;

/// The most events that are read. An object that decides about another one, such as a charge of 50 captures, has
/// fewer.
const RELATED_MAX: i64 = 200;

/// The most bytes of their bodies. The worker reserves as many.
const BYTES_MAX: i64 = 512 * 1024;

impl Queue {
    /// The other events of an object, the oldest first: the newest 200, as long as they have 512 KiB together.
    /// Their bodies may have been removed.
    pub async fn related_events(
        &self,
        event: &StoredEvent,
        object_id: &str,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query!(
            r#"
            with newest as (
                select id, sum(octet_length(payload)) over (order by id desc) as bytes
                  from (select id, payload from eventbridge.events
                         where object_id = $1 and source = $2 and account is not distinct from $3 and id <> $4
                         order by id desc
                         limit $5) as found
            )
            select id as "event_key!", source, event_id, type as event_type, object_id, object_type, account, livemode,
                   api_version, created, carries_state, received_at, payload
              from eventbridge.events
             where id = any (array (select id from newest where bytes <= $6))
             order by id
            "#,
            object_id,
            event.source,
            event.facts.account,
            event.key.0,
            RELATED_MAX,
            BYTES_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| stored_event!(row)).collect())
    }
}
