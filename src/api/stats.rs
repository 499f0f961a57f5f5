//! `/api/v1/stats`: what happened in each minute or hour.

use super::extract::{self, Query};
use super::paging::TimeWindow;
use super::{Api, NotRead, from_store};
use crate::problem::Problem;
use crate::store::{Per, Statistic, Window};
use crate::telemetry::{Kind, quantile_ms};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// The most intervals in one response.
const INTERVALS_MAX: i32 = 1_500;

/// The default number of intervals.
const INTERVALS_DEFAULT: i32 = 60;

/// What happened between two times.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statistics {
    /// The length of an interval.
    pub per: Per,
    /// The time range: all intervals begin in it. Both ends are given.
    pub window: TimeWindow,
    /// The sum of all intervals.
    pub total: ActivityCounts,
    /// The intervals that are not empty, oldest first.
    pub data: Vec<StatisticsInterval>,
}

/// One minute or hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatisticsInterval {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// What happened in it.
    #[serde(flatten)]
    pub counts: ActivityCounts,
}

/// What happened in a period.
///
/// An execution, the way of one event to one destination, counts at most once as delivered, once as failed, once as
/// skipped and once as superseded: when it first ends like that. So over all time, `delivered` of a destination is at
/// most the number of events that it subscribes to, however often they are retried or replayed. An execution that
/// failed and was delivered after a retry counts in both.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ActivityCounts {
    /// New events.
    pub received: i64,
    /// Webhooks whose event was already stored.
    pub duplicates: i64,
    /// Webhooks that were rejected.
    pub rejected: i64,
    /// Rejected webhooks by reason.
    #[schema(example = json!({"signature_no_match": 3}))]
    pub rejected_by_reason: BTreeMap<String, i64>,
    /// Webhooks that were answered 503; the sender retries them.
    pub shed: i64,
    /// Executions that were delivered for the first time.
    pub delivered: i64,
    /// Executions that failed for the first time.
    pub failed: i64,
    /// Executions that a destination skipped for the first time.
    pub skipped: i64,
    /// Executions that were superseded by a newer state of their object.
    pub superseded: i64,
    /// Executions that ended after a retry or replay in a state in which they had ended before.
    pub repeated: i64,
    /// The time from receipt to delivery.
    pub latency: DeliveryLatency,
    /// The executions by destination.
    pub destinations: BTreeMap<String, DestinationActivityCounts>,
}

/// What happened to the executions of one destination.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct DestinationActivityCounts {
    /// Executions that were delivered for the first time.
    pub delivered: i64,
    /// Executions that failed for the first time.
    pub failed: i64,
    /// Executions that it skipped for the first time.
    pub skipped: i64,
    /// Executions that were superseded by a newer state of their object.
    pub superseded: i64,
    /// Executions that ended after a retry or replay in a state in which they had ended before.
    pub repeated: i64,
    /// The time from receipt to delivery.
    pub latency: DeliveryLatency,
}

/// The time from receipt to first delivery. Later updates are not counted.
#[derive(Debug, Default, Clone, Serialize, ToSchema)]
pub struct DeliveryLatency {
    /// The median in milliseconds; null if nothing was delivered.
    pub p50_ms: Option<u64>,
    /// The 95th percentile in milliseconds; null if nothing was delivered.
    pub p95_ms: Option<u64>,
    /// The 99th percentile in milliseconds; null if nothing was delivered.
    pub p99_ms: Option<u64>,
    /// The number of events per latency bucket.
    pub buckets: Vec<LatencyBucket>,
}

/// A latency bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LatencyBucket {
    /// The upper bound in milliseconds, inclusive; the lower bound is that of the bucket before. Null above the
    /// last bound.
    pub le_ms: Option<u64>,
    /// The number of events.
    pub count: u64,
}

/// Which intervals to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// The length of an interval: `minute` (stored for 48 hours, the default) or `hour` (stored for 400 days).
    per: Option<Per>,
    /// Intervals that begin at this time or later: a date, or a time as in RFC 3339. The default is 60 intervals
    /// before `started_before`.
    started_after: Option<String>,
    /// Intervals that begin before this time; the default is now. The range has at most 1,500 intervals.
    started_before: Option<String>,
}

/// Returns what happened in each minute or hour.
///
/// Processes write their counts every few seconds. A killed process loses the counts of its last
/// seconds, but no event.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    operation_id = "get_statistics",
    tag = "health",
    params(StatsQuery),
    responses(
        (status = 200, description = "What happened", body = Statistics),
        (status = 400, description = "A parameter cannot be read, or the range is too long", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn stats(
    State(api): State<Api>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Statistics>, Problem> {
    let per = query.per.unwrap_or(Per::Minute);
    let length = TimeDelta::from_std(per.duration()).map_err(|_| Problem::internal())?;
    let given = extract::window(
        ("started_after", query.started_after.as_deref()),
        ("started_before", query.started_before.as_deref()),
    )?;
    let before = match given.before {
        Some(before) => before,
        None => api.store.reports.now().await.map_err(from_store)?,
    };
    let out_of_range = || Problem::invalid("started_after", "the time is out of range");
    let default = before.checked_sub_signed(length * INTERVALS_DEFAULT);
    let after = given.after.or(default).ok_or_else(out_of_range)?;
    if after >= before || before.signed_duration_since(after) > length * INTERVALS_MAX {
        return Err(Problem::invalid(
            "started_after",
            format_args!(
                "must lie before started_before, or now, by at most {INTERVALS_MAX} {}s",
                per.as_str()
            ),
        ));
    }
    let rows = api.store.statistics.statistics(per, after, before).await.map_err(from_store)?;
    let window = Window { after: Some(after), before: Some(before) };
    Ok(Json(gathered(per, window, &rows)))
}

fn gathered(per: Per, window: Window, rows: &[Statistic]) -> Statistics {
    let mut total = IntervalSum::default();
    let mut intervals: BTreeMap<DateTime<Utc>, IntervalSum> = BTreeMap::new();
    for row in rows {
        total.add(row);
        intervals.entry(row.at).or_default().add(row);
    }
    let data = intervals
        .into_iter()
        .map(|(started_at, sum)| StatisticsInterval { started_at, counts: sum.finish() })
        .collect();
    Statistics { per, window: window.into(), total: total.finish(), data }
}

/// An interval while its rows are added up.
#[derive(Default)]
struct IntervalSum {
    counts: ActivityCounts,
    /// By destination and upper bound.
    buckets: BTreeMap<String, BTreeMap<i64, u64>>,
}

impl IntervalSum {
    fn add(&mut self, row: &Statistic) {
        let (sum, n) = (&mut self.counts, row.n);
        let destination = |sum: &mut ActivityCounts, of: fn(&mut DestinationActivityCounts) -> &mut i64| {
            *of(sum.destinations.entry(row.name.clone()).or_default()) += n;
        };
        let is = |kind: Kind| row.kind == kind.as_str();
        if is(Kind::Received) {
            sum.received += n;
        } else if is(Kind::Duplicate) {
            sum.duplicates += n;
        } else if is(Kind::Rejected) {
            sum.rejected += n;
            *sum.rejected_by_reason.entry(row.name.clone()).or_default() += n;
        } else if is(Kind::Shed) {
            sum.shed += n;
        } else if is(Kind::Delivered) {
            sum.delivered += n;
            destination(sum, |one| &mut one.delivered);
        } else if is(Kind::Failed) {
            sum.failed += n;
            destination(sum, |one| &mut one.failed);
        } else if is(Kind::Skipped) {
            sum.skipped += n;
            destination(sum, |one| &mut one.skipped);
        } else if is(Kind::Superseded) {
            sum.superseded += n;
            destination(sum, |one| &mut one.superseded);
        } else if is(Kind::Repeated) {
            sum.repeated += n;
            destination(sum, |one| &mut one.repeated);
        } else if is(Kind::Latency) {
            let buckets = self.buckets.entry(row.name.clone()).or_default();
            *buckets.entry(row.le_ms).or_default() += u64::try_from(n).unwrap_or_default();
        }
    }

    fn finish(self) -> ActivityCounts {
        let Self { mut counts, buckets } = self;
        let mut all: BTreeMap<i64, u64> = BTreeMap::new();
        for (name, buckets) in buckets {
            for (le_ms, count) in &buckets {
                *all.entry(*le_ms).or_default() += count;
            }
            counts.destinations.entry(name).or_default().latency = latency(&buckets);
        }
        counts.latency = latency(&all);
        counts
    }
}

fn latency(counted: &BTreeMap<i64, u64>) -> DeliveryLatency {
    let bound = |le_ms: i64| u64::try_from(le_ms).ok().filter(|_| le_ms != i64::MAX);
    let buckets: Vec<_> = counted.iter().map(|(le_ms, count)| (bound(*le_ms), *count)).collect();
    DeliveryLatency {
        p50_ms: quantile_ms(&buckets, 0.5),
        p95_ms: quantile_ms(&buckets, 0.95),
        p99_ms: quantile_ms(&buckets, 0.99),
        buckets: buckets.into_iter().map(|(le_ms, count)| LatencyBucket { le_ms, count }).collect(),
    }
}
