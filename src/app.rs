//! Wiring: puts the parts together, starts their tasks, and stops them in the right order.

use crate::alerts::{self, AlertSettings};
use crate::api::{self, Api, Scrape};
use crate::auth;
use crate::config::{Access, Settings};
use crate::destinations::Instance;
use crate::domain::preview::Previewer;
use crate::domain::target::Target;
use crate::ingest::{self, Clock, Forensics, Ingest, Writer, WriterSettings};
use crate::problem::Problem;
use crate::retention;
use crate::server::{self, Around, Crowd, Limits, PublicByHttps};
use crate::sources::{Registry, stripe::Stripe};
use crate::statistics;
use crate::store::{Notifier, Store};
use crate::telemetry::{Metrics, Overseer};
use crate::ui::{self, Playground, Ui};
use crate::worker::{self, WorkerSettings, WorkerStore};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// Recording verdicts and signing off come after the grace.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Which half of the work a process does. Both halves meet in the database alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Both.
    #[default]
    All,
    /// Takes webhooks and requests, and delivers nothing.
    Web,
    /// Delivers, and answers health, probes and metrics alone.
    Worker,
}

impl Role {
    const fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// What a service is made of.
pub struct Parts {
    /// What it does of it.
    pub role: Role,
    /// The database, migrated.
    pub store: Store,
    /// The settings of the core.
    pub settings: Settings,
    /// Who is told when something is wrong.
    pub alerts: AlertSettings,
    /// The destinations.
    pub instances: Vec<Instance>,
    /// The time by which signatures are judged.
    pub clock: Clock,
    /// Routes that only this command has, such as those of `dev`.
    pub more_routes: OpenApiRouter,
    /// What the dashboard of `dev` has beside the usual.
    pub playground: Option<Playground>,
}

/// The service: its routes, and the tasks behind them.
pub struct Service {
    router: Router,
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Cancelled when no request runs any more: the writers then finish what waits.
    stop_writers: CancellationToken,
    /// What goes on as long as anything is counted, and the signal to end it.
    last: (TaskTracker, CancellationToken),
    grace: Duration,
    progress: watch::Receiver<u64>,
    limits: Limits,
    crowd: Crowd,
    metrics: Metrics,
    overseer: Overseer,
}

/// A part of the service that it cannot do without broke.
#[derive(Debug, thiserror::Error)]
#[error(
    "the task {task:?} broke on a fault of ours, which the log tells; the service stopped so that it is begun anew"
)]
pub struct Broken {
    task: &'static str,
}

impl Service {
    /// Starts the tasks. Needs a tokio runtime; connections are made when they are needed.
    pub fn start(parts: Parts) -> Self {
        let Parts { role, store, settings, alerts, instances, clock, more_routes, playground } = parts;
        let (tasks, notifier) = (TaskTracker::new(), Notifier::default());
        let (stop, stop_writers) = (CancellationToken::new(), CancellationToken::new());
        let names: Arc<[String]> =
            instances.iter().map(|instance| instance.subscription.destination.clone()).collect();
        let secrets: Arc<[String]> =
            settings.stripe_secrets.iter().map(|secret| secret.name.clone()).collect();
        let metrics = Metrics::new(names.iter());
        let overseer = Overseer::new(metrics.clone());
        let limits = Limits::default();
        let crowd = limits.crowd();
        let subject =
            alerts::Subject { instances: names.clone(), secrets: secrets.clone(), clock: clock.clone() };
        let by_https = PublicByHttps(alerts.public_url.as_ref().is_some_and(|url| url.scheme() == "https"));
        let silence_factor = alerts.thresholds.silence_factor;
        let unhurried = store.unhurried();
        let background = Background { tasks: &tasks, overseer: &overseer, stop: &stop };
        background.spawn("alerts", {
            let store = unhurried.clone();
            move |stop| alerts::watch(store.clone(), subject.clone(), alerts.clone(), stop)
        });
        let ingest = Ingest {
            sources: Registry::new(vec![Arc::new(Stripe::new(&settings.stripe_secrets))]),
            subscriptions: instances.iter().map(|instance| instance.subscription.clone()).collect(),
            writer: Writer::start(
                &store.intake,
                &notifier,
                &metrics,
                WriterSettings::default(),
                &tasks,
                &stop_writers,
            ),
            clock: clock.clone(),
            log: ingest::Log::default(),
            is_crowded: Arc::new({
                let crowd = crowd.clone();
                move || crowd.is_crowded()
            }),
            metrics: metrics.clone(),
            forensics: Forensics::start(&unhurried.rejections, &metrics, secrets.to_vec(), &tasks, &stop),
        };
        let last = (TaskTracker::new(), CancellationToken::new());
        last.0.spawn(statistics::keep(
            unhurried.statistics,
            unhurried.reports,
            metrics.clone(),
            names.clone(),
            last.1.clone(),
        ));
        let scrape = Scrape::new(metrics.clone(), store.clone(), names.clone());
        let worker_store = WorkerStore {
            queue: store.queue.clone(),
            destinations: store.destinations.clone(),
            rate_limits: store.rate_limits.clone(),
        };
        let previewer = worker::Previewer::new(worker_store.clone(), instances.clone());
        let previewer: Previewer = Arc::new(move |id| {
            let previewer = previewer.clone();
            Box::pin(async move { previewer.preview(id).await })
        });
        let access = Arc::new(settings.access);
        let targets: Arc<[Target]> = instances.iter().map(target).collect();
        let ui = Ui::new(ui::Parts {
            store: store.clone(),
            instances: names.clone(),
            targets: targets.clone(),
            secrets: secrets.clone(),
            previewer: previewer.clone(),
            silence_factor,
            notifier: notifier.clone(),
            access: access.clone(),
            clock,
            playground,
            stop: stop.clone(),
        });
        background.spawn("changes for open pages", {
            let ui = ui.clone();
            move |stop| ui.clone().run(stop)
        });
        let api = Api {
            store: store.clone(),
            instances: names,
            targets,
            secrets,
            notifier: notifier.clone(),
            scrape,
            previewer,
            silence_factor,
            looks: api::Looks::default(),
            has_worker: role.delivers() && !instances.is_empty(),
        };
        let around = Arc::new(Around { metrics: metrics.clone(), access, by_https });
        let router = match role {
            Role::Worker => router_of_worker(api, settings.metrics_are_open, &around),
            Role::All | Role::Web => {
                let metrics_are_open = settings.metrics_are_open;
                router(Routes { ingest, api, ui, more: more_routes, metrics_are_open }, &around)
            }
        };
        background.spawn("publishing of notifications", {
            let (db, notifier) = (store.db.clone(), notifier.clone());
            move |stop| notifier.clone().publish(db.clone(), stop)
        });
        if role.delivers() {
            background.spawn("listening for notifications", {
                let (db, notifier) = (store.db.clone(), notifier.clone());
                move |stop| notifier.clone().listen(db.clone(), stop)
            });
            background.spawn("index", {
                let (search_index, failure_groups) =
                    (store.search_index.clone(), store.failure_groups.clone());
                move |stop| worker::index(search_index.clone(), failure_groups.clone(), stop)
            });
            background.spawn("retention", {
                let (leases, retention) = (store.named_leases.clone(), store.retention.clone());
                move |stop| {
                    let pace = retention::Pace::default();
                    retention::keep(leases.clone(), retention.clone(), settings.retention, pace, stop)
                }
            });
        }
        let (recorded, progress) = watch::channel(0);
        if role.delivers() && !instances.is_empty() {
            let worker = WorkerSettings {
                progress: recorded,
                metrics: metrics.clone(),
                overseer: overseer.clone(),
                concurrency: settings.worker_concurrency,
                retry: settings.retry,
                probe_every: settings.probe_every,
                grace: settings.shutdown_grace,
            };
            let working = worker::run(worker_store, notifier, instances, worker, stop.clone());
            tasks.spawn(overseer.clone().vital("worker", working));
        }
        let grace = settings.shutdown_grace;
        Self {
            router,
            store,
            tasks,
            stop,
            stop_writers,
            last,
            grace,
            progress,
            limits,
            crowd,
            metrics,
            overseer,
        }
    }

    /// The routes, for calling them without a network.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Counts the verdicts on executions that this process has recorded.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.clone()
    }

    /// Serves until `shutdown` resolves or something vital breaks, then stops in order.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Broken> {
        let stop = self.stop.clone();
        let overseer = self.overseer.clone();
        let stopping = async {
            tokio::select! {
                () = shutdown => {}
                _task = overseer.broken() => {}
            }
            info!("stopping: no new requests; what runs comes to its end");
            stop.cancel();
        };
        let (router, crowd) = (self.router.clone(), self.crowd.clone());
        let serving = server::serve(listener, router, self.limits, crowd, self.metrics.clone(), stopping);
        let mut deadline = None;
        let time_is_up = async {
            self.stop.cancelled().await;
            let at = *deadline.insert(Instant::now() + self.grace);
            tokio::time::sleep_until(at).await;
        };
        tokio::select! {
            // First, so that the deadline is known when serving ends at once.
            biased;
            () = time_is_up => {
                warn!("some clients did not let go of their connections; they are left");
            }
            () = serving => {}
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.grace);
        self.stop_by(deadline + LAST_WORDS).await;
        overseer.broken_task().map_or(Ok(()), |task| Err(Broken { task }))
    }

    /// What watches over the tasks.
    pub fn overseer(&self) -> Overseer {
        self.overseer.clone()
    }

    /// Stops in order: what waits to be written is committed and answered, what is being delivered
    /// comes to its end within the grace, and the rest is given back.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.grace + LAST_WORDS;
        self.stop_by(deadline).await;
    }

    async fn stop_by(self, deadline: Instant) {
        let Self { router, store, tasks, stop, stop_writers, last: (last_tasks, stop_last), .. } = self;
        stop.cancel();
        stop_writers.cancel();
        drop(router);
        tasks.close();
        let ended = async {
            tasks.wait().await;
            stop_last.cancel();
            last_tasks.close();
            last_tasks.wait().await;
            store.db.close().await;
        };
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            warn!("some tasks did not end in time; what this process leased is freed by another");
        }
    }
}

/// Where tasks run that begin anew when they break.
struct Background<'a> {
    tasks: &'a TaskTracker,
    overseer: &'a Overseer,
    stop: &'a CancellationToken,
}

impl Background<'_> {
    fn spawn<F>(&self, task: &'static str, begin: impl Fn(CancellationToken) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let again = {
            let stop = stop.clone();
            move || begin(stop.clone())
        };
        self.tasks.spawn(self.overseer.clone().renewed(task, stop, again));
    }
}

/// What those know of an instance who tell of it.
pub(crate) fn target(instance: &Instance) -> Target {
    let rate = instance.destination.rate();
    Target {
        subscription: instance.subscription.clone(),
        connection: rate.map(|rate| rate.connection.clone()),
        per_minute: rate.and_then(|rate| rate.per_minute),
    }
}

/// The description of the API: the routes that every command has.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = api::Description::openapi();
    description.merge(ingest::routes().into_openapi());
    description.merge(api::protected().into_openapi());
    description.merge(api::open().into_openapi());
    description.merge(api::metrics().into_openapi());
    description
}

/// What the router is made of.
struct Routes {
    ingest: Ingest,
    api: Api,
    ui: Ui,
    more: OpenApiRouter,
    metrics_are_open: bool,
}

fn router(routes: Routes, around: &Arc<Around>) -> Router {
    let access = &around.access;
    let Routes { ingest, api, ui, more, metrics_are_open } = routes;
    let mut description = openapi();
    let (more_routes, more_description) = more.split_for_parts();
    description.merge(more_description);
    let (mut protected, mut open) = (Router::from(api::protected()), Router::from(api::open()));
    let place = if metrics_are_open { &mut open } else { &mut protected };
    *place = std::mem::take(place).merge(api::metrics());
    let protected = protected
        .with_state(api.clone())
        .merge(more_routes)
        .route_layer(from_fn_with_state(access.clone(), auth::require_key));
    let docs = Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
        .route_layer(from_fn_with_state((ui.clone(), access.clone()), require_reader));
    let routes = Router::from(ingest::routes())
        .with_state(Arc::new(ingest))
        .merge(open.with_state(api))
        .merge(protected)
        .merge(docs)
        .merge(ui::routes(ui));
    guarded(routes, "There is nothing at this address; /docs lists what there is.", around)
}

/// What a process answers that only delivers.
fn router_of_worker(api: Api, metrics_are_open: bool, around: &Arc<Around>) -> Router {
    let of_metrics = Router::from(api::metrics()).with_state(api.clone());
    let of_metrics = if metrics_are_open {
        of_metrics
    } else {
        of_metrics.route_layer(from_fn_with_state(around.access.clone(), auth::require_key))
    };
    let routes = Router::from(api::open()).with_state(api).merge(of_metrics);
    let nothing_here = "This process only delivers; webhooks, the API and the dashboard are answered by one of the role web.";
    guarded(routes, nothing_here, around)
}

/// The routes, with what holds for every request around them.
fn guarded(routes: Router, nothing_here: &'static str, around: &Arc<Around>) -> Router {
    routes
        .fallback(move || async move { Problem::not_found(nothing_here) })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Not with this method",
                "The address exists, but not for this method; /docs lists what there is.",
            )
        })
        .layer(from_fn_with_state(around.clone(), server::around))
}

/// Lets the description of the API be read by whoever is logged in to the dashboard, else with a key.
/// The API itself takes no cookie.
async fn require_reader(
    State((ui, access)): State<(Ui, Arc<Access>)>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    if ui.is_logged_in(request.headers()) {
        return next.run(request).await;
    }
    auth::require_key_of_browser(State(access), request, next).await
}
