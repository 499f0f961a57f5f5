//! Serves one connection.

use super::Limits;
use super::connection_limiter::{ConnectionLimiter, ConnectionPermit};
use super::connection_state::ConnectionState;
use super::response_budget::ResponseBudget;
use super::stream::Stream;
use crate::auth::ClientAddress;
use crate::telemetry::Metrics;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, trace};

/// What all connections of a listener share.
pub(super) struct Shared {
    pub router: Router,
    pub builder: http1::Builder,
    pub limits: Limits,
    pub limiter: ConnectionLimiter,
    pub response_budget: ResponseBudget,
    pub metrics: Metrics,
    pub stopping: CancellationToken,
}

/// Serves the requests of one connection.
pub(super) async fn serve(stream: TcpStream, permit: ConnectionPermit, shared: Arc<Shared>) {
    let Shared { router, builder, limits, limiter, response_budget, metrics, stopping } = &*shared;
    let _open = metrics.connection();
    // Responses are small and written at once, so Nagle's algorithm would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        trace!(%error, "TCP_NODELAY could not be set");
    }
    let state = Arc::new(ConnectionState::new(Instant::now()));
    let client = stream.peer_addr().ok().map(|address| ClientAddress(address.ip()));
    let stream = TokioIo::new(Stream::new(stream, state.clone(), limits.read_progress_bytes));
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        answer(router.clone(), request, state.clone(), response_budget)
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut stop = pin!(stopping.cancelled());
    let mut is_stopping = false;
    let mut pressure = pin!(limiter.pressure_started());
    let mut scarcity = pin!(response_budget.scarcity_started());
    let mut timer = pin!(sleep_until(Instant::now() + limits.head_timeout));
    let ended = poll_fn(|context| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(served) = connection.as_mut().poll(context) {
            return Poll::Ready(Ok(served));
        }
        while pressure.as_mut().poll(context).is_ready() {
            pressure.set(limiter.pressure_started());
        }
        while scarcity.as_mut().poll(context).is_ready() {
            scarcity.set(response_budget.scarcity_started());
        }
        // The timer is moved forward at once, but moved back only when it fires, so that a request
        // that arrives in one piece does not touch it.
        loop {
            let deadline = state.deadline(limits, limiter.is_under_pressure(), response_budget.is_scarce());
            match deadline {
                Some((at, why)) if at <= Instant::now() => return Poll::Ready(Err(why)),
                Some((at, _)) if at < timer.deadline() => timer.as_mut().reset(at),
                _ => {}
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let next = deadline.map_or_else(|| Instant::now() + limits.idle_timeout, |(at, _)| at);
            timer.as_mut().reset(next);
        }
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "connection failed"),
        Err(why) => {
            metrics.connection_ended(why.as_str());
            debug!(reason = why.as_str(), "connection closed");
        }
    }
    drop(permit);
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    state: Arc<ConnectionState>,
    budget: &ResponseBudget,
) -> Result<Response<impl HttpBody<Data = Bytes, Error = axum::Error> + use<>>, Infallible> {
    state.request_started(Instant::now());
    let guard = RequestGuard(state);
    let response = router.oneshot(request.map(Body::new)).await?;
    let (response, permit) = budget.admit(response).await;
    guard.0.response_started(permit);
    // The closure owns the guard until the body is dropped.
    Ok(response.map(|body| {
        body.map_err(move |error| {
            let _owned = &guard;
            error
        })
    }))
}

/// A request that is being processed; dropped when its response is complete or its client has
/// disconnected.
struct RequestGuard(Arc<ConnectionState>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.response_finished(Instant::now());
    }
}
