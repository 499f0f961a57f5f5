//! Wiring: builds the parts of the service, starts its tasks, and stops them in the right order.
//!
//! - `shared`: the state that several parts share
//! - `parts`: which part gets what
//! - `routes`: the routes, and their middleware
//! - `openapi`: the description of the API
//! - `base_path`: serving below a path
//! - `tasks`: the background tasks
//! - `shutdown`: serving, and the order in which everything stops

mod base_path;
mod openapi;
mod parts;
mod routes;
mod shared;
mod shutdown;
mod tasks;

pub use openapi::openapi;
pub use parts::Parts;
pub use shutdown::Broken;

use crate::config::DefaultKinds;
use crate::server::{ConnectionLimiter, Limits};
use crate::store::Store;
use crate::telemetry::{Metrics, Supervisor};
use crate::{destinations, sources};
use axum::Router;
use routes::Routes;
use shared::Shared;
use tasks::Tasks;
use tokio::sync::watch;

/// The kinds that serve if `SOURCES` and `DESTINATIONS` are not set: the first ones that the program has.
#[expect(clippy::indexing_slicing, reason = "an empty list does not compile")]
pub const DEFAULT_KINDS: DefaultKinds =
    DefaultKinds { source: sources::KINDS[0].name, destination: destinations::KINDS[0].name };

/// Which part of the work a process does. Processes of different roles share only the database.
/// A `worker` also does bulk tasks, fills the search index, watches endpoints and removes old data; a `web` process registers no worker and
/// does not listen for notifications. Alerts, statistics and the backlog record run in every role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// Accepts webhooks, serves the API and the dashboard, and delivers nothing.
    Web,
    /// Delivers, and answers only health, probes and metrics.
    Worker,
}

impl Role {
    const fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// The service: its routes, and the tasks behind them.
pub struct Service {
    router: Router,
    store: Store,
    tasks: Tasks,
    progress: watch::Receiver<u64>,
    limits: Limits,
    limiter: ConnectionLimiter,
    metrics: Metrics,
}

impl Service {
    /// Starts the tasks. Needs a tokio runtime; connections are made when they are needed.
    pub fn start(parts: Parts) -> Self {
        let Parts {
            role,
            store,
            settings,
            alerts,
            thresholds,
            sources,
            instances,
            endpoint_pace,
            clock,
            more_routes,
            playground,
        } = parts;
        let limits = Limits::default();
        let limiter = limits.limiter();
        let shared = Shared::new(store, &settings, sources, &instances, &alerts, thresholds, clock);
        let tasks = Tasks::new(&shared.metrics, settings.shutdown_grace);

        let public_url = alerts.public_url.clone();
        tasks.start_statistics(&shared);
        tasks.start_alerts(&shared, alerts);
        tasks.start_publisher(&shared);
        let ingest = shared.ingest(&instances, &tasks, &limiter);
        let ui = shared.ui(playground, &tasks);
        let api = shared.api(role.delivers() && !instances.is_empty());
        let middleware = shared.middleware();
        if role.delivers() {
            tasks.start_listener(&shared);
            tasks.start_indexer(&shared);
            tasks.start_retention(&shared, settings.retention);
            tasks.start_lane_history(&shared);
            tasks.start_bulk_tasks(&shared);
            tasks.start_pull(&shared, &ingest);
            tasks.start_endpoint_watch(
                &shared,
                shared.watched_endpoints(&instances, public_url),
                endpoint_pace,
            );
        }
        let progress = tasks.start_worker(&shared, role, &settings, instances);

        let metrics_are_open = settings.metrics_are_open;
        let router = match role {
            Role::Worker => routes::of_worker(api, metrics_are_open, &middleware),
            Role::All | Role::Web => {
                tasks.start_change_stream(&ui, &progress);
                let base_path = shared.base_path.clone();
                let idempotency_keys = shared.store.idempotency_keys.clone();
                let more = more_routes;
                let routes = Routes { ingest, api, idempotency_keys, ui, more, metrics_are_open, base_path };
                routes::router(routes, &middleware)
            }
        };
        let router = match shared.base_path.clone() {
            Some(base_path) => base_path.around(router),
            None => router,
        };
        Self { router, store: shared.store, tasks, progress, limits, limiter, metrics: shared.metrics }
    }

    /// The routes, for calling them without a network.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Counts the completions that this process has recorded.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.clone()
    }

    /// The supervisor of the tasks.
    pub fn supervisor(&self) -> Supervisor {
        self.tasks.supervisor()
    }
}
