//! The parts that run as processes of their own next to the real program: the ceilings of this machine,
//! and the service with a no-op destination.

use crate::notion;
use crate::world::SECRET;
use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::ValueEnum;
use eventbridge::alerts;
use eventbridge::app::{DEFAULT_KINDS, Parts, Role, Service};
use eventbridge::config::{Access, InstanceName, Reader, Settings, Vars};
use eventbridge::destinations::{Delivery, DeliveryContext, Destination, Instance, Kind, Probe};
use eventbridge::domain::delivery::{Outcome, Remote};
use eventbridge::domain::execution::Mode;
use eventbridge::domain::subscription::{LivemodeFilter, Subscription, TypeFilter};
use eventbridge::domain::visible::visible_in_log;
use eventbridge::health;
use eventbridge::ingest::{
    self, Ingest, ReceiptStatus, RejectionLog, WebhookReceipt, Writer, WriterSettings,
};
use eventbridge::server::{self, Limits, Middleware, PublicByHttps};
use eventbridge::sources::stripe::{NamedSecret, Stripe};
use eventbridge::sources::{Registry, Source};
use eventbridge::store::{Notifier, Store};
use eventbridge::telemetry::{self, LogFormat, Metrics};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

/// The no-op destination.
pub const IDLE: &str = "idle";

/// The destination that does nothing either, but takes [`SLOW_ANSWER`] for it.
pub const SLOW: &str = "slow";

/// How long the slow destination takes for each answer.
const SLOW_ANSWER: Duration = Duration::from_secs(5);

/// The part of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The same HTTP stack, which verifies, parses and responds, and stores nothing
    Nothing,
    /// The webhook route with a commit for each request
    Each,
    /// The whole service, with a no-op destination
    Idle,
    /// The same in object mode, in which the executions of an object run one at a time
    Lanes,
    /// The whole service, with a no-op destination and a second one that takes 5 s for each answer
    Slow,
    /// A stand-in for Notion that responds at once
    Notion,
}

/// Runs a part until it is asked to exit.
pub async fn play(part: Part) -> anyhow::Result<()> {
    let vars: Vars = std::env::vars().collect();
    let listener = TcpListener::bind(vars.get("LISTEN_ADDR").context("LISTEN_ADDR is not set")?).await?;
    match part {
        Part::Nothing => Ok(axum::serve(listener, nothing()).with_graceful_shutdown(stop_signal()?).await?),
        Part::Notion => notion::serve(listener, None, stop_signal()?).await,
        Part::Each => each(&vars, listener).await,
        Part::Idle => idle(&vars, listener, vec![instance(IDLE, Mode::Event, Duration::ZERO)]).await,
        Part::Lanes => idle(&vars, listener, vec![instance(IDLE, Mode::Object, Duration::ZERO)]).await,
        Part::Slow => {
            let instances =
                vec![instance(IDLE, Mode::Event, Duration::ZERO), instance(SLOW, Mode::Event, SLOW_ANSWER)];
            idle(&vars, listener, instances).await
        }
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}

fn stripe() -> Stripe {
    let secret = NamedSecret { name: "secret-1".to_owned(), secret: SECRET.into() };
    Stripe::new(&InstanceName::of_kind("stripe"), vec![secret])
}

fn sources() -> Registry {
    let vars: Vars = [("STRIPE_WEBHOOK_SECRET", SECRET)].into_iter().collect();
    Registry::configure(&mut Reader::new(&vars), &[InstanceName::of_kind("stripe")])
}

fn nothing() -> Router {
    async fn receive(State(source): State<Arc<Stripe>>, headers: HeaderMap, body: Bytes) -> Response {
        match source.receive(&headers, body, SystemTime::now().into()) {
            Ok(_event) => {
                axum::Json(WebhookReceipt { status: ReceiptStatus::Received, accepted: true }).into_response()
            }
            Err(_rejection) => StatusCode::BAD_REQUEST.into_response(),
        }
    }
    Router::new()
        .route("/api/v1/webhooks/stripe", post(receive))
        .with_state(Arc::new(stripe()))
        .route("/readyz", get(async || "ready"))
}

/// The webhook route of the service, with its listener, log and metrics; but with one statement and one
/// commit for each request, over the best number of connections.
async fn each(vars: &Vars, listener: TcpListener) -> anyhow::Result<()> {
    const WRITERS: usize = 16;
    telemetry::init(LogFormat::Json, vars.get("LOG_LEVEL"), visible_in_log);
    let url = vars.get("DATABASE_URL").context("DATABASE_URL is not set")?;
    let store = Store::connect_lazily(&url.into(), 32)?;
    let (tasks, stop, metrics) = (TaskTracker::new(), CancellationToken::new(), Metrics::new([IDLE]));
    let settings = WriterSettings { writers: WRITERS, batch_rows_max: 1, ..WriterSettings::default() };
    let (limits, middleware) = (
        Limits::default(),
        Middleware {
            metrics: metrics.clone(),
            access: Arc::new(Access::Open { public_host: None }),
            by_https: PublicByHttps(false),
        },
    );
    let limiter = limits.limiter();
    let ingest = Ingest {
        sources: sources(),
        subscriptions: [subscription(IDLE, Mode::Event)].into(),
        writer: Writer::start(&store.intake, &Notifier::default(), &metrics, settings, &tasks, &stop),
        clock: Arc::new(|| SystemTime::now().into()),
        log: ingest::LogThrottles::default(),
        is_under_pressure: Arc::new({
            let limiter = limiter.clone();
            move || limiter.is_under_pressure()
        }),
        rejection_log: RejectionLog::start(&store.rejections, &metrics, Registry::default(), &tasks, &stop),
        metrics: metrics.clone(),
    };
    let router = Router::from(ingest::routes())
        .with_state(Arc::new(ingest))
        .route("/readyz", get(async || "ready"))
        .layer(from_fn_with_state(Arc::new(middleware), server::middleware));
    server::serve(listener, router, limits, limiter, metrics, stop_signal()?).await;
    Ok(())
}

async fn idle(vars: &Vars, listener: TcpListener, instances: Vec<Instance>) -> anyhow::Result<()> {
    telemetry::init(LogFormat::Json, vars.get("LOG_LEVEL"), visible_in_log);
    let mut reader = Reader::new(vars);
    let settings = Settings::for_production(&mut reader, DEFAULT_KINDS);
    let (alerts, thresholds) = (alerts::settings(&mut reader), health::thresholds(&mut reader));
    let (settings, alerts, thresholds) = reader.finish((settings, alerts, thresholds))?;
    let store = Store::connect_lazily(&settings.database.url, settings.database_connections)?;
    let service = Service::start(Parts {
        role: Role::All,
        store,
        settings,
        alerts,
        thresholds,
        sources: sources(),
        instances,
        endpoint_pace: eventbridge::endpoint_watch::Pace::default(),
        clock: Arc::new(|| SystemTime::now().into()),
        more_routes: OpenApiRouter::new(),
        playground: None,
    });
    Ok(service.serve(listener, stop_signal()?).await?)
}

/// An instance of the no-op destination.
fn instance(name: &str, mode: Mode, answers_after: Duration) -> Instance {
    Instance {
        name: InstanceName { name: name.to_owned(), kind: IDLE.to_owned() },
        kind: Kind::new(IDLE, |_reader, _name| Some(Arc::new(Idle { answers_after: Duration::ZERO }))),
        subscription: subscription(name, mode),
        destination: Arc::new(Idle { answers_after }),
    }
}

/// The subscription of an instance to all events.
fn subscription(name: &str, mode: Mode) -> Subscription {
    Subscription {
        destination: name.to_owned(),
        types: TypeFilter::all(),
        livemode: LivemodeFilter::All,
        mode,
    }
}

/// Accepts everything and does nothing with it.
struct Idle {
    /// How long it takes for each answer.
    answers_after: Duration,
}

#[async_trait]
impl Destination for Idle {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        if !self.answers_after.is_zero() {
            tokio::time::sleep(self.answers_after).await;
        }
        // In object mode the first delivery creates an entry, and the others update it.
        let remote = delivery.remote.cloned().unwrap_or_else(|| Remote {
            id: delivery.event_id.to_owned(),
            url: None,
            place: None,
        });
        Outcome::delivered(Some(remote), Some(200))
    }

    async fn probe(&self, _context: &dyn DeliveryContext, _class: &str) -> Probe {
        Probe::Works
    }
}

/// After this time without work a process counts as idle.
pub const AT_REST_AFTER: Duration = Duration::from_millis(400);
