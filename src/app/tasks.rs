//! The background tasks: which there are, and what happens when one of them panics.
//!
//! Most tasks restart after a panic. The worker is critical: the service stops. Statistics and probes catch
//! a panic in a round and continue with the next one.

use super::Role;
use super::shared::{Shared, worker_store};
use crate::alerts::{self, AlertSettings, AlertsStore};
use crate::bulk;
use crate::config::{Retention, Settings};
use crate::destinations::Instance;
use crate::endpoint_watch::{self, WatchStore, Watched};
use crate::ingest::{self, Ingest, Puller};
use crate::retention::{self, RetentionStore};
use crate::statistics;
use crate::store::Store;
use crate::telemetry::{Metrics, Supervisor};
use crate::ui::Ui;
use crate::worker::{self, LaneHistoryStore, WorkerSettings};
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The running tasks, and the signals that stop them.
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    /// Cancelled when the service begins to stop.
    pub(super) stop: CancellationToken,
    /// Cancelled when no request runs any more. The writers then commit pending events.
    pub(super) stop_writers: CancellationToken,
    /// The tasks that end last, because they write the counts of the others.
    pub(super) last: TaskTracker,
    pub(super) stop_last: CancellationToken,
    pub(super) supervisor: Supervisor,
    /// How long running work may continue after the signal to stop.
    pub(super) grace: Duration,
}

impl Tasks {
    pub(super) fn new(metrics: &Metrics, grace: Duration) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_writers: CancellationToken::new(),
            last: TaskTracker::new(),
            stop_last: CancellationToken::new(),
            supervisor: Supervisor::new(metrics.clone()),
            grace,
        }
    }

    pub(super) fn supervisor(&self) -> Supervisor {
        self.supervisor.clone()
    }

    /// Adds the counts to the statistics. It ends after all other tasks, whose counts it writes too.
    pub(super) fn start_statistics(&self, shared: &Shared) {
        let Shared { unhurried, metrics, names, .. } = shared;
        self.last.spawn(statistics::keep(
            unhurried.statistics.clone(),
            unhurried.reports.clone(),
            metrics.clone(),
            names.clone(),
            self.stop_last.clone(),
        ));
    }

    /// Evaluates and sends alerts.
    pub(super) fn start_alerts(&self, shared: &Shared, settings: AlertSettings) {
        let (store, subject) = (AlertsStore::from(&shared.unhurried), shared.alert_scope());
        self.restartable("alerts", move |stop| {
            alerts::watch(store.clone(), subject.clone(), settings.clone(), stop)
        });
    }

    /// Notifies the workers of all replicas of new work.
    pub(super) fn start_publisher(&self, shared: &Shared) {
        let (db, notifier) = (shared.store.db.clone(), shared.notifier.clone());
        self.restartable("publishing of notifications", move |stop| {
            notifier.clone().publish(db.clone(), stop)
        });
    }

    /// Listens for work that other replicas publish.
    pub(super) fn start_listener(&self, shared: &Shared) {
        let (db, notifier) = (shared.store.db.clone(), shared.notifier.clone());
        self.restartable("listening for notifications", move |stop| {
            notifier.clone().listen(db.clone(), stop)
        });
    }

    /// Builds the index by which events are found.
    pub(super) fn start_indexer(&self, shared: &Shared) {
        let Store { search_index, failure_groups, named_leases, .. } = shared.store.clone();
        let sources = shared.sources.clone();
        self.restartable("index", move |stop| {
            worker::index(
                search_index.clone(),
                failure_groups.clone(),
                sources.clone(),
                named_leases.clone(),
                stop,
            )
        });
    }

    /// Removes data that is older than the retention settings allow.
    pub(super) fn start_retention(&self, shared: &Shared, settings: Retention) {
        let store = RetentionStore {
            leases: shared.store.named_leases.clone(),
            jobs: shared.store.background_jobs.clone(),
            retention: shared.store.retention.clone(),
        };
        self.restartable("retention", move |stop| {
            retention::keep(store.clone(), settings, retention::Pace::default(), stop)
        });
    }

    /// Fetches what no webhook brought, if a source has lists of events to read.
    pub(super) fn start_pull(&self, shared: &Shared, ingest: &Ingest) {
        let lists = shared.sources.event_lists();
        if lists.is_empty() {
            return;
        }
        let puller = Puller {
            pulls: shared.store.pulls.clone(),
            leases: shared.store.named_leases.clone(),
            writer: ingest.writer.clone(),
            subscriptions: ingest.subscriptions.clone(),
        };
        self.restartable("fetching of events", move |stop| ingest::pull(puller.clone(), lists.clone(), stop));
    }

    /// Does bulk retries and replays.
    pub(super) fn start_bulk_tasks(&self, shared: &Shared) {
        let (bulk, notifier) = (shared.bulk_over(&shared.unhurried), shared.notifier.clone());
        self.restartable("bulk tasks", move |stop| {
            bulk::run(bulk.clone(), notifier.clone(), bulk::Pace::default(), stop)
        });
    }

    /// Asks the senders whether they send to this service.
    pub(super) fn start_endpoint_watch(&self, shared: &Shared, watched: Watched, pace: endpoint_watch::Pace) {
        let store = WatchStore::from(&shared.unhurried);
        self.restartable("endpoint watch", move |stop| {
            endpoint_watch::watch(store.clone(), watched.clone(), pace, stop)
        });
    }

    /// Removes the rows of lane runs that are over.
    pub(super) fn start_lane_history(&self, shared: &Shared) {
        let store = LaneHistoryStore {
            queue: shared.store.queue.clone(),
            leases: shared.store.named_leases.clone(),
            jobs: shared.store.background_jobs.clone(),
        };
        self.restartable("lane runs", move |stop| worker::remove_old_lane_runs(store.clone(), stop));
    }

    /// Notifies open pages of the dashboard of changes. `progress` counts the completions of this process.
    pub(super) fn start_change_stream(&self, ui: &Ui, progress: &watch::Receiver<u64>) {
        let (ui, progress) = (ui.clone(), progress.clone());
        self.restartable("changes for open pages", move |stop| ui.clone().run(progress.clone(), stop));
    }

    /// Delivers, if the role includes it and there is a destination. Returns the count of recorded
    /// completions.
    pub(super) fn start_worker(
        &self,
        shared: &Shared,
        role: Role,
        settings: &Settings,
        instances: Vec<Instance>,
    ) -> watch::Receiver<u64> {
        let (recorded, progress) = watch::channel(0);
        if role.delivers() && !instances.is_empty() {
            let worker = WorkerSettings {
                progress: recorded,
                metrics: shared.metrics.clone(),
                supervisor: self.supervisor(),
                concurrency: settings.worker_concurrency,
                retry: settings.retry,
                probe_every: settings.probe_every,
                grace: self.grace,
            };
            let (store, notifier) = (worker_store(&shared.store), shared.notifier.clone());
            let sources = shared.sources.clone();
            let working = worker::run(store, notifier, sources, instances, worker, self.stop.clone());
            self.tracker.spawn(self.supervisor().critical("worker", working));
        }
        progress
    }

    /// Runs a task that begins again after a panic.
    fn restartable<F>(
        &self,
        name: &'static str,
        begin: impl Fn(CancellationToken) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let again = {
            let stop = stop.clone();
            move || begin(stop.clone())
        };
        self.tracker.spawn(self.supervisor().restartable(name, stop, again));
    }
}
