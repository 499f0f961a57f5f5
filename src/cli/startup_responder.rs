//! Answers requests while `serve` waits for its database: alive, but not ready.
//!
//! It listens on the socket that the service takes over, so that no request finds the port closed.

use crate::problem::Problem;
use crate::server::{self, Limits};
use crate::telemetry::Metrics;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// When the sender should try again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How long a running request may take once the service is ready.
const GRACE: Duration = Duration::from_secs(1);

/// What it waits for until the database has answered.
const CONNECTING: &str = "it connects to its database and updates the schema";

/// A server that answers that the service is not ready, and what it waits for.
pub(super) struct StartupResponder {
    waiting: watch::Sender<&'static str>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl StartupResponder {
    /// Starts to answer, and returns a listener for the service itself.
    pub(super) fn start(listener: TcpListener) -> io::Result<(Self, TcpListener)> {
        let kept = listener.into_std()?;
        let listener = TcpListener::from_std(kept.try_clone()?)?;
        let stop = CancellationToken::new();
        let limits = Limits::default();
        // Nothing reads these counts before the service itself runs.
        let metrics = Metrics::new(None::<String>);
        let asked = stop.clone().cancelled_owned();
        let waiting = watch::Sender::new(CONNECTING);
        let router = router(waiting.subscribe());
        let server = tokio::spawn(server::serve(listener, router, limits, limits.limiter(), metrics, asked));
        Ok((Self { waiting, stop, server }, TcpListener::from_std(kept)?))
    }

    /// Changes what it says that the service waits for. Anyone may read it.
    pub(super) fn waits_because(&self, reason: &'static str) {
        self.waiting.send_replace(reason);
    }

    /// Stops answering, so that the service takes over.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

impl Drop for StartupResponder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(waiting: watch::Receiver<&'static str>) -> Router {
    let alive = || async { ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "alive" }))) };
    Router::new().route("/livez", get(alive)).fallback(move || async move {
        let reason = *waiting.borrow();
        let detail = format!("The service is starting: {reason}. Nothing was stored; send it again.");
        // A browser asks again by itself.
        let refresh = [(header::REFRESH, RETRY_AFTER_SECONDS.to_string())];
        (refresh, Problem::unavailable(detail, RETRY_AFTER_SECONDS)).into_response()
    })
}
