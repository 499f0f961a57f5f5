//! `/metrics`: the service's metrics for Prometheus. It also answers without a database.

use super::Api;
use crate::problem::Problem;
use crate::single_flight::SingleFlight;
use crate::store::{Backlog, Db, Reports, StoreError};
use crate::telemetry::{CONTENT_TYPE, Connections, DestinationGauges, Gauges, Metrics};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, error};

/// How long the database's answer is reused.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// How long a scrape waits for the database.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a scrape reads. Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    metrics: Metrics,
    db: Db,
    reports: Reports,
    instances: Arc<[String]>,
    last: SingleFlight<DatabaseState>,
}

/// Whether the database answers, and its counts.
#[derive(Clone, Default)]
struct DatabaseState {
    is_up: bool,
    /// `None` if it was not counted in time.
    destinations: Option<Vec<DestinationGauges>>,
}

impl Scrape {
    /// Reads these counts, and the backlogs of these instances.
    pub fn new(metrics: Metrics, db: Db, reports: Reports, instances: Arc<[String]>) -> Self {
        Self { metrics, db, reports, instances, last: SingleFlight::default() }
    }

    /// The age of this process's last heartbeat; `None` before the first.
    pub(super) fn since_heartbeat(&self) -> Option<Duration> {
        self.metrics.since_heartbeat()
    }

    /// The current values. Concurrent scrapes share one query, at most every few seconds, and wait no longer
    /// than the timeout of a scrape.
    async fn gauges(&self) -> Gauges {
        let pool = self.db.pool_use();
        let connections = Connections { busy: pool.busy, idle: pool.idle, max: pool.max };
        let read = {
            let (db, reports, instances) = (self.db.clone(), self.reports.clone(), self.instances.clone());
            async move { Ok(read(db, reports, instances).await) }
        };
        let DatabaseState { is_up, destinations } = self.last.get(FRESH_FOR, read).await.unwrap_or_default();
        Gauges { connections, is_database_up: is_up, destinations }
    }
}

/// Whether the database answers, and the backlogs. A slow count does not mean that the database is down.
async fn read(db: Db, reports: Reports, instances: Arc<[String]>) -> DatabaseState {
    let (answered, backlog) = tokio::join!(in_time(db.is_migrated()), in_time(reports.backlog(&instances)));
    let gauges = |one: Backlog| DestinationGauges {
        name: one.destination,
        pending: one.pending,
        oldest_pending_seconds: one.oldest.map_or(0.0, |oldest| oldest.waited.as_secs_f64()),
        is_paused: one.paused_since.is_some(),
    };
    let destinations = backlog.map(|backlog| backlog.into_iter().map(gauges).collect());
    DatabaseState { is_up: answered.is_some(), destinations }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut));
    answered.inspect_err(|error| debug!(%error, "database metrics could not be read")).ok()
}

/// Returns the service's metrics in the OpenMetrics text format.
///
/// Labels are destination names and the service's own words. While the database is unreachable, its
/// metrics are left out and `eventbridge_database_up` is 0. If it answers but counts the backlog too
/// slowly, only the backlog is left out. A key is required
/// unless `METRICS_AUTH` is `off`.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "health",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No key, or an unknown one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "In dev: the Host or Origin is not this machine's", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "Internal error; the log has the cause", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let gauges = api.scrape.gauges().await;
    let text = api.scrape.metrics.render(&gauges).map_err(|_| {
        error!("metrics could not be encoded");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
