//! Which part of the service gets what.

use super::Role;
use super::tasks::Tasks;
use crate::alerts::{self, AlertSettings};
use crate::api::{self, Api, ApiStore, Scrape};
use crate::config::{Access, Settings};
use crate::destinations::Instance;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::preview::Previewer;
use crate::domain::source::SourceCatalog;
use crate::health::{Scope, Thresholds};
use crate::ingest::{self, Clock, Ingest, RejectionLog, Writer, WriterSettings};
use crate::server::{ConnectionLimiter, Middleware, PublicByHttps};
use crate::sources::Registry;
use crate::store::{Notifier, Store};
use crate::telemetry::Metrics;
use crate::ui::{self, Playground, Ui, UiStore};
use crate::worker::{self, WorkerStore};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

/// What a service is made of.
pub struct Parts {
    /// Which part of the work it does.
    pub role: Role,
    /// The database, migrated.
    pub store: Store,
    /// The settings of the core.
    pub settings: Settings,
    /// What alerts report, and to whom.
    pub alerts: AlertSettings,
    /// The sources.
    pub sources: Registry,
    /// The destinations.
    pub instances: Vec<Instance>,
    /// The clock for checking signatures.
    pub clock: Clock,
    /// Routes that only this command has, such as those of `dev`.
    pub more_routes: OpenApiRouter,
    /// What only the dashboard of `dev` has.
    pub playground: Option<Playground>,
}

/// What more than one part needs.
pub(super) struct Shared {
    pub(super) store: Store,
    /// The same database, for work that can wait.
    pub(super) unhurried: Store,
    pub(super) notifier: Notifier,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    /// The names of the destination instances.
    pub(super) names: Arc<[String]>,
    destinations: Arc<[DestinationSummary]>,
    /// The sources.
    pub(super) sources: Registry,
    catalog: Arc<dyn SourceCatalog>,
    previewer: Previewer,
    access: Arc<Access>,
    by_https: PublicByHttps,
    thresholds: Thresholds,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        settings: &Settings,
        sources: Registry,
        instances: &[Instance],
        alerts: &AlertSettings,
        clock: Clock,
    ) -> Self {
        let names: Arc<[String]> =
            instances.iter().map(|instance| instance.subscription.destination.clone()).collect();
        Self {
            unhurried: store.unhurried(),
            notifier: Notifier::default(),
            metrics: Metrics::with_checks(names.iter(), sources.checks()),
            clock,
            names,
            destinations: instances.iter().map(Instance::summary).collect(),
            catalog: Arc::new(sources.clone()),
            previewer: previewer(&store, &sources, instances),
            sources,
            access: Arc::new(settings.access.clone()),
            by_https: PublicByHttps(alerts.public_url.as_ref().is_some_and(|url| url.scheme() == "https")),
            thresholds: alerts.thresholds,
            store,
        }
    }

    /// The webhook route, with the tasks that write events and rejected requests.
    pub(super) fn ingest(
        &self,
        instances: &[Instance],
        tasks: &Tasks,
        limiter: &ConnectionLimiter,
    ) -> Ingest {
        let Self { store, notifier, metrics, .. } = self;
        let (others, limiter) = (&tasks.tracker, limiter.clone());
        Ingest {
            sources: self.sources.clone(),
            subscriptions: instances.iter().map(|instance| instance.subscription.clone()).collect(),
            writer: Writer::start(
                &store.intake,
                notifier,
                metrics,
                WriterSettings::default(),
                others,
                &tasks.stop_writers,
            ),
            clock: self.clock.clone(),
            log: ingest::Log::default(),
            is_under_pressure: Arc::new(move || limiter.is_under_pressure()),
            metrics: metrics.clone(),
            rejection_log: RejectionLog::start(
                &self.unhurried.rejections,
                metrics,
                self.sources.clone(),
                others,
                &tasks.stop,
            ),
        }
    }

    pub(super) fn api(&self, has_worker: bool) -> Api {
        Api {
            store: ApiStore::from(&self.store),
            instances: self.names.clone(),
            destinations: self.destinations.clone(),
            sources: self.catalog.clone(),
            notifier: self.notifier.clone(),
            scrape: Scrape::new(
                self.metrics.clone(),
                self.store.db.clone(),
                self.store.reports.clone(),
                self.names.clone(),
            ),
            previewer: self.previewer.clone(),
            scope: self.scope(),
            thresholds: self.thresholds,
            health_cache: api::HealthCache::default(),
            has_worker,
        }
    }

    pub(super) fn ui(&self, playground: Option<Playground>, tasks: &Tasks) -> Ui {
        Ui::new(ui::Parts {
            store: UiStore::from(&self.store),
            scope: self.scope(),
            thresholds: self.thresholds,
            previewer: self.previewer.clone(),
            notifier: self.notifier.clone(),
            access: self.access.clone(),
            clock: self.clock.clone(),
            playground,
            stop: tasks.stop.clone(),
        })
    }

    /// What applies to every request.
    pub(super) fn around(&self) -> Arc<Middleware> {
        let Self { metrics, access, by_https, .. } = self;
        Arc::new(Middleware { metrics: metrics.clone(), access: access.clone(), by_https: *by_https })
    }

    /// What alerts watch.
    pub(super) fn subject_of_alerts(&self) -> alerts::Subject {
        alerts::Subject { scope: self.scope(), clock: self.clock.clone() }
    }

    /// What the health assessment covers.
    fn scope(&self) -> Scope {
        Scope {
            instances: self.names.clone(),
            destinations: self.destinations.clone(),
            sources: self.catalog.clone(),
        }
    }
}

/// The parts of the store that deliveries use.
pub(super) fn worker_store(store: &Store) -> WorkerStore {
    WorkerStore {
        queue: store.queue.clone(),
        destinations: store.destinations.clone(),
        rate_limits: store.rate_limits.clone(),
    }
}

fn previewer(store: &Store, sources: &Registry, instances: &[Instance]) -> Previewer {
    let previewer = worker::Previewer::new(worker_store(store), sources.clone(), instances.to_vec());
    Arc::new(move |id| {
        let previewer = previewer.clone();
        Box::pin(async move { previewer.preview(id).await })
    })
}
