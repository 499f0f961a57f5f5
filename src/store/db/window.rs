//! Time ranges in lists.
//!
//! Rows are listed by id. Ids grow with time, except between overlapping statements. So a time range becomes
//! a range of ids with some slack, found by bisection; within it the exact times decide.

use super::{Connections, Cursor, StoreError};
use chrono::{DateTime, TimeDelta, Utc};

/// The longest time range of a filter without an index, in days.
pub const WINDOW_DAYS_MAX: i64 = 31;

/// The time range of a list whose filter has no index, in days, if the caller gives none.
pub const WINDOW_DAYS_DEFAULT: i64 = 30;

/// The most by which times of neighbouring ids may be out of order: longer than any statement takes.
const ID_TIME_SKEW_MAX: TimeDelta = TimeDelta::seconds(60);

/// A time range; an end that is absent does not restrict it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// At this time or later.
    pub after: Option<DateTime<Utc>>,
    /// Before this time.
    pub before: Option<DateTime<Utc>>,
}

impl Window {
    fn is_open(self) -> bool {
        self.after.is_none() && self.before.is_none()
    }
}

/// Why a page of a list was not read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The filter would have to examine every row, so it needs a time range.
    #[error(
        "this filter requires a time range of at most {WINDOW_DAYS_MAX} days: add {after} and, if that is longer ago, {before}"
    )]
    TimeRangeRequired {
        /// The parameter for the start.
        after: &'static str,
        /// The parameter for the end.
        before: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ListError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The ids between which the rows of a time range lie, both exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Span {
    pub(in crate::store) above: i64,
    pub(in crate::store) below: i64,
    /// Whether the time range is short enough for a filter without an index.
    pub(in crate::store) is_short: bool,
}

impl Span {
    const EVERYTHING: Self = Self { above: 0, below: i64::MAX, is_short: false };

    /// The part of it before the cursor.
    pub(in crate::store) fn before(self, cursor: Option<Cursor>) -> Self {
        Self { below: self.below.min(Cursor::before(cursor)), ..self }
    }

    /// The part of it with this id alone.
    pub(in crate::store) fn only(self, id: i64) -> Self {
        let (above, below) = (id.saturating_sub(1), id.saturating_add(1));
        Self { above: self.above.max(above), below: self.below.min(below), ..self }
    }
}

/// What bisection found for the two ends of a time range.
struct Ends {
    above: Option<i64>,
    upto: Option<i64>,
    is_short: bool,
}

impl From<Ends> for Span {
    fn from(ends: Ends) -> Self {
        let below = ends.upto.map_or(i64::MAX, |id| id.saturating_add(1));
        Self { above: ends.above.unwrap_or_default(), below, is_short: ends.is_short }
    }
}

impl Span {
    /// The ids of events that were received in the time range.
    pub(in crate::store) async fn of_events(
        reading: &Connections,
        window: Window,
    ) -> Result<Self, StoreError> {
        if window.is_open() {
            return Ok(Self::EVERYTHING);
        }
        let ends = sqlx::query_as!(
            Ends,
            r#"
            with recursive search (time, low, high) as (
                -- All rows up to low are older than the time, all from high on are not.
                select sought.time, 0::bigint, (select coalesce(max(id), 0) + 1 from eventbridge.events)
                  from unnest(array[$1::timestamptz, $2::timestamptz]) as sought (time)
                 where sought.time is not null
                union all
                select time,
                       case when probe.received_at < time then probe.id else low end,
                       case when probe.received_at < time then high else middle.id end
                  from search
                 cross join lateral (select low + (high - low) / 2 as id) as middle
                  left join lateral (select id, received_at from eventbridge.events
                                      where id >= middle.id order by id limit 1) as probe on true
                 where high - low > 1
            )
            select (select max(low) from search where time = $1) as above,
                   (select max(low) from search where time = $2) as upto,
                   coalesce($4::timestamptz, now()) - $3::timestamptz <= make_interval(days => $5) is true as "is_short!"
            "#,
            earlier(window.after),
            later(window.before),
            window.after,
            window.before,
            days_max()
        )
        .fetch_one(reading)
        .await?;
        Ok(ends.into())
    }

    /// The ids of executions that were created in the time range.
    pub(in crate::store) async fn of_executions(
        reading: &Connections,
        window: Window,
    ) -> Result<Self, StoreError> {
        if window.is_open() {
            return Ok(Self::EVERYTHING);
        }
        let ends = sqlx::query_as!(
            Ends,
            r#"
            with recursive search (time, low, high) as (
                select sought.time, 0::bigint, (select coalesce(max(id), 0) + 1 from eventbridge.executions)
                  from unnest(array[$1::timestamptz, $2::timestamptz]) as sought (time)
                 where sought.time is not null
                union all
                select time,
                       case when probe.created_at < time then probe.id else low end,
                       case when probe.created_at < time then high else middle.id end
                  from search
                 cross join lateral (select low + (high - low) / 2 as id) as middle
                  left join lateral (select id, created_at from eventbridge.executions
                                      where id >= middle.id order by id limit 1) as probe on true
                 where high - low > 1
            )
            select (select max(low) from search where time = $1) as above,
                   (select max(low) from search where time = $2) as upto,
                   coalesce($4::timestamptz, now()) - $3::timestamptz <= make_interval(days => $5) is true as "is_short!"
            "#,
            earlier(window.after),
            later(window.before),
            window.after,
            window.before,
            days_max()
        )
        .fetch_one(reading)
        .await?;
        Ok(ends.into())
    }
}

fn earlier(time: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    time.and_then(|time| time.checked_sub_signed(ID_TIME_SKEW_MAX))
}

fn later(time: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    time.and_then(|time| time.checked_add_signed(ID_TIME_SKEW_MAX))
}

fn days_max() -> i32 {
    i32::try_from(WINDOW_DAYS_MAX).unwrap_or(i32::MAX)
}
