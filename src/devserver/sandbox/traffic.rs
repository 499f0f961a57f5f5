//! What came in: the latest requests and how many were under way at once.

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
    /// The status that was answered; `None` while it is under way or where the connection was cut.
    pub status: Option<u16>,
    /// The body, where it is JSON.
    #[serde(serialize_with = "shared_value")]
    pub body: Arc<Value>,
    /// What the body weighs.
    #[serde(skip)]
    bytes: usize,
}

/// The latest requests, bounded in number and weight, and counts of all of them.
#[derive(Debug, Default)]
pub struct Traffic {
    latest: VecDeque<LoggedRequest>,
    latest_bytes: usize,
    total: u64,
    under_way: usize,
    peak: usize,
}

const REQUESTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;

impl Traffic {
    /// Takes note of a request and gives it a number.
    pub fn arrived(&mut self, method: &str, path: &str, body: Arc<Value>, bytes: usize) -> u64 {
        self.total += 1;
        self.under_way += 1;
        self.peak = self.peak.max(self.under_way);
        self.latest_bytes += bytes;
        self.latest.push_back(LoggedRequest {
            number: self.total,
            method: method.to_owned(),
            path: path.to_owned(),
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

    /// Takes note of how it ended; `None` where it got no answer.
    pub fn ended(&mut self, number: u64, status: Option<u16>) {
        self.under_way = self.under_way.saturating_sub(1);
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

    /// How many requests there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The most that were ever under way at once.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Forgets the requests and the peak; the count of all of them goes on.
    pub fn clear(&mut self) {
        self.latest.clear();
        self.latest_bytes = 0;
        self.peak = self.under_way;
    }
}

fn shared_value<S: serde::Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_in_number_and_in_weight() {
        let mut traffic = Traffic::default();
        for _ in 0..=REQUESTS_MAX {
            let number = traffic.arrived("GET", "/", Arc::default(), 0);
            traffic.ended(number, Some(200));
        }
        assert_eq!(traffic.latest().count(), REQUESTS_MAX);
        assert!(traffic.latest().all(|request| request.status == Some(200)));
        traffic.arrived("GET", "/", Arc::default(), BYTES_MAX);
        traffic.arrived("GET", "/", Arc::default(), 1);
        assert_eq!(traffic.latest().count(), 1);
    }

    #[test]
    fn the_peak_is_what_was_under_way_at_once() {
        let mut traffic = Traffic::default();
        let first = traffic.arrived("GET", "/", Arc::default(), 0);
        let second = traffic.arrived("GET", "/", Arc::default(), 0);
        traffic.ended(first, None);
        traffic.ended(second, None);
        traffic.arrived("GET", "/", Arc::default(), 0);
        assert_eq!((traffic.peak(), traffic.under_way(), traffic.total()), (2, 1, 3));
    }
}
