//! The request log: the latest requests to the API.

use crate::keys::masked;
use axum::http::{HeaderMap, Method, Uri};
use serde::Serialize;
use std::collections::VecDeque;

/// A request to the API as it was received.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// The request's place in the order of arrival, from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What follows the `?` of the address; empty if nothing does.
    pub query: String,
    /// The API key, without its middle.
    pub key: Option<String>,
    /// The `Stripe-Version` that was asked for.
    pub version: Option<String>,
    /// The `Stripe-Context` or `Stripe-Account` that was asked for.
    pub context: Option<String>,
    /// The `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The body of a write, at most 4 KiB of it.
    pub body: String,
    /// The status of the answer; `None` while the request runs or if the connection was cut.
    pub status: Option<u16>,
    /// The id that the answer has.
    pub request_id: String,
}

/// The latest requests and counts of all of them.
#[derive(Debug, Default)]
pub struct Traffic {
    latest: VecDeque<LoggedRequest>,
    total: u64,
    running: usize,
    peak: usize,
}

const REQUESTS_MAX: usize = 5_000;
const BODY_BYTES_MAX: usize = 4_096;

impl Traffic {
    /// Records a request and assigns its number.
    pub fn arrived(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        key: Option<&str>,
        body: &[u8],
    ) -> u64 {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.total += 1;
        self.running += 1;
        self.peak = self.peak.max(self.running);
        if self.latest.len() >= REQUESTS_MAX {
            self.latest.pop_front();
        }
        let shown = body.get(..body.len().min(BODY_BYTES_MAX)).unwrap_or_default();
        self.latest.push_back(LoggedRequest {
            number: self.total,
            method: method.as_str().to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            key: key.map(masked),
            version: text("stripe-version"),
            context: text("stripe-context").or_else(|| text("stripe-account")),
            idempotency_key: text("idempotency-key"),
            body: String::from_utf8_lossy(shown).into_owned(),
            status: None,
            request_id: request_id(self.total),
        });
        self.total
    }

    /// Records the end of a request; `None` if it got no answer.
    pub fn ended(&mut self, number: u64, status: Option<u16>) {
        self.running = self.running.saturating_sub(1);
        let first = self.latest.front().map_or(0, |request| request.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| self.latest.get_mut(place)) {
            request.status = status;
        }
    }

    /// The latest requests, oldest first.
    pub fn latest(&self) -> impl DoubleEndedIterator<Item = &LoggedRequest> {
        self.latest.iter()
    }

    /// The total number of requests.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest number of concurrent requests so far.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Clears the log and the peak; the total is kept.
    pub fn clear(&mut self) {
        self.latest.clear();
        self.peak = self.running;
    }
}

/// The `request-id` of the request with this number.
pub fn request_id(number: u64) -> String {
    format!("req_S{number:013}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_limited_and_hides_keys() {
        let mut traffic = Traffic::default();
        for _ in 0..=REQUESTS_MAX {
            let uri = Uri::from_static("/v1/charges?limit=1");
            let number = traffic.arrived(
                &Method::GET,
                &uri,
                &HeaderMap::new(),
                Some("sk_test_secretpart"),
                &[b'x'; 9_000],
            );
            traffic.ended(number, Some(200));
        }
        assert_eq!(traffic.latest().count(), REQUESTS_MAX);
        let last = traffic.latest().next_back().unwrap();
        assert_eq!((last.status, last.key.as_deref()), (Some(200), Some("sk_test_******part")));
        assert_eq!((last.body.len(), traffic.peak()), (BODY_BYTES_MAX, 1));
    }
}
