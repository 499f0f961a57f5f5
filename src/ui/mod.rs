//! The dashboard: pages rendered here, readable without a script and kept up to date by a small one.
//!
//! It reads and writes through the store alone and knows nothing of the API. Pages hold no inline
//! script or style and refer to nothing on another host; whatever came from outside is escaped by
//! the templates, so that no payload becomes markup.

mod assessment;
mod assets;
mod audit;
mod badge;
mod bulk;
mod chart;
mod destinations;
mod elements;
mod events;
mod executions;
mod failures;
mod filters;
mod forms;
mod frame;
mod guard;
mod history;
mod list;
mod live;
mod login;
mod overview;
mod overview_cache;
mod payload;
mod playground;
mod preview;
mod query;
mod refusal;
mod search;
mod session;
mod timeline;

pub use playground::{Playground, SampleError, SendSample};

use crate::config::Access;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::preview::Previewer;
use crate::domain::source::{Origin, SourceCatalog};
use crate::health::{Scope, Thresholds};
use crate::store::{EventRow, Notifier, Store};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

/// What the dashboard is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The destination instances and sources that are configured.
    pub scope: Scope,
    /// The limits by which health is assessed.
    pub thresholds: Thresholds,
    /// Makes previews.
    pub previewer: Previewer,
    /// Wakes the workers after a retry.
    pub notifier: Notifier,
    /// Who may log in.
    pub access: Arc<Access>,
    /// The time now: how long ago things were, and whether a session is over.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// What only `dev` has.
    pub playground: Option<Playground>,
    /// Ends the streams to open pages.
    pub stop: CancellationToken,
}

/// The dashboard, ready to be routed to. Cheap to clone.
#[derive(Clone)]
pub struct Ui {
    store: Store,
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
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, scope, thresholds, previewer, notifier, access, clock, playground, stop } = parts;
        Self {
            store,
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

    /// Whether somebody is logged in who may read pages beside the dashboard, such as the API's own.
    pub fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        guard::is_logged_in(self, headers)
    }

    /// Makes ready for who comes first, and tells open pages of changes, until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let telling = self.live.clone().run(self.store.clone());
        tokio::join!(stop.run_until_cancelled(overview::prepare(&self)), telling);
    }
}

/// The routes of the dashboard.
pub fn routes(ui: Ui) -> Router {
    let pages = pages().into_iter().fold(Router::new(), |router, (path, page)| router.route(path, page));
    pages
        .route_layer(from_fn_with_state(ui.clone(), guard::guard))
        .route(
            "/login",
            get(login::form).post(login::login).layer(DefaultBodyLimit::max(guard::FORM_BYTES_MAX)),
        )
        .route("/assets/{name}", get(assets::asset))
        .layer(from_fn(with_headers))
        .layer(CompressionLayer::new())
        .with_state(ui)
}

/// The paths that want a session where there are keys.
pub fn guarded_paths() -> impl Iterator<Item = &'static str> {
    pages().into_iter().map(|(path, _)| path)
}

fn pages() -> Vec<(&'static str, MethodRouter<Ui>)> {
    vec![
        ("/", get(overview::overview)),
        ("/events", get(list::list::<filters::EventsWanted>)),
        ("/events/{id}", get(events::show)),
        ("/events/{id}/payload", get(events::payload)),
        ("/executions", get(list::list::<filters::ExecutionsWanted>)),
        ("/events/replay", get(bulk::plan_replay).post(bulk::replay)),
        ("/executions/retry", get(bulk::plan_retry).post(bulk::retry)),
        ("/acts/{id}", get(bulk::show)),
        ("/executions/{id}", get(executions::show)),
        ("/executions/{id}/retry", post(executions::retry)),
        ("/executions/{id}/cancel", post(executions::cancel)),
        ("/executions/{id}/preview", get(preview::preview)),
        ("/failures", get(failures::list)),
        ("/failures/{group}", get(failures::show)),
        ("/failures/{group}/acknowledge", post(failures::acknowledge)),
        ("/failures/{group}/unacknowledge", post(failures::unacknowledge)),
        ("/destinations", get(destinations::list)),
        ("/destinations/{name}/hold", post(destinations::hold)),
        ("/destinations/{name}/resume", post(destinations::resume)),
        ("/search", get(search::search)),
        ("/audit", get(audit::list)),
        ("/playground/send", post(playground::send)),
        ("/live", get(live::live)),
        (guard::LOGOUT, post(login::logout)),
    ]
}

/// Everything that a page needs comes from here, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // Not "no-referrer": with that, browsers keep the origin of forms to themselves.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
