//! The request log: the latest requests and the peak of concurrent ones.

use axum::http::Uri;
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

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
    /// The status of the response; `None` while the request runs or if the connection was cut.
    pub status: Option<u16>,
    /// The body, if it is JSON.
    #[serde(serialize_with = "shared_value")]
    pub body: Arc<Value>,
    /// The size of the body.
    #[serde(skip)]
    bytes: usize,
}

/// The latest requests, limited in number and total size, and counts of all of them.
#[derive(Debug, Default)]
pub struct Traffic {
    latest: VecDeque<LoggedRequest>,
    latest_bytes: usize,
    total: u64,
    running: usize,
    peak: usize,
}

const REQUESTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;

impl Traffic {
    /// Records a request and assigns its number.
    pub fn arrived(&mut self, method: &str, uri: &Uri, body: Arc<Value>, bytes: usize) -> u64 {
        self.total += 1;
        self.running += 1;
        self.peak = self.peak.max(self.running);
        self.latest_bytes += bytes;
        self.latest.push_back(LoggedRequest {
            number: self.total,
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            status: None,
            body,
            bytes,
        });
        while self.latest.len() > REQUESTS_MAX || self.latest_bytes > BYTES_MAX {
            let Some(oldest) = self.latest.pop_front() else { break };
            self.latest_bytes = self.latest_bytes.saturating_sub(oldest.bytes);
        }
        self.total
    }

    /// Records the end of a request; `None` if it got no response.
    pub fn ended(&mut self, number: u64, status: Option<u16>) {
        self.running = self.running.saturating_sub(1);
        let first = self.latest.front().map_or(0, |request| request.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| self.latest.get_mut(place)) {
            request.status = status;
        }
    }

    /// The latest requests, oldest first.
    pub fn latest(&self) -> impl Iterator<Item = &LoggedRequest> {
        self.latest.iter()
    }

    /// The total number of requests.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of running requests.
    pub fn running(&self) -> usize {
        self.running
    }

    /// The largest number of concurrent requests so far.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Clears the log and the peak; the total is kept.
    pub fn clear(&mut self) {
        self.latest.clear();
        self.latest_bytes = 0;
        self.peak = self.running;
    }
}

fn shared_value<S: serde::Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_limited_in_number_and_size() {
        let mut traffic = Traffic::default();
        for _ in 0..=REQUESTS_MAX {
            let number = traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), 0);
            traffic.ended(number, Some(200));
        }
        assert_eq!(traffic.latest().count(), REQUESTS_MAX);
        assert!(traffic.latest().all(|request| request.status == Some(200)));
        traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), BYTES_MAX);
        traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), 1);
        assert_eq!(traffic.latest().count(), 1);
    }

    #[test]
    fn the_peak_counts_concurrent_requests() {
        let mut traffic = Traffic::default();
        let first = traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), 0);
        let second = traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), 0);
        traffic.ended(first, None);
        traffic.ended(second, None);
        traffic.arrived("GET", &Uri::from_static("/"), Arc::default(), 0);
        assert_eq!((traffic.peak(), traffic.running(), traffic.total()), (2, 1, 3));
    }
}
