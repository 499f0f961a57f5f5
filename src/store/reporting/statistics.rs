//! Counts of each minute and hour: every process adds to them, and they are read by range.

use super::Statistics;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// How long minutes are kept.
pub const MINUTES_KEPT: Duration = Duration::from_hours(48);

/// How long hours are kept.
pub const HOURS_KEPT: Duration = Duration::from_hours(400 * 24);

/// The most rows that one statement removes.
const REMOVED_AT_ONCE: i64 = 5_000;

/// An hour in which events arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyHour {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How many arrived.
    pub events: u64,
}

/// The length of time that a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StatisticsPer)]
pub enum Per {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Per {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// Its duration.
    pub const fn duration(self) -> Duration {
        match self {
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }
}

/// A number to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// How long ago it happened.
    pub age: Duration,
    /// What is counted, in a word.
    pub kind: &'static str,
    /// The reason or the destination; empty if there is neither.
    pub name: String,
    /// The upper bound of a latency bucket in milliseconds: 0 if it is not a latency, [`i64::MAX`] for the
    /// bucket without a bound.
    pub le_ms: i64,
    /// How many times.
    pub n: i64,
}

/// A count of one minute or hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistic {
    /// When it began.
    pub at: DateTime<Utc>,
    /// What is counted, in a word.
    pub kind: String,
    /// The reason or the destination.
    pub name: String,
    /// As in [`Addition::le_ms`].
    pub le_ms: i64,
    /// How many times.
    pub n: i64,
}

impl Statistics {
    /// Adds these numbers to their minutes and hours, all or none of them.
    ///
    /// Rows are locked in one order, so that processes that add at once cannot deadlock. If the answer is
    /// lost, the numbers may have been added.
    pub async fn add_statistics(&self, additions: &[Addition]) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.statistics as known (per, at, kind, name, le_ms, n)
            select spans.per,
                   date_trunc(spans.per, now() - added.age_ms * interval '1 millisecond', 'UTC'),
                   added.kind, added.name, added.le_ms, sum(added.n)
              from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
                   as added (age_ms, kind, name, le_ms, n)
             cross join (values ('minute'), ('hour')) as spans (per)
             group by 1, 2, 3, 4, 5
             order by 1, 2, 3, 4, 5
            on conflict (per, at, kind, name, le_ms) do update set n = known.n + excluded.n
            "#,
            &additions.iter().map(|one| milliseconds(one.age)).collect::<Vec<_>>(),
            &additions.iter().map(|one| one.kind).collect::<Vec<_>>() as _,
            &additions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>() as _,
            &additions.iter().map(|one| one.le_ms).collect::<Vec<_>>(),
            &additions.iter().map(|one| one.n).collect::<Vec<_>>()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The counts of the minutes or hours that begin at or after `from` and before `to`, oldest first.
    pub async fn statistics(
        &self,
        per: Per,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<Statistic>, StoreError> {
        let rows = sqlx::query_as!(
            Statistic,
            r#"
            select at, kind, name, le_ms, n
              from eventbridge.statistics
             where per = $1 and at >= $2 and at < $3
             order by at, kind, name, le_ms
            "#,
            per.as_str(),
            from,
            to
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows)
    }

    /// The hours from that of `from`, and before `to`, in which webhooks brought events, new or not, oldest
    /// first. Each is looked up separately: the rows of an hour are many, and these few.
    pub async fn busy_hours(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<BusyHour>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select hours.at as "at!", counted.n as "count!"
              from generate_series(date_trunc('hour', $1::timestamptz, 'UTC'), $2::timestamptz, '1 hour') as hours (at)
             cross join lateral (
                   select sum(n)::bigint as n
                     from eventbridge.statistics
                    where per = 'hour' and statistics.at = hours.at and kind in ('received', 'duplicate')) as counted
             where hours.at < $2 and counted.n > 0
             order by hours.at
            "#,
            from,
            to
        )
        .fetch_all(&self.reading)
        .await?;
        let hours = rows.into_iter().map(|row| BusyHour { at: row.at, events: row.count.unsigned_abs() });
        Ok(hours.collect())
    }

    /// Removes a batch of expired rows. Returns whether there may be more. Two processes that do so at once
    /// remove different rows.
    pub async fn remove_old_statistics(&self) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            delete from eventbridge.statistics
             where ctid = any (array (
                   select ctid from eventbridge.statistics
                    where (per = 'minute' and at < now() - $1::bigint * interval '1 millisecond')
                       or (per = 'hour' and at < now() - $2::bigint * interval '1 millisecond')
                    limit $3
                      for update skip locked))
            "#,
            milliseconds(MINUTES_KEPT),
            milliseconds(HOURS_KEPT),
            REMOVED_AT_ONCE
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() >= u64::try_from(REMOVED_AT_ONCE).unwrap_or_default())
    }
}
