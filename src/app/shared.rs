//! State that is built once and shared by ingest, worker, API, dashboard and alerts.

use super::base_path::BasePath;
use crate::alerts::{self, AlertSettings};
use crate::bulk::Bulk;
use crate::config::{Access, Settings};
use crate::destinations::Instance;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::endpoint::WantedEndpoint;
use crate::domain::preview::Previewer;
use crate::domain::source::SourceCatalog;
use crate::endpoint_watch::Watched;
use crate::health::{Scope, Thresholds};
use crate::ingest::Clock;
use crate::server::PublicByHttps;
use crate::sources::Registry;
use crate::store::{Notifier, Store};
use crate::telemetry::Metrics;
use crate::worker::{self, WorkerStore};
use std::sync::Arc;
use url::Url;

/// The state that several parts of the service share.
pub(super) struct Shared {
    pub(super) store: Store,
    /// The same database, for monitoring tasks: no person's slow filter delays them.
    pub(super) unhurried: Store,
    pub(super) notifier: Notifier,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    /// The names of the destination instances.
    pub(super) names: Arc<[String]>,
    pub(super) destinations: Arc<[DestinationSummary]>,
    /// The sources.
    pub(super) sources: Registry,
    pub(super) catalog: Arc<dyn SourceCatalog>,
    pub(super) previewer: Previewer,
    pub(super) access: Arc<Access>,
    pub(super) by_https: PublicByHttps,
    pub(super) base_path: Option<BasePath>,
    pub(super) thresholds: Thresholds,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        settings: &Settings,
        sources: Registry,
        instances: &[Instance],
        alerts: &AlertSettings,
        thresholds: Thresholds,
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
            base_path: alerts.public_url.as_ref().and_then(BasePath::of),
            thresholds,
            store,
        }
    }

    /// Bulk tasks, for the API and the dashboard.
    pub(super) fn bulk(&self) -> Bulk {
        self.bulk_over(&self.store)
    }

    /// Bulk tasks whose pages are read over the connections of this store.
    pub(super) fn bulk_over(&self, store: &Store) -> Bulk {
        Bulk::new(store, self.catalog.clone(), self.destinations.clone())
    }

    /// What alerts watch.
    pub(super) fn alert_scope(&self) -> alerts::Subject {
        alerts::Subject { scope: self.scope(), thresholds: self.thresholds, clock: self.clock.clone() }
    }

    /// What is watched at the senders.
    pub(super) fn watched_endpoints(&self, instances: &[Instance], public_url: Option<Url>) -> Watched {
        let subscriptions = instances.iter().map(|instance| instance.subscription.clone()).collect();
        Watched {
            checkers: self.sources.endpoint_checkers().into(),
            wanted: Arc::new(WantedEndpoint { public_url, subscriptions }),
        }
    }

    /// What the health assessment covers.
    pub(super) fn scope(&self) -> Scope {
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
