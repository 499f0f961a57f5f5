//! Time series for charts: counts in steps, and the backlog.

use super::{Backlog, Per, Statistics};
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The kind of statistic for the largest backlog of a destination in a minute or hour. Other kinds add up;
/// this one keeps the maximum.
pub const PENDING: &str = "pending";

/// A count of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The number of the step, from 0.
    pub step: i64,
    /// What is counted.
    pub kind: String,
    /// The upper bound of a latency bucket in milliseconds, as in [`super::Addition::le_ms`].
    pub le_ms: i64,
    /// The total; for the backlog, the maximum over all destinations.
    pub n: i64,
}

impl Statistics {
    /// The counts at or after `from` and before `to`, combined into steps of this length. Zeros are left
    /// out.
    pub async fn time_series(
        &self,
        per: Per,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        let buckets = sqlx::query_as!(
            Bucket,
            r#"
            with of_step as (
                select date_bin($4::bigint * interval '1 millisecond', at, $2) as begins, kind, le_ms, sum(n) as n
                  from eventbridge.statistics
                 where per = $1 and at >= $2 and at < $3 and kind <> $5
                 group by 1, kind, le_ms
                union all
                select date_bin($4::bigint * interval '1 millisecond', at, $2), $5, 0, max(n)
                  from (select at, sum(n) as n
                          from eventbridge.statistics
                         where per = $1 and at >= $2 and at < $3 and kind = $5
                         group by at) as at_one_time
                 group by 1
            )
            select (extract(epoch from begins - $2) * 1000)::bigint / $4 as "step!", kind as "kind!",
                   le_ms as "le_ms!", n::bigint as "n!"
              from of_step
             order by begins, kind, le_ms
            "#,
            per.as_str(),
            from,
            to,
            milliseconds(step),
            PENDING
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(buckets)
    }

    /// Records the present backlog for charts. A minute or hour keeps the maximum of all processes. A
    /// backlog of zero writes no row.
    pub async fn record_backlog(&self, backlog: &[Backlog]) -> Result<(), StoreError> {
        let waiting: Vec<_> = backlog.iter().filter(|of| of.pending > 0).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            r#"
            insert into eventbridge.statistics as known (per, at, kind, name, le_ms, n)
            select spans.per, date_trunc(spans.per, now(), 'UTC'), $1, noted.name, 0, noted.pending
              from unnest($2::text[], $3::bigint[]) as noted (name, pending)
             cross join (values ('minute'), ('hour')) as spans (per)
             order by 1, 2, 3, 4
            on conflict (per, at, kind, name, le_ms) do update set n = greatest(known.n, excluded.n)
            "#,
            PENDING,
            &waiting.iter().map(|of| of.destination.as_str()).collect::<Vec<_>>() as _,
            &waiting.iter().map(|of| i64::try_from(of.pending).unwrap_or(i64::MAX)).collect::<Vec<_>>()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
