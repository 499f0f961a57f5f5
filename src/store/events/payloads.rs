//! Bodies of events: as they arrived, and as part of a delivery.

use super::Events;
use crate::domain::event::EventKey;
use crate::store::db::StoreError;
use bytes::Bytes;
use chrono::{DateTime, Utc};

/// The body of an event, with what verified it.
#[derive(Debug, Clone)]
pub struct SignedPayload {
    /// The sender's id of the event.
    pub event_id: String,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The signature header as it arrived.
    pub signature: String,
    /// The name of the secret that verified it.
    pub secret_name: String,
}

/// The removal of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedPayload {
    /// The time of removal.
    pub at: DateTime<Utc>,
    /// `retention` or `erasure`.
    pub why: String,
}

impl Events {
    /// The body of an event, byte for byte, with what verified it.
    pub async fn payload(&self, key: EventKey) -> Result<Option<SignedPayload>, StoreError> {
        let row = sqlx::query!(
            "select event_id, payload, signature, secret_name from eventbridge.events where id = $1",
            key.0
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(row.map(|row| SignedPayload {
            event_id: row.event_id,
            body: Bytes::from(row.payload),
            signature: row.signature,
            secret_name: row.secret_name,
        }))
    }

    /// When and why the body of an event was removed; `None` if it is stored.
    pub async fn payload_removed(&self, key: EventKey) -> Result<Option<RemovedPayload>, StoreError> {
        let row = sqlx::query_as!(
            RemovedPayload,
            r#"
            select payload_removed_at as "at!", coalesce(payload_removed_by, '') as "why!"
              from eventbridge.events
             where id = $1 and payload_removed_at is not null
            "#,
            key.0
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(row)
    }
}

/// Builds a stored event from a row that has all its columns; with `?`, from one in which they are optional.
macro_rules! stored_event {
    ($row:expr $(, $known:tt)?) => {
        $crate::domain::event::StoredEvent {
            key: $crate::domain::event::EventKey($row.event_key $($known)?),
            source: $row.source $($known)?,
            event_id: $row.event_id $($known)?,
            facts: $crate::domain::event::EventFacts {
                event_type: $row.event_type $($known)?,
                object_id: $row.object_id,
                object_type: $row.object_type,
                account: $row.account,
                livemode: $row.livemode,
                api_version: $row.api_version,
                created: $row.created,
            },
            carries_state: $row.carries_state $($known)?,
            received_at: $row.received_at $($known)?,
            payload: bytes::Bytes::from($row.payload $($known)?),
        }
    };
}
pub(in crate::store) use stored_event;
