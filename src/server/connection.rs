//! One connection, from its first byte to its last.

use super::Limits;
use super::crowd::{Crowd, Place};
use super::pulse::Pulse;
use super::stream::Stream;
use crate::telemetry::Metrics;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, trace};

/// What all connections of a listener have in common.
pub(super) struct Shared {
    pub router: Router,
    pub builder: http1::Builder,
    pub limits: Limits,
    pub crowd: Crowd,
    pub metrics: Metrics,
    pub stopping: CancellationToken,
}

/// Answers what comes by this connection.
pub(super) async fn serve(stream: TcpStream, place: Place, shared: Arc<Shared>) {
    let Shared { router, builder, limits, crowd, metrics, stopping } = &*shared;
    let _open = metrics.connection();
    // Answers are small and written at once; nothing is gained by holding a part of one back.
    if let Err(error) = stream.set_nodelay(true) {
        trace!(%error, "a connection keeps Nagle's delay");
    }
    let pulse = Arc::new(Pulse::new(Instant::now()));
    let stream = TokioIo::new(Stream::new(stream, pulse.clone(), limits.piece_bytes));
    let service = service_fn(|request| answer(router.clone(), request, pulse.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut stop = pin!(stopping.cancelled());
    let mut is_stopping = false;
    let mut crowded = pin!(crowd.begins());
    let mut alarm = pin!(sleep_until(Instant::now() + limits.head_within));
    let ended = poll_fn(|context| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(served) = connection.as_mut().poll(context) {
            return Poll::Ready(Ok(served));
        }
        while crowded.as_mut().poll(context).is_ready() {
            crowded.set(crowd.begins());
        }
        // The alarm is brought forward at once and put off only when it rings, so that a request
        // that comes whole does not touch it.
        loop {
            let due = pulse.due(limits, crowd.is_crowded());
            match due {
                Some((at, why)) if at <= Instant::now() => return Poll::Ready(Err(why)),
                Some((at, _)) if at < alarm.deadline() => alarm.as_mut().reset(at),
                _ => {}
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let next = due.map_or_else(|| Instant::now() + limits.idle_max, |(at, _)| at);
            alarm.as_mut().reset(next);
        }
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection broke off"),
        Err(why) => {
            metrics.connection_ended(why.as_str());
            debug!(why = why.as_str(), "a connection was ended");
        }
    }
    drop(place);
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    pulse: Arc<Pulse>,
) -> Result<Response<Outgoing>, Infallible> {
    pulse.asked(Instant::now());
    let turn = Turn(pulse.clone());
    let request = request.map(|body| Body::new(Arriving { body, has_ended: false, pulse }));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Outgoing { body, _turn: turn }))
}

/// A request that is being answered; dropped when it has been, or when its client is gone.
struct Turn(Arc<Pulse>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.answered(Instant::now());
    }
}

/// The body of a request.
struct Arriving {
    body: Incoming,
    has_ended: bool,
    pulse: Arc<Pulse>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.pulse.left_unread();
        }
    }
}

/// The body of an answer.
struct Outgoing {
    body: Body,
    _turn: Turn,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
