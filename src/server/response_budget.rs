//! The memory budget for responses that clients have not read.
//!
//! A response stays in memory until its client has read it, so many slow readers of large responses could use up
//! the memory of the machine. All responses together have a number of bytes; small ones need none of it, because
//! the number of connections limits them. If it is used up, a large response is replaced by 503 with
//! `Retry-After`. When it becomes scarce, slow readers get less time, so that it is soon free again.

use super::Limits;
use crate::problem::Problem;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderName, Response, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use std::sync::Arc;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// After this time a client may repeat its request, in seconds: within it, slow readers of a scarce budget have
/// read on or are disconnected.
const RETRY_AFTER_SECONDS: u64 = 5;

/// The headers of a response that say something about its body or its effect in a browser.
const OF_BODY: [HeaderName; 9] = [
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::TRANSFER_ENCODING,
];

/// A number of bytes for all responses. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ResponseBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    uncounted_bytes: usize,
    scarcity_started: Notify,
}

impl ResponseBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Inner {
            bytes: Arc::new(Semaphore::new(limits.response_bytes_max)),
            bytes_max: limits.response_bytes_max,
            uncounted_bytes: limits.response_uncounted_bytes,
            scarcity_started: Notify::new(),
        }))
    }

    /// Whether less than a quarter is left.
    pub(super) fn is_scarce(&self) -> bool {
        self.0.bytes.available_permits() < self.0.bytes_max / 4
    }

    /// Resolves when it becomes scarce the next time.
    pub(super) fn scarcity_started(&self) -> Notified<'_> {
        self.0.scarcity_started.notified()
    }

    /// Reserves memory for a response. If there is none, the response is replaced by 503. A stream produces its
    /// data when the client reads, so it needs no reservation.
    pub(super) async fn admit(
        &self,
        response: Response<Body>,
    ) -> (Response<Body>, Option<OwnedSemaphorePermit>) {
        let response = without_uncompressed(response).await;
        let Some(bytes) = response.body().size_hint().exact() else { return (response, None) };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.0.bytes_max);
        if bytes <= self.0.uncounted_bytes {
            return (response, None);
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let was_scarce = self.is_scarce();
        let permit = self.0.bytes.clone().try_acquire_many_owned(permits).ok();
        if permit.is_none() || (!was_scarce && self.is_scarce()) {
            self.0.scarcity_started.notify_waiters();
        }
        if permit.is_none() {
            debug!(bytes, "no memory left for a response");
            return (refused(response), None);
        }
        (response, permit)
    }
}

/// A page that is compressed while it is read stays in memory uncompressed. So it is compressed at once.
async fn without_uncompressed(response: Response<Body>) -> Response<Body> {
    if !response.headers().contains_key(header::CONTENT_ENCODING)
        || response.body().size_hint().exact().is_some()
    {
        return response;
    }
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, Body::from(whole.to_bytes())),
        Err(error) => {
            debug!(%error, "a response could not be compressed");
            Problem::internal().into_response()
        }
    }
}

/// The 503 instead of a response, with the headers that do not belong to its body.
fn refused(response: Response<Body>) -> Response<Body> {
    let (mut parts, _unread) = response.into_parts();
    let problem = Problem::unavailable(
        "Too many responses wait for clients that read slowly. Try again, or request less at a time.",
        RETRY_AFTER_SECONDS,
    );
    let (of_problem, body) = problem.into_response().into_parts();
    for name in OF_BODY {
        parts.headers.remove(name);
    }
    parts.status = of_problem.status;
    parts.headers.extend(of_problem.headers);
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(bytes: usize) -> Response<Body> {
        let mut response = Response::new(Body::from(vec![b'x'; bytes]));
        response.headers_mut().insert("x-request-id", "7".parse().expect("a value"));
        response
    }

    fn budget() -> ResponseBudget {
        let limits = Limits { response_bytes_max: 1000, response_uncounted_bytes: 100, ..Limits::default() };
        ResponseBudget::new(&limits)
    }

    #[tokio::test]
    async fn a_large_response_is_refused_while_the_budget_is_used_up() {
        let budget = budget();
        let scarcity = budget.scarcity_started();
        let (first, permit) = budget.admit(response(900)).await;
        assert!(first.status().is_success() && permit.is_some() && budget.is_scarce());
        scarcity.await;
        let (refused, none) = budget.admit(response(101)).await;
        assert!(refused.status() == 503 && none.is_none());
        assert_eq!(
            (&refused.headers()["retry-after"], &refused.headers()["x-request-id"]),
            (&"5".parse().expect("a value"), &"7".parse().expect("a value"))
        );
        let (small, _) = budget.admit(response(100)).await;
        assert!(small.status().is_success(), "a small one needs none");
        drop(permit);
        assert!(budget.admit(response(101)).await.0.status().is_success());
    }

    #[tokio::test]
    async fn a_response_that_is_larger_than_the_budget_is_sent_alone() {
        let budget = budget();
        let (huge, permit) = budget.admit(response(5000)).await;
        assert!(huge.status().is_success() && permit.is_some());
        assert_eq!(budget.admit(response(200)).await.0.status(), 503);
    }
}
