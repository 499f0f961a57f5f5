//! The service under test: its router is called in-process, and its worker delivers to a sandbox.

use super::database::CONNECTIONS;
use super::rows::Rows;
use super::{Database, within};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chrono::{DateTime, Utc};
use eventbridge::alerts;
use eventbridge::app::{self, DEFAULT_KINDS, Parts, Role};
use eventbridge::config::{Reader, Settings, Vars};
use eventbridge::destinations::{self, Kind};
use eventbridge::domain::source::SourceCatalog;
use eventbridge::endpoint_watch;
use eventbridge::health;
use eventbridge::server::{self, Limits};
use eventbridge::sources::{self, Registry, stripe};
use eventbridge::store::Store;
use eventbridge::telemetry::Metrics;
use http_body_util::BodyExt;
use notion_sandbox::{RunningSandbox, Sandbox, SandboxHandle, SandboxOptions, Template};
use secrecy::SecretString;
use serde_json::Value;
use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

/// The secret of the service under test.
pub const SECRET: &str = "whsec_of_the_tests";

/// The time by the clock of the service under test.
pub const NOW: i64 = 1_800_000_000;

/// A service on a database of its own.
pub struct Service {
    pub database: Arc<Database>,
    pub sandbox: SandboxHandle,
    pub router: Router,
    /// How often its alerts were evaluated.
    alert_rounds: watch::Receiver<u64>,
    app: app::Service,
    running_sandbox: Arc<RunningSandbox>,
}

/// A service that listens until this is dropped.
pub struct Listening {
    pub port: u16,
    serving: JoinHandle<()>,
    stop: DropGuard,
}

impl Listening {
    /// Stops listening; running requests finish, and streams end.
    pub async fn end(self) {
        drop(self.stop);
        within("the last connection ends", self.serving).await.unwrap();
    }
}

/// How the service under test is set up.
pub struct ServiceBuilder {
    vars: Vars,
    role: Role,
    production: bool,
    connections: u32,
    /// The handle on the database, if it is not an ordinary one.
    store: Option<Store>,
    retry_base: Duration,
    template: Template,
    kinds: &'static [Kind],
    source_kinds: &'static [sources::Kind],
    more_routes: OpenApiRouter,
    /// Shared with another service, as between replicas.
    shared: Option<(Arc<Database>, Arc<RunningSandbox>)>,
}

impl Service {
    /// A service as `dev` runs it, its Notion database with the original's nine columns.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> ServiceBuilder {
        ServiceBuilder {
            vars: Vars::default(),
            role: Role::All,
            production: false,
            connections: CONNECTIONS,
            store: None,
            retry_base: Duration::from_millis(1),
            template: Template::Original,
            kinds: destinations::KINDS,
            source_kinds: sources::KINDS,
            more_routes: OpenApiRouter::new(),
            shared: None,
        }
    }

    /// The address of its Notion.
    pub fn notion_url(&self) -> String {
        self.running_sandbox.base_url().to_owned()
    }

    /// Another replica: the same database, the same Notion.
    pub fn replica(&self) -> ServiceBuilder {
        let shared = Some((self.database.clone(), self.running_sandbox.clone()));
        ServiceBuilder { shared, ..Self::builder() }
    }

    /// Waits until its alerts were evaluated several times more, with any result.
    pub async fn until_alerts_were_evaluated(&self) {
        let mut rounds = self.alert_rounds.clone();
        let enough = *rounds.borrow() + 5;
        within("the alerts are evaluated", async {
            rounds.wait_for(|rounds| *rounds >= enough).await.unwrap();
        })
        .await;
    }

    /// Counts the completions that this process records.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.app.progress()
    }

    /// Posts an event to the webhook, signed as Stripe signs it.
    pub async fn post_event(&self, body: &str) -> Answer {
        self.call(signed(body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.call(Request::post(path).header("host", "localhost").body(Body::empty()).unwrap()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(Body::empty()).unwrap()).await
    }

    pub async fn call(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// The executions, oldest first.
    pub async fn executions(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/executions?limit=200").await;
        let list = answer.json()["data"].as_array().cloned();
        let mut executions = list.unwrap_or_else(|| panic!("no list: {answer:?}"));
        executions.reverse();
        executions
    }

    /// Waits until the executions meet the condition; checks again whenever a completion was recorded.
    pub async fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut progress = self.app.progress();
        within(what, async {
            loop {
                progress.mark_unchanged();
                let executions = self.executions().await;
                if is_so(&executions) {
                    return executions;
                }
                progress.changed().await.unwrap();
            }
        })
        .await
    }

    /// Waits until this many executions exist and all have finished.
    pub async fn until_finished(&self, count: usize) -> Vec<Value> {
        self.until("all executions finished", |executions| {
            executions.len() == count
                && executions.iter().all(|execution| {
                    !matches!(execution["status"].as_str(), Some("pending" | "running") | None)
                })
        })
        .await
    }

    /// Waits until there are this many rows; checks again whenever a completion was recorded. For
    /// services that require a key.
    pub async fn until_count(&self, rows: impl Borrow<Rows>, expected: i64) {
        let rows = rows.borrow();
        let mut progress = self.app.progress();
        within(&format!("{expected} of {rows:?}"), async {
            loop {
                progress.mark_unchanged();
                if self.database.count(rows).await == expected {
                    return;
                }
                progress.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until a bulk task has ended. `path` is its address.
    pub async fn until_task_ended(&self, path: &str) -> Value {
        within("the task has ended", async {
            loop {
                let task = self.get(path).await.json();
                if !matches!(task["status"].as_str(), Some("queued" | "running")) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Waits until its worker is registered, so that the process counts as ready.
    pub async fn until_ready(&self) {
        within("the process is ready", async {
            while self.get("/readyz").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Polls health until it meets the condition: its data may be some seconds old.
    pub async fn until_health(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                let health = self.get("/api/v1/health").await.json();
                if is_so(&health) {
                    return health;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Listens on a port of this machine, for a client that needs one; 0 means any free port.
    pub async fn listen(&self, port: u16) -> Listening {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (port, stop) = (listener.local_addr().unwrap().port(), CancellationToken::new());
        let (limits, metrics) = (Limits::default(), Metrics::new(None::<String>));
        let (router, asked) = (self.router.clone(), stop.clone().cancelled_owned());
        let serving = server::serve(listener, router, limits, limits.limiter(), metrics, asked);
        Listening { port, serving: tokio::spawn(serving), stop: stop.drop_guard() }
    }

    /// The service itself, for a test that serves it on its own.
    pub fn into_app(self) -> app::Service {
        self.app
    }

    /// Stops the service in order, as SIGTERM does.
    pub async fn stop(self) {
        drop(self.router);
        within("the service stops", self.app.stop()).await;
    }
}

impl ServiceBuilder {
    pub fn set(mut self, name: &str, text: &str) -> Self {
        self.vars.set(name, text);
        self
    }

    /// One with this role.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The wait after the first failed attempt; a millisecond by default.
    pub fn retry_base(mut self, base: Duration) -> Self {
        self.retry_base = base;
        self
    }

    /// With a database address where no server listens.
    pub fn without_database(self) -> Self {
        self.reaching_its_database_by(nowhere())
    }

    /// With the test's own handle on the database.
    pub fn reaching_its_database_by(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// On this database, with a Notion of its own.
    pub async fn on(mut self, database: Arc<Database>) -> Self {
        self.shared = Some((database, Arc::new(start_sandbox(self.template).await)));
        self
    }

    /// As `serve` runs it, with `API_KEYS` and similar settings.
    pub fn production(mut self) -> Self {
        self.production = true;
        self
    }

    pub fn template(mut self, template: Template) -> Self {
        self.template = template;
        self
    }

    /// With these kinds of destinations instead of the program's own.
    pub fn kinds(mut self, kinds: &'static [Kind]) -> Self {
        self.kinds = kinds;
        self
    }

    /// With these kinds of sources instead of the program's own.
    pub fn source_kinds(mut self, kinds: &'static [sources::Kind]) -> Self {
        self.source_kinds = kinds;
        self
    }

    /// With routes of the test's own.
    pub fn more_routes(mut self, routes: OpenApiRouter) -> Self {
        self.more_routes = routes;
        self
    }

    /// The address of the sandbox that is shared with another service.
    pub fn sandbox_url(&self) -> String {
        let (_, sandbox) = self.shared.as_ref().expect("a replica");
        sandbox.base_url().to_owned()
    }

    /// With the default number of connections of `serve`, for a test that blocks some of them.
    pub fn default_connections(mut self) -> Self {
        self.connections = 10;
        self
    }

    pub async fn start(self) -> Service {
        let Self {
            mut vars,
            role,
            production,
            store,
            connections,
            retry_base,
            template,
            kinds,
            source_kinds,
            more_routes,
            shared,
        } = self;
        let (database, sandbox) = match shared {
            Some(shared) => shared,
            None => (Arc::new(Database::new().await), Arc::new(start_sandbox(template).await)),
        };
        for (name, text) in [
            ("NOTION_API_URL", sandbox.base_url()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_DATABASE_ID", &notion_sandbox::DATABASE_ID.to_string()),
            ("NOTION_SETTLE_SECONDS", "0"),
            ("NOTION_RATE_PER_MINUTE", "0"),
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("DATABASE_URL", "postgres://filled-in-below/"),
        ] {
            if !vars.is_given(name) {
                vars.set(name, text);
            }
        }
        let mut reader = Reader::new(&vars);
        let settings = if production {
            Settings::for_production(&mut reader, DEFAULT_KINDS)
        } else {
            Settings::for_development(&mut reader, DEFAULT_KINDS)
        };
        let sources = Registry::of_kinds(source_kinds, &mut reader, &settings.sources);
        let instances =
            destinations::configure_kinds(kinds, &mut reader, &settings.instances, sources.types());
        let (alerts, thresholds) = (alerts::settings(&mut reader), health::thresholds(&mut reader));
        let read = (settings, instances, alerts, thresholds);
        let (mut settings, instances, mut alerts, mut thresholds) = reader.finish(read).unwrap();
        alerts.evaluate_every = Duration::from_millis(40);
        let alert_rounds = alerts.rounds.subscribe();
        // Minutes become milliseconds, so that a test of an outage is short.
        thresholds.alerts.database_after = thresholds
            .alerts
            .database_after
            .map(|after| after / u32::try_from(Duration::from_mins(1).as_millis()).unwrap());
        settings.retry.base = retry_base;
        settings.probe_every = Duration::from_millis(40);
        let service = app::Service::start(Parts {
            role,
            store: store.unwrap_or_else(|| database.store_with(connections)),
            settings,
            alerts,
            thresholds,
            sources,
            instances,
            endpoint_pace: endpoint_watch::Pace {
                look_interval: Duration::from_millis(20),
                check_interval: Duration::from_millis(20),
            },
            clock: Arc::new(|| DateTime::<Utc>::from_timestamp(NOW, 0).unwrap()),
            more_routes,
            playground: None,
        });
        let router = service.router();
        Service {
            database,
            sandbox: sandbox.handle(),
            router,
            alert_rounds,
            app: service,
            running_sandbox: sandbox,
        }
    }
}

/// A handle on a database in a folder without a socket.
fn nowhere() -> Store {
    let url = SecretString::from("postgres://eventbridge@localhost/eventbridge?host=%2Fnonexistent");
    Store::connect_lazily(&url, 4).unwrap()
}

async fn start_sandbox(template: Template) -> RunningSandbox {
    let options = SandboxOptions { template, rate_per_minute: None, ..SandboxOptions::default() };
    Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

/// A request to the webhook with a valid signature.
pub fn signed(body: &str) -> Request<Body> {
    Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", stripe::sign(SECRET, body.as_bytes(), NOW))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// A response, fully read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    async fn of(response: axum::response::Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The problem document's code; fails if the response has another status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}
