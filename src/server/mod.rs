//! The HTTP server: it limits the cost of connections, whatever their clients do.
//!
//! A connection is always idle, reading a head, processing a request or closing, and each phase has a
//! timeout ([`Limits`]). The number of connections is limited. When most are in use, the server is under
//! pressure: timeouts become short, so that idle connections end first. A connection with a running request
//! is never closed for a new one; new connections wait in the listener's queue.
//!
//! Unread responses have a memory budget (`response_budget`).
//!
//! Only HTTP/1.1 is supported, which proxies use towards the services behind them. The handlers limit the
//! time of request bodies and of responses.

mod connection;
mod connection_limiter;
mod connection_state;
mod headers;
mod middleware;
mod response_budget;
mod stream;

pub use connection_limiter::ConnectionLimiter;
pub use headers::PublicByHttps;
pub use middleware::{Middleware, middleware};

use crate::telemetry::{Metrics, Panicked, catch_panic};
use axum::Router;
use hyper::server::conn::http1;
use response_budget::ResponseBudget;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent connections. Each needs a file descriptor, of which a process often has 1,024, and
    /// about 20 KiB when idle. There is no limit per address: behind a proxy all clients share one.
    pub connections_max: usize,
    /// From the first byte of a request's head (for the first request: from the connection) to the end of
    /// the head, which fits into a packet or two.
    pub head_timeout: Duration,
    /// The same under pressure.
    pub head_timeout_under_pressure: Duration,
    /// Between two requests. Proxies close unused connections earlier (usually after 60 s); otherwise a
    /// request could arrive on a connection that the server has just closed.
    pub idle_timeout: Duration,
    /// The same under pressure.
    pub idle_timeout_under_pressure: Duration,
    /// Within this time a slow reader must accept the remainder of a response, or
    /// [`Self::read_progress_bytes`].
    pub read_timeout: Duration,
    /// The same under pressure.
    pub read_timeout_under_pressure: Duration,
    /// What a slow reader must accept in that time. Slow phones read ten times as fast.
    pub read_progress_bytes: usize,
    /// The memory of all responses that clients have not read. It has room for thirty bodies of the largest
    /// events.
    pub response_bytes_max: usize,
    /// Up to this size a response needs none of it: the number of connections limits these.
    pub response_uncounted_bytes: usize,
    /// How long the server keeps reading after its last response, until the client closes its side: closing
    /// a connection with unread data resets it, and the response may be lost.
    pub linger_timeout: Duration,
    /// The largest head of a request in bytes; a larger one gets 431. Node.js has the same limit, and no
    /// browser or proxy sends half of it.
    pub head_bytes_max: usize,
    /// The largest read and write buffers in bytes.
    pub buffer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 800,
            head_timeout: Duration::from_secs(10),
            head_timeout_under_pressure: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(75),
            idle_timeout_under_pressure: Duration::from_secs(1),
            read_timeout: Duration::from_secs(20),
            read_timeout_under_pressure: Duration::from_secs(5),
            read_progress_bytes: 64 * 1024,
            response_bytes_max: 64 * 1024 * 1024,
            response_uncounted_bytes: 32 * 1024,
            linger_timeout: Duration::from_secs(1),
            head_bytes_max: 16 * 1024,
            buffer_bytes_max: 64 * 1024,
        }
    }
}

impl Limits {
    /// A limiter for the number of connections.
    pub fn limiter(&self) -> ConnectionLimiter {
        ConnectionLimiter::new(self.connections_max)
    }

    fn builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // A head of more than 100 fields gets 431 too, which is the parser's own limit. `ConnectionState`
        // has the timeout of heads, since it distinguishes a slow head from none.
        builder
            .max_header_size(self.head_bytes_max)
            .max_buf_size(self.buffer_bytes_max)
            .header_read_timeout(None);
        builder
    }
}

/// The pause after the system could not accept a connection.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The shortest time between two log messages about that.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Serves `listener` until `stop` resolves. Then it accepts no new connections, closes idle ones, and
/// returns when all running requests are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    limiter: ConnectionLimiter,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send,
) {
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let shared = Arc::new(connection::Shared {
        router,
        builder: limits.builder(),
        limits,
        limiter: limiter.clone(),
        response_budget: ResponseBudget::new(&limits),
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    });
    let mut acceptor = Acceptor { listener, limiter, logged_at: None };
    let accepting = async {
        loop {
            let (stream, permit) = acceptor.accept().await;
            let (metrics, serving) = (metrics.clone(), connection::serve(stream, permit, shared.clone()));
            connections.spawn(async move { catch_panic(&metrics, Panicked::Handler, serving).await });
        }
    };
    tokio::select! {
        () = stop => {}
        () = accepting => {}
    }
    drop(acceptor);
    stopping.cancel();
    connections.close();
    connections.wait().await;
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    limiter: ConnectionLimiter,
    logged_at: Option<Instant>,
}

impl Acceptor {
    /// Waits for a permit and then for a connection.
    async fn accept(&mut self) -> (tokio::net::TcpStream, connection_limiter::ConnectionPermit) {
        let permit = self.limiter.acquire().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    self.limiter.start_pressure();
                    self.log(&error);
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
    }

    fn log(&mut self, error: &io::Error) {
        if self.logged_at.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            warn!(%error, "connections cannot be accepted; the limit of open files may be too low (ulimit -n)");
        }
    }
}

/// Whether only this connection failed, before it was accepted.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
