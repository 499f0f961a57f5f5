//! The dashboard: pages rendered on the server, readable without a script and updated by a small one.
//!
//! It reads and writes only through the store and knows nothing about the API. Pages have no inline script
//! or style and refer to no other host. The templates escape all external data, so that no payload becomes
//! markup.

mod assessment;
mod assets;
mod audit;
mod auth;
mod badge;
mod bulk;
mod chart;
mod destinations;
mod document;
mod elements;
mod error_page;
mod events;
mod executions;
mod failures;
mod filters;
mod forms;
mod layout;
mod list;
mod live;
mod login;
mod overview;
mod overview_cache;
mod payload;
#[cfg(feature = "dev")]
mod playground;
#[cfg(not(feature = "dev"))]
#[path = "no_playground.rs"]
mod playground;
mod preview;
mod query;
mod search;
mod session;
mod time_series;
mod timeline;

pub use playground::Playground;
#[cfg(feature = "dev")]
pub use playground::{SampleError, SendSample};

use crate::bulk::Bulk;
use crate::config::Access;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::preview::Previewer;
use crate::domain::source::{Origin, SourceCatalog};
use crate::health::{Scope, Thresholds};
use crate::operator_store::OperatorStore;
use crate::store::{EventRow, Notifier};
use assets::Asset;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use chrono::{DateTime, Utc};
use error_page::ErrorPage;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

/// The parts of the dashboard.
pub struct Parts {
    /// The database.
    pub store: OperatorStore,
    /// Bulk tasks.
    pub bulk: Bulk,
    /// The destination instances and sources that are configured.
    pub scope: Scope,
    /// The limits by which health is assessed.
    pub thresholds: Thresholds,
    /// Creates previews.
    pub previewer: Previewer,
    /// Wakes the workers after a retry.
    pub notifier: Notifier,
    /// Who may log in.
    pub access: Arc<Access>,
    /// The current time, for ages and for the end of sessions.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// The playground, which only `dev` has.
    pub playground: Option<Playground>,
    /// Ends the event streams to open pages.
    pub stop: CancellationToken,
}

/// The state of the dashboard's routes. Cheap to clone.
#[derive(Clone)]
pub struct Ui {
    store: OperatorStore,
    bulk: Bulk,
    scope: Scope,
    thresholds: Thresholds,
    instances: Arc<[String]>,
    destinations: Arc<[DestinationSummary]>,
    sources: Arc<dyn SourceCatalog>,
    previewer: Previewer,
    notifier: Notifier,
    access: Arc<Access>,
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    playground: Option<Arc<Playground>>,
    live: live::Live,
    badge: badge::Badge,
    overview_cache: overview_cache::OverviewCache,
    wrong_keys: Arc<Semaphore>,
}

/// Where an event came from, for a link to its sender.
fn origin(event: &EventRow) -> Origin<'_> {
    Origin { source: &event.source, account: event.account.as_deref(), livemode: event.livemode }
}

impl Ui {
    /// Builds the dashboard's state.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, bulk, scope, thresholds, previewer, notifier, access, clock, playground, stop } =
            parts;
        Self {
            store,
            bulk,
            instances: scope.instances.clone(),
            destinations: scope.destinations.clone(),
            sources: scope.sources.clone(),
            scope,
            thresholds,
            previewer,
            notifier,
            access,
            clock,
            playground: playground.map(Arc::new),
            live: live::Live::new(stop),
            badge: badge::Badge::default(),
            overview_cache: overview_cache::OverviewCache::default(),
            wrong_keys: Arc::new(Semaphore::new(login::WRONG_KEYS_MAX)),
        }
    }

    /// Whether a request has a session, which also allows it to read the API's description.
    pub async fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        auth::is_logged_in(self, headers).await
    }

    /// Warms up the database, and notifies open pages of changes, until `stop` is cancelled.
    pub async fn run(self, progress: watch::Receiver<u64>, stop: CancellationToken) {
        let telling = self.live.clone().run(self.store.reports.clone(), progress);
        tokio::join!(stop.run_until_cancelled(overview::prepare(&self)), telling);
    }
}

/// The routes of the dashboard.
pub fn routes(ui: Ui) -> Router {
    let pages = pages().into_iter().fold(Router::new(), |router, (path, page)| router.route(path, page));
    pages
        .route_layer(from_fn_with_state(ui.clone(), auth::require_session))
        .route(
            "/login",
            get(login::form).post(login::login).layer(DefaultBodyLimit::max(auth::FORM_BYTES_MAX)),
        )
        .route("/assets/{name}", get(asset))
        .layer(from_fn(add_headers))
        .layer(CompressionLayer::new())
        .with_state(ui)
}

/// The paths that require a session if there are API keys.
pub fn protected_paths() -> impl Iterator<Item = &'static str> {
    pages().into_iter().map(|(path, _)| path)
}

fn pages() -> Vec<(&'static str, MethodRouter<Ui>)> {
    let mut pages = vec![
        ("/", get(overview::overview)),
        ("/events", get(list::list::<filters::EventsQuery>)),
        ("/events/{id}", get(events::show)),
        ("/events/{id}/payload", get(events::payload)),
        ("/executions", get(list::list::<filters::ExecutionsQuery>)),
        ("/events/replay", get(bulk::plan_replay).post(bulk::replay)),
        ("/executions/retry", get(bulk::plan_retry).post(bulk::retry)),
        ("/tasks", get(bulk::list)),
        ("/tasks/{id}", get(bulk::show)),
        ("/tasks/{id}/cancel", post(bulk::cancel)),
        ("/executions/{id}", get(executions::show)),
        ("/executions/{id}/retry", post(executions::retry)),
        ("/executions/{id}/cancel", post(executions::cancel)),
        ("/executions/{id}/preview", get(preview::preview)),
        ("/failures", get(failures::list)),
        ("/failures/{group}", get(failures::show)),
        ("/failures/{group}/acknowledge", post(failures::acknowledge)),
        ("/failures/{group}/unacknowledge", post(failures::unacknowledge)),
        ("/destinations", get(destinations::list)),
        ("/destinations/{name}/pause", post(destinations::pause)),
        ("/destinations/{name}/resume", post(destinations::resume)),
        ("/search", get(search::search)),
        ("/audit", get(audit::list)),
        ("/live", get(live::live)),
        (auth::LOGOUT, post(login::logout)),
    ];
    pages.extend(playground::pages());
    pages
}

/// Serves an asset by its name.
async fn asset(Path(name): Path<String>) -> Result<&'static Asset, ErrorPage> {
    assets::asset(&name)
        .ok_or_else(|| ErrorPage::not_found("There is no such file; an older page may refer to it."))
}

/// Pages load resources only from this origin and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // Not "no-referrer": with that, browsers send no origin with forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

async fn add_headers(request: Request, next: Next) -> Response {
    let is_change = request.method() == Method::POST;
    let mut response = next.run(request).await;
    if is_change && let Some(page) = response.extensions_mut().remove::<ErrorPage>() {
        response = page.after_a_change().into_response();
    }
    with_headers(response)
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The page for an address at which there is nothing.
pub fn unknown_address() -> Response {
    with_headers(ErrorPage::not_found("There is nothing at this address.").into_response())
}
