//! What happened over a stretch of time, in steps, for charts; and how much waited.

use super::{Backlog, Per, Statistics};
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The word of the statistics for the most executions of a destination that waited at one time.
/// Other numbers add up; of this one the greatest stands.
pub const PENDING: &str = "pending";

/// A number of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bin {
    /// The step, from 0 on.
    pub step: i64,
    /// What is counted, in a word.
    pub kind: String,
    /// The upper bound of a latency's bucket in milliseconds, as in [`super::Addition::le_ms`].
    pub le_ms: i64,
    /// So many in all; of what waited the most at one time, over all destinations.
    pub n: i64,
}

impl Statistics {
    /// The numbers from `from` on and before `to`, put together in steps of this length. Numbers of
    /// zero are left out.
    pub async fn history(
        &self,
        per: Per,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: Duration,
    ) -> Result<Vec<Bin>, StoreError> {
        let bins = sqlx::query_as!(
            Bin,
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
        Ok(bins)
    }

    /// Notes how much waits now, for the charts: of what is noted in a minute or an hour the most
    /// stands, whichever process notes it. Where nothing waits no row is written.
    pub async fn note_backlog(&self, backlog: &[Backlog]) -> Result<(), StoreError> {
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
