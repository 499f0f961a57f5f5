//! The listener: connections at a bounded cost, whoever is at the other end.
//!
//! Every connection is at any moment before a request, in the middle of a head, at a request or on
//! its way out, and each of these has its time ([`Limits`]). There is room for so many connections;
//! when most of it is taken, patience grows short and those go first that do nothing. A connection
//! with a request in hand is never given up for a new one: what comes waits before the door.
//!
//! HTTP/1.1 alone is spoken, as proxies do to what is behind them. How long the body of a request
//! may take is the matter of those who read it, and how long an answer takes of those who give it.

mod around;
mod connection;
mod crowd;
mod headers;
mod pulse;
mod stream;

pub use around::{Around, around};
pub use crowd::Crowd;
pub use headers::PublicByHttps;

use crate::telemetry::{Metrics, Panicked, catch_panic};
use axum::Router;
use hyper::server::conn::http1;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// What a client is given.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. Each takes a file, of which a process often has 1,024, and when it is
    /// idle about 20 KiB. There is no bound for one address: behind a proxy all clients share its own.
    pub connections_max: usize,
    /// From the first byte of a request's head, or from the connection where it is the first, to the
    /// head's end. It fits into a packet or two.
    pub head_within: Duration,
    /// The same while it is crowded.
    pub head_within_when_crowded: Duration,
    /// Between two requests. Longer than proxies keep a connection that they do not use (mostly 60 s),
    /// so that they are the ones that end it; else a request may meet a connection that just ended.
    pub idle_max: Duration,
    /// The same while it is crowded.
    pub idle_max_when_crowded: Duration,
    /// Within this time a client that is behind takes the rest of what is written, or [`Self::piece_bytes`].
    pub piece_within: Duration,
    /// The same while it is crowded.
    pub piece_within_when_crowded: Duration,
    /// What the slowest reader takes in that time. Slow telephones take ten times as much.
    pub piece_bytes: usize,
    /// How long a client that was refused in the middle of its request is listened to: a connection
    /// that is closed with something unread is reset, and the answer may be lost with it.
    pub last_words_within: Duration,
    /// The most bytes of a request's head; more is a 431. Node.js takes as much, and no browser or
    /// proxy sends half of it.
    pub head_bytes_max: usize,
    /// The most bytes that are read ahead of a handler, and written behind it.
    pub buffer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 800,
            head_within: Duration::from_secs(10),
            head_within_when_crowded: Duration::from_secs(2),
            idle_max: Duration::from_secs(75),
            idle_max_when_crowded: Duration::from_secs(1),
            piece_within: Duration::from_secs(20),
            piece_within_when_crowded: Duration::from_secs(5),
            piece_bytes: 64 * 1024,
            last_words_within: Duration::from_secs(1),
            head_bytes_max: 16 * 1024,
            buffer_bytes_max: 64 * 1024,
        }
    }
}

impl Limits {
    /// Room for as many connections as these limits allow.
    pub fn crowd(&self) -> Crowd {
        Crowd::new(self.connections_max)
    }

    fn builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // A head of more than 100 fields is a 431 too, which is the parser's own bound. Its time is
        // kept by the pulse, which tells a head that comes slowly from none at all.
        builder
            .max_header_size(self.head_bytes_max)
            .max_buf_size(self.buffer_bytes_max)
            .header_read_timeout(None);
        builder
    }
}

/// How long to wait when the system has no connection to give.
const WHEN_OUT_OF_FILES: Duration = Duration::from_millis(100);

/// The shortest time between two lines of the log about that.
const SAY_SO_EVERY: Duration = Duration::from_mins(1);

/// Answers on `listener` until `stop` resolves. Then nothing new is taken, idle connections end, and
/// requests that run come to their answers; when all have, this returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    crowd: Crowd,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send,
) {
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let shared = Arc::new(connection::Shared {
        router,
        builder: limits.builder(),
        limits,
        crowd: crowd.clone(),
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    });
    let mut door = Door { listener, crowd, said_at: None };
    let accepting = async {
        loop {
            let (stream, place) = door.next().await;
            let (metrics, serving) = (metrics.clone(), connection::serve(stream, place, shared.clone()));
            connections.spawn(async move { catch_panic(&metrics, Panicked::Handler, serving).await });
        }
    };
    tokio::select! {
        () = stop => {}
        () = accepting => {}
    }
    drop(door);
    stopping.cancel();
    connections.close();
    connections.wait().await;
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    crowd: Crowd,
    said_at: Option<Instant>,
}

impl Door {
    /// The next connection, once there is room for one.
    async fn next(&mut self) -> (tokio::net::TcpStream, crowd::Place) {
        let place = self.crowd.enter().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.crowd.press();
                    self.say(&error);
                    tokio::time::sleep(WHEN_OUT_OF_FILES).await;
                }
            }
        }
    }

    fn say(&mut self, error: &io::Error) {
        if self.said_at.is_none_or(|at| at.elapsed() >= SAY_SO_EVERY) {
            self.said_at = Some(Instant::now());
            warn!(%error, "the system gives no connections; more open files may be needed (ulimit -n)");
        }
    }
}

/// Whether only this one connection came to nothing, before it was taken.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
