//! The routes of each role, and their middleware.

use super::base_path::BasePath;
use super::openapi::{self, openapi};
use crate::api::{self, Api};
use crate::auth;
use crate::config::Access;
use crate::ingest::{self, Ingest};
use crate::problem::{Problem, ProblemCode};
use crate::server::{self, Middleware};
use crate::store::IdempotencyKeys;
use crate::ui::{self, Ui};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// What the router is made of.
pub(super) struct Routes {
    pub(super) ingest: Ingest,
    pub(super) api: Api,
    pub(super) idempotency_keys: IdempotencyKeys,
    pub(super) ui: Ui,
    pub(super) more: OpenApiRouter,
    pub(super) metrics_are_open: bool,
    /// For the description of the API.
    pub(super) base_path: Option<BasePath>,
}

/// The routes of a process that accepts webhooks and requests.
pub(super) fn router(routes: Routes, middleware: &Arc<Middleware>) -> Router {
    let access = &middleware.access;
    let Routes { ingest, api, idempotency_keys, ui, more, metrics_are_open, base_path } = routes;
    let mut description = openapi();
    let (more_routes, more_description) = more.split_for_parts();
    description.merge(more_description);
    openapi::describe_idempotency(&mut description);
    openapi::complete(&mut description);
    if let Some(base_path) = base_path {
        description.servers = Some(vec![openapi::server(base_path.as_str())]);
    }
    let (mut protected, mut open) = (Router::from(api::protected()), Router::from(api::open()));
    let place = if metrics_are_open { &mut open } else { &mut protected };
    *place = std::mem::take(place).merge(api::metrics());
    let protected = protected
        .with_state(api.clone())
        .merge(more_routes)
        .route_layer(from_fn_with_state(idempotency_keys, api::once_per_key))
        .route_layer(from_fn_with_state(access.clone(), auth::require_key));
    let docs = Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
        .route_layer(from_fn_with_state((ui.clone(), access.clone()), require_reader));
    let ingest = Arc::new(ingest);
    let routes = Router::from(ingest::routes())
        .with_state(ingest.clone())
        .merge(open.with_state(api))
        .merge(protected)
        .merge(docs)
        .merge(ui::routes(ui));
    let nothing_here = "There is nothing at this address; /docs lists all addresses.";
    with_middleware(routes, nothing_here, Some(ingest), middleware)
}

/// The routes of a process that only delivers.
pub(super) fn of_worker(api: Api, metrics_are_open: bool, middleware: &Arc<Middleware>) -> Router {
    let of_metrics = Router::from(api::metrics()).with_state(api.clone());
    let of_metrics = if metrics_are_open {
        of_metrics
    } else {
        of_metrics.route_layer(from_fn_with_state(middleware.access.clone(), auth::require_key))
    };
    let routes = Router::from(api::open()).with_state(api).merge(of_metrics);
    let nothing_here =
        "This process only delivers; a process of the role web answers webhooks, the API and the dashboard.";
    with_middleware(routes, nothing_here, None, middleware)
}

/// The routes with the middleware of every request, and the responses to unknown addresses and methods. A
/// webhook without a route goes to `ingest`.
fn with_middleware(
    routes: Router,
    nothing_here: &'static str,
    ingest: Option<Arc<Ingest>>,
    middleware: &Arc<Middleware>,
) -> Router {
    let not_found = {
        let ingest = ingest.clone();
        move |request: Request| {
            let is_for_a_person = ingest.is_some() && wants_page(&request);
            let problem = webhook_or(ingest.clone(), request, move || Problem::not_found(nothing_here));
            async move { if is_for_a_person { ui::unknown_address() } else { problem.await } }
        }
    };
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(move |request| webhook_or(ingest.clone(), request, not_allowed))
        .layer(from_fn_with_state(middleware.clone(), server::middleware))
}

/// Whether a browser opens the address.
fn wants_page(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    request.method() == Method::GET && accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

async fn webhook_or(
    ingest: Option<Arc<Ingest>>,
    request: Request,
    problem: impl FnOnce() -> Problem,
) -> Response {
    match ingest.filter(|ingest| ingest.is_webhook(&request)) {
        Some(ingest) => ingest::receive_astray(&ingest, request).await,
        None => problem().into_response(),
    }
}

fn not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::MethodNotAllowed,
        "Not with this method",
        "The address exists, but not for this method; /docs lists all addresses and methods.",
    )
}

/// Shows the description of the API to users who are logged in to the dashboard or send a key. The API itself
/// accepts no cookie.
async fn require_reader(
    State((ui, access)): State<(Ui, Arc<Access>)>,
    request: Request,
    next: Next,
) -> Response {
    if ui.is_logged_in(request.headers()).await {
        return next.run(request).await;
    }
    auth::require_key_of_browser(State(access), request, next).await
}
