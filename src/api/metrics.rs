//! `/metrics`: what the service counts, for Prometheus. It answers without a database, too.

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

/// How long what the database told is told again without asking.
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
    last: SingleFlight<Looked>,
}

/// What was found at a look at the database.
#[derive(Clone, Default)]
struct Looked {
    is_up: bool,
    /// Nothing where it was not counted in time.
    destinations: Option<Vec<DestinationGauges>>,
}

impl Scrape {
    /// Reads these counts, and the backlogs of these instances.
    pub fn new(metrics: Metrics, db: Db, reports: Reports, instances: Arc<[String]>) -> Self {
        Self { metrics, db, reports, instances, last: SingleFlight::default() }
    }

    /// How long ago this process's worker has beaten; nothing where it never has.
    pub(super) fn since_heartbeat(&self) -> Option<Duration> {
        self.metrics.since_heartbeat()
    }

    /// What can be seen now. However many ask at once, the database is asked by one of them, at most
    /// every few seconds, and waited for no longer than a scrape can wait.
    async fn gauges(&self) -> Gauges {
        let pool = self.db.pool_use();
        let connections = Connections { busy: pool.busy, idle: pool.idle, max: pool.max };
        let look = {
            let (db, reports, instances) = (self.db.clone(), self.reports.clone(), self.instances.clone());
            async move { Ok(look(db, reports, instances).await) }
        };
        let Looked { is_up, destinations } = self.last.get(FRESH_FOR, look).await.unwrap_or_default();
        Gauges { connections, is_database_up: is_up, destinations }
    }
}

/// Whether the database answers, and what waits: a count that takes long does not mean that it is away.
async fn look(db: Db, reports: Reports, instances: Arc<[String]>) -> Looked {
    let (answered, backlog) = tokio::join!(in_time(db.is_migrated()), in_time(reports.backlog(&instances)));
    let gauges = |one: Backlog| DestinationGauges {
        name: one.destination,
        pending: one.pending,
        oldest_pending_seconds: one.oldest.unwrap_or_default().as_secs_f64(),
        is_paused: one.paused_since.is_some(),
    };
    let destinations = backlog.map(|backlog| backlog.into_iter().map(gauges).collect());
    Looked { is_up: answered.is_some(), destinations }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut));
    answered.inspect_err(|error| debug!(%error, "a scrape goes without what the database would tell")).ok()
}

/// What the service counts and measures, in the OpenMetrics text format.
///
/// Its labels are the names of destinations and words of the service's own. While the database is
/// away, what only it can tell is left out and `eventbridge_database_up` is 0; where it answers and
/// takes too long to count what waits, that alone is left out. A key is needed
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
        (status = 500, description = "Something broke here; the log tells what", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let gauges = api.scrape.gauges().await;
    let text = api.scrape.metrics.render(&gauges).map_err(|_| {
        error!("the metrics cannot be written");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
