//! `/api/v1/stats`: what happened in each minute or hour.

use super::extract::Query;
use super::{Api, NotRead, from_store};
use crate::problem::Problem;
use crate::store::{Per, Statistic};
use crate::telemetry::{Kind, quantile_ms};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// The most spans in one response.
const SPANS_MAX: i32 = 1_500;

/// The default number of spans.
const SPANS_DEFAULT: i32 = 60;

/// What happened between two times.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// `minute` or `hour`.
    #[schema(example = "minute")]
    pub per: &'static str,
    /// The first span begins at this time or later.
    pub from: DateTime<Utc>,
    /// The last span begins before this time.
    pub to: DateTime<Utc>,
    /// The sum of all spans.
    pub total: Happened,
    /// The spans that are not empty, oldest first.
    pub data: Vec<Span>,
}

/// One minute or hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Span {
    /// When it began.
    pub at: DateTime<Utc>,
    /// What happened in it.
    #[serde(flatten)]
    pub happened: Happened,
}

/// What happened in a span of time.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Happened {
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
    /// Executions delivered.
    pub delivered: i64,
    /// Executions that failed.
    pub failed: i64,
    /// Executions that a destination skipped.
    pub skipped: i64,
    /// Executions that were superseded by a newer state of their object.
    pub superseded: i64,
    /// The time from receipt to delivery.
    pub latency: Latency,
    /// The executions by destination.
    pub destinations: BTreeMap<String, ByDestination>,
}

/// What happened to the executions of one destination.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ByDestination {
    /// Executions delivered.
    pub delivered: i64,
    /// Executions that failed.
    pub failed: i64,
    /// Executions that it skipped.
    pub skipped: i64,
    /// Executions that were superseded by a newer state of their object.
    pub superseded: i64,
    /// The time from receipt to delivery.
    pub latency: Latency,
}

/// The time from receipt to first delivery. Later updates are not counted.
#[derive(Debug, Default, Clone, Serialize, ToSchema)]
pub struct Latency {
    /// The median; null if there are none.
    pub p50_ms: Option<u64>,
    /// The 95th percentile.
    pub p95_ms: Option<u64>,
    /// The 99th percentile.
    pub p99_ms: Option<u64>,
    /// The number of events per latency bucket.
    pub buckets: Vec<Bucket>,
}

/// A latency bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bucket {
    /// The upper bound, inclusive; the lower bound is that of the bucket before. Null above the last bound.
    pub le_ms: Option<u64>,
    /// The number of events.
    pub count: u64,
}

/// Which spans to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// `minute` (stored for 48 hours) or `hour` (stored for 400 days); the default is `minute`.
    per: Option<String>,
    /// Spans that begin at this time or later (RFC 3339); the default is 60 spans before `to`.
    from: Option<DateTime<Utc>>,
    /// Spans that begin before this time; the default is now. The range has at most 1,500 spans.
    to: Option<DateTime<Utc>>,
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
        (status = 200, description = "What happened", body = Stats),
        (status = 400, description = "A parameter cannot be read, or the range is too long", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn stats(
    State(api): State<Api>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Stats>, Problem> {
    let per = match query.per.as_deref() {
        None | Some("minute") => Per::Minute,
        Some("hour") => Per::Hour,
        Some(_) => return Err(Problem::bad_request("per: must be minute or hour.")),
    };
    let span = TimeDelta::from_std(per.duration()).map_err(|_| Problem::internal())?;
    let to = match query.to {
        Some(to) => to,
        None => api.store.reports.now().await.map_err(from_store)?,
    };
    let too_far = || Problem::bad_request("from, to: a time is out of range.");
    let default = to.checked_sub_signed(span * SPANS_DEFAULT);
    let from = query.from.or(default).ok_or_else(too_far)?;
    if from >= to || to.signed_duration_since(from) > span * SPANS_MAX {
        return Err(Problem::bad_request(format!(
            "from, to: from must lie before to, by at most {SPANS_MAX} {}s.",
            per.as_str()
        )));
    }
    let rows = api.store.statistics.statistics(per, from, to).await.map_err(from_store)?;
    Ok(Json(gathered(per, from, to, &rows)))
}

fn gathered(per: Per, from: DateTime<Utc>, to: DateTime<Utc>, rows: &[Statistic]) -> Stats {
    let mut total = Sum::default();
    let mut spans: BTreeMap<DateTime<Utc>, Sum> = BTreeMap::new();
    for row in rows {
        total.add(row);
        spans.entry(row.at).or_default().add(row);
    }
    let data = spans.into_iter().map(|(at, sum)| Span { at, happened: sum.finish() }).collect();
    Stats { per: per.as_str(), from, to, total: total.finish(), data }
}

/// A span while its rows are added up.
#[derive(Default)]
struct Sum {
    happened: Happened,
    /// By destination and upper bound.
    buckets: BTreeMap<String, BTreeMap<i64, u64>>,
}

impl Sum {
    fn add(&mut self, row: &Statistic) {
        let (sum, n) = (&mut self.happened, row.n);
        let destination = |sum: &mut Happened, of: fn(&mut ByDestination) -> &mut i64| {
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
        } else if is(Kind::Latency) {
            let buckets = self.buckets.entry(row.name.clone()).or_default();
            *buckets.entry(row.le_ms).or_default() += u64::try_from(n).unwrap_or_default();
        }
    }

    fn finish(self) -> Happened {
        let Self { mut happened, buckets } = self;
        let mut all: BTreeMap<i64, u64> = BTreeMap::new();
        for (name, buckets) in buckets {
            for (le_ms, count) in &buckets {
                *all.entry(*le_ms).or_default() += count;
            }
            happened.destinations.entry(name).or_default().latency = latency(&buckets);
        }
        happened.latency = latency(&all);
        happened
    }
}

fn latency(counted: &BTreeMap<i64, u64>) -> Latency {
    let bound = |le_ms: i64| u64::try_from(le_ms).ok().filter(|_| le_ms != i64::MAX);
    let buckets: Vec<_> = counted.iter().map(|(le_ms, count)| (bound(*le_ms), *count)).collect();
    Latency {
        p50_ms: quantile_ms(&buckets, 0.5),
        p95_ms: quantile_ms(&buckets, 0.95),
        p99_ms: quantile_ms(&buckets, 0.99),
        buckets: buckets.into_iter().map(|(le_ms, count)| Bucket { le_ms, count }).collect(),
    }
}
