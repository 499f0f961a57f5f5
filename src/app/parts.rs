//! Builds ingest, API and dashboard from the shared state.

use super::Role;
use super::shared::Shared;
use super::tasks::Tasks;
use crate::alerts::AlertSettings;
use crate::api::{self, Api, Scrape};
use crate::config::Settings;
use crate::destinations::Instance;
use crate::endpoint_watch;
use crate::health::Thresholds;
use crate::ingest::{self, Clock, Ingest, RejectionLog, Writer, WriterSettings};
use crate::operator_store::OperatorStore;
use crate::server::{ConnectionLimiter, Middleware};
use crate::sources::Registry;
use crate::store::Store;
use crate::ui::{self, Playground, Ui};
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
    /// The limits by which health is assessed.
    pub thresholds: Thresholds,
    /// The sources.
    pub sources: Registry,
    /// The destinations.
    pub instances: Vec<Instance>,
    /// How often the senders are asked whether they send to this service.
    pub endpoint_pace: endpoint_watch::Pace,
    /// The clock for checking signatures.
    pub clock: Clock,
    /// Routes that only this command has, such as those of `dev`.
    pub more_routes: OpenApiRouter,
    /// What only the dashboard of `dev` has.
    pub playground: Option<Playground>,
}

impl Shared {
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
            log: ingest::LogThrottles::default(),
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
            db: self.store.db.clone(),
            store: OperatorStore::from(&self.store),
            bulk: self.bulk(),
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
            store: OperatorStore::from(&self.store),
            bulk: self.bulk(),
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

    /// The middleware of every request.
    pub(super) fn middleware(&self) -> Arc<Middleware> {
        let Self { metrics, access, by_https, .. } = self;
        Arc::new(Middleware { metrics: metrics.clone(), access: access.clone(), by_https: *by_https })
    }
}
