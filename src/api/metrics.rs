//! `/metrics`: what the service counts, for Prometheus. It answers without a database, too.

use super::Api;
use crate::problem::Problem;
use crate::store::Store;
use crate::telemetry::{CONTENT_TYPE, Connections, DestinationGauges, Gauges, Metrics};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tracing::{debug, error};

/// How long what the database told is told again without asking.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// How long a scrape waits for the database.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a scrape reads. Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    metrics: Metrics,
    store: Store,
    instances: Arc<[String]>,
    last: Arc<Mutex<Option<Looked>>>,
}

/// What was found at the last look at the database.
struct Looked {
    at: Instant,
    found: Option<Vec<DestinationGauges>>,
}

impl Scrape {
    /// Reads these counts, and the backlogs of these instances.
    pub fn new(metrics: Metrics, store: Store, instances: Arc<[String]>) -> Self {
        Self { metrics, store, instances, last: Arc::default() }
    }

    /// How long ago this process's worker has beaten; nothing where it never has.
    pub(super) fn since_beat(&self) -> Option<Duration> {
        self.metrics.since_beat()
    }

    /// What can be seen now. However many ask at once, the database is asked by one of them, at most
    /// every few seconds, and waited for no longer than a scrape can wait.
    async fn gauges(&self) -> Gauges {
        let pool = self.store.pool_use();
        let connections = Connections { busy: pool.busy, idle: pool.idle, max: pool.max };
        let mut last = self.last.lock().await;
        if let Some(looked) = last.as_ref().filter(|looked| looked.at.elapsed() < FRESH_FOR) {
            return Gauges { connections, destinations: looked.found.clone() };
        }
        let found = self.look().await;
        *last = Some(Looked { at: Instant::now(), found: found.clone() });
        Gauges { connections, destinations: found }
    }

    async fn look(&self) -> Option<Vec<DestinationGauges>> {
        let backlog = match tokio::time::timeout(ANSWER_WITHIN, self.store.backlog(&self.instances)).await {
            Ok(Ok(backlog)) => backlog,
            Ok(Err(error)) => {
                debug!(%error, "a scrape goes without the database");
                return None;
            }
            Err(_elapsed) => {
                debug!("the database takes too long for a scrape");
                return None;
            }
        };
        let gauges = backlog.into_iter().map(|one| DestinationGauges {
            name: one.destination,
            pending: one.pending,
            oldest_pending_seconds: one.oldest.unwrap_or_default().as_secs_f64(),
            is_held: one.held_since.is_some(),
        });
        Some(gauges.collect())
    }
}

/// What the service counts and measures, in the OpenMetrics text format.
///
/// Its labels are the names of destinations and words of the service's own. While the database is
/// away, what only it can tell is left out and `eventbridge_database_up` is 0. A key is needed
/// unless `METRICS_AUTH` is `off`.
#[utoipa::path(
    get,
    path = "/metrics",
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
