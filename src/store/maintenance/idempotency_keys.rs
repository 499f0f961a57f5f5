//! Idempotency keys: a request that a client repeats with the same key is processed once, and every repetition
//! gets the first response.
//!
//! A request first takes its key. If its process dies before it stored the response, the key can be taken
//! again after a while. All attempts at one request know the first of them, so that a change can recognize that
//! an earlier attempt has made it.

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
    Taken {
        /// The first attempt at this request, or this one.
        first_attempt: Uuid,
    },
    /// Another attempt is processing the same request.
    InProgress,
    /// It belongs to another request.
    OfAnotherRequest,
    /// The request was processed.
    Stored(StoredResponse),
}

impl IdempotencyKeys {
    /// Takes a key of a caller for a request, given by its hash. It is free if it is new, older than
    /// `kept_for`, or if another attempt at the same request gave it back or has had it for longer than its lock.
    pub async fn take(
        &self,
        (caller, key): (&str, &str),
        request: &[u8],
        attempt: Uuid,
        lock: Duration,
        kept_for: Duration,
    ) -> Result<KeyState, StoreError> {
        let taken = sqlx::query_scalar!(
            r#"
            insert into eventbridge.idempotency_keys as known
                   (caller, key, request, attempt, first_attempt, locked_until)
            values ($1, $2, $3, $4, $4, now() + $5::bigint * interval '1 millisecond')
            on conflict (caller, key) do update
               set request = excluded.request, attempt = excluded.attempt, created_at = now(),
                   locked_until = excluded.locked_until, status = null, content_type = null, location = null,
                   body = null,
                   first_attempt = case when known.created_at < now() - $6::bigint * interval '1 millisecond'
                                        then excluded.first_attempt else known.first_attempt end
             where known.created_at < now() - $6::bigint * interval '1 millisecond'
                or known.status is null and known.locked_until <= now() and known.request = excluded.request
            returning first_attempt
            "#,
            caller,
            key,
            request,
            attempt,
            milliseconds(lock),
            milliseconds(kept_for)
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(first_attempt) = taken {
            return Ok(KeyState::Taken { first_attempt });
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

    /// Gives a key back, so that the request may be sent again. With `is_refused`, no attempt has changed
    /// anything, and any request may have the key.
    pub async fn give_back(
        &self,
        (caller, key): (&str, &str),
        attempt: Uuid,
        is_refused: bool,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with removed as (
                -- An earlier attempt at the request may have made the change.
                delete from eventbridge.idempotency_keys
                 where caller = $1 and key = $2 and attempt = $3 and status is null
                   and $4 and first_attempt = attempt
            )
            update eventbridge.idempotency_keys
               set locked_until = now()
             where caller = $1 and key = $2 and attempt = $3 and status is null
               and not ($4 and first_attempt = attempt)
            "#,
            caller,
            key,
            attempt,
            is_refused
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
