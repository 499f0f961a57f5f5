//! Idempotency keys: a request that a client repeats with the same key is processed once, and every repetition
//! gets the first response.
//!
//! A request first takes its key. If its process dies before it stored the response, the key can be taken
//! again after a while.

use super::IdempotencyKeys;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;
use uuid::Uuid;

/// A response that was stored under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The type of the body.
    pub content_type: Option<String>,
    /// The address of what was created.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// This attempt took it and is to process the request.
    Taken,
    /// Another attempt is processing the same request.
    InProgress,
    /// It belongs to another request.
    OfAnotherRequest,
    /// The request was processed.
    Stored(StoredResponse),
}

impl IdempotencyKeys {
    /// Takes a key of a caller for a request, given by its hash. It is free if it is new, older than
    /// `kept_for`, or if another attempt at the same request has had it for longer than its lock.
    pub async fn take(
        &self,
        (caller, key): (&str, &str),
        request: &[u8],
        attempt: Uuid,
        lock: Duration,
        kept_for: Duration,
    ) -> Result<KeyState, StoreError> {
        let taken = sqlx::query!(
            r#"
            insert into eventbridge.idempotency_keys as known (caller, key, request, attempt, locked_until)
            values ($1, $2, $3, $4, now() + $5::bigint * interval '1 millisecond')
            on conflict (caller, key) do update
               set request = excluded.request, attempt = excluded.attempt, created_at = now(),
                   locked_until = excluded.locked_until, status = null, content_type = null, location = null,
                   body = null
             where known.created_at < now() - $6::bigint * interval '1 millisecond'
                or known.status is null and known.locked_until < now() and known.request = excluded.request
            "#,
            caller,
            key,
            request,
            attempt,
            milliseconds(lock),
            milliseconds(kept_for)
        )
        .execute(&self.pool)
        .await?;
        if taken.rows_affected() == 1 {
            return Ok(KeyState::Taken);
        }
        let known = sqlx::query!(
            r#"
            select request, status, content_type, location, body
              from eventbridge.idempotency_keys
             where caller = $1 and key = $2
            "#,
            caller,
            key
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(match known {
            Some(known) if known.request != request => KeyState::OfAnotherRequest,
            Some(known) => match (known.status, known.body) {
                (Some(status), Some(body)) => KeyState::Stored(StoredResponse {
                    status: u16::try_from(status).unwrap_or_default(),
                    content_type: known.content_type,
                    location: known.location,
                    body,
                }),
                _ => KeyState::InProgress,
            },
            // It was given back in between.
            None => KeyState::InProgress,
        })
    }

    /// Stores the response. Nothing changes if the attempt lost the key.
    pub async fn store(
        &self,
        (caller, key): (&str, &str),
        attempt: Uuid,
        response: &StoredResponse,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.idempotency_keys
               set status = $4, content_type = $5, location = $6, body = $7
             where caller = $1 and key = $2 and attempt = $3 and status is null
            "#,
            caller,
            key,
            attempt,
            i16::try_from(response.status).unwrap_or_default(),
            response.content_type,
            response.location,
            response.body
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Gives a key back, so that the request may be sent again.
    pub async fn give_back(&self, (caller, key): (&str, &str), attempt: Uuid) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            delete from eventbridge.idempotency_keys
             where caller = $1 and key = $2 and attempt = $3 and status is null
            "#,
            caller,
            key,
            attempt
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
