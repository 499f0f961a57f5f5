//! Rate limits of connections to receivers: all replicas share one row for each connection.

use super::RateLimits;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most unused slots that stay available, and the longest idle time that counts for them. A few events
/// are then delivered at once. A rate slightly below Notion's limit still stays below it: no minute has more
/// calls than the rate plus these.
const KEPT_MAX: u32 = 5;
const KEPT_FOR: Duration = Duration::from_secs(2);

/// When a call may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// After this wait. The slot is taken.
    In(Duration),
    /// Not before this wait, which exceeds the patience. No slot is taken.
    NotBefore(Duration),
}

/// The state of the rate limit of a connection.
#[derive(Debug, Clone)]
pub struct Limiter {
    /// The connection.
    pub connection: String,
    /// When the next call may begin, if that is in the future.
    pub next_at: Option<DateTime<Utc>>,
    /// When the backoff that the receiver asked for ends, if there is one.
    pub blocked_until: Option<DateTime<Utc>>,
    /// The calls of the last minute. They are counted by calendar minute; of the previous one, the share
    /// within the last 60 seconds is added.
    pub calls: i64,
}

impl RateLimits {
    /// The state of these connections; a connection that was never used is left out.
    pub async fn limiters(&self, connections: &[String]) -> Result<Vec<Limiter>, StoreError> {
        let rows = sqlx::query_as!(
            Limiter,
            r#"
            select connection,
                   case when greatest(next_at, blocked_until) > now() then greatest(next_at, blocked_until) end as next_at,
                   case when blocked_until > now() then blocked_until end as blocked_until,
                   round(case minute - date_trunc('minute', now())
                              when interval '0' then calls + calls_before * part_before
                              when interval '1 minute' then calls_before
                              when interval '-1 minute' then calls * part_before
                              else 0 end)::bigint as "calls!"
              from eventbridge.rate_limits
             cross join (select 1 - extract(second from now()) / 60 as part_before) as this_minute
             where connection = any ($1)
            "#,
            connections
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows)
    }

    /// Takes the connection's next slot, if it comes within `patience`. Slots lie `gap` apart; after an idle
    /// time up to five are available at once.
    pub async fn take_slot(
        &self,
        connection: &str,
        gap: Duration,
        patience: Duration,
    ) -> Result<Slot, StoreError> {
        loop {
            let row = sqlx::query!(
                r#"
                with asked as (
                    select connection,
                           greatest(next_at, blocked_until,
                                    clock_timestamp() - $4::bigint * interval '1 millisecond') as at
                      from eventbridge.rate_limits
                     where connection = $1
                       for update
                ), taken as (
                    update eventbridge.rate_limits
                       set next_at = asked.at + $2::bigint * interval '1 microsecond',
                           minute = date_trunc('minute', asked.at),
                           calls = case when minute = date_trunc('minute', asked.at) then calls + 1 else 1 end,
                           calls_before = case date_trunc('minute', asked.at) - minute
                                               when interval '0' then calls_before
                                               when interval '1 minute' then calls
                                               else 0 end
                      from asked
                     where rate_limits.connection = asked.connection
                       and asked.at <= clock_timestamp() + $3::bigint * interval '1 millisecond'
                    returning rate_limits.connection
                )
                select greatest(extract(epoch from at - clock_timestamp()) * 1000, 0)::bigint as "wait_ms!",
                       exists (select from taken) as "taken!"
                  from asked
                "#,
                connection,
                i64::try_from(gap.as_micros()).unwrap_or(i64::MAX),
                milliseconds(patience),
                milliseconds((gap * KEPT_MAX).min(KEPT_FOR))
            )
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else {
                self.insert_connection(connection).await?;
                continue;
            };
            let wait = Duration::from_millis(u64::try_from(row.wait_ms).unwrap_or_default());
            return Ok(if row.taken { Slot::In(wait) } else { Slot::NotBefore(wait) });
        }
    }

    /// Stops calls over the connection for this time, on all replicas.
    pub async fn block(&self, connection: &str, wait: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.rate_limits as known (connection, blocked_until)
            values ($1, now() + $2::bigint * interval '1 millisecond')
            on conflict (connection) do update
               set blocked_until = greatest(known.blocked_until, excluded.blocked_until)
            "#,
            connection,
            milliseconds(wait)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The remaining time of that backoff; zero if there is none.
    pub async fn backoff(&self, connection: &str) -> Result<Duration, StoreError> {
        let wait_ms = sqlx::query_scalar!(
            r#"
            select greatest(extract(epoch from blocked_until - now()) * 1000, 0)::bigint as "wait_ms!"
              from eventbridge.rate_limits
             where connection = $1
            "#,
            connection
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(Duration::from_millis(u64::try_from(wait_ms.unwrap_or_default()).unwrap_or_default()))
    }

    async fn insert_connection(&self, connection: &str) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.rate_limits (connection, next_at, blocked_until)
            select $1, rested, rested
              from (values (now() - $2::bigint * interval '1 millisecond')) as since (rested)
            on conflict do nothing
            "#,
            connection,
            milliseconds(KEPT_FOR)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
